"""Jobs: the list, and one job with its timeline and what a person may do to it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, QueryParameter
from litestar.response import Redirect, ServerSentEvent, ServerSentEventMessage

from perfopt.domain.enums import OptimizationStatus
from perfopt.domain.job import OptimizationJob
from perfopt.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from perfopt_api.errors import UnauthorizedError
from perfopt_api.http.applying import wake
from perfopt_api.http.auth import visible_namespaces
from perfopt_api.http.body import require_plain
from perfopt_api.store.dashboard import PAGE
from perfopt_api.store.mapping import job_namespaces
from perfopt_api.web.charts import harm
from perfopt_api.web.ports import WebPorts
from perfopt_api.web.session import identify_visitor
from perfopt_api.web.view import CSV_ROWS, csv_answer, page

_COLUMNS = (
    "job_id", "service_name", "status", "created_at", "completed_at", "requester", "parent_job_id", "error",
)  # fmt: skip
_MAX_REASON = 1000
# A stream ends in time, and the browser opens it anew: what it holds is given back.
_STREAM_SECONDS = 600.0
_LOOK_SECONDS = 1.0
_OPEN = (OptimizationStatus.ANALYZING, OptimizationStatus.APPLYING)


@get("/jobs", include_in_schema=False)
async def jobs(
    request: Request[Any, Any, Any],
    web: NamedDependency[WebPorts],
    status: FromQuery[str] = "",
    number: Annotated[int, QueryParameter(name="page", ge=1, le=1_000_000)] = 1,
    form: Annotated[Literal["html", "csv"], QueryParameter(name="format")] = "html",
) -> Response[Any]:
    """Lists jobs, newest first."""
    if status and status not in tuple(OptimizationStatus):
        raise InvalidInputError(f"There is no status {status!r}.", field="status", remedy="Choose one.")
    if form == "csv":
        listed = await web.pages.jobs(status=status, namespaces=visible_namespaces(request), limit=CSV_ROWS)
        return csv_answer("jobs", listed, _COLUMNS)
    rows = await web.pages.jobs(status=status, namespaces=visible_namespaces(request), page=number)
    return page(
        request,
        "jobs.html",
        rows=rows[:PAGE],
        more=len(rows) > PAGE,
        number=number,
        status=status,
        statuses=tuple(OptimizationStatus),
    )


@get("/jobs/{job_id:str}", include_in_schema=False)
async def job(
    request: Request[Any, Any, Any], web: NamedDependency[WebPorts], job_id: FromPath[str]
) -> Response[Any]:
    """Shows a job: what it made or applies, and its timeline."""
    stored = await _job(web, job_id)
    return page(request, "job.html", **await _context(web, stored))


@get("/jobs/{job_id:str}/timeline", include_in_schema=False)
async def timeline(
    request: Request[Any, Any, Any], web: NamedDependency[WebPorts], job_id: FromPath[str]
) -> Response[Any]:
    """Returns the part of the page that changes while the job runs."""
    return page(request, "timeline.html", **await _context(web, await _job(web, job_id)))


@get("/jobs/{job_id:str}/events", include_in_schema=False)
async def events(
    request: Request[Any, Any, Any], web: NamedDependency[WebPorts], job_id: FromPath[str]
) -> ServerSentEvent:
    """Says whenever the page of a job has something new to show, until the job or the session has ended."""
    await _job(web, job_id)
    return ServerSentEvent(_changes(request, web, job_id))


async def _changes(
    request: Request[Any, Any, Any], web: WebPorts, job_id: str
) -> AsyncIterator[ServerSentEventMessage]:
    shown: Mapping[str, Any] | None = None
    until, stopping = time.monotonic() + _STREAM_SECONDS, request.app.state.stopping
    while time.monotonic() < until and not stopping.is_set():
        # Through an outage the stream goes on: one that is refused is not opened anew by the browser.
        with contextlib.suppress(UnavailableError):
            if not await _is_signed_in(request):
                return
            progress = await web.pages.progress(job_id)
            if progress is None or progress["status"] not in _OPEN:
                yield ServerSentEventMessage(data="ended", event="ended")
                return
            if progress != shown:
                yield ServerSentEventMessage(data="changed", event="changed")
            shown = progress
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), _LOOK_SECONDS)


async def _is_signed_in(request: Request[Any, Any, Any]) -> bool:
    """Returns whether the token or session still holds: it may have expired or been revoked meanwhile."""
    try:
        await identify_visitor(request)
    except UnauthorizedError:
        return False
    return True


@post("/jobs/{job_id:str}/approve", status_code=303, include_in_schema=False)
async def approve(
    request: Request[Any, Any, Any], web: NamedDependency[WebPorts], job_id: FromPath[str]
) -> Redirect:
    """Approves a change."""
    require_plain(job_id, "job_id")
    principal = request.scope.get("user")
    if principal is None:
        raise ConflictError(
            "Nobody is signed in, so nobody can approve.", remedy="Set service.auth to on, and sign in."
        )
    await web.api.applies.approve(job_id, principal=principal, reason=await _reason(request))
    return await _done(web, job_id)


@post("/jobs/{job_id:str}/{wish:str}", status_code=303, include_in_schema=False)
async def act(
    request: Request[Any, Any, Any],
    web: NamedDependency[WebPorts],
    job_id: FromPath[str],
    wish: FromPath[str],
) -> Redirect:
    """Stops a change, or rolls it back."""
    require_plain(job_id, "job_id")
    if wish not in ("cancel", "rollback"):
        raise InvalidInputError(f"There is no action {wish!r}.", remedy="Use approve, cancel or rollback.")
    await web.api.applies.ask(
        job_id,
        "cancel" if wish == "cancel" else "rollback",
        principal=request.scope.get("user"),
        reason=await _reason(request),
    )
    return await _done(web, job_id)


async def _reason(request: Request[Any, Any, Any]) -> str | None:
    form = await request.form()
    return str(form.get("reason", "")).strip()[:_MAX_REASON] or None


async def _done(web: WebPorts, job_id: str) -> Redirect:
    await wake(web.api, job_id)
    return Redirect(f"/ui/jobs/{job_id}", status_code=303)


async def _context(web: WebPorts, shown: OptimizationJob) -> dict[str, Any]:
    entries = await web.api.applies.timeline(shown.job_id) if shown.parent_job_id is not None else None
    namespaces = job_namespaces(shown)
    looks = await web.pages.looks(shown.job_id) if shown.parent_job_id is not None else ()
    return {
        "requester": await web.pages.who_asked(shown.job_id),
        "job": shown,
        "entries": entries,
        "running": shown.status in _OPEN,
        "namespaces": namespaces,
        "looks": looks,
        "harms": [drawn for name in _compared(looks) if (drawn := harm(name, looks))],
    }


def _compared(looks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the metrics that are drawn; a share beside its ratio is left out."""
    return [] if not looks else [name for name in looks[-1]["bounds"] if not name.endswith("_share")]


async def _job(web: WebPorts, job_id: str) -> OptimizationJob:
    require_plain(job_id, "job_id")
    stored = await web.api.store.get_job(job_id)
    if stored is None:
        raise NotFoundError(f"There is no job {job_id!r}.", remedy="Choose one from the list.")
    return stored
