"""Requests of the contract."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from perfopt.domain.enums import OptimizationType

ServiceName = Annotated[str, Meta(min_length=1, max_length=100)]


class PerformanceAnalysisRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to analyse.

    Attributes:
        service_name: `name`, or in full `[cluster/]namespace/[kind/]name`.
        optimization_types: empty means all five.
        analysis_period: how much history: `14d`, `P14D` or `start/end`, see perfopt.domain.period.
        include_predictions: put the forecast on each recommendation.
        auto_apply: apply what policy allows.
        validity: how long the recommendation must hold.
        priority: interactive jobs go first; fleet is for what nobody waits for.
        source: the name of a configured metric source; None is the default one.
    """

    service_name: ServiceName
    optimization_types: tuple[OptimizationType, ...] = ()
    analysis_period: Annotated[str, Meta(max_length=50)] = "14d"
    include_predictions: bool = False
    auto_apply: bool = False
    validity: Annotated[str, Meta(max_length=50)] = "7d"
    priority: Literal["interactive", "fleet"] = "interactive"
    source: Annotated[str, Meta(max_length=100)] | None = None


def requested_types(request: PerformanceAnalysisRequest) -> tuple[OptimizationType, ...]:
    """Returns the types asked for, each once, in the order given; all five where none is named."""
    return tuple(dict.fromkeys(request.optimization_types)) or tuple(OptimizationType)
