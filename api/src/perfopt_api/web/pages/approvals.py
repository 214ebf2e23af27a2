"""Approvals: changes that wait for another principal, with the evidence to decide by."""

from typing import Annotated, Any, Literal

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from perfopt_api.http.auth import visible_namespaces
from perfopt_api.store.dashboard import PAGE
from perfopt_api.web.ports import WebPorts
from perfopt_api.web.view import CSV_ROWS, csv_answer, page

_COLUMNS = (
    "job_id", "workload", "requester", "automatic", "since", "message", "approvals", "recommendation_id",
    "description", "confidence", "accurate", "scored", "n_effective", "cost_current", "cost_recommended",
    "currency", "assumed",
)  # fmt: skip


@get("/approvals", include_in_schema=False)
async def approvals(
    request: Request[Any, Any, Any],
    web: NamedDependency[WebPorts],
    number: Annotated[int, QueryParameter(name="page", ge=1, le=1_000_000)] = 1,
    form: Annotated[Literal["html", "csv"], QueryParameter(name="format")] = "html",
) -> Response[Any]:
    """Lists what waits for an approval, longest first."""
    visible = visible_namespaces(request)
    if form == "csv":
        return csv_answer("approvals", await web.pages.approvals(visible=visible, limit=CSV_ROWS), _COLUMNS)
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
