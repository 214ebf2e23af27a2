"""What the engine gives out: recommendations, what was declined, warnings, evidence."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from perfopt.domain.enums import DeclineCode, OptimizationType, ServiceClass
from perfopt.domain.rules import FiredRule, TimeWindow


class ExpectedImprovement(msgspec.Struct, frozen=True, kw_only=True):
    """The claim. Positive is better.

    Attributes:
        performance_gain_percent: relative fall of predicted p99 latency; 0 where there is no latency data.
        cost_reduction_percent: fall of the monthly cost of requests by the named price book; None where the
            current cost is 0 or unknown.
        latency_reduction_ms: at the SLO's quantile.
        confidence: probability that the recommendation is accurate.
    """

    performance_gain_percent: float
    cost_reduction_percent: float | None
    latency_reduction_ms: float
    confidence: float


class ConfidenceDetail(msgspec.Struct, frozen=True, kw_only=True):
    """Where a confidence comes from.

    Attributes:
        n_effective: past validity windows scored, overlap counted once.
        accurate_share: share of the scored replays that were accurate; None where there were none.
        prior: the probability before this service's own record.
        prior_strength: how many windows the prior weighs.
        prior_source: the measurement the prior is from.
        before_record: the probability before recorded outcomes were taken into account; None where there
            were none, and it is the confidence itself.
        recorded_outcomes: how many of the strategy's recommendations, over all services, were held against
            what came; older ones, those of other versions and overlapping ones weigh less.
        recorded_accuracy: share of them that was accurate.
    """

    n_effective: float
    accurate_share: float | None
    prior: float
    prior_strength: float
    prior_source: str
    before_record: float | None = None
    recorded_outcomes: float = 0.0
    recorded_accuracy: float | None = None


class ReplayWindow(msgspec.Struct, frozen=True, kw_only=True):
    """How the same strategy would have done at one past instant, from what was known then.

    Attributes:
        made_at, scored_until: the window [made_at, scored_until) the outcome was taken on.
        accurate, cpu_safe, memory_safe: None where the window was not scored, or
            where that resource was not set or not measured.
        outcome: "accurate", "inaccurate", "declined" or "not_scored".
        recommended: quantities by container, Kubernetes strings.
        cpu_waste, memory_waste: recommended / smallest accurate value - 1, summed over containers.
        claim_kept: whether the claimed latency or saving was realised; None where nothing was claimed.
        realised_latency_ms, realised_saving_percent: what was realised, where it was claimed.
        reason: why it was declined or not scored.
    """

    made_at: datetime
    scored_until: datetime
    outcome: str
    accurate: bool | None = None
    cpu_safe: bool | None = None
    memory_safe: bool | None = None
    recommended: dict[str, dict[str, str]] = {}
    cpu_waste: float | None = None
    memory_waste: float | None = None
    claim_kept: bool | None = None
    realised_latency_ms: float | None = None
    realised_saving_percent: float | None = None
    reason: str | None = None


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """The backtest on the service's own history.

    Attributes:
        windows: one per past origin, oldest first.
    """

    windows: tuple[ReplayWindow, ...]


RUNNING_HOURS = "running_hours"
"""Code of the reason that a job is priced for the hours in which it runs."""


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """Why a value is what it is: a stable code, a sentence, and the numbers behind it."""

    code: str
    text: str
    data: dict[str, Any] = {}


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """What of a metric was there, and what was done to it on the way to the grid.

    Attributes:
        expected: steps of the grid in which the workload existed (pods x steps).
        present: steps with at least one sample.
        fraction: present / expected, 0 where nothing was expected.
        filled: steps filled deliberately (carried forward), counted as missing in `fraction`.
        dropped: raw samples dropped, by reason (duplicate, nan, negative, future, implausible).
        resets: counter resets seen.
    """

    expected: int
    present: int
    fraction: float
    filled: int = 0
    dropped: dict[str, int] = {}
    resets: int = 0


class PredictionSeries(msgspec.Struct, frozen=True, kw_only=True):
    """A forecast on a regular grid.

    Attributes:
        unit: of the values ("cores", "bytes", "requests/s").
        start: of the first step.
        step_seconds: length of a step.
        quantiles: quantile level as text ("0.5") to one value a step.
    """

    unit: str
    start: datetime
    step_seconds: int
    quantiles: dict[str, list[float]]


class AnalysisWarning(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something the user should know: a stable code, a sentence, and the plugin it concerns, if any."""

    code: str
    message: str
    plugin: str | None = None


