"""A recommendation with all its evidence, and what applying it would change."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from litestar.response import Redirect
from markupsafe import Markup
from msgspec import structs

from perfopt.cli.output.details import recommendation_lines
from perfopt.domain.enums import OptimizationStatus
from perfopt.domain.job import OptimizationJob
from perfopt.domain.quantity import parse_cpu, parse_memory
from perfopt.domain.recommendation import AnalysisResult, OptimizationRecommendation
from perfopt.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from perfopt.report.changes import backtested, service_changes
from perfopt_api.apply.export import export
from perfopt_api.apply.order import order_of
from perfopt_api.apply.preflight import Outcome, PreflightFinding, PreflightReport, PreflightRequest
from perfopt_api.apply.preview import changes_of, outdated, warnings_of
from perfopt_api.apply.request import ApplyRecommendationRequest, refuse_change
from perfopt_api.http.body import require_plain
from perfopt_api.http.recommendations import commit_export, start_change
from perfopt_api.store.mapping import workload_parts
from perfopt_api.store.refusals import Refusal
from perfopt_api.web.charts import NeedChart, frontier, need
from perfopt_api.web.pages.policies import decisions, policy_clock
from perfopt_api.web.ports import WebPorts
from perfopt_api.web.view import csv_answer, page

_MAX_REASON = 1000
_CANARY = ApplyRecommendationRequest(mode="canary")
_WHY = ("expected", "reason", "apply")
_WINDOWS = (
    "made_at", "scored_until", "outcome", "accurate", "cpu_safe", "memory_safe", "cpu_waste", "memory_waste",
    "claim_kept", "reason",
)  # fmt: skip


@get("/recommendations/{recommendation_id:str}", include_in_schema=False)
async def recommendation(
    request: Request[Any, Any, Any],
    web: NamedDependency[WebPorts],
    recommendation_id: FromPath[str],
    point: Annotated[int | None, QueryParameter(ge=0, le=1000)] = None,
) -> Response[Any]:
    """Shows why the numbers are what they are, and what another trade of cost against confidence changes."""
    shown, job = await _stored(web, recommendation_id)
    alone = AnalysisResult(
        service_name=shown.service_name,
        workload=shown.workload,
        recommendations=(shown,),
        declined=(),
        warnings=(),
    )
    accurate, scored = backtested(shown.evidence)
    artifacts, unpatched = _artifacts(shown, web.api.settings.base_url)
    return page(
        request,
        "recommendation.html",
        made=shown,
        lines=_why(shown),
        found=service_changes([alone]),
        accurate=accurate,
        scored=scored,
        declined=() if job is None else job.declined,
        needs=[need(chart) for chart in _needs(shown)],
        trades=_trades(shown),
        points=_points(shown),
        chosen=_chosen(shown, point),
        warnings=warnings_of(shown, web.api.now()),
        refusal=await _refusal(web, shown),
        taken_back=_taken_back(shown, await web.pages.changes(shown.workload)),
        patch=artifacts[0] if artifacts else None,
        unpatched=unpatched,
    )


@get("/recommendations/{recommendation_id:str}/windows.csv", include_in_schema=False)
async def windows(web: NamedDependency[WebPorts], recommendation_id: FromPath[str]) -> Response[str]:
    """Returns the windows of the backtest as CSV."""
    shown, _ = await _stored(web, recommendation_id)
    rows = [{name: getattr(window, name) for name in _WINDOWS} for window in shown.evidence.windows]
    return csv_answer(f"{recommendation_id}-windows", rows, _WINDOWS)


@get("/recommendations/{recommendation_id:str}/plan", include_in_schema=False)
async def plan(
    request: Request[Any, Any, Any], web: NamedDependency[WebPorts], recommendation_id: FromPath[str]
) -> Response[Any]:
    """Shows the exact changes, what stands against them, and the manifests that bring them about."""
    shown, job = await _stored(web, recommendation_id)
    return page(request, "plan.html", **await _plan(web, shown, job))


@post("/recommendations/{recommendation_id:str}/commit", status_code=200, include_in_schema=False)
async def commit(
    request: Request[Any, Any, Any], web: NamedDependency[WebPorts], recommendation_id: FromPath[str]
) -> Response[Any]:
    """Commits the manifests to the configured repository; done twice it is one commit."""
    shown, job = await _stored(web, recommendation_id)
    form = await request.form()
    reason = str(form.get("reason", "")).strip()[:_MAX_REASON] or None
    artifacts = export(shown, web.api.settings.base_url)
    done = await commit_export(web.api, shown, artifacts, request.scope.get("user"), reason)
    return page(request, "plan.html", **await _plan(web, shown, job) | {"commit": done})


@post("/recommendations/{recommendation_id:str}/preflight", status_code=200, include_in_schema=False)
async def preflight(
    request: Request[Any, Any, Any], web: NamedDependency[WebPorts], recommendation_id: FromPath[str]
) -> Response[Any]:
    """Has a worker look at the cluster for what stands against the change; nothing is changed."""
    shown, job = await _stored(web, recommendation_id)
    report = await _report(web, shown, request.scope.get("user"))
    return page(request, "plan.html", **await _plan(web, shown, job) | {"preflight": report})


async def _report(web: WebPorts, shown: OptimizationRecommendation, requester: str | None) -> PreflightReport:
    """Returns the preflight of a change, or why it could not run."""
    try:
        order = order_of(shown, _CANARY, web.api.policy)
        asked = PreflightRequest(order=order, workload=shown.workload, requester=requester)
        return await web.preflight.ask(asked)
    except (ConflictError, UnavailableError) as error:
        outcome: Outcome = "refused" if isinstance(error, ConflictError) else "unknown"
        failed = PreflightFinding(
            outcome=outcome, code=error.code, message=error.message, remedy=error.remedy
        )
        return PreflightReport(at=web.api.now(), findings=(failed,))


async def _plan(
    web: WebPorts, shown: OptimizationRecommendation, job: OptimizationJob | None
) -> dict[str, Any]:
    """Returns what would be changed, by which steps, and what stands against it."""
    artifacts, unpatched = _artifacts(shown, web.api.settings.base_url)
    whole, policy = None if job is None else job.plan, web.api.policy
    facts, clock = await web.api.applies.facts(), await policy_clock(web)
    replicas, now = shown.current_state.get("replicas"), web.api.now()
    changes = await web.pages.changes(shown.workload)
    return {
        "commit": None,
        "preflight": None,
        "made": shown,
        "key": secrets.token_hex(16),  # sent twice, the form starts one change
        "diff": changes_of(shown)["changes"],
        "warnings": warnings_of(shown, now),
        "refusal": await _refusal(web, shown),
        "may_refuse": not shown.applied and not outdated(shown, now),
        "artifacts": artifacts,
        "unpatched": unpatched,
        "executor": web.api.executor,
        "steps": () if whole is None else whole.steps,
        "conflicts": () if whole is None else whole.conflicts,
        "waiting": [row for row in changes if row["ended_at"] is None],
        "taken_back": _taken_back(shown, changes),
        "outdated": outdated(shown, now),
        "replicas": replicas,
        "first": None if replicas is None else max(1, round(policy.canary_share * replicas)),
        "running": sum(past.ended_at is None for past in facts.past),
        "policy": policy,
        "against": decisions(web, shown, facts, clock, automatic=False),
        "repository": _repository(web, shown),
    }


def _repository(web: WebPorts, shown: OptimizationRecommendation) -> str | None:
    """Returns the repository that manifests of the workload go to, by name."""
    try:
        return web.api.git.of(workload_parts(shown.workload)[1])[0]
    except InvalidInputError:
        return None


@post("/recommendations/{recommendation_id:str}/apply", status_code=303, include_in_schema=False)
async def apply(
    request: Request[Any, Any, Any], web: NamedDependency[WebPorts], recommendation_id: FromPath[str]
) -> Redirect:
    """Starts the change, in a few pods first or in all, where changes can be made here."""
    shown, job = await _stored(web, recommendation_id)
    form = await request.form()
    wish = ApplyRecommendationRequest(
        mode="direct" if form.get("mode") == "direct" else "canary",
        reason=str(form.get("reason", "")).strip()[:_MAX_REASON] or None,
    )
    if not web.api.executor:
        refuse_change(wish, shown, web.api.now())
    if job is None:
        raise NotFoundError("The job of the recommendation is gone.", remedy="Analyse again.")
    key = str(form.get("key", "")) or None
    created = await start_change(web.api, wish, shown, job.job_id, request.scope.get("user"), key)
    return Redirect(f"/ui/jobs/{created.job.job_id}", status_code=303)


@post("/recommendations/{recommendation_id:str}/refuse", status_code=303, include_in_schema=False)
async def refuse(
    request: Request[Any, Any, Any], web: NamedDependency[WebPorts], recommendation_id: FromPath[str]
) -> Redirect:
    """Withdraws a recommendation that nobody should apply, with the reason."""
    require_plain(recommendation_id, "recommendation_id")
    reason = str((await request.form()).get("reason", "")).strip()[:_MAX_REASON]
    if not reason:
        raise InvalidInputError("A refusal needs a reason.", field="reason", remedy="State why.")
    await web.refusals.refuse(recommendation_id, principal=request.scope.get("user"), reason=reason)
    return Redirect(f"/ui/recommendations/{recommendation_id}", status_code=303)


def _taken_back(
    shown: OptimizationRecommendation, changes: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Returns the jobs that applied it and rolled it back."""
    return [
        row
        for row in changes
        if row["status"] == OptimizationStatus.ROLLED_BACK
        and shown.recommendation_id in (row["recommendation_ids"] or ())
    ]


