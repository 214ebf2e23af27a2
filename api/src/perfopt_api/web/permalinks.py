"""One address for programs and people: a browser that follows the link of a resource gets its page."""

import re

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

_RESOURCE = re.compile(r"/api/v1/optimization/(recommendations|jobs)/([^/]+)")


class BrowserLinks:
    """Leads browsers from a recommendation or a job of the API to its page; programs get JSON as before.

    Such links stand in events, alerts and pull requests as `details_url`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers with a redirect to the page, or hands the request on."""
        page = _page_of(scope)
        if page is None:
            await self._app(scope, receive, send)
            return
        headers = [(b"location", page.encode()), (b"vary", b"accept"), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _page_of(scope: Scope) -> str | None:
    if scope["type"] != ScopeType.HTTP or scope["method"] != "GET":
        return None
    raw = scope.get("raw_path") or scope["path"].encode()
    match = _RESOURCE.fullmatch(raw.partition(b"?")[0].decode("latin-1"))
    accepted = next((value for name, value in scope["headers"] if name == b"accept"), b"")
    if match is None or not accepted.startswith(b"text/html"):
        return None
    return f"/ui/{match[1]}/{match[2]}"
