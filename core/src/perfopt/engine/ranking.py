"""Ranks recommendations of all types by what they are expected to be worth, in money and in risk. Pure."""

from collections.abc import Sequence

import msgspec

from perfopt.domain.recommendation import ExpectedValue, OptimizationRecommendation
from perfopt.engine.merging.bids import preferred
from perfopt.engine.merging.merge import Part
from perfopt.learn.model import SHORTAGE_COSTS
from perfopt.plugin.context import AnalysisContext

_DIGITS = 4


def ranked(
    made: Sequence[tuple[Part, OptimizationRecommendation]], context: AnalysisContext
) -> tuple[OptimizationRecommendation, ...]:
    """Returns the recommendations by falling expected value, numbered by rank within this result.

    A preference that rules state is a factor on the value of their recommendation. Those of equal value
    follow the gain of performance they promise, then type and name.
    """
    valued = [_valued(part, recommendation, context) for part, recommendation in made]
    return tuple(_numbered(one, rank) for rank, one in enumerate(sorted(valued, key=_order), start=1))


def _order(made: OptimizationRecommendation) -> tuple[float, float, str, str]:
    value, improvement = made.expected_value, made.expected_improvement
    gain = improvement.performance_gain_percent * improvement.confidence
    total = 0.0 if value is None else preferred(value.total, made.preference)
    return (-total, -gain, made.optimization_type.value, made.plugin)


def _valued(
    part: Part, made: OptimizationRecommendation, context: AnalysisContext
) -> OptimizationRecommendation:
    now, then = made.monthly_cost_current, made.monthly_cost_recommended
    if now is None or then is None:
        return made
    saving = (now - then) * made.expected_improvement.confidence
    kind = context.snapshot.workload.service_class
    breach = context.shortage_costs.get(kind, SHORTAGE_COSTS[kind]) * now
    risk = breach * _surer(part, made)
    value = ExpectedValue(
        saving=round(saving, _DIGITS), risk=round(risk, _DIGITS), total=round(saving + risk, _DIGITS)
    )
    return msgspec.structs.replace(made, expected_value=value)


def _surer(part: Part, made: OptimizationRecommendation) -> float:
    """Returns by how much the probability of a kept word rises over staying as it is.

    Both records are over the same past windows and are shrunk alike, so only their difference counts: a
    prior says how sure a strategy is, not that staying was worse.
    """
    pairs = [
        (window.accurate, stayed)
        for window, stayed in zip(made.evidence.windows, part.stayed, strict=True)
        if window.accurate is not None and stayed is not None
    ]
    if not pairs:
        return 0.0
    detail = made.confidence_detail
    difference = sum(kept - stayed for kept, stayed in pairs) / len(pairs)
    return detail.n_effective * difference / (detail.prior_strength + detail.n_effective)


def _numbered(made: OptimizationRecommendation, rank: int) -> OptimizationRecommendation:
    number = f"opt_{made.made_at:%Y%m%d}_{rank:03d}"
    return msgspec.structs.replace(made, recommendation_id=number)
