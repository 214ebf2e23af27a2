"""Analyses: asking for one, and looking at the jobs."""

import contextlib
import hashlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any

import msgspec
import structlog
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, HeaderParameter, QueryParameter

from perfopt.config import Config
from perfopt.config.loading import SourceConfig
from perfopt.domain.enums import OptimizationStatus
from perfopt.domain.job import OptimizationJob
from perfopt.domain.period import AnalysisPeriod, parse_validity
from perfopt.domain.request import FleetAnalysisRequest, PerformanceAnalysisRequest
from perfopt.errors import InvalidInputError, NotFoundError, UnavailableError
from perfopt.metrics.snapshot import check_steps
from perfopt_api.http.admission import not_at_work
from perfopt_api.http.auth import visible_namespaces
from perfopt_api.http.body import require_plain
from perfopt_api.http.idempotency import check_key, idempotency_conflicts
from perfopt_api.http.links import PREFIX, page_headers, public_url
from perfopt_api.http.ports import ApiPorts
from perfopt_api.http.preferences import preferred_wait
from perfopt_api.http.requestlog import seconds_since_arrival
from perfopt_api.store.port import DEFAULT_LIMIT, MAX_LIMIT, CreatedJob

IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        description="Repeating the request with the same key gives the same job (kept for a day).",
        schema_extra={"minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
    ),
]
Prefer = Annotated[
    str | None,
    HeaderParameter(name="Prefer", description="`wait=N`: wait up to N seconds for the finished job."),
]
type AnyAnalysis = PerformanceAnalysisRequest | FleetAnalysisRequest
_log = structlog.get_logger("perfopt_api.http")


async def new_job(
    request: Request[Any, Any, Any],
    ports: ApiPorts,
    analysis: AnyAnalysis,
    key: str | None,
    prefer: list[str],
) -> Response[OptimizationJob]:
    """Stores a job, wakes a worker, and waits for it where requested."""
    created = await start_analysis(ports, analysis, request.scope.get("user"), key)
    job, headers = created.job, {}
    if created.replayed:
        headers["Idempotent-Replayed"] = "true"
    wait = preferred_wait(prefer, timedelta(seconds=ports.settings.max_wait_seconds))
    if wait is not None and job.status is OptimizationStatus.ANALYZING:
        left = wait - timedelta(seconds=seconds_since_arrival(request.scope))
        # The job is stored, so whatever fails now the answer is 202.
        with contextlib.suppress(UnavailableError), not_at_work(request.scope):
            job = await ports.waiter.wait_for_job(job.job_id, left)
    if wait is not None and job.status is not OptimizationStatus.ANALYZING:
        headers["Preference-Applied"] = f"wait={int(wait.total_seconds())}"
        return Response(job, status_code=200, headers=headers)
    headers["Location"] = public_url(request, f"{PREFIX}/jobs/{job.job_id}")
    return Response(job, status_code=202, headers=headers)


async def start_analysis(
    ports: ApiPorts, analysis: AnyAnalysis, requester: str | None, key: str | None = None
) -> CreatedJob:
    """Stores a job and wakes a worker; with a key that was used before, it returns the job of then."""
    check_analysis(analysis, ports.config)
    created = await _create(ports, analysis, key, requester)
    if not created.replayed:
        await _enqueue(ports, created.job.job_id)
    return created


def check_analysis(analysis: AnyAnalysis, config: Config) -> None:
    """Refuses what no worker could carry out, before anything is stored.

    Raises:
        InvalidInputError: a period or validity that is malformed or out of bounds, a blank name, or an
            unknown source.
    """
    for field, name in _names_in(analysis):
        require_plain(name, field)
        if not name.strip():
            raise InvalidInputError("The name is blank.", field=field, remedy="Give a plain name.")
    period = AnalysisPeriod.parse(analysis.analysis_period)
    parse_validity(analysis.validity)
    source = _source_config(analysis.source, config)
    check_steps(period.length, timedelta(seconds=source.step_seconds))


def _names_in(analysis: AnyAnalysis) -> Iterator[tuple[str, str]]:
    """Yields the names that a request gives, with the field of each."""
    if isinstance(analysis, PerformanceAnalysisRequest):
        yield "service_name", analysis.service_name
        return
    selector = analysis.selector
    for field in ("cluster", "namespace", "kind"):
        if (name := getattr(selector, field)) is not None:
            yield f"selector.{field}", name
    for label, value in selector.labels.items():
        yield "selector.labels", label
        require_plain(value, "selector.labels")
    yield from (("selector.names", name) for name in selector.names)


