"""Signing in with a token or at an identity provider, and out."""

from typing import Annotated, Any
from urllib.parse import urlencode

from litestar import Request, Response, get, post
from litestar.params import QueryParameter
from litestar.response import Redirect

from perfopt.errors import NotFoundError
from perfopt_api.auth.authenticate import Authenticator
from perfopt_api.auth.oidc_login import OidcLogin
from perfopt_api.errors import UnauthorizedError
from perfopt_api.http.ratelimit import TokenBuckets
from perfopt_api.settings import ServiceSettings
from perfopt_api.web.session import (
    PENDING_COOKIE,
    is_secure,
    new_session,
    own_path,
    pending_cookie,
    read_pending,
    require_plain_form,
    require_same_origin,
    session_cookie,
)
from perfopt_api.web.view import page

_Next = Annotated[str, QueryParameter(name="next", max_length=2000)]
_Answer = Annotated[str, QueryParameter(max_length=4096)]
_State = Annotated[str, QueryParameter(name="state", max_length=4096)]


@get("/login", include_in_schema=False)
async def login_form(request: Request[Any, Any, Any], following: _Next = "/ui") -> Response[Any]:
    """Shows the form, and the way to the identity provider where browsers sign in there."""
    return page(request, "login.html", **await _login_page(request, own_path(following), None))


async def _login_page(request: Request[Any, Any, Any], following: str, error: str | None) -> dict[str, Any]:
    provider: OidcLogin | None = request.app.state.auth.browser_login
    return {
        "following": following,
        "error": error,
        "provider": None if provider is None else f"/ui/login/oidc?{urlencode({'next': following})}",
        "leave": None if provider is None else await provider.logout_address(),
    }


def _provider(request: Request[Any, Any, Any]) -> OidcLogin:
    provider: OidcLogin | None = request.app.state.auth.browser_login
    if provider is None:
        raise NotFoundError(
            "Browsers sign in with a token here.", remedy="Set service.oidc.client_id to sign in elsewhere."
        )
    return provider


def _take_turn(request: Request[Any, Any, Any]) -> str:
    buckets: TokenBuckets = request.app.state.buckets
    address = request.client.host if request.client else ""
    buckets.take(f"address {address}")
    return address


@get("/login/oidc", status_code=303, include_in_schema=False)
async def provider_login(request: Request[Any, Any, Any], following: _Next = "/ui") -> Redirect:
    """Leads to the identity provider."""
    _take_turn(request)
    address, pending = await _provider(request).begin(own_path(following), request.app.state.now())
    settings: ServiceSettings = request.app.state.settings
    cookie = pending_cookie(settings, pending, secure=is_secure(settings, request.scope["scheme"]))
    return Redirect(address, status_code=303, cookies=[cookie])


@get("/login/oidc/callback", include_in_schema=False)
async def provider_answer(
    request: Request[Any, Any, Any], given_state: _State = "", code: _Answer = "", error: _Answer = ""
) -> Response[Any]:
    """Begins the session of whom the identity provider names.

    The answer is a page that leads on and no redirect: the session's cookie, which other sites' pages never
    send, would not be sent along a redirect that another site began.
    """
    address = _take_turn(request)
    provider = _provider(request)
    settings: ServiceSettings = request.app.state.settings
    now, secure = request.app.state.now(), is_secure(settings, request.scope["scheme"])
    pending = read_pending(settings, request.cookies.get(PENDING_COOKIE))
    ended = pending_cookie(settings, None, secure=secure)
    try:
        if pending is None or error:
            why = f"the identity provider says {error[:100]!r}" if error else "it was not begun here"
            raise UnauthorizedError(
                f"Signing in failed: {why}.", reason="refused_login", remedy="Sign in again."
            )
        who = await provider.finish(pending, given_state, code, now)
    except UnauthorizedError as refused:
        await request.app.state.denied.note(None, address, "GET /ui/login/oidc/callback", refused.reason)
        shown = await _login_page(request, "/ui", str(refused))
        answer = page(request, "login.html", http_status=401, **shown)
        answer.cookies.append(ended)
        return answer
    _, text = new_session(settings, who, now)
    answer = page(request, "signed_in.html", following=pending.following)
    answer.cookies += [ended, session_cookie(settings, text, secure=secure)]
    return answer


@post("/login", status_code=303, include_in_schema=False)
async def login(request: Request[Any, Any, Any]) -> Response[Any]:
    """Begins the session of a token's holder."""
    require_same_origin(request)
    require_plain_form(request)
    settings: ServiceSettings = request.app.state.settings
    address = _take_turn(request)
    auth: Authenticator = request.app.state.auth
    form = await request.form()
    following = own_path(str(form.get("next", "")))
    try:
        who = await auth.principal(f"Bearer {str(form.get('token', '')).strip()}")
    except UnauthorizedError as error:
        await request.app.state.denied.note(None, address, "POST /ui/login", error.reason)
        shown = await _login_page(request, following, str(error))
        return page(request, "login.html", http_status=401, **shown)
    _, text = new_session(settings, who, request.app.state.now())
    secure = is_secure(settings, request.scope["scheme"])
    return Redirect(following, status_code=303, cookies=[session_cookie(settings, text, secure=secure)])


@post("/logout", status_code=303, include_in_schema=False)
async def logout(request: Request[Any, Any, Any]) -> Redirect:
    """Ends the session in this browser."""
    settings: ServiceSettings = request.app.state.settings
    secure = is_secure(settings, request.scope["scheme"])
    return Redirect("/ui/login", status_code=303, cookies=[session_cookie(settings, "", secure=secure)])
