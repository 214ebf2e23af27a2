"""Tokens of an OpenID Connect issuer (JWT): signature, issuer, audience and times, and the grants in them."""

import asyncio
import hmac
import math
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpx
import jwt
import msgspec
import structlog

from perfopt.errors import UnavailableError
from perfopt_api.auth.roles import OIDC, Grant, Principal
from perfopt_api.auth.settings import OidcSettings
from perfopt_api.errors import UnauthorizedError

KEYS_SECONDS = 3600.0
"""After which the issuer's keys are read again, so that one it withdrew is no longer taken."""
RETRY_SECONDS = 10.0
"""Between two reads that unknown keys cause: anybody can send a token with an invented key id."""
_FETCH_SECONDS = 5.0
_MAX_BYTES = 1 << 20
_MAX_NAME = 100
_log = structlog.get_logger("perfopt_api.auth")


class OidcVerifier:
    """Checks tokens of one issuer.

    Args:
        settings: of the issuer.
        transport: of HTTP, for tests.
        monotonic: seconds that only grow.
    """

    def __init__(
        self,
        settings: OidcSettings,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._transport = transport
        self._monotonic = monotonic
        self._keys: dict[str, jwt.PyJWK] = {}
        self._discovered: dict[str, Any] = {}
        self._read_at = self._tried_at = -math.inf
        self._reading = asyncio.Lock()

    async def principal(self, token: str) -> Principal:
        """Returns who an access token names.

        Raises:
            UnauthorizedError: its signature, issuer, audience, times or algorithm are wrong, or nothing is
                granted to it.
            UnavailableError: the issuer's keys could not be read.
        """
        return self._named(await self._claims(token, self._settings.audience))

    async def signed_in(self, token: str, client_id: str, nonce: str) -> Principal:
        """Returns who an ID token names that was issued to a client for one sign-in.

        Raises:
            UnauthorizedError, UnavailableError: as `principal`; or it is of another sign-in.
        """
        claims = await self._claims(token, client_id)
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
            raise _refused("it is of another sign-in")
        return self._named(claims)

    async def _claims(self, token: str, audience: str) -> dict[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise _refused("it is malformed") from error
        if header.get("alg") not in self._settings.algorithms:
            raise _refused(f"its algorithm {str(header.get('alg'))[:20]!r} is not allowed")
        key = await self._key(str(header.get("kid", "")))
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=list(self._settings.algorithms),
                issuer=self._settings.issuer,
                audience=audience,
                leeway=self._settings.leeway_seconds,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError as error:
            raise _refused(str(error).rstrip(".")) from error
        return claims

    def _named(self, claims: dict[str, Any]) -> Principal:
        name = str(claims.get(self._settings.name_claim) or claims["sub"])
        grants = tuple(self._grants(claims.get(self._settings.roles_claim)))
        if len(name) > _MAX_NAME or not name.isprintable():
            raise _refused(f"its claim {self._settings.name_claim} is no name of {_MAX_NAME} characters")
        if not grants:
            raise _refused(
                f"no value of its claim {self._settings.roles_claim} stands in service.oidc.grants"
            )
        return Principal(name=name, grants=grants, credential=OIDC, until=float(claims["exp"]))

    def _grants(self, values: Any) -> Iterable[Grant]:
        given = [values] if isinstance(values, str) else values if isinstance(values, list) else []
        for value in given:
            yield from self._settings.grants.get(str(value), ())
        yield from self._settings.default_grants

    async def _key(self, kid: str) -> jwt.PyJWK:
        fresh = self._monotonic() - self._read_at < KEYS_SECONDS
        if fresh and kid in self._keys:
            return self._keys[kid]
        async with self._reading:
            await self._refresh(kid)
        if kid not in self._keys:
            raise _refused("its key is none of the issuer's")
        return self._keys[kid]

    async def _refresh(self, kid: str) -> None:
        now = self._monotonic()
        if (kid in self._keys and now - self._read_at < KEYS_SECONDS) or now - self._tried_at < RETRY_SECONDS:
            return  # another request read them meanwhile, or did in vain a moment ago
        self._tried_at = now
        try:
            self._keys = _signing_keys(await self._fetch())
        except (httpx.HTTPError, msgspec.MsgspecError, jwt.PyJWTError, ValueError) as error:
            _log.warning("oidc_keys_unavailable", issuer=self._settings.issuer, reason=str(error))
            if kid in self._keys:
                return  # keys that were good stay so until the issuer answers
            raise UnavailableError(
                f"The keys of the issuer {self._settings.issuer} cannot be read ({type(error).__name__}).",
                remedy="Check service.oidc.issuer and that this host reaches it.",
            ) from error
        self._read_at = now

    async def endpoint(self, name: str) -> str:
        """Returns an address from the issuer's discovery document, which is read once.

        Raises:
            UnavailableError: it can't be read, or has no such address.
        """
        try:
            if not self._discovered:
                async with self._client() as client:
                    self._discovered = await self._discovery(client)
            return str(self._discovered[name])
        except (httpx.HTTPError, msgspec.MsgspecError, ValueError, KeyError) as error:
            raise UnavailableError(
                f"The issuer {self._settings.issuer} has no readable {name} ({type(error).__name__}).",
                remedy="Check service.oidc.issuer and that this host reaches it.",
            ) from error

    async def post(self, url: str, form: dict[str, str]) -> dict[str, Any]:
        """Sends a form to the issuer and returns its answer, also where it refuses (RFC 6749 5.2).

        Raises:
            httpx.HTTPError: it did not answer.
            ValueError: its answer is no JSON object, or too large.
        """
        async with self._client() as client, client.stream("POST", url, data=form) as answer:
            if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
                answer.raise_for_status()
            return await _document(answer)

    def _client(self) -> httpx.AsyncClient:
        options: dict[str, Any] = {"transport": self._transport, "timeout": _FETCH_SECONDS}
        if self._transport is None and self._settings.ca_file is not None:
            options["verify"] = self._settings.ca_file
        return httpx.AsyncClient(**options)

    async def _discovery(self, client: httpx.AsyncClient) -> dict[str, Any]:
        known = await _json(client, f"{self._settings.issuer.rstrip('/')}/.well-known/openid-configuration")
        if known.get("issuer") != self._settings.issuer:
            raise ValueError(f"the issuer names itself {str(known.get('issuer'))[:200]!r}")
        return known

    async def _fetch(self) -> dict[str, Any]:
        async with self._client() as client:
            url = self._settings.jwks_url
            if url is None:
                url = str((await self._discovery(client))["jwks_uri"])
            return await _json(client, url)


async def _json(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    async with client.stream("GET", url) as answer:
        answer.raise_for_status()
        return await _document(answer)


async def _document(answer: httpx.Response) -> dict[str, Any]:
    body = b""
    async for part in answer.aiter_bytes():
        body += part
        if len(body) > _MAX_BYTES:
            raise ValueError(f"the answer of {answer.url} is over {_MAX_BYTES} bytes")
    return msgspec.json.decode(body, type=dict[str, Any])


def _signing_keys(document: dict[str, Any]) -> dict[str, jwt.PyJWK]:
    """Returns the keys for signatures by id; those of algorithms that nobody here knows are left out."""
    keys = {}
    for entry in document["keys"]:
        if entry.get("use", "sig") != "sig":
            continue
        try:
            keys[str(entry.get("kid", ""))] = jwt.PyJWK(entry)
        except jwt.PyJWTError:
            continue
    return keys


def _refused(why: str) -> UnauthorizedError:
    return UnauthorizedError(
        f"The token of the issuer is refused: {why}.",
        reason="refused_jwt",
        remedy="Sign in there again, or look at service.oidc.",
    )