def _source_config(source: str | None, config: Config) -> SourceConfig:
    names = tuple(config.sources)
    name = source or config.default_source or (names[0] if len(names) == 1 else None)
    if name in names:
        return config.sources[name]
    remedy = f"Configured: {', '.join(names)}." if names else "Configure one under `sources`."
    problem = "No metric source is named." if name is None else f"There is no metric source {name!r}."
    raise InvalidInputError(problem, field="source", remedy=remedy)


async def _create(
    ports: ApiPorts, analysis: AnyAnalysis, key: str | None, requester: str | None
) -> CreatedJob:
    if key is None:
        return await ports.store.create_job(analysis, requester=requester)
    check_key(key)
    digest = hashlib.sha256(msgspec.json.encode(analysis)).hexdigest()
    with idempotency_conflicts(key):
        return await ports.store.create_job(
            analysis, idempotency_key=key, body_hash=digest, requester=requester
        )


async def _enqueue(ports: ApiPorts, job_id: str) -> None:
    try:
        await ports.queue.enqueue(job_id)
    except UnavailableError as error:
        # The row is stored, which is what counts: the sweeper queues it once NATS is back.
        _log.warning("job_wakeup_failed", job_id=job_id, reason=error.message)


@post("/analyze", status_code=202, operation_id="analyze", summary="Ask for an analysis", tags=["Jobs"])
async def analyze(
    request: Request[Any, Any, Any],
    ports: NamedDependency[ApiPorts],
    analysis: NamedDependency[PerformanceAnalysisRequest],
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
) -> Response[OptimizationJob]:
    """Stores a job and answers at once, or after `Prefer: wait=N` with the finished job."""
    preferences = request.headers.getall("prefer", []) if prefer is not None else []
    return await new_job(request, ports, analysis, idempotency_key, preferences)


@post(
    "/analyze/fleet",
    status_code=202,
    operation_id="analyzeFleet",
    summary="Ask for an analysis of many workloads",
    tags=["Jobs"],
)
async def analyze_fleet(
    request: Request[Any, Any, Any],
    ports: NamedDependency[ApiPorts],
    fleet: NamedDependency[FleetAnalysisRequest],
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
) -> Response[OptimizationJob]:
    """Stores one job for all workloads of a selector; its `progress` counts what is done.

    Recommendations are listed by `job_id` as they come. Equal unfinished requests are one job.
    """
    preferences = request.headers.getall("prefer", []) if prefer is not None else []
    return await new_job(request, ports, fleet, idempotency_key, preferences)


@get("/jobs", operation_id="listJobs", summary="List jobs, newest first", tags=["Jobs"])
async def list_jobs(
    request: Request[Any, Any, Any],
    ports: NamedDependency[ApiPorts],
    service_name: Annotated[
        str | None, QueryParameter(description="Only of this service; `_` and `-` are alike.", max_length=100)
    ] = None,
    status: FromQuery[OptimizationStatus | None] = None,
    fleet_id: Annotated[
        str | None, QueryParameter(description="The analyses of this fleet's workloads.", max_length=100)
    ] = None,
    cursor: Annotated[
        str | None, QueryParameter(description="From the Link header of the page before.", max_length=500)
    ] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=MAX_LIMIT, description="Jobs on a page.")] = DEFAULT_LIMIT,
) -> Response[list[OptimizationJob]]:
    """Lists jobs; the header Link holds the address of the next page.

    Analyses of a fleet's workloads are listed by `fleet_id` or `service_name` only.
    """
    require_plain(service_name, "service_name")
    require_plain(fleet_id, "fleet_id")
    page = await ports.store.list_jobs(
        service_name=service_name,
        status=status,
        fleet_id=fleet_id,
        namespaces=visible_namespaces(request),
        cursor=cursor,
        limit=limit,
    )
    return Response(list(page.items), headers=page_headers(request, page.next_cursor, page.total))


@get("/jobs/{job_id:str}", operation_id="getJob", summary="Look at a job", tags=["Jobs"])
async def get_job(ports: NamedDependency[ApiPorts], job_id: FromPath[str]) -> OptimizationJob:
    """Shows a job with its recommendations, what was declined and why, and warnings."""
    require_plain(job_id, "job_id")
    job = await ports.store.get_job(job_id)
    if job is None:
        raise NotFoundError(
            f"There is no job {job_id!r}.", field="job_id", remedy=f"List the jobs at {PREFIX}/jobs."
        )
    return job
