"""Signing in with a browser at an OpenID Connect issuer: the authorization code flow with PKCE (RFC 7636)."""

import base64
import hashlib
import hmac
import secrets
from datetime import datetime
from urllib.parse import urlencode

import httpx
import msgspec

from perfopt.errors import UnavailableError
from perfopt_api.auth.oidc import OidcVerifier
from perfopt_api.auth.roles import Principal
from perfopt_api.auth.settings import OidcSettings
from perfopt_api.errors import UnauthorizedError

CALLBACK = "/ui/login/oidc/callback"


class PendingLogin(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A sign-in that the issuer has not answered; the browser keeps it in a signed cookie.

    Attributes:
        state: that the issuer gives back, so that an answer to somebody else's sign-in is refused.
        nonce: that the ID token carries.
        verifier: of PKCE, so that a stolen code is worth nothing.
        following: the page to go on to.
        until: epoch seconds.
    """

    state: str
    nonce: str
    verifier: str
    following: str
    until: int


class OidcLogin:
    """Signs visitors in at one issuer.

    Args:
        settings: with a client_id.
        verifier: checks ID tokens and reads the discovery document.
        base_url: public address of the API, which the issuer leads back to.
    """

    def __init__(self, settings: OidcSettings, verifier: OidcVerifier, base_url: str) -> None:
        assert settings.client_id is not None, "it is there where browsers sign in"
        self._settings = settings
        self._client_id = settings.client_id
        self._verifier = verifier
        self._base_url = base_url.rstrip("/")

    async def begin(self, following: str, now: datetime) -> tuple[str, PendingLogin]:
        """Returns the issuer's address to go to, and what the browser has to keep meanwhile.

        Raises:
            UnavailableError: the issuer's discovery document can't be read.
        """
        pending = PendingLogin(
            state=secrets.token_urlsafe(24),
            nonce=secrets.token_urlsafe(24),
            verifier=secrets.token_urlsafe(48),
            following=following,
            until=int(now.timestamp()) + self._settings.login_seconds,
        )
        challenge = base64.urlsafe_b64encode(hashlib.sha256(pending.verifier.encode()).digest()).rstrip(b"=")
        parameters = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": self._base_url + CALLBACK,
            "scope": " ".join(self._settings.scopes),
            "state": pending.state,
            "nonce": pending.nonce,
            "code_challenge": challenge.decode(),
            "code_challenge_method": "S256",
        }
        address = await self._verifier.endpoint("authorization_endpoint")
        return f"{address}{'&' if '?' in address else '?'}{urlencode(parameters)}", pending

    async def finish(self, pending: PendingLogin, state: str, code: str, now: datetime) -> Principal:
        """Returns who signed in.

        Raises:
            UnauthorizedError: the answer is not to this sign-in, came too late, or its code or token is
                refused.
            UnavailableError: the issuer did not answer.
        """
        if pending.until <= now.timestamp() or not hmac.compare_digest(
            pending.state.encode(), state.encode()
        ):
            raise _refused("the answer is not to this sign-in, or came too late")
        token = await self._token(pending, code)
        principal = await self._verifier.signed_in(token, self._client_id, pending.nonce)
        return msgspec.structs.replace(principal, until=now.timestamp() + self._settings.session_seconds)

    async def _token(self, pending: PendingLogin, code: str) -> str:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._base_url + CALLBACK,
            "client_id": self._client_id,
            "code_verifier": pending.verifier,
        }
        if self._settings.client_secret is not None:
            form["client_secret"] = self._settings.client_secret
        address = await self._verifier.endpoint("token_endpoint")
        try:
            answer = await self._verifier.post(address, form)
        except (httpx.HTTPError, msgspec.MsgspecError, ValueError) as error:
            raise UnavailableError(
                f"The issuer {self._settings.issuer} did not answer ({type(error).__name__}).",
                remedy="Check service.oidc.issuer and that this host reaches it.",
            ) from error
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise _refused(f"the issuer gave no ID token ({str(answer.get('error', 'no id_token'))[:100]})")
        return token

    async def logout_address(self) -> str | None:
        """Returns where the session at the issuer ends, if it says so."""
        try:
            address = await self._verifier.endpoint("end_session_endpoint")
        except UnavailableError:
            return None
        back = {"client_id": self._client_id, "post_logout_redirect_uri": f"{self._base_url}/ui/login"}
        return f"{address}{'&' if '?' in address else '?'}{urlencode(back)}"


def _refused(why: str) -> UnauthorizedError:
    return UnauthorizedError(f"Signing in failed: {why}.", reason="refused_login", remedy="Sign in again.")
