"""What recommendations of the last quarter came to, by type: read from the narrow rows of outcomes."""

from datetime import timedelta

import msgspec
from sqlalchemy import Float, Integer, cast, func, select

from perfopt_api.store.database import Database
from perfopt_api.store.tables import outcomes

PERIOD = timedelta(weeks=13)


class RecordedType(msgspec.Struct, frozen=True, kw_only=True):
    """Outcomes of one type.

    Attributes:
        optimization_type: of the recommendations.
        scored: how many were held against what came.
        accuracy: share of these that were accurate.
        confidence: the mean that they stated; what a calibrated one equals.
    """

    optimization_type: str
    scored: int
    accuracy: float
    confidence: float


class PostgresRecorded:
    """Adds up scored outcomes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def recorded(self) -> tuple[RecordedType, ...]:
        """Returns what each type came to; a type without a scored outcome is left out.

        Raises:
            UnavailableError: PostgreSQL is not reachable.
        """
        table = outcomes.c
        query = (
            select(
                table.optimization_type,
                func.count().label("scored"),
                cast(func.avg(cast(table.accurate, Integer)), Float).label("accuracy"),
                func.avg(table.stated).label("confidence"),
            )
            .where(
                table.scored_at > func.now() - PERIOD,
                table.accurate.is_not(None),
                table.stated.is_not(None),
                table.optimization_type.is_not(None),
            )
            .group_by(table.optimization_type)
        )
        async with self._database.reading() as connection:
            rows = (await connection.execute(query)).all()
        return tuple(
            RecordedType(
                optimization_type=kind, scored=count, accuracy=float(accuracy), confidence=float(stated)
            )
            for kind, count, accuracy, stated in rows
        )
