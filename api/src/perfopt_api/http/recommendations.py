"""Recommendations: listing, looking at one, and what applying it would change."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
import structlog
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, QueryParameter

from perfopt.domain.enums import OptimizationType
from perfopt.domain.job import OptimizationJob
from perfopt.domain.recommendation import OptimizationRecommendation
from perfopt.errors import NotFoundError
from perfopt_api.apply.export import export
from perfopt_api.apply.git import GitCommit, commit_manifests, git_order
from perfopt_api.apply.order import as_one, new_apply, order_of, steps_of
from perfopt_api.apply.request import ApplyRecommendationRequest, answer, refuse_outdated
from perfopt_api.apply.verification.settings import SECTION as VERIFICATION
from perfopt_api.apply.verification.settings import VerificationSettings
from perfopt_api.http.applying import wake
from perfopt_api.http.auth import visible_namespaces
from perfopt_api.http.body import require_plain
from perfopt_api.http.idempotency import check_key, idempotency_conflicts
from perfopt_api.http.jobs import IdempotencyKey
from perfopt_api.http.links import PREFIX, page_headers, public_url
from perfopt_api.http.ports import ApiPorts
from perfopt_api.store.apply_port import AuditEntry
from perfopt_api.store.port import DEFAULT_LIMIT, MAX_LIMIT, CreatedJob

_log = structlog.get_logger("perfopt_api.http")


@get(
    "/recommendations",
    operation_id="listRecommendations",
    summary="List current recommendations, newest first",
    tags=["Recommendations"],
)
async def list_recommendations(
    request: Request[Any, Any, Any],
    ports: NamedDependency[ApiPorts],
    service_name: Annotated[
        str | None, QueryParameter(description="Only of this service; `_` and `-` are alike.", max_length=100)
    ] = None,
    optimization_type: FromQuery[OptimizationType | None] = None,
    job_id: Annotated[
        str | None, QueryParameter(description="Only of this job, or of this fleet's.", max_length=100)
    ] = None,
    include: Annotated[
        Literal["superseded"] | None, QueryParameter(description="Shows superseded ones as well.")
    ] = None,
    cursor: Annotated[
        str | None, QueryParameter(description="From the Link header of the page before.", max_length=500)
    ] = None,
    limit: Annotated[
        int, QueryParameter(ge=1, le=MAX_LIMIT, description="Recommendations on a page.")
    ] = DEFAULT_LIMIT,
) -> Response[list[OptimizationRecommendation]]:
    """Lists the recommendations in force as a bare array; the header Link holds the next page."""
    require_plain(service_name, "service_name")
    require_plain(job_id, "job_id")
    page = await ports.store.list_recommendations(
        service_name=service_name,
        optimization_type=optimization_type,
        job_id=job_id,
        include_superseded=include is not None,
        namespaces=visible_namespaces(request),
        cursor=cursor,
        limit=limit,
    )
    return Response(list(page.items), headers=page_headers(request, page.next_cursor, page.total))


@get(
    "/recommendations/{recommendation_id:str}",
    operation_id="getRecommendation",
    summary="Look at a recommendation",
    tags=["Recommendations"],
)
async def get_recommendation(
    ports: NamedDependency[ApiPorts], recommendation_id: FromPath[str]
) -> OptimizationRecommendation:
    """Shows a recommendation with its evidence, superseded or not."""
    recommendation, _ = await _recommendation(ports, recommendation_id)
    return recommendation


@post(
    "/recommendations/{recommendation_id:str}/apply",
    status_code=200,
    operation_id="applyRecommendation",
    summary="Apply a recommendation, or see what that would change",
    tags=["Recommendations"],
)
async def apply_recommendation(
    request: Request[Any, Any, Any],
    ports: NamedDependency[ApiPorts],
    wish: NamedDependency[ApplyRecommendationRequest],
    recommendation_id: FromPath[str],
    idempotency_key: IdempotencyKey = None,
) -> Response[OptimizationJob]:
    """`dry_run` shows the changes, `export` writes manifests: 200.

    `direct` and `canary` make a job that changes the cluster: 202. They need an executor and the setting
    policy.apply.
    """
    recommendation, job_id = await _recommendation(ports, recommendation_id)
    job = await ports.store.get_job(job_id)
    if job is None:
        raise NotFoundError(f"The job {job_id!r} of the recommendation is gone.", remedy="Analyse again.")
    _log.info(
        "apply asked for",
        recommendation_id=recommendation_id,
        mode=wish.mode,
        reason=wish.reason,
        requester=request.scope.get("user"),
    )
    if wish.mode in ("direct", "canary") and ports.executor:
        return await _apply(request, ports, wish, recommendation, job, idempotency_key)
    shown = answer(wish, job, recommendation, ports.now(), ports.settings.base_url, ports.policy)
    return Response(await _committed(request, ports, wish, recommendation, shown), status_code=200)


@post(
    "/jobs/{job_id:str}/apply",
    status_code=200,
    operation_id="applyPlan",
    summary="Apply the plan of an analysis, or see what that would change",
    tags=["Recommendations"],
)
async def apply_plan(
    request: Request[Any, Any, Any],
    ports: NamedDependency[ApiPorts],
    wish: NamedDependency[ApplyRecommendationRequest],
    job_id: FromPath[str],
    idempotency_key: IdempotencyKey = None,
) -> Response[OptimizationJob]:
    """Does with the merged state of the plan what apply does with that of one recommendation."""
    require_plain(job_id, "job_id")
    job = await ports.store.get_job(job_id)
    if job is None:
        raise NotFoundError(f"There is no job {job_id!r}.", field="job_id", remedy=f"List {PREFIX}/jobs.")
    recommendation = as_one(job)
    if wish.mode in ("direct", "canary") and ports.executor:
        return await _apply(request, ports, wish, recommendation, job, idempotency_key, steps_of(job))
    shown = answer(wish, job, recommendation, ports.now(), ports.settings.base_url)
    shown = await _committed(request, ports, wish, recommendation, shown)
    return Response(msgspec.structs.replace(shown, recommendations=job.recommendations), status_code=200)


def _details_url(ports: ApiPorts, recommendation: OptimizationRecommendation) -> str | None:
    base = ports.settings.base_url
    return (
        None
        if base is None
        else f"{base.rstrip('/')}{PREFIX}/recommendations/{recommendation.recommendation_id}"
    )


async def _committed(
    request: Request[Any, Any, Any],
    ports: ApiPorts,
    wish: ApplyRecommendationRequest,
    recommendation: OptimizationRecommendation,
    shown: OptimizationJob,
) -> OptimizationJob:
    """Commits an export that is to go to Git, and shows the commit beside its files."""
    if wish.mode != "export" or wish.durability != "git":
        return shown
    commit = await commit_export(
        ports, recommendation, shown.artifacts, request.scope.get("user"), wish.reason
    )
    return msgspec.structs.replace(shown, artifacts=(*shown.artifacts, commit.artifact()))


async def commit_export(
    ports: ApiPorts,
    recommendation: OptimizationRecommendation,
    artifacts: Sequence[Mapping[str, Any]],
    principal: str | None,
    reason: str | None,
) -> GitCommit:
    """Commits the manifests of a recommendation to the configured repository, for the record too.

    Raises:
        InvalidInputError: no repository is configured for its namespace.
        ConflictError: the export has none of the files to commit.
        GitError: Git refused.
    """
    order = git_order(recommendation, artifacts, ports.git, _details_url(ports, recommendation))
    commit = await commit_manifests(ports.git.repositories[order.repository], order, reason or "")
    entry = AuditEntry(
        action="commit",
        subject=recommendation.workload,
        principal=principal,
        reason=reason,
        after=commit.artifact() | {"recommendation_id": recommendation.recommendation_id},
    )
    await ports.applies.record(entry)
    return commit


async def _apply(
    request: Request[Any, Any, Any],
    ports: ApiPorts,
    wish: ApplyRecommendationRequest,
    recommendation: OptimizationRecommendation,
    parent: OptimizationJob,
    key: str | None,
    parts: Sequence[OptimizationRecommendation] = (),
) -> Response[OptimizationJob]:
    created = await start_change(
        ports, wish, recommendation, parent.job_id, request.scope.get("user"), key, parts
    )
    headers = {"Location": public_url(request, f"{PREFIX}/jobs/{created.job.job_id}")}
    if created.replayed:
        headers["Idempotent-Replayed"] = "true"
    return Response(created.job, status_code=202, headers=headers)


async def start_change(
    ports: ApiPorts,
    wish: ApplyRecommendationRequest,
    recommendation: OptimizationRecommendation,
    parent_job_id: str,
    requester: str | None,
    key: str | None = None,
    parts: Sequence[OptimizationRecommendation] = (),
) -> CreatedJob:
    """Stores the job that changes the cluster, and wakes a worker.

    Args:
        ports: of the API.
        wish: how to apply it.
        recommendation: the recommendation, or a plan as one.
        parent_job_id: the analysis that made it.
        requester: who asks.
        key: of the request, so that repeating it gives the same job.
        parts: of a plan, its recommendations.
    """
    parts = parts or (recommendation,)
    for part in parts:
        refuse_outdated(wish, part, ports.now())
    check_key(key)
    order = msgspec.structs.replace(
        order_of(
            recommendation,
            wish,
            ports.policy,
            verification=ports.config.section(VERIFICATION, VerificationSettings),
        ),
        recommendation_ids=tuple(part.recommendation_id for part in parts),
        types=tuple(part.optimization_type for part in parts),
    )
    if wish.durability == "git":
        manifests = export(recommendation, ports.settings.base_url)
        committed = git_order(recommendation, manifests, ports.git, _details_url(ports, recommendation))
        order = msgspec.structs.replace(order, git=committed)
    new = new_apply(order, recommendation, parent_job_id, requester=requester, reason=wish.reason)
    digest = hashlib.sha256(msgspec.json.encode((order.recommendation_ids, wish))).hexdigest()
    with idempotency_conflicts(key):
        created = await ports.applies.create_apply(new, idempotency_key=key, body_hash=digest)
    if not created.replayed:
        await wake(ports, created.job.job_id)
    return created


async def _recommendation(ports: ApiPorts, recommendation_id: str) -> tuple[OptimizationRecommendation, str]:
    require_plain(recommendation_id, "recommendation_id")
    row = await ports.store.get_recommendation(recommendation_id)
    if row is None:
        raise NotFoundError(
            f"There is no recommendation {recommendation_id!r}.",
            field="recommendation_id",
            remedy=f"List them at {PREFIX}/recommendations?include=superseded.",
        )
    return row
