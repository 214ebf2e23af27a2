"""Which recommendations are in force."""

from sqlalchemy import ColumnElement, and_, func, or_

from perfopt_api.store.tables import recommendations


def unexpired() -> ColumnElement[bool]:
    """Its validity is not over; it counts from the analysis where the data end long before that."""
    table = recommendations.c
    return or_(
        table.valid_until > func.now(),
        table.created_at + (table.valid_until - table.made_at) > func.now(),
    )


def in_force() -> ColumnElement[bool]:
    """It is not superseded, not withdrawn, and not expired."""
    table = recommendations.c
    return and_(table.superseded_by.is_(None), table.withdrawn_at.is_(None), unexpired())
