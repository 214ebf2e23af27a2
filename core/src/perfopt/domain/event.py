"""The event `optimization_recommendation_generated`: the body that subscribers read."""

from typing import Any

import msgspec

from perfopt.domain.recommendation import OptimizationRecommendation

EVENT_TYPE = "optimization_recommendation_generated"
WITHDRAWN_TYPE = "optimization_recommendation_withdrawn"


class ResourceStateData(msgspec.Struct, frozen=True, kw_only=True):
    """The three quantities of a state, Kubernetes strings; null is unknown."""

    cpu_request: str | None
    memory_request: str | None
    replicas: int | None

    @classmethod
    def from_map(cls, state: dict[str, Any]) -> "ResourceStateData":
        """Takes the three out of a state map."""
        return cls(
            cpu_request=state.get("cpu_request"),
            memory_request=state.get("memory_request"),
            replicas=state.get("replicas"),
        )


class ExpectedImprovementData(msgspec.Struct, frozen=True, kw_only=True):
    """The claim as events carry it."""

    performance_gain_percent: float
    cost_reduction_percent: float | None
    confidence: float


class OptimizationRecommendationData(msgspec.Struct, frozen=True, kw_only=True):
    """A recommendation as events carry it."""

    recommendation_id: str
    service_name: str
    optimization_type: str
    description: str
    current_state: ResourceStateData
    recommended_state: ResourceStateData
    expected_improvement: ExpectedImprovementData

    @classmethod
    def from_recommendation(cls, made: OptimizationRecommendation) -> "OptimizationRecommendationData":
        """Narrows a recommendation to the event's fields."""
        claim = made.expected_improvement
        return cls(
            recommendation_id=made.recommendation_id,
            service_name=made.service_name,
            optimization_type=made.optimization_type.value,
            description=made.description,
            current_state=ResourceStateData.from_map(made.current_state),
            recommended_state=ResourceStateData.from_map(made.recommended_state),
            expected_improvement=ExpectedImprovementData(
                performance_gain_percent=claim.performance_gain_percent,
                cost_reduction_percent=claim.cost_reduction_percent,
                confidence=claim.confidence,
            ),
        )


class OptimizationRecommendationGenerated(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The event's body. Instants are UTC with milliseconds and Z.

    Attributes:
        event_id: of the event.
        timestamp: when it was generated.
        optimization_recommendation: the recommendation.
        details_url: where the API shows it.
        job_id: the analysis that made it.
        valid_until: how long it holds.
        supersedes: id of the recommendation whose place it takes.
        no_change: the current state is recommended.
    """

    event_id: str
    timestamp: str
    optimization_recommendation: OptimizationRecommendationData
    details_url: str | None = None
    job_id: str | None = None
    valid_until: str | None = None
    supersedes: str | None = None
    no_change: bool = False


class OptimizationRecommendationWithdrawn(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of a withdrawal: a later analysis recommends nothing of the type.

    Attributes:
        event_id: of the event.
        timestamp: when it was withdrawn, UTC with milliseconds and Z.
        recommendation_id: of what is in force no longer.
        service_name, optimization_type: of it.
        reason: why the later analysis recommends nothing.
        job_id: the later analysis.
        details_url: where the API shows what was withdrawn.
    """

    event_id: str
    timestamp: str
    recommendation_id: str
    service_name: str
    optimization_type: str
    reason: str
    job_id: str
    details_url: str | None = None
