"""Signing in with a token, and out."""

from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.params import QueryParameter
from litestar.response import Redirect

from perfopt_api.auth.authenticate import Authenticator
from perfopt_api.errors import UnauthorizedError
from perfopt_api.http.ratelimit import TokenBuckets
from perfopt_api.settings import ServiceSettings
from perfopt_api.web.session import is_secure, new_session, own_path, require_same_origin, session_cookie
from perfopt_api.web.view import page

_Next = Annotated[str, QueryParameter(name="next", max_length=2000)]


@get("/login", include_in_schema=False)
async def login_form(request: Request[Any, Any, Any], following: _Next = "/ui") -> Response[Any]:
    """Shows the form."""
    return page(request, "login.html", following=own_path(following), error=None)


@post("/login", status_code=303, include_in_schema=False)
async def login(request: Request[Any, Any, Any]) -> Response[Any]:
    """Begins the session of a token's holder."""
    require_same_origin(request)
    settings: ServiceSettings = request.app.state.settings
    buckets: TokenBuckets = request.app.state.buckets
    address = request.client.host if request.client else ""
    buckets.take(f"address {address}")
    auth: Authenticator = request.app.state.auth
    form = await request.form()
    following = own_path(str(form.get("next", "")))
    try:
        who = await auth.principal(f"Bearer {str(form.get('token', '')).strip()}")
    except UnauthorizedError as error:
        await request.app.state.denied.note(None, address, "POST /ui/login", error.reason)
        return page(request, "login.html", http_status=401, following=following, error=str(error))
    _, text = new_session(settings, who, request.app.state.now())
    secure = is_secure(settings, request.scope["scheme"])
    return Redirect(following, status_code=303, cookies=[session_cookie(settings, text, secure=secure)])


@post("/logout", status_code=303, include_in_schema=False)
async def logout(request: Request[Any, Any, Any]) -> Redirect:
    """Ends the session in this browser."""
    settings: ServiceSettings = request.app.state.settings
    secure = is_secure(settings, request.scope["scheme"])
    return Redirect("/ui/login", status_code=303, cookies=[session_cookie(settings, "", secure=secure)])
