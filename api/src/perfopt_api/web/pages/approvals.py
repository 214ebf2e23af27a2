"""Approvals: changes that wait for another principal, with the evidence to decide by."""

from typing import Annotated, Any

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from perfopt_api.http.auth import visible_namespaces
from perfopt_api.store.dashboard import PAGE
from perfopt_api.web.ports import WebPorts
from perfopt_api.web.view import page


@get("/approvals", include_in_schema=False)
async def approvals(
    request: Request[Any, Any, Any],
    web: NamedDependency[WebPorts],
    number: Annotated[int, QueryParameter(name="page", ge=1, le=1_000_000)] = 1,
) -> Response[Any]:
    """Lists what waits for an approval, longest first."""
    visible = visible_namespaces(request)
    rows = await web.pages.approvals(page=number, visible=visible)
    return page(
        request,
        "approvals.html",
        rows=rows[:PAGE],
        more=len(rows) > PAGE,
        number=number,
        needed=web.api.policy.approvals,
        unasked=(await web.pages.statuses(visible)).get("approval", 0),
    )
