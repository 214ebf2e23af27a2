"""Roles, what each may do, and the namespaces in which it may."""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

EVERY_NAMESPACE = "*"
OIDC = "oidc"


class Right(StrEnum):
    """What a route asks for."""

    READ = "read"
    ANALYZE = "analyze"
    CHANGE = "change"
    APPROVE = "approve"
    FREEZE = "freeze"


class Role(StrEnum):
    """What is given to a person or a program."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    APPROVER = "approver"
    ADMIN = "admin"


RIGHTS: dict[Role, frozenset[Right]] = {
    Role.VIEWER: frozenset({Right.READ}),
    Role.OPERATOR: frozenset({Right.READ, Right.ANALYZE, Right.CHANGE, Right.FREEZE}),
    Role.APPROVER: frozenset({Right.READ, Right.APPROVE, Right.FREEZE}),
    Role.ADMIN: frozenset(Right),
}

Namespace = Annotated[str, Meta(pattern="^(\\*|[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)$")]


class Grant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A role in some namespaces.

    Attributes:
        role: viewer, operator, approver or admin.
        namespaces: of any cluster; `*` is all.
    """

    role: Role
    namespaces: Annotated[tuple[Namespace, ...], Meta(min_length=1, max_length=1000)] = (EVERY_NAMESPACE,)


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks.

    Attributes:
        name: as audit and approvals record it; None where the API is open to everyone.
        grants: what it may do, and where.
        credential: what identified it: `open`, `oidc`, `token:<id>`, or `key:<digest>` of a configured token.
        until: epoch seconds at which the credential ends; None where it does not.
    """

    name: str | None
    grants: tuple[Grant, ...]
    credential: str
    until: float | None = None

    def namespaces(self, right: Right) -> frozenset[str] | None:
        """Returns the namespaces in which it has a right; None is all of them."""
        names = {name for grant in self.grants if right in RIGHTS[grant.role] for name in grant.namespaces}
        return None if EVERY_NAMESPACE in names else frozenset(names)


OPEN = Principal(name=None, grants=(Grant(role=Role.ADMIN),), credential="open")
"""Everyone, where no authentication is required."""
