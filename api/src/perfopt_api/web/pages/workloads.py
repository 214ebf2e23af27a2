"""Workloads: the list with its filters, and one workload with its series and past."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, Response, get, post
from litestar.datastructures import FormMultiDict
from litestar.di import NamedDependency
from litestar.params import FromQuery, QueryParameter
from litestar.response import Redirect
from markupsafe import Markup

from perfopt.cli.output.lanes import TimelineLane, TimelineMark
from perfopt.cli.output.pictures import pictures
from perfopt.domain.job import OptimizationJob
from perfopt.domain.recommendation import AnalysisResult
from perfopt.domain.request import FleetAnalysisRequest, PerformanceAnalysisRequest, WorkloadSelector
from perfopt.errors import ConflictError, InvalidInputError, NotFoundError, PerfoptError
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.report.changes import service_changes
from perfopt_api.apply.order import as_one, steps_of
from perfopt_api.apply.request import ApplyRecommendationRequest
from perfopt_api.http.auth import visible_namespaces
from perfopt_api.http.body import require_plain
from perfopt_api.http.jobs import start_analysis
from perfopt_api.http.recommendations import start_change
from perfopt_api.store.dashboard import PAGE
from perfopt_api.store.workload_list import STATUSES, WorkloadFilter
from perfopt_api.web.ports import WebPorts
from perfopt_api.web.series import change_marks, forecasts_of, owner_lanes, plots_of
from perfopt_api.web.view import HEADERS, STATUS_TEXTS, csv_answer, page

MAX_SELECTED = 50
_COLUMNS = (
    "workload", "service_name", "state", "limit_code", "limit_reason", "changes", "cost_current",
    "cost_recommended", "currency", "assumed", "confidence", "accurate", "scored", "n_effective", "owner",
    "recommendation_id", "job_id", "analysed_at", "valid_until",
)  # fmt: skip
_HISTORY = (
    "recommendation_id", "optimization_type", "description", "created_at", "valid_until", "applied",
    "superseded_by", "withdrawn_at",
)  # fmt: skip
_CHANGES = (
    "job_id", "status", "step", "requester", "started_at", "ended_at", "recommendation_ids", "error",
)  # fmt: skip
_SORTS = ("saving", "name", "confidence", "analysed")

_Text = Annotated[str, QueryParameter(max_length=1000)]


@get("/workloads", include_in_schema=False)
async def workloads(
    request: Request[Any, Any, Any],
    web: NamedDependency[WebPorts],
    name: _Text = "",
    cluster: _Text = "",
    namespace: _Text = "",
    kind: _Text = "",
    owner: _Text = "",
    status: FromQuery[
        Literal[
            "",
            "change",
            "approval",
            "applied",
            "rolled_back",
            "refused",
            "no_change",
            "abstained",
            "failed",
            "expired",
        ]
    ] = "",
    sort: FromQuery[Literal["saving", "name", "confidence", "analysed"]] = "saving",
    number: Annotated[int, QueryParameter(name="page", ge=1, le=1_000_000)] = 1,
    started: Annotated[int | None, QueryParameter(ge=1, le=MAX_SELECTED)] = None,
    form: Annotated[Literal["html", "csv"], QueryParameter(name="format")] = "html",
) -> Response[Any]:
    """Lists workloads with the status of each and what limits it."""
    for text in (name, cluster, namespace, kind, owner):
        require_plain(text, "filter")
    wanted = WorkloadFilter(
        name=name, cluster=cluster, namespace=namespace, kind=kind, owner=owner, status=status, sort=sort,
        page=number, visible=visible_namespaces(request),
    )  # fmt: skip
    if form == "csv":
        return csv_answer("workloads", (await web.pages.workloads(wanted, limit=None)).rows, _COLUMNS)
    listed = await web.pages.workloads(wanted)
    return page(
        request,
        "workloads.html",
        rows=listed.rows,
        total=listed.total,
        wanted=msgspec.structs.asdict(msgspec.structs.replace(wanted, visible=None)),
        pages=max(1, -(-listed.total // PAGE)),
        choices=await web.pages.choices(wanted.visible),
        statuses={code: STATUS_TEXTS[code] for code in STATUSES},
        sorts=_SORTS,
        executor=web.api.executor,
        filtered=any((name, cluster, namespace, kind, owner, status)) or number > 1,
        notice=started,
    )


@post("/analyse", status_code=303, include_in_schema=False)
async def analyse(request: Request[Any, Any, Any], web: NamedDependency[WebPorts]) -> Redirect:
    """Starts an analysis of each selected workload, from the source that it was analysed from before."""
    names, job = _selected(await request.form()), None
    for name in names:
        row = await _row(web, name)
        wanted = PerformanceAnalysisRequest(
            service_name=row["workload"] if len(row["workload"]) <= 100 else row["service_name"],
            source=await web.pages.source_of_job(row["job_id"]),
        )
        job = (await start_analysis(web.api, wanted, request.scope.get("user"))).job
    assert job is not None
    alone = len(names) == 1
    return Redirect(
        f"/ui/jobs/{job.job_id}" if alone else f"/ui/workloads?started={len(names)}", status_code=303
    )


@post("/analyse/all", status_code=303, include_in_schema=False)
async def analyse_all(request: Request[Any, Any, Any], web: NamedDependency[WebPorts]) -> Redirect:
    """Starts an analysis of all workloads of a metric source."""
    source = str((await request.form()).get("source", ""))[:100]
    wanted = FleetAnalysisRequest(selector=WorkloadSelector(), source=source or None)
    job = (await start_analysis(web.api, wanted, request.scope.get("user"))).job
    return Redirect(f"/ui/jobs/{job.job_id}", status_code=303)


@post("/queue", status_code=200, include_in_schema=False)
async def queue(request: Request[Any, Any, Any], web: NamedDependency[WebPorts]) -> Response[Any]:
    """Queues the change of each selected workload, a few pods first; policy says when each begins."""
    if not web.api.executor:
        raise ConflictError(
            "Changes can't be made from here: no executor is configured.",
            remedy="Set executor.kind, or use the manifests of each plan.",
        )
    form = await request.form()
    names, reason = _selected(form), str(form.get("reason", "")).strip()[:1000] or None
    wish = ApplyRecommendationRequest(mode="canary", reason=reason)
    queued, refused = {}, {}
    for name in names:
        try:
            queued[name] = await _start(web, await _row(web, name), wish, request.scope.get("user"))
        except (ConflictError, InvalidInputError, NotFoundError) as error:
            refused[name] = error.message
    return page(request, "queued.html", queued=queued, refused=refused)


async def _start(
    web: WebPorts, row: dict[str, Any], wish: ApplyRecommendationRequest, requester: str | None
) -> str:
    """Starts the change that a workload's latest analysis recommends; returns its job."""
    job = await web.api.store.get_job(row["job_id"])
    if job is None or row["state"] not in ("change", "approval"):
        raise ConflictError(f"Its status is: {STATUS_TEXTS[row['state']]}.")
    parts = steps_of(job) or tuple(
        one for one in job.recommendations if one.recommendation_id == row["recommendation_id"]
    )
    whole = as_one(job) if job.plan is not None else parts[0]
    created = await start_change(web.api, wish, whole, job.job_id, requester, parts=parts)
    return created.job.job_id


