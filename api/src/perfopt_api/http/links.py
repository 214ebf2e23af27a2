"""Addresses of the API's own resources."""

from typing import Any
from urllib.parse import urlencode

from litestar import Request

PREFIX = "/api/v1/optimization"


def public_url(request: Request[Any, Any, Any], path: str, **query: Any) -> str:
    """Returns the absolute address of a path: at the setting base_url, or where the request came in.

    Query values that are None are left out.
    """
    configured: str | None = request.app.state.settings.base_url
    base = (configured or str(request.base_url)).rstrip("/")
    kept = {name: value for name, value in query.items() if value is not None}
    return f"{base}{path}" + (f"?{urlencode(kept)}" if kept else "")


def next_link(request: Request[Any, Any, Any], cursor: str | None) -> dict[str, str]:
    """Returns the header Link (RFC 8288) to the next page; nothing on the last one."""
    if cursor is None:
        return {}
    query = {name: value for name, value in request.query_params.items() if name != "cursor"}
    return {"Link": f'<{public_url(request, request.scope["path"], **query, cursor=cursor)}>; rel="next"'}
