"""The one formula by which a proposal wins a field, the plan is chosen, and recommendations are ranked.

expected utility = saving x confidence - (1 - confidence) x penalty x cost

Saving and cost are monthly; the penalty of under-provisioning is that of the service's class. The value of a
change is the difference of its utility from that of staying.
"""

from collections.abc import Sequence

from perfopt.domain.recommendation import Evidence, ExpectedValue
from perfopt.engine.confidence import confidence
from perfopt.plugin.context import AnalysisContext
from perfopt.plugin.strategy import Prior

_DIGITS = 4


def expected_utility(current: float, recommended: float, probability: float, penalty: float) -> float:
    """Returns the expected utility of a state, in money a month.

    A violated recommendation saves nothing, and is penalised in units of the current cost.

    Args:
        current: monthly cost of the current state.
        recommended: monthly cost of the state.
        probability: that it is accurate.
        penalty: of under-provisioning.
    """
    return (current - recommended) * probability - (1 - probability) * penalty * current


def expected_value(
    current: float | None,
    recommended: float | None,
    evidence: Evidence,
    staying: Sequence[bool | None],
    prior: Prior,
    context: AnalysisContext,
) -> ExpectedValue | None:
    """Returns what a change is worth against staying as it is; None where costs are unknown.

    Staying has the prior of the change, and its own record on the same windows: a prior says how certain a
    strategy is, not that staying is worse.

    Args:
        current: monthly cost of the current state.
        recommended: monthly cost of the recommended state.
        evidence: of the change.
        staying: whether the current state was accurate, one a window of the evidence.
        prior: of the change.
        context: has the penalty.
    """
    if current is None or recommended is None:
        return None
    probability, detail = confidence(evidence, prior, context.validity)
    weight = detail.n_effective / (detail.prior_strength + detail.n_effective)
    of_staying = probability - weight * _hit_rate_difference(evidence, staying)
    penalty = context.under_provisioning_penalty
    saving = (current - recommended) * probability
    total = expected_utility(current, recommended, probability, penalty) - expected_utility(
        current, current, of_staying, penalty
    )
    return ExpectedValue(
        saving=round(saving, _DIGITS), risk=round(total - saving, _DIGITS), total=round(total, _DIGITS)
    )


def _hit_rate_difference(evidence: Evidence, staying: Sequence[bool | None]) -> float:
    """Returns the hit rate of a change less that of staying, on the windows in which both are known."""
    pairs = [
        (window.accurate, stayed)
        for window, stayed in zip(evidence.windows, staying, strict=True)
        if window.accurate is not None and stayed is not None
    ]
    return sum(changed - stayed for changed, stayed in pairs) / len(pairs) if pairs else 0.0


def preferred(value: float, preference: float) -> float:
    """Returns a value times the factor that rules put on it; what is below zero is divided by it."""
    if value >= 0 or preference <= 0:
        return value * preference
    return value / preference
