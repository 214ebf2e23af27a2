"""Finds out who asks: by a configured token, a stored one, or a token of an OpenID Connect issuer."""

import hmac
import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime

from perfopt_api.auth.oidc import OidcVerifier
from perfopt_api.auth.oidc_login import OidcLogin
from perfopt_api.auth.roles import OPEN, Grant, Principal
from perfopt_api.auth.tokens import TokenReader, TokenRecord, hash_of, matches, parse_token
from perfopt_api.errors import UnauthorizedError
from perfopt_api.settings import ServiceSettings

KEPT_SECONDS = 10.0
"""For which a process goes by what it read of a token: a revoked one is refused everywhere after that."""
_MAX_KEPT = 10_000
_REMEDY = "Send `Authorization: Bearer <token>`; `perfopt token create` makes one."


def is_required(settings: ServiceSettings) -> bool:
    """Returns whether callers must show who they are: `auth: auto` asks for it beyond loopback."""
    if settings.auth != "auto":
        return settings.auth == "on"
    return bool(settings.api_keys) or settings.oidc is not None or not _is_loopback(settings.host)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Authenticator:
    """Knows the principals of one configuration.

    Args:
        settings: which tokens are configured, and whether any is needed.
        tokens: the stored ones; None where there is no database.
        oidc: checks tokens of the issuer; None where none is configured.
        now: the clock.
        monotonic: seconds that only grow.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        tokens: TokenReader | None = None,
        oidc: OidcVerifier | None = None,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.required = is_required(settings)
        self._settings = settings
        self._tokens = tokens
        self._oidc = oidc
        self.browser_login: OidcLogin | None = None
        if oidc is not None and settings.oidc is not None and settings.oidc.client_id is not None:
            self.browser_login = OidcLogin(settings.oidc, oidc, settings.base_url or "")
        self._now = now
        self._monotonic = monotonic
        self._kept: OrderedDict[str, tuple[float, TokenRecord | None]] = OrderedDict()

    async def principal(self, authorization: str | None) -> Principal:
        """Returns who sent a header `Authorization`.

        Raises:
            UnauthorizedError: there is none, or it is of nobody known.
            UnavailableError: PostgreSQL or the issuer did not answer.
        """
        if not self.required:
            return OPEN
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise UnauthorizedError("No bearer token was sent.", reason="no_token", remedy=_REMEDY)
        return await self._of(token.strip())

    async def _of(self, token: str) -> Principal:
        configured = self._configured(token)
        if configured is not None:
            return configured
        parts = parse_token(token)
        if parts is not None:
            return await self._stored(*parts)
        if self._oidc is not None and token.count(".") == 2:
            return await self._oidc.principal(token)
        raise UnauthorizedError("The bearer token is not known.", reason="unknown_token", remedy=_REMEDY)

    def _configured(self, token: str) -> Principal | None:
        # Every token is compared, so that the time taken does not show which came close.
        keys = self._settings.api_keys.items()
        names = [n for n, key in keys if hmac.compare_digest(key.token.encode(), token.encode())]
        return self.key_holder(names[0]) if names else None

    def key_holder(self, name: str) -> Principal | None:
        """Returns the holder of a configured token by name; None where there is none."""
        key = self._settings.api_keys.get(name)
        if key is None:
            return None
        grant = Grant(role=key.role, namespaces=key.namespaces)
        return Principal(name=name, grants=(grant,), credential=f"key:{hash_of(key.token)[:16]}")

    async def _stored(self, token_id: str, secret: str) -> Principal:
        record = await self.record(token_id)
        if record is None or not matches(record, secret):
            raise UnauthorizedError("The bearer token is not known.", reason="unknown_token", remedy=_REMEDY)
        return self.token_holder(record)

    def token_holder(self, record: TokenRecord) -> Principal:
        """Returns the holder of a stored token.

        Raises:
            UnauthorizedError: it is revoked or expired.
        """
        if record.revoked_at is not None:
            raise UnauthorizedError("The token was revoked.", reason="revoked_token", remedy=_REMEDY)
        if record.expires_at <= self._now():
            raise UnauthorizedError("The token has expired.", reason="expired_token", remedy=_REMEDY)
        return Principal(
            name=record.name,
            grants=(record.grant,),
            credential=f"token:{record.token_id}",
            until=record.expires_at.timestamp(),
        )

    async def record(self, token_id: str) -> TokenRecord | None:
        """Returns a stored token, as it was at most KEPT_SECONDS ago."""
        since, record = self._kept.get(token_id, (-math.inf, None))
        if self._monotonic() - since >= KEPT_SECONDS:
            record = None if self._tokens is None else await self._tokens.find(token_id)
            self._kept[token_id] = self._monotonic(), record
            self._kept.move_to_end(token_id)
            if len(self._kept) > _MAX_KEPT:
                self._kept.popitem(last=False)
        return record
