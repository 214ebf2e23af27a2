"""How many replicas a service needs, in the form that KEDA's metrics-api scaler reads."""

from datetime import timedelta
from typing import Annotated

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from perfopt.domain.enums import OptimizationType
from perfopt.domain.period import parse_duration
from perfopt.domain.recommendation import OptimizationRecommendation
from perfopt.domain.scaling import ScalingDemand
from perfopt.errors import AmbiguousError, InvalidInputError, NotFoundError
from perfopt_api.apply.demand import demand_at
from perfopt_api.http.body import require_plain
from perfopt_api.http.ports import Ports

MOST_HORIZON = timedelta(days=31)
_MOST_LISTED = 50


@get(
    "/scaling/{service:str}/demand",
    operation_id="getScalingDemand",
    summary="How many replicas a service needs, now and soon",
    tags=["Recommendations"],
)
async def get_demand(
    ports: NamedDependency[Ports],
    service: FromPath[str],
    workload: Annotated[
        str | None,
        QueryParameter(
            description="Full name, where several workloads go by that of the service.", max_length=300
        ),
    ] = None,
    horizon: Annotated[
        str, QueryParameter(description="How far the plan is told (`6h`).", max_length=50)
    ] = "6h",
) -> ScalingDemand:
    """Reads the scaling recommendation in force; 404 without one, 409 once its validity is over."""
    for name, text in (("service", service), ("workload", workload)):
        require_plain(text, name)
    ahead = parse_duration(horizon, field="horizon")
    if ahead > MOST_HORIZON:
        raise InvalidInputError("That is too far.", field="horizon", remedy="Ask for 31 days at the most.")
    return demand_at(await _in_force(ports, service, workload), ports.now(), ahead)


async def _in_force(ports: Ports, service: str, workload: str | None) -> OptimizationRecommendation:
    page = await ports.store.list_recommendations(
        service_name=service,
        optimization_type=OptimizationType.SCALING_OPTIMIZATION,
        limit=_MOST_LISTED,
    )
    found = [made for made in page.items if workload is None or made.workload == workload]
    if not found:
        raise NotFoundError(
            f"There is no scaling recommendation for {service!r}.",
            field="service",
            remedy="Analyse it with the type SCALING_OPTIMIZATION.",
        )
    names = tuple(dict.fromkeys(made.workload for made in found))
    if len(names) > 1:
        raise AmbiguousError(
            f"Several workloads go by {service!r}.",
            field="workload",
            remedy="Name one by ?workload=.",
            candidates=names,
        )
    return found[0]