@get("/workload", include_in_schema=False)
async def workload(
    request: Request[Any, Any, Any], web: NamedDependency[WebPorts], name: _Text
) -> Response[Any]:
    """Shows a workload; its series come by a request of their own."""
    row = await _row(web, name)
    job = await web.api.store.get_job(row["job_id"])
    result = None if job is None else result_of(job, name)
    return page(
        request,
        "workload.html",
        row=row,
        job=job,
        found=[] if result is None else service_changes([result]),
        history=await web.pages.history(row["service_name"], name),
        changes_made=await web.pages.changes(name),
    )


@get("/workload/recommendations.csv", include_in_schema=False)
async def workload_recommendations(web: NamedDependency[WebPorts], name: _Text) -> Response[str]:
    """Returns the latest recommendations of a workload as CSV."""
    row = await _row(web, name)
    rows = await web.pages.history(row["service_name"], name)
    return csv_answer("recommendations", rows, _HISTORY)


@get("/workload/changes.csv", include_in_schema=False)
async def workload_changes(web: NamedDependency[WebPorts], name: _Text) -> Response[str]:
    """Returns the latest changes of a workload as CSV."""
    await _row(web, name)
    return csv_answer("changes", await web.pages.changes(name), _CHANGES)


@get("/workload/series", include_in_schema=False)
async def series(
    request: Request[Any, Any, Any], web: NamedDependency[WebPorts], name: _Text
) -> Response[Any]:
    """Draws what a workload used, has and should have, and what happened to it, on one time axis."""
    row = await _row(web, name)
    try:
        result, snapshot = await _snapshot(web, row)
        changes = change_marks(await web.pages.changes(row["workload"]))
        owners = tuple(owner_lanes(await web.pages.owners(row["workload"]), web.api.now()))
        drawn = Markup(await asyncio.to_thread(_drawn, result, snapshot, changes, owners))  # noqa: S704  all text in it is escaped
        error = None
    except PerfoptError as problem:
        drawn, error = Markup(), problem
    return page(request, "series.html", row=row, drawn=drawn, error=error)


