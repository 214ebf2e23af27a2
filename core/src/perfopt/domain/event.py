"""The event `optimization_recommendation_generated`: the body that subscribers read."""

from typing import Any

import msgspec

from perfopt.domain.recommendation import OptimizationRecommendation

EVENT_TYPE = "optimization_recommendation_generated"
WITHDRAWN_TYPE = "optimization_recommendation_withdrawn"
STATUS_TYPE = "optimization_job_status_changed"
APPLIED_TYPE = "optimization_applied"
ROLLED_BACK_TYPE = "optimization_rolled_back"
ATTENTION_TYPE = "optimization_attention_needed"
DEMOTED_TYPE = "optimization_strategy_demoted"


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
    def from_recommendation(
        cls, recommendation: OptimizationRecommendation
    ) -> "OptimizationRecommendationData":
        """Narrows a recommendation to the event's fields."""
        claim = recommendation.expected_improvement
        return cls(
            recommendation_id=recommendation.recommendation_id,
            service_name=recommendation.service_name,
            optimization_type=recommendation.optimization_type.value,
            description=recommendation.description,
            current_state=ResourceStateData.from_map(recommendation.current_state),
            recommended_state=ResourceStateData.from_map(recommendation.recommended_state),
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


class OptimizationJobStatusChanged(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of a change of the status of a job.

    Of an analysis or a fleet how it ended: RECOMMENDATIONS_READY or FAILED; of what applies something
    APPLYING, then how it ended. The analyses of a fleet's workloads are not announced one by one.

    Attributes:
        event_id: of the event.
        timestamp: when it changed, UTC with milliseconds and Z.
        job_id: of the job.
        service_name, optimization_type, status: as the job shows them.
        parent_job_id: the analysis that made what is applied; absent of an analysis.
        error: why it FAILED or was ROLLED_BACK, {code, message, remedy}.
        details_url: where the API shows the job.
    """

    event_id: str
    timestamp: str
    job_id: str
    service_name: str
    optimization_type: str
    status: str
    parent_job_id: str | None = None
    error: dict[str, Any] | None = None
    details_url: str | None = None


class OptimizationApplied(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of an applied recommendation: it is in the cluster, and its verification passed.

    Attributes:
        event_id: of the event.
        timestamp: when the job ended, UTC with milliseconds and Z.
        job_id: of the job that applied it.
        service_name, optimization_type, workload: of the recommendation.
        recommendation_ids: what is in force now.
        changes: path of a field, such as `containers.app.cpu_request`, to its new value; null is removed.
        durability: `template`, or `transient` where pods alone were resized.
        verification: what the verification showed, in one sentence.
        details_url: where the API shows the job.
    """

    event_id: str
    timestamp: str
    job_id: str
    service_name: str
    optimization_type: str
    workload: str
    recommendation_ids: list[str]
    changes: dict[str, Any]
    durability: str
    verification: str
    details_url: str | None = None


class OptimizationRolledBack(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of a rollback: the workload is as it was before the job.

    Attributes:
        event_id: of the event.
        timestamp: when the job ended, UTC with milliseconds and Z.
        job_id: of the job that was rolled back.
        service_name, optimization_type, workload: of the recommendation.
        recommendation_ids: what is in force no longer.
        code, reason: why.
        left_alone: fields that somebody else changed meanwhile, and that therefore stay as they are.
        details_url: where the API shows the job.
    """

    event_id: str
    timestamp: str
    job_id: str
    service_name: str
    optimization_type: str
    workload: str
    recommendation_ids: list[str]
    code: str
    reason: str
    left_alone: list[str] = []
    details_url: str | None = None


class OptimizationAttentionNeeded(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of a change that waits for a person, or of a rollback that fails.

    Attributes:
        event_id: of the event.
        timestamp: when it was noted, UTC with milliseconds and Z.
        job_id: of the job that applies something.
        service_name, optimization_type, workload: of the recommendation.
        code: `approval`, `held`, `rollback_failed`.
        reason: one sentence.
        details_url: where the API shows the job.
    """

    event_id: str
    timestamp: str
    job_id: str
    service_name: str
    optimization_type: str
    workload: str
    code: str
    reason: str
    details_url: str | None = None


class OptimizationStrategyDemoted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of a demotion: recommendations of the strategy are advice, and are not applied by themselves.

    Attributes:
        event_id: of the event.
        timestamp: when it was demoted, UTC with milliseconds and Z.
        strategy, version: which strategy, in which version of its plugin.
        service_class: for services of which class.
        accuracy: the realised accuracy of what was applied of it.
        floor: the accuracy below which it is demoted.
        scored: how many recommendations that is of.
    """

    event_id: str
    timestamp: str
    strategy: str
    version: str
    service_class: str
    accuracy: float
    floor: float
    scored: int