async def _refusal(web: WebPorts, shown: OptimizationRecommendation) -> Refusal | None:
    """Returns who refused it, if somebody did: that is looked up of what was withdrawn only."""
    if shown.withdrawn_at is None:
        return None
    return await web.refusals.refusal(shown.workload, shown.recommendation_id)


def _why(shown: OptimizationRecommendation) -> list[tuple[str, list[str]]]:
    """Returns the lines that `perfopt explain` prints of the reasons, those of one label together."""
    lines = [line for line in recommendation_lines(shown) if line[0] in _WHY]
    return [(label, [text for _, text in group]) for label, group in groupby(lines, key=itemgetter(0))]


def _needs(shown: OptimizationRecommendation) -> Iterator[NeedChart]:
    """Returns what is known of the need of each container and resource; nothing of older recommendations."""
    states = {"current": shown.current_state, "recommended": shown.recommended_state}
    for data in (one.data for one in shown.reasons if one.code == "need"):
        for resource in ("cpu", "memory"):
            if resource not in data:
                continue
            requests = {
                name: state.get("containers", {}).get(data["container"], {}).get(f"{resource}_request")
                for name, state in states.items()
            }
            yield NeedChart(
                container=data["container"],
                resource=resource,
                levels=tuple(data["levels"]),
                quantiles=tuple(data[resource]),
                sizes={name: text for name, text in requests.items() if text is not None},
            )


