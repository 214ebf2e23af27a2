"""Requests of the contract."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from perfopt.domain.enums import OptimizationType

Label = Annotated[str, Meta(max_length=317)]  # prefix/name of a label
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


class WorkloadSelector(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which workloads of an inventory; what is given must all hold, and nothing given selects all.

    Attributes:
        cluster, namespace: exactly so.
        kind: such as `deployment`, in any case.
        labels: that the workload has with these values.
        names: service names, or full names `[cluster/]namespace/[kind/]name`.
    """

    cluster: Annotated[str, Meta(max_length=100)] | None = None
    namespace: Annotated[str, Meta(max_length=100)] | None = None
    kind: Annotated[str, Meta(max_length=100)] | None = None
    labels: Annotated[dict[Label, Label], Meta(max_length=20)] = {}
    names: Annotated[tuple[ServiceName, ...], Meta(max_length=1000)] = ()

    def __str__(self) -> str:
        """Returns it as text for people, such as `namespace=trading kind=deployment`."""
        parts = [(name, getattr(self, name)) for name in ("cluster", "namespace", "kind")]
        parts += sorted(self.labels.items())
        shown = [f"{name}={value}" for name, value in parts if value is not None]
        if self.names:
            shown.append(
                f"{self.names[0]} and {len(self.names) - 1} more" if self.names[1:] else self.names[0]
            )
        return " ".join(shown) or "all workloads"


class FleetAnalysisRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which workloads to analyse together; the other fields are those of PerformanceAnalysisRequest.

    Attributes:
        selector: which workloads; an empty one selects all.
    """

    selector: WorkloadSelector
    optimization_types: tuple[OptimizationType, ...] = ()
    analysis_period: Annotated[str, Meta(max_length=50)] = "14d"
    include_predictions: bool = False
    auto_apply: bool = False
    validity: Annotated[str, Meta(max_length=50)] = "7d"
    source: Annotated[str, Meta(max_length=100)] | None = None

    def of_workload(self, service_name: str) -> PerformanceAnalysisRequest:
        """Returns the request that asks for one of the workloads."""
        return PerformanceAnalysisRequest(
            service_name=service_name,
            optimization_types=self.optimization_types,
            analysis_period=self.analysis_period,
            include_predictions=self.include_predictions,
            auto_apply=self.auto_apply,
            validity=self.validity,
            priority="fleet",
            source=self.source,
        )


def requested_types(
    request: PerformanceAnalysisRequest | FleetAnalysisRequest,
) -> tuple[OptimizationType, ...]:
    """Returns the types asked for, each once, in the order given; all five where none is named."""
    return tuple(dict.fromkeys(request.optimization_types)) or tuple(OptimizationType)
