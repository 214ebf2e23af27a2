"""Addresses of the API's own resources."""

from typing import Any
from urllib.parse import urlencode

from litestar import Request

PREFIX = "/api/v1/optimization"


def public_url(request: Request[Any, Any, Any], path: str, **query: Any) -> str:
    """Returns the address of a path: absolute with the setting base_url, else relative to the request.

    What the request says of its host is not repeated: anybody can write it, and a cache may keep it. Query
    values that are None are left out.
    """
    base = (request.app.state.settings.base_url or "").rstrip("/")
    parameters = {name: value for name, value in query.items() if value is not None}
    return f"{base}{path}" + (f"?{urlencode(parameters)}" if parameters else "")


def page_headers(request: Request[Any, Any, Any], cursor: str | None, total: int) -> dict[str, str]:
    """Returns how many there are in all, and Link (RFC 8288) to the next page but on the last one."""
    headers = {"X-Total-Count": str(total)}
    if cursor is not None:
        query = {name: value for name, value in request.query_params.items() if name != "cursor"}
        following = public_url(request, request.scope["path"], **query, cursor=cursor)
        headers["Link"] = f'<{following}>; rel="next"'
    return headers
