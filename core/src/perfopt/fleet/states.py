"""Which states the fleet view compares: what workloads have, and what was recommended for them."""

from collections.abc import Iterable, Mapping
from typing import Any

from perfopt.domain.recommendation import AnalysisResult, OptimizationRecommendation
from perfopt.fleet.view import WorkloadStates


def states_of_result(current: Mapping[str, Any], result: AnalysisResult) -> WorkloadStates:
    """Returns the states of an analysis: its plan's, or the current one twice where it has no plan.

    Args:
        current: the state map that the source knows.
        result: of the same workload.
    """
    plan = result.plan
    return WorkloadStates(
        workload=result.workload,
        current=plan.current_state if plan else current,
        recommended=plan.recommended_state if plan else current,
    )


def states_of_recommendations(made: Iterable[OptimizationRecommendation]) -> list[WorkloadStates]:
    """Returns the states of stored recommendations: of several for a workload, that which saves most.

    What counts is the saving in money times the confidence, as in the ranking of an analysis.
    """
    best: dict[str, OptimizationRecommendation] = {}
    for one in made:
        known = best.get(one.workload)
        if known is None or _expected(one) > _expected(known):
            best[one.workload] = one
    return [
        WorkloadStates(workload=name, current=one.current_state, recommended=one.recommended_state)
        for name, one in sorted(best.items())
    ]


def _expected(made: OptimizationRecommendation) -> float:
    if made.monthly_cost_current is None or made.monthly_cost_recommended is None:
        return 0.0
    saving = made.monthly_cost_current - made.monthly_cost_recommended
    return saving * made.expected_improvement.confidence
