"""The OpenAPI document: what the framework finds, completed with bodies, problems, headers and examples."""

import re
from importlib.metadata import version
from typing import Any

import msgspec
from litestar import Request, Response, get
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Tag
from litestar.params import FromPath

from perfopt.domain.accuracy import ReplayedAccuracy
from perfopt.domain.job import OptimizationJob
from perfopt.domain.request import FleetAnalysisRequest, PerformanceAnalysisRequest
from perfopt.domain.scaling import ScalingDemand
from perfopt.engine.registry import PluginInfo
from perfopt.errors import NotFoundError
from perfopt.fleet import FleetView
from perfopt_api.apply.request import ApplyRecommendationRequest
from perfopt_api.http.applying import ChangeReason
from perfopt_api.http.docs import DocsPage, docs_router
from perfopt_api.http.health import Health
from perfopt_api.http.policy import EffectivePolicy, RestoredJobs, ScopeRequest
from perfopt_api.http.problems import KINDS, MEDIA_TYPE, Problem, ProblemKind
from perfopt_api.store.apply_port import AuditEntry, Freeze, TimelineEntry
from perfopt_api.store.models import RegisteredModel
from perfopt_api.store.schedule_port import Schedule, ScheduleRequest

_ATTRIBUTE = re.compile(r"^    ([a-z_]+(?:, [a-z_]+)*): (.*(?:\n      .*)*)", re.M)
_REF = "#/components/schemas/{name}"
_MODELS = (
    ReplayedAccuracy,
    FleetView,
    ScalingDemand,
    PerformanceAnalysisRequest,
    FleetAnalysisRequest,
    ScheduleRequest,
    Schedule,
    ApplyRecommendationRequest,
    ChangeReason,
    ScopeRequest,
    TimelineEntry,
    EffectivePolicy,
    Freeze,
    RestoredJobs,
    AuditEntry,
    OptimizationJob,
    PluginInfo,
    RegisteredModel,
    Health,
    ProblemKind,
    Problem,
)
_WHY = {"reason": {"summary": "Say why", "value": {"reason": "the close was too near"}}}
_SCOPE = {
    "namespace": {"summary": "One namespace", "value": {"scope": "trading", "reason": "month end"}},
    "everything": {"summary": "Everything", "value": {"scope": "*"}},
}
_BODIES: dict[str, tuple[type[Any], bool, dict[str, Any]]] = {
    "analyze": (
        PerformanceAnalysisRequest,
        True,
        {
            "week": {
                "summary": "All types, from the last 14 days",
                "value": {"service_name": "portfolio_management_service", "analysis_period": "14d"},
            },
            "resources": {
                "summary": "Resources only, with the forecast",
                "value": {
                    "service_name": "trading/deployment/order-gateway",
                    "optimization_types": ["RESOURCE_OPTIMIZATION"],
                    "include_predictions": True,
                },
            },
        },
    ),
    "analyzeFleet": (
        FleetAnalysisRequest,
        True,
        {
            "namespace": {
                "summary": "Sizes of all workloads of a namespace",
                "value": {
                    "selector": {"namespace": "trading"},
                    "optimization_types": ["RESOURCE_OPTIMIZATION"],
                },
            },
            "everything": {"summary": "All types of everything", "value": {"selector": {}}},
        },
    ),
    "createSchedule": (
        ScheduleRequest,
        True,
        {
            "nightly": {
                "summary": "Every night at two",
                "value": {
                    "name": "nightly",
                    "cron": "0 2 * * *",
                    "time_zone": "Europe/Berlin",
                    "analysis": {"selector": {"namespace": "trading"}},
                },
            }
        },
    ),
    "applyRecommendation": (
        ApplyRecommendationRequest,
        False,
        {
            "preview": {"summary": "Show what would change", "value": {"mode": "dry_run"}},
            "export": {"summary": "Write manifests", "value": {"mode": "export"}},
        },
    ),
    "applyPlan": (
        ApplyRecommendationRequest,
        False,
        {
            "preview": {"summary": "Show what would change", "value": {"mode": "dry_run"}},
            "export": {"summary": "Write manifests", "value": {"mode": "export"}},
        },
    ),
    "rollBackJob": (ChangeReason, False, _WHY),
    "cancelJob": (ChangeReason, False, _WHY),
    "approveJob": (ChangeReason, False, _WHY),
    "freeze": (ScopeRequest, True, _SCOPE),
    "unfreeze": (ScopeRequest, True, _SCOPE),
    "restore": (ScopeRequest, True, _SCOPE),
}
_LISTING = (400, 401, 406, 429, 503)
_CHANGE = (400, 401, 404, 406, 408, 409, 413, 415, 429, 503)
_SCOPED = (400, 401, 406, 408, 413, 415, 429, 503)
_PROBLEMS: dict[str, tuple[int, ...]] = {
    "analyze": (400, 401, 406, 408, 409, 413, 415, 422, 429, 503),
    "analyzeFleet": (400, 401, 406, 408, 409, 413, 415, 422, 429, 503),
    "createSchedule": (400, 401, 406, 408, 409, 413, 415, 429, 503),
    "listSchedules": _LISTING,
    "deleteSchedule": (*_LISTING, 404),
    "listJobs": _LISTING,
    "getJob": (*_LISTING, 404),
    "listRecommendations": _LISTING,
    "getAccuracy": _LISTING,
    "getFleet": _LISTING,
    "getScalingDemand": (*_LISTING, 404, 409),
    "getRecommendation": (*_LISTING, 404),
    "applyRecommendation": (400, 401, 404, 406, 408, 409, 413, 415, 422, 429, 503),
    "applyPlan": (400, 401, 404, 406, 408, 409, 413, 415, 422, 429, 503),
    "rollBackJob": _CHANGE,
    "cancelJob": _CHANGE,
    "approveJob": _CHANGE,
    "getTimeline": (*_LISTING, 404),
    "getPolicy": _LISTING,
    "freeze": _SCOPED,
    "unfreeze": _SCOPED,
    "restore": _SCOPED,
    "getAudit": _LISTING,
    "listModels": _LISTING,
    "listPlugins": _LISTING,
    "live": (),
    "ready": (503,),
    "problemKind": (404,),
}
_ANSWERED = ("200", "201", "202")
_TEXT = {"schema": {"type": "string"}}
_ID_HEADER = {"X-Request-ID": {"description": "Finds the request in the log.", **_TEXT}}
_LINK = {
    "Link": {"description": 'The next page, `<...>; rel="next"`; absent on the last one.', **_TEXT},
    "X-Total-Count": {
        "description": "How many there are on all pages; 1000 stands for 1000 or more.",
        "schema": {"type": "integer"},
    },
}
_CREATED = {
    "Location": {"description": "Address of the job.", **_TEXT},
    "Idempotent-Replayed": {"description": "`true`: the key was known, this is its job.", **_TEXT},
}
_WAITED = {
    "Preference-Applied": {"description": "`wait=N`: the answer waited for the job.", **_TEXT},
    "Idempotent-Replayed": {"description": "`true`: the key was known, this is its job.", **_TEXT},
}
_HEADERS: dict[tuple[str, str], dict[str, Any]] = {
    ("analyze", "202"): _CREATED,
    ("analyze", "200"): _WAITED,
    ("analyzeFleet", "202"): _CREATED,
    ("analyzeFleet", "200"): _WAITED,
    ("applyPlan", "202"): _CREATED,
    ("applyRecommendation", "202"): _CREATED,
    ("listJobs", "200"): _LINK,
    ("listRecommendations", "200"): _LINK,
}
_OTHER_CONTENT = {"getTimeline": ("text/event-stream",), "getAudit": ("text/csv", "application/jsonl")}
_BEARER = {
    "type": "http",
    "scheme": "bearer",
    "description": "A token of `perfopt token create`, or of the OpenID Connect issuer.",
}