@get("/workload/series.json", include_in_schema=False)
async def series_json(web: NamedDependency[WebPorts], name: _Text) -> Response[Any]:
    """Returns the series for the plots that a script draws."""
    result, snapshot = await _snapshot(web, await _row(web, name))
    plots = await asyncio.to_thread(lambda: plots_of(result, snapshot, forecasts_of(result, snapshot)))
    return Response(plots, headers=HEADERS, media_type="application/json")


def _drawn(
    result: AnalysisResult,
    snapshot: WorkloadSnapshot,
    changes: Sequence[TimelineMark],
    owners: Sequence[TimelineLane],
) -> str:
    return pictures(result, snapshot, forecasts_of(result, snapshot), changes, owners)


def result_of(job: OptimizationJob, workload: str) -> AnalysisResult:
    """Returns the result that a finished analysis holds."""
    return AnalysisResult(
        service_name=job.service_name,
        workload=workload,
        recommendations=job.recommendations,
        declined=job.declined,
        warnings=job.warnings,
        plan=job.plan,
    )


def _selected(form: FormMultiDict) -> list[str]:
    names = list(dict.fromkeys(str(name) for name in form.getall("name", [])))
    if not 1 <= len(names) <= MAX_SELECTED:
        raise InvalidInputError(
            f"{len(names)} workloads are selected.", field="name", remedy=f"Select 1 to {MAX_SELECTED}."
        )
    return names


async def _row(web: WebPorts, name: str) -> dict[str, Any]:
    require_plain(name, "name")
    row = await web.pages.workload(name)
    if row is None:
        raise NotFoundError(
            f"There is no analysed workload {name!r}.", field="name", remedy="Choose one from the list."
        )
    return dict(row)


async def _snapshot(web: WebPorts, row: dict[str, Any]) -> tuple[AnalysisResult, WorkloadSnapshot]:
    job = await web.api.store.get_job(row["job_id"])
    if job is None:
        raise NotFoundError("The analysis is gone.", remedy="Analyse the workload again.")
    result = msgspec.structs.replace(result_of(job, row["workload"]), service_name=row["service_name"])
    source = await web.pages.source_of_job(row["job_id"])
    return result, await web.series.read(source, result, row["job_id"])
