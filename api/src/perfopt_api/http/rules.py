"""What each route asks for: the one place that says who may call what. A route without a rule is refused."""

from collections.abc import Awaitable, Callable, Collection
from typing import Any

import msgspec
from litestar import Request

from perfopt_api.auth.roles import Right
from perfopt_api.http.links import PREFIX
from perfopt_api.http.ports import ApiPorts
from perfopt_api.settings import ServiceSettings
from perfopt_api.store.apply_port import EVERYTHING
from perfopt_api.store.mapping import job_namespaces, namespace_of, workload_parts
from perfopt_api.store.schedule_port import Schedule

Namespaces = Callable[[Request[Any, Any, Any]], Awaitable[Collection[str] | None]]
"""Which namespaces a call is about: None is all; none where the answer holds only what the caller may see."""


class Rule(msgspec.Struct, frozen=True):
    """What a route asks for.

    Attributes:
        right: None lets everybody in.
        namespaces: in which the right is needed.
        public: lets everybody in where the setting of this name is on.
    """

    right: Right | None
    namespaces: Namespaces | None = None
    public: str | None = None

    def is_public(self, settings: ServiceSettings) -> bool:
        """Returns whether it lets everybody in."""
        return self.right is None or (self.public is not None and bool(getattr(settings, self.public)))


async def listed(_: Request[Any, Any, Any]) -> Collection[str] | None:
    """The handler leaves out what is of other namespaces, by `visible_namespaces`; or nothing is of any."""
    return ()


async def everywhere(_: Request[Any, Any, Any]) -> Collection[str] | None:
    """The answer adds up all namespaces."""
    return None


async def of_service(request: Request[Any, Any, Any]) -> Collection[str] | None:
    """The namespace in the name of the service that the body names; a plain name may be of any."""
    return _named((await _body(request)).get("service_name"))


async def of_selector(request: Request[Any, Any, Any]) -> Collection[str] | None:
    """The namespace that the selector of the body names; without one it is everything."""
    return _selected(await _body(request))


async def of_schedule(request: Request[Any, Any, Any]) -> Collection[str] | None:
    """The namespace that the selector of the body's analysis names; without one it is everything."""
    return _selected((await _body(request)).get("analysis"))


async def of_stored_schedule(request: Request[Any, Any, Any]) -> Collection[str] | None:
    """The namespace of the schedule in the path; none where there is no such schedule."""
    name = str(request.path_params["name"])
    schedules = [one for one in await _ports(request).schedules.list_schedules() if one.name == name]
    return schedule_namespaces(schedules[0]) if schedules else ()


async def of_scope(request: Request[Any, Any, Any]) -> Collection[str] | None:
    """The namespace of the scope that the body names; without one it is everything."""
    return scope_namespaces((await _body(request)).get("scope", EVERYTHING))


async def of_scope_form(request: Request[Any, Any, Any]) -> Collection[str] | None:
    """The namespace of the scope that a form names."""
    return scope_namespaces(str((await request.form()).get("scope", "")).strip() or EVERYTHING)


async def of_names_form(request: Request[Any, Any, Any]) -> Collection[str] | None:
    """The namespaces of the workloads that a form names."""
    return {workload_parts(str(name))[1] for name in (await request.form()).getall("name", [])}


async def of_name(request: Request[Any, Any, Any]) -> Collection[str] | None:
    """The namespaces of all workloads that `?name=` names: handlers read the last of several."""
    names = request.query_params.getall("name", [""])
    return {workload_parts(name)[1] for name in names}


async def of_job(request: Request[Any, Any, Any]) -> Collection[str] | None:
    """The namespaces of the job in the path; none where there is no such job."""
    job = await _ports(request).store.get_job(str(request.path_params["job_id"]))
    if job is None:
        return ()
    if job.progress is not None:  # of a fleet, whatever it has recommended so far
        return None if job.progress.namespace is None else (job.progress.namespace,)
    if not job.recommendations and job.parent_job_id is not None:  # of a service whose name states none
        job = await _ports(request).store.get_job(job.parent_job_id) or job
    return job_namespaces(job)


async def of_recommendation(request: Request[Any, Any, Any]) -> Collection[str] | None:
    """The namespace of the recommendation in the path; none where there is no such recommendation."""
    recommendation = await _ports(request).store.get_recommendation(
        str(request.path_params["recommendation_id"])
    )
    return () if recommendation is None else (workload_parts(recommendation[0].workload)[1],)


