"""Which states the fleet view compares: what workloads have, and what was recommended for them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from perfopt.domain.recommendation import (
    RUNNING_HOURS,
    AnalysisResult,
    OptimizationRecommendation,
    Plan,
    Reason,
)
from perfopt.fleet.view import WorkloadStates


def states_of_result(current: Mapping[str, Any], result: AnalysisResult) -> WorkloadStates:
    """Returns the states of an analysis: its plan's, or the current one twice where it has no plan.

    Args:
        current: the state map that the source knows.
        result: of the same workload.
    """
    if result.plan is not None:
        return _planned(result.workload, result.plan)
    reasons = [reason for one in result.recommendations for reason in one.reasons]
    return WorkloadStates(
        workload=result.workload,
        current=current,
        recommended=current,
        running_share=_running_share(reasons),
    )


def states_in_force(
    recommendations: Sequence[OptimizationRecommendation], plans: Iterable[tuple[str, Plan]]
) -> list[WorkloadStates]:
    """Returns the states of what is in force: of each workload its newest plan, ordered by workload.

    A plan is in force while all recommendations it is made of are. Where none is, that recommendation counts
    which saves most: in money times the confidence, as in the ranking of an analysis.

    Args:
        recommendations: the recommendations in force.
        plans: workload and plan, newest first.
    """
    in_force = {one.recommendation_id for one in recommendations}
    states: dict[str, WorkloadStates] = {}
    for workload, plan in plans:
        if workload not in states and all(step.recommendation_id in in_force for step in plan.steps):
            states[workload] = _planned(workload, plan)
    for name, one in _best([one for one in recommendations if one.workload not in states]).items():
        states[name] = WorkloadStates(
            workload=name,
            current=one.current_state,
            recommended=one.recommended_state,
            confidence=one.expected_improvement.confidence,
            running_share=_running_share(one.reasons),
        )
    return [states[name] for name in sorted(states)]


def _planned(workload: str, plan: Plan) -> WorkloadStates:
    return WorkloadStates(
        workload=workload,
        current=plan.current_state,
        recommended=plan.recommended_state,
        confidence=plan.expected_improvement.confidence,
        running_share=_running_share(plan.reasons),
    )


def _running_share(reasons: Sequence[Reason]) -> float:
    """Returns the share of the time for which a recommendation is priced."""
    shares = (reason.data.get("running_share") for reason in reasons if reason.code == RUNNING_HOURS)
    return next((float(share) for share in shares if share is not None), 1.0)


def _best(recommendations: Iterable[OptimizationRecommendation]) -> dict[str, OptimizationRecommendation]:
    best: dict[str, OptimizationRecommendation] = {}
    for one in recommendations:
        known = best.get(one.workload)
        if known is None or _expected(one) > _expected(known):
            best[one.workload] = one
    return best


def _expected(recommendation: OptimizationRecommendation) -> float:
    if recommendation.monthly_cost_current is None or recommendation.monthly_cost_recommended is None:
        return 0.0
    saving = recommendation.monthly_cost_current - recommendation.monthly_cost_recommended
    return saving * recommendation.expected_improvement.confidence
