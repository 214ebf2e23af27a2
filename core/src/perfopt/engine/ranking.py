"""Ranks recommendations of all types by what they are expected to be worth, in money and in risk. Pure."""

from collections.abc import Sequence

import msgspec

from perfopt.domain.recommendation import OptimizationRecommendation
from perfopt.engine.plan.merge import MergedProposal
from perfopt.engine.plan.utility import expected_value, preferred
from perfopt.plugin.context import AnalysisContext


def ranked(
    made: Sequence[tuple[MergedProposal, OptimizationRecommendation]], context: AnalysisContext
) -> tuple[OptimizationRecommendation, ...]:
    """Returns the recommendations by falling expected value, numbered by rank within this result.

    A preference that rules state is a factor on the value of their recommendation. Those of equal value
    follow the expected gain of performance, then type and name.
    """
    valued = [_valued(part, recommendation, context) for part, recommendation in made]
    return tuple(_numbered(one, rank) for rank, one in enumerate(sorted(valued, key=_order), start=1))


def _order(made: OptimizationRecommendation) -> tuple[float, float, str, str]:
    value, improvement = made.expected_value, made.expected_improvement
    gain = improvement.performance_gain_percent * improvement.confidence
    total = 0.0 if value is None else preferred(value.total, made.preference)
    return (-total, -gain, made.optimization_type.value, made.plugin)


def _valued(
    part: MergedProposal, made: OptimizationRecommendation, context: AnalysisContext
) -> OptimizationRecommendation:
    costs = made.monthly_cost_current, made.monthly_cost_recommended
    value = expected_value(*costs, made.evidence, part.staying, part.prior, context)
    return msgspec.structs.replace(made, expected_value=value)


def _numbered(made: OptimizationRecommendation, rank: int) -> OptimizationRecommendation:
    number = f"opt_{made.made_at:%Y%m%d}_{rank:03d}"
    return msgspec.structs.replace(made, recommendation_id=number)
