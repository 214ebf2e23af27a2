"""How many replicas a service needs, in the form that KEDA's metrics-api scaler reads."""

from datetime import timedelta
from typing import Annotated, Any

from litestar import Request, get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from perfopt.domain.enums import OptimizationType
from perfopt.domain.period import parse_duration
from perfopt.domain.recommendation import OptimizationRecommendation
from perfopt.domain.scaling import ScalingDemand
from perfopt.errors import AmbiguousError, InvalidInputError, NotFoundError
from perfopt_api.http.admission import not_at_work
from perfopt_api.http.auth import visible_namespaces
from perfopt_api.http.body import require_plain
from perfopt_api.http.ports import ApiPorts, all_recommendations
from perfopt_api.scaling.plan import demand_at, with_live

MAX_HORIZON = timedelta(days=31)
_END = "/demand"
_WorkloadParameter = Annotated[
    str | None,
    QueryParameter(
        description="Full name, where several workloads go by that of the service.", max_length=300
    ),
]
_HorizonParameter = Annotated[str, QueryParameter(description="Horizon of the plan (`6h`).", max_length=50)]


@get(
    "/scaling/{service:str}/demand",
    operation_id="getScalingDemand",
    summary="How many replicas a service needs, now and soon",
    tags=["Recommendations"],
)
async def get_demand(
    request: Request[Any, Any, Any],
    ports: NamedDependency[ApiPorts],
    service: FromPath[str],
    workload: _WorkloadParameter = None,
    horizon: _HorizonParameter = "6h",
) -> ScalingDemand:
    """Forecasts by the latest minutes, within the recommendation in force; 404 without one, 409 after it.

    The service may be a full name, `[cluster/]namespace/[kind/]name`, with its slashes as they are.
    """
    return await _demand(request, ports, service, workload, horizon)


@get("/scaling/{name:path}", include_in_schema=False)
async def get_demand_of_full_name(
    request: Request[Any, Any, Any],
    ports: NamedDependency[ApiPorts],
    name: FromPath[str],
    workload: _WorkloadParameter = None,
    horizon: _HorizonParameter = "6h",
) -> ScalingDemand:
    """Answers as `get_demand`, for names with slashes: a parameter of a path holds none."""
    if not name.endswith(_END):
        raise NotFoundError("There is no such address.", remedy=f"Ask scaling/SERVICE{_END}.")
    return await _demand(request, ports, name.removesuffix(_END).strip("/"), workload, horizon)


async def _demand(
    request: Request[Any, Any, Any], ports: ApiPorts, service: str, workload: str | None, horizon: str
) -> ScalingDemand:
    for name, text in (("service", service), ("workload", workload)):
        require_plain(text, name)
    ahead = parse_duration(horizon, field="horizon")
    if ahead > MAX_HORIZON:
        raise InvalidInputError("That is too far.", field="horizon", remedy="Ask for 31 days at the most.")
    recommendation, now = await _in_force(request, ports, service, workload), ports.now()
    plan = demand_at(recommendation, now, ahead)
    source = await ports.store.source_of(recommendation.recommendation_id)
    with not_at_work(request.scope):
        live = await ports.live.of(recommendation, source, now)
    return with_live(plan, live)


async def _in_force(
    request: Request[Any, Any, Any], ports: ApiPorts, service: str, workload: str | None
) -> OptimizationRecommendation:
    known = await all_recommendations(
        ports.store,
        service_name=service,
        optimization_type=OptimizationType.SCALING_OPTIMIZATION,
        include_expired=True,
        namespaces=visible_namespaces(request),
    )
    recommendations = [one for one in known if workload is None or one.workload == workload]
    if not recommendations:
        raise NotFoundError(
            f"There is no scaling recommendation for {service!r}.",
            field="service",
            remedy="Analyse it with the type SCALING_OPTIMIZATION.",
        )
    names = tuple(dict.fromkeys(one.workload for one in recommendations))
    if len(names) > 1:
        raise AmbiguousError(
            f"Several workloads go by {service!r}.",
            field="workload",
            remedy="Name one by ?workload=.",
            candidates=names,
        )
    return recommendations[0]