class Declined(msgspec.Struct, frozen=True, kw_only=True):
    """No recommendation, as a value with a reason.

    Attributes:
        plugin: key of the strategy; the engine sets it. None where no strategy makes the type.
        holds: quantities of containers ("cpu_request") for which the evidence is not enough: strategies of
            other types lower none of them in the same analysis.
    """

    optimization_type: OptimizationType
    code: DeclineCode
    reason: str
    plugin: str | None = None
    holds: tuple[str, ...] = ()


_OLD_CODES = {
    "goes_together": "dependent_field",
    "breaches_together": "joint_violation",
    "enough_without": "redundant",
    "not_worth_it": "no_net_benefit",
}


class Conflict(msgspec.Struct, frozen=True, kw_only=True):
    """A value that a strategy proposed and the plan rejects, with the reason.

    Attributes:
        field: where in the state, such as "main.cpu_request", "replicas", "hpa.min_replicas" or
            "knobs.main.GOMAXPROCS".
        code: "same_field", "dependent_field" (it makes sense only with a value that is rejected),
            "joint_violation" (accurate alone, violated together with the plan in the backtest), "redundant"
            (the capacity that the plan adds is enough), "no_net_benefit" (it lowers the plan's value), or
            "refused_by_rules" (rules refuse the plan with it).
            Codes of older versions are read as these, for one minor version.
        wanted, kept: the value rejected and the plan's, as state maps print them; None is unset.
        lost_by, won_by: keys of the strategies, and their types; None where nothing is taken.
        reason: one sentence.
    """

    field: str
    code: str
    wanted: Any
    kept: Any
    lost_by: str
    lost_by_type: OptimizationType
    won_by: str | None
    won_by_type: OptimizationType | None
    reason: str

    def __post_init__(self) -> None:
        """Reads the codes of older versions."""
        msgspec.structs.force_setattr(self, "code", _OLD_CODES.get(self.code, self.code))


class ExpectedValue(msgspec.Struct, frozen=True, kw_only=True):
    """What a recommendation is ranked by, in the currency of its price book per month.

    Attributes:
        saving: fall of the cost, times the confidence.
        risk: fall of the expected under-provisioning penalty against staying as it is, by the record of both
            on the same past windows; the penalty is that of the service's class, in monthly costs.
        total: their sum.
    """

    saving: float
    risk: float
    total: float


