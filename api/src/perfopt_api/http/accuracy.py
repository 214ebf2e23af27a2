"""How the recommendations in force did on their services' own past, and what became of all there were."""

from typing import Annotated

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromQuery, QueryParameter

from perfopt.domain.accuracy import ReplayedAccuracy
from perfopt.domain.enums import OptimizationType
from perfopt_api.http.body import require_plain
from perfopt_api.http.ports import ApiPorts


@get(
    "/accuracy",
    operation_id="getAccuracy",
    summary="Accuracy: replayed on the past of services, and recorded of what came",
    tags=["Recommendations"],
)
async def get_accuracy(
    ports: NamedDependency[ApiPorts],
    service_name: Annotated[
        str | None, QueryParameter(description="Only of this service; `_` and `-` are alike.", max_length=100)
    ] = None,
    optimization_type: FromQuery[OptimizationType | None] = None,
) -> list[ReplayedAccuracy]:
    """Adds up the evidence of the current recommendations, type by type; empty where there are none.

    Under `recorded` stands what recommendations came to once their validity was over.
    """
    require_plain(service_name, "service_name")
    return list(await ports.store.accuracy(service_name=service_name, optimization_type=optimization_type))