def _trades(shown: OptimizationRecommendation) -> Markup:
    data = next((one.data for one in shown.reasons if one.code == "frontier"), None)
    if data is None:
        return Markup()
    improvement = shown.expected_improvement
    ours = None
    if data["relative_to"] == "current" and improvement.cost_reduction_percent is not None:
        ours = -improvement.cost_reduction_percent, improvement.confidence
    return frontier(data["points"], data["relative_to"], ours)


def _points(shown: OptimizationRecommendation) -> list[dict[str, Any]]:
    data = next((one.data for one in shown.reasons if one.code == "frontier"), {})
    # Recommendations of older versions have points without sizes.
    return [one for one in data.get("points", ()) if one.get("containers")]


def _chosen(shown: OptimizationRecommendation, point: int | None) -> dict[str, Any] | None:
    """Returns a point of the frontier as a recommendation of its sizes: its changes and its patch."""
    points = _points(shown)
    if point is None or point >= len(points):
        return None
    known = shown.recommended_state.get("containers", {})
    sizes = {name: {**known.get(name, {}), **size} for name, size in points[point]["containers"].items()}
    whole = {name: {**size, **_limits(size)} for name, size in sizes.items()}
    other = structs.replace(
        shown, recommended_state={**shown.recommended_state, "containers": {**known, **whole}}
    )
    artifacts, unpatched = _artifacts(other, None)
    return {
        "number": point,
        "point": points[point],
        "changes": changes_of(other)["changes"],
        "patch": artifacts[0] if artifacts else None,
        "unpatched": unpatched,
    }


def _limits(size: Mapping[str, Any]) -> dict[str, Any]:
    """Returns limits that are not below the requests of a point."""
    limits = {}
    for kind, parse in (("cpu", parse_cpu), ("memory", parse_memory)):
        request, limit = size.get(f"{kind}_request"), size.get(f"{kind}_limit")
        if request is not None and limit is not None and parse(request) > parse(limit):
            limits[f"{kind}_limit"] = request
    return limits


def _artifacts(
    shown: OptimizationRecommendation, base_url: str | None
) -> tuple[tuple[dict[str, Any], ...], str | None]:
    """Returns the manifests, or why there are none."""
    try:
        return export(shown, base_url), None
    except ConflictError as error:
        return (), str(error)


async def _stored(
    web: WebPorts, recommendation_id: str
) -> tuple[OptimizationRecommendation, OptimizationJob | None]:
    require_plain(recommendation_id, "recommendation_id")
    stored = await web.api.store.get_recommendation(recommendation_id)
    if stored is None:
        raise NotFoundError(f"There is no recommendation {recommendation_id!r}.", remedy="See the workloads.")
    shown, job_id = stored
    return shown, await web.api.store.get_job(job_id)
