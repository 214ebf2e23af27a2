"""The documentation page: Swagger UI over /openapi.json, with nothing loaded from elsewhere."""

from importlib.resources import files
from typing import Any

from litestar import Request, Response, Router, get
from litestar.exceptions import NotFoundException
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.response import Redirect

_ASSETS = {
    "docs.js": "text/javascript",
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
}
# Swagger UI sets style attributes; scripts come from this server only, and none stands in the page.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
    "img-src 'self' data:; font-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE_HEADERS = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff"}
_ASSET_HEADERS = {"Cache-Control": "public, max-age=3600", "X-Content-Type-Options": "nosniff"}


class DocsPage(OpenAPIRenderPlugin):
    """Serves the page at the root of the documentation router, and its assets beside it."""

    def __init__(self) -> None:
        super().__init__(path="/")

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """Returns the page, which fetches /openapi.json itself; the arguments are not needed for that."""
        return _read("docs.html")

    def receive_router(self, router: Router) -> None:
        """Adds the assets."""
        for name in _ASSETS:
            router.register(_asset(name))


async def _refuse_unknown(request: Request[Any, Any, Any]) -> None:
    # The framework puts a page of its own at all other paths below; ours is a problem document.
    if "path" in request.path_params:
        raise NotFoundException


def _with_policy(response: Response[Any]) -> Response[Any]:
    """Adds the page's headers; those of an asset, set before, stay."""
    for name, value in _PAGE_HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def docs_router() -> Router:
    """Returns the router that the framework serves the page on."""
    return Router(
        "/docs",
        route_handlers=[],
        include_in_schema=False,
        before_request=_refuse_unknown,
        after_request=_with_policy,
    )


def _asset(name: str) -> Any:
    @get(f"/{name}", include_in_schema=False)
    async def serve() -> Response[bytes]:
        return Response(_read(name), media_type=_ASSETS[name], headers=_ASSET_HEADERS)

    return serve


def _read(name: str) -> bytes:
    return files("perfopt_api.http").joinpath("static", name).read_bytes()


def landing_at(path: str) -> Any:
    """Returns what leads a browser from the bare address to a page."""

    @get("/", include_in_schema=False)
    async def landing() -> Redirect:
        return Redirect(path, status_code=307)

    return landing
