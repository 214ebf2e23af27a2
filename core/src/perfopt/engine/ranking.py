"""Ranks recommendations of all types by what they are expected to be worth, in money and in risk. Pure."""

from collections.abc import Sequence

import msgspec

from perfopt.domain.recommendation import OptimizationRecommendation
from perfopt.engine.plan.merge import MergedProposal
from perfopt.engine.plan.utility import expected_value, preferred
from perfopt.plugin.context import AnalysisContext


def ranked(
    recommendations: Sequence[tuple[MergedProposal, OptimizationRecommendation]], context: AnalysisContext
) -> tuple[OptimizationRecommendation, ...]:
    """Returns the recommendations by falling expected value, numbered by rank within this result.

    A preference that rules state is a factor on the value of their recommendation. Those of equal value
    follow the expected gain of performance, then type and name.
    """
    valued = [_valued(part, recommendation, context) for part, recommendation in recommendations]
    return tuple(_numbered(one, rank) for rank, one in enumerate(sorted(valued, key=_order), start=1))


def _order(recommendation: OptimizationRecommendation) -> tuple[float, float, str, str]:
    value, improvement = recommendation.expected_value, recommendation.expected_improvement
    gain = improvement.performance_gain_percent * improvement.confidence
    total = 0.0 if value is None else preferred(value.total, recommendation.preference)
    return (-total, -gain, recommendation.optimization_type.value, recommendation.plugin)


def _valued(
    part: MergedProposal, recommendation: OptimizationRecommendation, context: AnalysisContext
) -> OptimizationRecommendation:
    costs = recommendation.monthly_cost_current, recommendation.monthly_cost_recommended
    value = expected_value(*costs, recommendation.evidence, part.staying, part.prior, context)
    return msgspec.structs.replace(recommendation, expected_value=value)


def _numbered(recommendation: OptimizationRecommendation, rank: int) -> OptimizationRecommendation:
    number = f"opt_{recommendation.made_at:%Y%m%d}_{rank:03d}"
    return msgspec.structs.replace(recommendation, recommendation_id=number)