def scope_namespaces(scope: Any) -> Collection[str] | None:
    """Returns the namespaces of a scope as policy has it: `*`, `[cluster/]namespace`, or a workload."""
    if not isinstance(scope, str) or scope == EVERYTHING:
        return None
    parts = scope.split("/")
    namespace = workload_parts(scope)[1]
    return (namespace or parts[-1],) if len(parts) <= 2 or namespace else None


def schedule_namespaces(schedule: Schedule) -> Collection[str] | None:
    """Returns the namespaces that a schedule analyses; None is all."""
    namespace = schedule.analysis.selector.namespace
    return None if namespace is None else (namespace,)


def _selected(body: Any) -> Collection[str] | None:
    selector = body.get("selector") if isinstance(body, dict) else None
    namespace = selector.get("namespace") if isinstance(selector, dict) else None
    return (namespace,) if isinstance(namespace, str) else None


def _named(name: Any) -> Collection[str] | None:
    return (namespace_of(name),) if isinstance(name, str) else ()  # the handler refuses anything else


async def _body(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """Returns the body where it is an object; the handler refuses what is none."""
    try:
        value = msgspec.json.decode(await request.body() or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _ports(request: Request[Any, Any, Any]) -> ApiPorts:
    ports: ApiPorts = request.app.state.ports
    return ports


_PUBLIC = Rule(None)
_READ = Right.READ
_DOCS = Rule(_READ, listed, "docs_public")

RULES: dict[str, Rule] = {
    "GET /": _PUBLIC,
    "GET /health/live": _PUBLIC,
    "GET /health/ready": _PUBLIC,
    "GET /metrics": Rule(_READ, listed, "metrics_public"),
    "GET /docs": _DOCS,
    "GET /docs/{path}": _DOCS,
    "GET /docs/openapi.json": _DOCS,
    "GET /docs/docs.js": _PUBLIC,
    "GET /docs/swagger-ui-bundle.js": _PUBLIC,
    "GET /docs/swagger-ui.css": _PUBLIC,
    "GET /openapi.json": _DOCS,
    "GET /asyncapi.json": _DOCS,
    "GET /problems/{code}": _DOCS,
    "GET /api/v1/events/schema.json": _DOCS,
    f"POST {PREFIX}/analyze": Rule(Right.ANALYZE, of_service),
    f"POST {PREFIX}/analyze/fleet": Rule(Right.ANALYZE, of_selector),
    f"POST {PREFIX}/schedules": Rule(Right.ANALYZE, of_schedule),
    f"GET {PREFIX}/schedules": Rule(_READ, listed),
    f"DELETE {PREFIX}/schedules/{{name}}": Rule(Right.ANALYZE, of_stored_schedule),
    f"GET {PREFIX}/jobs": Rule(_READ, listed),
    f"GET {PREFIX}/jobs/{{job_id}}": Rule(_READ, of_job),
    f"GET {PREFIX}/jobs/{{job_id}}/timeline": Rule(_READ, of_job),
    f"POST {PREFIX}/jobs/{{job_id}}/apply": Rule(Right.CHANGE, of_job),
    f"POST {PREFIX}/jobs/{{job_id}}/rollback": Rule(Right.CHANGE, of_job),
    f"POST {PREFIX}/jobs/{{job_id}}/cancel": Rule(Right.CHANGE, of_job),
    f"POST {PREFIX}/jobs/{{job_id}}/approve": Rule(Right.APPROVE, of_job),
    f"GET {PREFIX}/recommendations": Rule(_READ, listed),
    f"GET {PREFIX}/recommendations/{{recommendation_id}}": Rule(_READ, of_recommendation),
    f"POST {PREFIX}/recommendations/{{recommendation_id}}/apply": Rule(Right.CHANGE, of_recommendation),
    f"GET {PREFIX}/policy": Rule(_READ, listed),
    f"POST {PREFIX}/policy/freeze": Rule(Right.FREEZE, of_scope),
    f"POST {PREFIX}/policy/unfreeze": Rule(Right.FREEZE, of_scope),
    f"POST {PREFIX}/policy/restore": Rule(Right.CHANGE, of_scope),
    f"GET {PREFIX}/audit": Rule(_READ, everywhere),
    f"GET {PREFIX}/accuracy": Rule(_READ, everywhere),
    f"GET {PREFIX}/fleet": Rule(_READ, everywhere),
    f"GET {PREFIX}/scaling/{{service}}/demand": Rule(_READ, listed),
    f"GET {PREFIX}/scaling/{{name}}": Rule(_READ, listed),
    f"GET {PREFIX}/models": Rule(_READ, listed),
    f"GET {PREFIX}/plugins": Rule(_READ, listed),
    "GET /ui/login": _PUBLIC,
    "POST /ui/login": _PUBLIC,
    "GET /ui/login/oidc": _PUBLIC,
    "GET /ui/login/oidc/callback": _PUBLIC,
    "GET /ui/static/dashboard.css": _PUBLIC,
    "GET /ui/static/dashboard.js": _PUBLIC,
    "GET /ui/static/htmx.min.js": _PUBLIC,
    "GET /ui/static/uplot.min.js": _PUBLIC,
    "GET /ui/static/uplot.css": _PUBLIC,
    "GET /ui/{missing}": Rule(_READ, listed),
    "POST /ui/logout": Rule(_READ, listed),
    "GET /ui": Rule(_READ, listed),
    "POST /ui/freeze": Rule(Right.FREEZE, of_scope_form),
    "POST /ui/unfreeze": Rule(Right.FREEZE, of_scope_form),
    "GET /ui/workloads": Rule(_READ, listed),
    "POST /ui/analyse": Rule(Right.ANALYZE, of_names_form),
    "POST /ui/analyse/all": Rule(Right.ANALYZE, everywhere),
    "POST /ui/queue": Rule(Right.CHANGE, of_names_form),
    "GET /ui/workload": Rule(_READ, of_name),
    "GET /ui/workload/recommendations.csv": Rule(_READ, of_name),
    "GET /ui/workload/changes.csv": Rule(_READ, of_name),
    "GET /ui/workload/series": Rule(_READ, of_name),
    "GET /ui/workload/series.json": Rule(_READ, of_name),
    "GET /ui/recommendations/{recommendation_id}": Rule(_READ, of_recommendation),
    "GET /ui/recommendations/{recommendation_id}/windows.csv": Rule(_READ, of_recommendation),
    "GET /ui/recommendations/{recommendation_id}/plan": Rule(_READ, of_recommendation),
    "POST /ui/recommendations/{recommendation_id}/apply": Rule(Right.CHANGE, of_recommendation),
    "POST /ui/recommendations/{recommendation_id}/preflight": Rule(Right.CHANGE, of_recommendation),
    "POST /ui/recommendations/{recommendation_id}/refuse": Rule(Right.CHANGE, of_recommendation),
    "POST /ui/recommendations/{recommendation_id}/commit": Rule(Right.CHANGE, of_recommendation),
    "GET /ui/jobs": Rule(_READ, listed),
    "GET /ui/jobs/{job_id}": Rule(_READ, of_job),
    "GET /ui/jobs/{job_id}/timeline": Rule(_READ, of_job),
    "GET /ui/jobs/{job_id}/events": Rule(_READ, of_job),
    "POST /ui/jobs/{job_id}/approve": Rule(Right.APPROVE, of_job),
    "POST /ui/jobs/{job_id}/{wish}": Rule(Right.CHANGE, of_job),
    "GET /ui/approvals": Rule(_READ, listed),
    "GET /ui/backtests": Rule(_READ, everywhere),
    "POST /ui/backtests": Rule(Right.ANALYZE, everywhere),
    "GET /ui/backtests/{run_id}": Rule(_READ, everywhere),
    "GET /ui/backtests/{run_id}/progress": Rule(_READ, everywhere),
    "GET /ui/backtests/{run_id}/report": Rule(_READ, everywhere),
    "GET /ui/backtests/{run_id}/result.json": Rule(_READ, everywhere),
    "POST /ui/backtests/{run_id}/cancel": Rule(Right.ANALYZE, everywhere),
    "GET /ui/fleet": Rule(_READ, everywhere),
    "GET /ui/policies": Rule(_READ, everywhere),
    "POST /ui/policies/check": Rule(Right.ANALYZE, everywhere),
    "POST /ui/restore": Rule(Right.CHANGE, of_scope_form),
    "GET /ui/accuracy": Rule(_READ, everywhere),
    "GET /ui/audit": Rule(_READ, everywhere),
    "GET /ui/doctor": Rule(_READ, everywhere),
    "GET /ui/doctor/plugins": Rule(_READ, listed),
}
