"""The guard of all routes: who asks, how often, and whether the route's rule allows it."""

from collections.abc import Awaitable, Callable, Collection
from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from perfopt_api.auth.roles import OPEN, Principal, Right
from perfopt_api.errors import ForbiddenError, UnauthorizedError
from perfopt_api.http.denied import DeniedCalls
from perfopt_api.http.ratelimit import TokenBuckets
from perfopt_api.http.rules import RULES, Rule
from perfopt_api.settings import ServiceSettings

SIGN_IN = "sign_in"
"""The reason of a call that only leads to the form for signing in: the audit leaves it out."""
IDENTIFY = "identify"
"""Option of a router whose callers are identified in another way: a function of the connection."""
Connection = ASGIConnection[Any, Any, Any, Any]
Identify = Callable[[Connection], Awaitable[Principal]]


async def require_right(connection: Connection, handler: BaseRouteHandler) -> None:
    """Lets a request through that its route's rule allows, and notes on the connection who asks.

    Raises:
        UnauthorizedError: nobody known asks.
        ForbiddenError: the rule does not allow it, or there is none.
        RateLimitedError: the caller asks too often.
    """
    settings: ServiceSettings = connection.app.state.settings
    call = f"{_method(connection)} {connection.scope['path_template']}"
    rule = RULES.get(call)
    if rule is not None and rule.is_public(settings):
        return
    denied: DeniedCalls = connection.app.state.denied
    identify: Identify = handler.opt.get(IDENTIFY, identify_bearer)
    principal = None
    try:
        principal = await identify(connection)
        note_principal(connection, principal)
        _take_turn(connection, principal.name)
        await _authorize(connection, principal, rule)
    except UnauthorizedError as error:
        _take_turn(connection, None)
        if error.reason != SIGN_IN:
            await denied.note(None, _address(connection), call, error.reason)
        raise
    except ForbiddenError as error:
        assert principal is not None, "only somebody known is forbidden something"
        await denied.note(principal.name, _address(connection), call, error.reason)
        raise


async def identify_bearer(connection: Connection) -> Principal:
    """Returns the holder of the bearer token."""
    principal: Principal = await connection.app.state.auth.principal(connection.headers.get("authorization"))
    return principal


def note_principal(connection: Connection, principal: Principal) -> None:
    """Notes who asks, for handlers and the log."""
    connection.scope["user"] = principal.name
    connection.scope.setdefault("state", {})["principal"] = principal


def principal_of(connection: Connection) -> Principal:
    """Returns who asks."""
    principal: Principal = connection.scope.get("state", {}).get("principal", OPEN)
    return principal


def visible_namespaces(connection: Connection) -> frozenset[str] | None:
    """Returns the namespaces that the caller may see; None is all."""
    return principal_of(connection).namespaces(Right.READ)


async def _authorize(connection: Connection, principal: Principal, rule: Rule | None) -> None:
    if rule is None or rule.right is None or rule.namespaces is None:
        raise ForbiddenError(
            "This address has no rule that says who may call it.", reason="no_rule", remedy="Report it."
        )
    allowed = principal.namespaces(rule.right)
    if allowed is None:
        return
    if not allowed:
        roles = ", ".join(sorted({grant.role.value for grant in principal.grants}))
        raise ForbiddenError(
            f"Your role ({roles}) has no right to {rule.right.value} here.",
            reason="wrong_role",
            remedy="Ask for a token of another role.",
        )
    _require_within(allowed, await rule.namespaces(Request(connection.scope, connection.receive)))


def _require_within(allowed: frozenset[str], requested: Collection[str] | None) -> None:
    if requested is not None and allowed.issuperset(requested):
        return
    plain = requested is not None and "" in requested
    names = ", ".join(sorted(allowed))
    raise ForbiddenError(
        "It is about all namespaces." if requested is None else "It is not of your namespaces.",
        reason="wrong_namespace",
        remedy=f"Name the workload in full, namespace/name, of: {names}." if plain else f"You have: {names}.",
    )


def _take_turn(connection: Connection, name: str | None) -> None:
    buckets: TokenBuckets = connection.app.state.buckets
    buckets.take(f"key {name}" if name is not None else f"address {_address(connection)}")


def _address(connection: Connection) -> str:
    return connection.client.host if connection.client else ""


def _method(connection: Connection) -> str:
    method = str(connection.scope.get("method", "GET"))
    return "GET" if method == "HEAD" else method
