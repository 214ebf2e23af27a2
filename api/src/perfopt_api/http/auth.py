"""Who asks, and how often: the bearer token names the requester. Without tokens the API is open."""

import hmac
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from perfopt_api.http.errors import UnauthorizedError
from perfopt_api.http.ratelimit import TokenBuckets
from perfopt_api.settings import ServiceSettings

_REMEDY = "Send `Authorization: Bearer <token>` with a token from the setting api_keys."


def requester_of(settings: ServiceSettings, authorization: str | None) -> str | None:
    """Returns the name of the token's holder; None where the API is open.

    Args:
        settings: holds the tokens.
        authorization: the header of that name.

    Raises:
        UnauthorizedError: tokens are configured, and none or a wrong one was sent.
    """
    if not settings.api_keys:
        return None
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise UnauthorizedError("No bearer token was sent.", remedy=_REMEDY)
    given = token.strip().encode()
    # Every token is compared, so that the time taken does not show which came close.
    names = [n for n, key in settings.api_keys.items() if hmac.compare_digest(key.token.encode(), given)]
    if not names:
        raise UnauthorizedError("The bearer token is not known.", remedy=_REMEDY)
    return names[0]


def require_requester(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Lets a request through whose token is known, and notes its holder on the connection.

    Raises:
        UnauthorizedError: the token is missing or wrong.
        RateLimitedError: the holder, or where the API is open the address, asks too often.
    """
    settings: ServiceSettings = connection.app.state.settings
    name = requester_of(settings, connection.headers.get("authorization"))
    connection.scope["user"] = name
    buckets: TokenBuckets = connection.app.state.buckets
    address = connection.client.host if connection.client else ""
    buckets.take(f"key {name}" if name is not None else f"address {address}")
