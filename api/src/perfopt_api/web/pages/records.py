"""Accuracy of what was recommended, and the audit of what was done."""

import asyncio
from typing import Annotated, Any, Literal

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from perfopt.domain.accuracy import DEFINITION
from perfopt.errors import UnavailableError
from perfopt_api.http.body import require_plain
from perfopt_api.store.dashboard import PAGE
from perfopt_api.web.charts import bars, reliability
from perfopt_api.web.pages.backtests import figures_of
from perfopt_api.web.ports import WebPorts
from perfopt_api.web.view import CSV_ROWS, csv_answer, page

_RECORDED = ("group", "name", "currency", "scored", "applied", "accuracy", "stated", "expected", "realised")
_AUDIT = ("id", "at", "principal", "action", "subject", "job_id", "reason", "before", "after")

_Format = Annotated[Literal["html", "csv"], QueryParameter(name="format")]


@get("/accuracy", include_in_schema=False)
async def accuracy(
    request: Request[Any, Any, Any], web: NamedDependency[WebPorts], form: _Format = "html"
) -> Response[Any]:
    """Shows what recommendations came to once their validity was over."""
    groups, bins = await web.pages.recorded(), await web.pages.reliability()
    if form == "csv":
        if groups is None:
            raise UnavailableError("The outcomes are being added up.", remedy="Try again in a few seconds.")
        rows = [{"group": group, **row} for group, group_rows in groups.items() for row in group_rows]
        return csv_answer("accuracy", rows, _RECORDED)
    return page(
        request,
        "accuracy.html",
        adding_up_now=groups is None or bins is None,
        groups=groups or {},
        bins=bins or (),
        curve=reliability(bins or ()),
        weeks=bars((groups or {}).get("week", ())),
        closed=await _closed_loop(web),
        demoted=await web.pages.demoted(),
        definition=DEFINITION,
    )


async def _closed_loop(web: WebPorts) -> dict[str, Any] | None:
    """Returns the figures of the closed loop that was done last."""
    run = await web.backtests.latest_closed_loop()
    return None if run is None else {"run": run, **await asyncio.to_thread(figures_of, run)}


@get("/audit", include_in_schema=False)
async def audit(
    request: Request[Any, Any, Any],
    web: NamedDependency[WebPorts],
    subject: Annotated[str, QueryParameter(max_length=500)] = "",
    before: Annotated[int | None, QueryParameter(ge=1, le=2**62)] = None,
    form: _Format = "html",
) -> Response[Any]:
    """Lists who did what, when and why, newest first."""
    require_plain(subject, "subject")
    if form == "csv":
        return csv_answer("audit", await web.pages.audit(subject=subject, limit=CSV_ROWS), _AUDIT)
    rows = await web.pages.audit(subject=subject, before=before)
    return page(request, "audit.html", rows=rows[:PAGE], more=len(rows) > PAGE, subject=subject)
