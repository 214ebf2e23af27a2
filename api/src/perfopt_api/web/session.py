"""Who looks at a page: a signed session cookie made from a token, and the token that forms carry.

A session is signed with a key derived from its holder's own token, so that a token that was replaced ends its
sessions, and every process of the API knows the others'.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie
from litestar.handlers import BaseRouteHandler

from perfopt.errors import PerfoptError
from perfopt_api.http.auth import requester_of
from perfopt_api.http.errors import UnauthorizedError
from perfopt_api.http.ratelimit import TokenBuckets
from perfopt_api.settings import ServiceSettings

COOKIE = "perfopt_session"
LIFETIME = timedelta(hours=12)
_SAFE = frozenset({"GET", "HEAD"})


class Session(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Who looks.

    Attributes:
        name: of the token's holder; None where the API is open.
        until: epoch seconds.
        nonce: what the tokens of forms are bound to.
    """

    name: str | None
    until: int
    nonce: str


class LoginRequiredError(UnauthorizedError):
    """Nobody is signed in. The page leads to the form."""

    def __init__(self, path: str) -> None:
        super().__init__("Sign in first.", remedy="Use the form at /ui/login.")
        self.path = path


class ForgedFormError(PerfoptError):
    """A form that did not come from our own page. HTTP 403."""

    code = "forged_form"


def new_session(settings: ServiceSettings, name: str | None, now: datetime) -> tuple[Session, str]:
    """Returns a session and its signed text, which the cookie holds."""
    session = Session(name=name, until=int((now + LIFETIME).timestamp()), nonce=secrets.token_hex(16))
    body = msgspec.json.encode(session)
    return session, f"{_text(body)}.{_text(_mac(_key(settings, name), b'session', body))}"


def read_session(settings: ServiceSettings, cookie: str | None, now: datetime) -> Session | None:
    """Returns the session of a cookie; None where it is forged, over, or of a token that is gone."""
    try:
        body, given = (
            base64.b64decode(part, altchars=b"-_", validate=True) for part in (cookie or "").split(".")
        )
        session = msgspec.json.decode(body, type=Session)
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        return None
    known = session.name in settings.api_keys if settings.api_keys else session.name is None
    if not known or session.until <= now.timestamp():
        return None
    right = _mac(_key(settings, session.name), b"session", body)
    return session if hmac.compare_digest(right, given) else None


def form_token(settings: ServiceSettings, session: Session) -> str:
    """Returns what forms of this session carry."""
    return _text(_mac(_key(settings, session.name), b"form", session.nonce.encode()))


def session_cookie(settings: ServiceSettings, value: str, *, secure: bool) -> Cookie:
    """Returns the cookie: not readable by scripts, and never sent by other sites' pages."""
    return Cookie(
        key=COOKIE,
        value=value,
        path="/ui",
        httponly=True,
        samesite="strict",
        secure=secure,
        max_age=int(LIFETIME.total_seconds()) if value else 0,
    )


def is_secure(settings: ServiceSettings, scheme: str) -> bool:
    """Returns whether browsers reach the page over TLS."""
    return scheme == "https" or (settings.base_url or "").startswith("https://")


def require_session(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Lets a request through that has a session, or a bearer token as the API takes it.

    Raises:
        LoginRequiredError: it has neither.
        RateLimitedError: the holder, or where the API is open the address, asks too often.
    """
    settings: ServiceSettings = connection.app.state.settings
    session = read_session(settings, connection.cookies.get(COOKIE), connection.app.state.now())
    header = connection.headers.get("authorization")
    if session is None and settings.api_keys and header is None:
        raise LoginRequiredError(str(connection.scope["path"]))
    name = session.name if session is not None else requester_of(settings, header)
    connection.scope["user"] = name
    connection.scope.setdefault("state", {})["session"] = session
    buckets: TokenBuckets = connection.app.state.buckets
    address = connection.client.host if connection.client else ""
    buckets.take(f"key {name}" if name is not None else f"address {address}")


async def require_own_form(request: Request[Any, Any, Any]) -> None:
    """Refuses a form that another site's page sent.

    Raises:
        ForgedFormError: the origin is another one, or the form lacks the session's token.
    """
    if request.method in _SAFE:
        return
    require_same_origin(request)
    session = request.scope.get("state", {}).get("session")
    form = await request.form()
    right = form_token(request.app.state.settings, session) if session is not None else ""
    if not right or not hmac.compare_digest(right, str(form.get("form_token", ""))):
        raise ForgedFormError("The form is not of this session.", remedy="Reload the page and send it again.")


def require_same_origin(request: Request[Any, Any, Any]) -> None:
    """Refuses what another site's page sent, as browsers say.

    Raises:
        ForgedFormError: it did.
    """
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is not None and site not in ("same-origin", "none"):
        raise ForgedFormError("The form came from another site.", remedy="Send it from the page itself.")
    hosts = {request.headers.get("host"), urlsplit(request.app.state.settings.base_url or "").netloc}
    if origin is not None and urlsplit(origin).netloc not in hosts:
        raise ForgedFormError("The form came from another site.", remedy="Send it from the page itself.")


def login_path(path: str) -> str:
    """Returns the address of the form, which leads back to a page."""
    return f"/ui/login?next={quote(path)}"


def own_path(path: str) -> str:
    """Returns a page to go on to: only one of ours."""
    inside = path.startswith("/ui/") and "\\" not in path and not path.startswith("/ui//")
    return path if inside else "/ui"


def _key(settings: ServiceSettings, name: str | None) -> bytes:
    # Without tokens nothing is kept from anybody; the signature only ties forms to one browser.
    secret = settings.database_url if name is None else settings.api_keys[name].token
    return hmac.digest(secret.encode(), b"perfopt dashboard", "sha256")


def _mac(key: bytes, purpose: bytes, body: bytes) -> bytes:
    return hmac.new(key, purpose + b"\0" + body, hashlib.sha256).digest()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode()