def openapi_config() -> OpenAPIConfig:
    """Returns what the framework needs to know; made anew for each application, as it keeps a router."""
    return OpenAPIConfig(
        title="perfopt",
        version=version("perfopt-api"),
        summary="Performance optimisation of services: recommendations with evidence",
        description=(
            "Ask for an analysis of a service, look at its job, read its recommendations, and see or"
            " export what applying one would change. Errors are RFC 9457 problem documents. Events are"
            " described in [asyncapi.json](/asyncapi.json)."
        ),
        tags=[
            Tag(name="Jobs", description="Analyses and what came of them."),
            Tag(name="Recommendations", description="What would serve a service better, with evidence."),
            Tag(name="Changes", description="Jobs that apply recommendations, policy, and the audit."),
            Tag(name="Models", description="Trained models, and which is in use."),
            Tag(name="Plugins", description="What computes recommendations."),
            Tag(name="Health", description="For load balancers and orchestrators."),
        ],
        use_handler_docstrings=True,
        render_plugins=[DocsPage()],
        openapi_router=docs_router(),
    )


def document(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """Returns the OpenAPI document of the application, built once."""
    state = request.app.state
    if "openapi_document" not in state:
        state["openapi_document"] = complete(request.app.openapi_schema.to_schema())
    built: dict[str, Any] = state["openapi_document"]
    return built


def complete(schema: dict[str, Any]) -> dict[str, Any]:
    """Adds what handlers do not tell the framework: strict bodies, problems, response headers, security."""
    # The schemas of msgspec in place of the framework's: they know bounds and unknown fields.
    _, models = msgspec.json.schema_components(_MODELS, ref_template=_REF)
    schema["components"] = {
        "schemas": {name: _described(model) for name, model in models.items()},
        "securitySchemes": {"bearer": _BEARER},
    }
    schema["servers"] = [{"url": "/"}]
    for path, item in schema["paths"].items():
        for operation in item.values():
            if isinstance(operation, dict) and "operationId" in operation:
                _complete_operation(operation, secured=path.startswith("/api/"))
    return schema


def _described(model: dict[str, Any]) -> dict[str, Any]:
    """Moves what a docstring says of attributes to the properties themselves."""
    text, _, attributes = model.get("description", "").partition("Attributes:\n")
    properties = {name: dict(value) for name, value in model.get("properties", {}).items()}
    for names, meaning in _ATTRIBUTE.findall(attributes):
        for name in names.split(", "):
            if name in properties:
                properties[name]["description"] = " ".join(meaning.split())
    described = {**model, "description": text.strip()}
    return described | ({"properties": properties} if properties else {})


def _complete_operation(operation: dict[str, Any], *, secured: bool) -> None:
    name = operation["operationId"]
    responses = {
        status: response
        for status, response in operation["responses"].items()
        if status in ("200", "201", "202")
    }
    if name in ("analyze", "analyzeFleet"):
        responses["200"] = {**responses["202"], "description": "The finished job, after `Prefer: wait=N`."}
        responses["202"]["description"] = "The job is stored and will be worked on."
    if name in ("applyRecommendation", "applyPlan"):
        responses["202"] = {
            **responses["200"],
            "description": "The job that changes the cluster.",
        }
    for status, response in responses.items():
        response = responses[status] = dict(response)
        response["headers"] = _HEADERS.get((name, status), {}) | _ID_HEADER
    for kind in _OTHER_CONTENT.get(name, ()):
        responses["200"]["content"] = responses["200"]["content"] | {kind: {"schema": {"type": "string"}}}
    for code in (*_PROBLEMS[name], *((403,) if secured else ())):
        responses[str(code)] = _problem_response(code)
    operation["responses"] = dict(sorted(responses.items()))
    if secured:
        operation["security"] = [{}, {"bearer": []}]
    if name in _BODIES:
        model, required, examples = _BODIES[name]
        content = {"schema": {"$ref": _REF.format(name=model.__name__)}, "examples": examples}
        operation["requestBody"] = {"required": required, "content": {"application/json": content}}


def _problem_response(status: int) -> dict[str, Any]:
    kinds = {code: kind for code, kind in KINDS.items() if kind.status == status}
    examples = {
        code: {
            "summary": kind.title,
            "value": {
                "type": f"/problems/{code}",
                "title": kind.title,
                "status": status,
                "detail": kind.meaning,
                "instance": "/api/v1/optimization/analyze",
            },
        }
        for code, kind in kinds.items()
    }
    headers = dict(_ID_HEADER)
    if status in (429, 503):
        headers["Retry-After"] = {"description": "Seconds to wait.", "schema": {"type": "string"}}
    return {
        "description": "; ".join(kind.title for kind in kinds.values()) + ".",
        "headers": headers,
        "content": {MEDIA_TYPE: {"schema": {"$ref": _REF.format(name="Problem")}, "examples": examples}},
    }


@get("/openapi.json", include_in_schema=False)
async def openapi_json(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Serves the OpenAPI document."""
    return Response(msgspec.json.encode(document(request)), media_type="application/json")


@get(
    "/problems/{code:str}",
    operation_id="problemKind",
    summary="Explain a problem",
    tags=["Health"],
)
async def problem_kind(code: FromPath[str]) -> ProblemKind:
    """Explains the type of a problem document."""
    if code not in KINDS:
        raise NotFoundError(f"There is no kind of problem {code!r}.", remedy=f"Known: {', '.join(KINDS)}.")
    return KINDS[code]