class OptimizationRecommendation(msgspec.Struct, frozen=True, kw_only=True):
    """One recommendation: the seed's seven fields, then additions.

    Attributes:
        withdrawn_at: when a later analysis recommended nothing of the type.
        no_change_needed: the current state is recommended; `already_right` is its older name.
        conflicts: what of it the plan does not take; recommended_state has the plan's values there.
        expected_value: what it is ranked by; None where costs are unknown.
        rules_fired: names of the rules that fired.
        rules: what they did, in order.
        requires_approval: a person must agree before it is applied; the fired rules say why.
        not_before: the first instant at which rules allow it to be applied; None is at once.
        allowed_windows: when rules allow it to be applied, within its validity; empty is at any time.
        annotations: notes of rules, by key.
        preference: factor that rules put on its value in the ranking.
        plugin_version: of the distribution that brings the plugin; None in recommendations of old.
        models: kind to SHA-256 of the models that it was made with; a model that a plugin ships is known
            by the plugin's version.
        service_class: of the service then.
        heap_containers: containers whose runtime has a heap of its own (JVM, Node.js, Python), which a
            lower memory limit does not change.
        claim: the claimed latency or saving of a schedule, by the fields of
            `perfopt.plugin.Claim`; empty where nothing is.
    """

    recommendation_id: str
    service_name: str
    optimization_type: OptimizationType
    description: str
    current_state: dict[str, Any]
    recommended_state: dict[str, Any]
    expected_improvement: ExpectedImprovement
    workload: str
    plugin: str
    made_at: datetime
    valid_until: datetime
    reasons: tuple[Reason, ...]
    confidence_detail: ConfidenceDetail
    evidence: Evidence
    price_book: str
    currency: str
    monthly_cost_current: float | None
    monthly_cost_recommended: float | None
    coverage: dict[str, Coverage]
    rules_fired: tuple[str, ...] = ()
    rules: tuple[FiredRule, ...] = ()
    requires_approval: bool = False
    not_before: datetime | None = None
    allowed_windows: tuple[TimeWindow, ...] = ()
    annotations: dict[str, str] = {}
    preference: float = 1.0
    predictions: dict[str, PredictionSeries] | None = None
    applied: bool = False
    superseded_by: str | None = None
    withdrawn_at: datetime | None = None
    plugin_version: str | None = None
    models: dict[str, str] = {}
    claim: dict[str, Any] = {}
    conflicts: tuple[Conflict, ...] = ()
    expected_value: ExpectedValue | None = None
    no_change_needed: bool = False
    already_right: bool = False
    service_class: ServiceClass = ServiceClass.STANDARD
    heap_containers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Gives the flag both its names: older versions read and wrote the other one."""
        flag = self.no_change_needed or self.already_right
        msgspec.structs.force_setattr(self, "no_change_needed", flag)
        msgspec.structs.force_setattr(self, "already_right", flag)


class PlanStep(msgspec.Struct, frozen=True, kw_only=True):
    """One recommendation of a plan, in the order to apply them in.

    Attributes:
        changes: fields it sets and the plan's values of them, as in `Conflict.field`.
        reason: why it stands where it does.
    """

    recommendation_id: str
    optimization_type: OptimizationType
    changes: dict[str, Any]
    reason: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The one state that an analysis' recommendations make together, replayed as a whole.

    Attributes:
        current_state, recommended_state: state maps.
        expected_improvement, confidence_detail, evidence: of the merged state, not sums over its parts.
        conflicts: all that was wanted and is not taken.
        steps: the recommendations it is made of, in the order to apply them in.
        reasons: what was adjusted so that the parts fit each other, and by which rule.
        rules_fired: names of the rules that fired, on a part of it or on the whole.
        rules: what they did.
        requires_approval: a person must agree before it is applied, to a part of it or to the whole.
        not_before: the first instant at which rules allow all of it to be applied; None is at once.
        allowed_windows: when rules allow all of it to be applied; empty is at any time.
        annotations: notes of rules, by key.
    """

    description: str
    current_state: dict[str, Any]
    recommended_state: dict[str, Any]
    expected_improvement: ExpectedImprovement
    confidence_detail: ConfidenceDetail
    evidence: Evidence
    price_book: str
    currency: str
    monthly_cost_current: float | None
    monthly_cost_recommended: float | None
    steps: tuple[PlanStep, ...]
    conflicts: tuple[Conflict, ...] = ()
    reasons: tuple[Reason, ...] = ()
    rules_fired: tuple[str, ...] = ()
    rules: tuple[FiredRule, ...] = ()
    requires_approval: bool = False
    not_before: datetime | None = None
    allowed_windows: tuple[TimeWindow, ...] = ()
    annotations: dict[str, str] = {}


class AnalysisResult(msgspec.Struct, frozen=True, kw_only=True):
    """All that one analysis of one workload gave: ranked recommendations, what was declined, warnings.

    Attributes:
        plan: what the recommendations make together; None where nothing is to be changed.
    """

    service_name: str
    workload: str
    recommendations: tuple[OptimizationRecommendation, ...]
    declined: tuple[Declined, ...]
    warnings: tuple[AnalysisWarning, ...]
    plan: Plan | None = None


def renumbered(result: AnalysisResult, ids: Sequence[str]) -> AnalysisResult:
    """Returns the result with other ids for its recommendations, in their order, in the plan too."""
    pairs = list(zip(result.recommendations, ids, strict=True))
    recommendations = tuple(
        msgspec.structs.replace(recommendation, recommendation_id=new) for recommendation, new in pairs
    )
    by_old = {recommendation.recommendation_id: new for recommendation, new in pairs}
    plan = None if result.plan is None else _renumbered_plan(result.plan, by_old)
    return msgspec.structs.replace(result, recommendations=recommendations, plan=plan)


def _renumbered_plan(plan: Plan, ids: Mapping[str, str]) -> Plan:
    steps = tuple(
        msgspec.structs.replace(step, recommendation_id=ids[step.recommendation_id]) for step in plan.steps
    )
    return msgspec.structs.replace(plan, steps=steps)
