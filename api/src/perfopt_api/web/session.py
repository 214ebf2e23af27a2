"""Who looks at a page: a signed session cookie made from a token, and the token that forms carry.

Every process of the API knows the others' sessions. A configured or stored token is looked up again at each
request, so that its sessions end with it.
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
from litestar.datastructures import Cookie

from perfopt.errors import PerfoptError
from perfopt_api.auth.authenticate import Authenticator
from perfopt_api.auth.oidc_login import PendingLogin
from perfopt_api.auth.roles import OIDC, OPEN, Grant, Principal
from perfopt_api.errors import UnauthorizedError
from perfopt_api.http.auth import SIGN_IN, Connection, identify_bearer
from perfopt_api.http.errors import UnsupportedMediaTypeError
from perfopt_api.settings import ServiceSettings

COOKIE = "perfopt_session"
PENDING_COOKIE = "perfopt_login"
LIFETIME = timedelta(hours=12)
_FORM = "application/x-www-form-urlencoded"
_SAFE = frozenset({"GET", "HEAD"})


class Session(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Who looks.

    Attributes:
        name: of the token's holder; None where the API is open.
        until: epoch seconds.
        nonce: what the tokens of forms are bound to.
        credential: what the session was made from, as Principal has it.
        grants: of a token of the issuer, which is not kept.
    """

    name: str | None
    until: int
    nonce: str
    credential: str
    grants: tuple[Grant, ...] = ()


class LoginRequiredError(UnauthorizedError):
    """Nobody is signed in. The page leads to the form."""

    def __init__(self, path: str) -> None:
        super().__init__("Sign in first.", reason=SIGN_IN, remedy="Use the form at /ui/login.")
        self.path = path


class ForgedFormError(PerfoptError):
    """A form that did not come from our own page. HTTP 403."""

    code = "forged_form"


def new_session(settings: ServiceSettings, who: Principal, now: datetime) -> tuple[Session, str]:
    """Returns a session and its signed text, which the cookie holds; it ends no later than the token."""
    ends = (now + LIFETIME).timestamp()
    session = Session(
        name=who.name,
        until=int(ends if who.until is None else min(ends, who.until)),
        nonce=secrets.token_hex(16),
        credential=who.credential,
        grants=who.grants if who.credential == OIDC else (),
    )
    body = msgspec.json.encode(session)
    return session, f"{_text(body)}.{_text(_mac(settings, b'session', body))}"


async def read_session(
    auth: Authenticator, settings: ServiceSettings, cookie: str | None, now: datetime
) -> tuple[Session, Principal] | None:
    """Returns the session of a cookie and whose it is; None where it is forged or over."""
    session = _signed(settings, b"session", cookie, Session)
    if session is None or session.until <= now.timestamp():
        return None
    who = await _holder(auth, session)
    return None if who is None else (session, who)


async def _holder(auth: Authenticator, session: Session) -> Principal | None:
    """Returns whose a session is by what holds now; None where its token is gone."""
    name, (kind, _, token_id) = session.name, session.credential.partition(":")
    if kind == OPEN.credential and not auth.required:
        return OPEN
    if kind == OIDC:
        return Principal(name=name, grants=session.grants, credential=OIDC, until=session.until)
    if kind == "key" and name is not None:
        holder = auth.key_holder(name)
        return holder if holder is not None and holder.credential == session.credential else None
    record = await auth.record(token_id) if kind == "token" else None
    try:
        return None if record is None else auth.token_holder(record)
    except UnauthorizedError:  # expired or revoked meanwhile
        return None


def pending_cookie(settings: ServiceSettings, pending: PendingLogin | None, *, secure: bool) -> Cookie:
    """Returns the cookie of a sign-in at the issuer, which its answer brings back; None ends it."""
    body = b"" if pending is None else msgspec.json.encode(pending)
    return Cookie(
        key=PENDING_COOKIE,
        value=f"{_text(body)}.{_text(_mac(settings, b'login', body))}" if body else "",
        path="/ui/login/oidc",
        httponly=True,
        samesite="lax",  # the issuer's page leads back here
        secure=secure,
        max_age=settings.oidc.login_seconds if body and settings.oidc is not None else 0,
    )


def read_pending(settings: ServiceSettings, cookie: str | None) -> PendingLogin | None:
    """Returns the sign-in of a cookie; None where it is forged or there is none."""
    return _signed(settings, b"login", cookie, PendingLogin)


def _signed[T](settings: ServiceSettings, purpose: bytes, cookie: str | None, into: type[T]) -> T | None:
    try:
        body, given = (
            base64.b64decode(part, altchars=b"-_", validate=True) for part in (cookie or "").split(".")
        )
        value = msgspec.json.decode(body, type=into)
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        return None
    return value if hmac.compare_digest(_mac(settings, purpose, body), given) else None


def form_token(settings: ServiceSettings, session: Session) -> str:
    """Returns what forms of this session carry."""
    return _text(_mac(settings, b"form", session.nonce.encode()))


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


async def identify_visitor(connection: Connection) -> Principal:
    """Returns whose session the cookie is, or the holder of a bearer token as the API takes it.

    Raises:
        LoginRequiredError: it has neither.
    """
    state = connection.app.state
    session = await read_session(state.auth, state.settings, connection.cookies.get(COOKIE), state.now())
    if session is not None:
        connection.scope.setdefault("state", {})["session"], who = session
        return who
    if state.auth.required and connection.headers.get("authorization") is None:
        raise LoginRequiredError(_page_to_return_to(connection))
    return await identify_bearer(connection)


async def require_own_form(request: Request[Any, Any, Any]) -> None:
    """Refuses a form that another site's page sent.

    Raises:
        ForgedFormError: the origin is another one, or the form lacks the session's token.
    """
    if request.method in _SAFE:
        return
    require_same_origin(request)
    require_plain_form(request)
    session = request.scope.get("state", {}).get("session")
    form = await request.form()
    right = form_token(request.app.state.settings, session) if session is not None else ""
    if not right or not hmac.compare_digest(right, str(form.get("form_token", ""))):
        raise ForgedFormError("The form is not of this session.", remedy="Reload the page and send it again.")


def require_plain_form(request: Request[Any, Any, Any]) -> None:
    """Refuses bodies that no page of ours sends: files, JSON, plain text.

    Raises:
        UnsupportedMediaTypeError: it is one.
    """
    if request.content_type[0] != _FORM:
        raise UnsupportedMediaTypeError(
            f"The form was not sent as {_FORM}.", remedy="Send it from the page itself."
        )


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


def _page_to_return_to(connection: Connection) -> str:
    """Returns the page that was asked for with its query; nothing is done anew that a form asked for."""
    scope = connection.scope
    if scope.get("method") != "GET":
        return "/ui"
    query = scope["query_string"].decode("latin-1")
    return f"{scope['path']}?{query}" if query else str(scope["path"])


def own_path(path: str) -> str:
    """Returns a page to go on to: only one of ours."""
    inside = path.startswith("/ui/") and "\\" not in path and not path.startswith("/ui//")
    return path if inside else "/ui"


def _mac(settings: ServiceSettings, purpose: bytes, body: bytes) -> bytes:
    secret = (settings.session_secret or settings.database_url).encode()
    key = hmac.digest(secret, b"perfopt dashboard", "sha256")
    return hmac.new(key, purpose + b"\0" + body, hashlib.sha256).digest()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode()
