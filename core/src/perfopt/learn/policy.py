"""What a size costs and which is best: the trade between waste and shortage that a service's class sets."""

import math
from collections.abc import Sequence

import numpy as np

from perfopt.metrics.snapshot import Array

_SCALE = 0.2  # where the cost of slack turns from linear to logarithmic in log(size / need)


def slack_cost(excess: Array) -> Array:
    """Returns what a size costs that is larger than what was needed: 1 for twice the need.

    It rises without end, so that no jump to a far larger size is free, and ever more slowly, so that
    sureness is bought where little buys much and the few for which nothing small would do are not what
    all others pay for.

    Args:
        excess: log(size / need); nothing below 0 costs anything.
    """
    cost: Array = np.log1p(np.maximum(excess, 0) / _SCALE) / math.log1p(math.log(2) / _SCALE)
    return cost


def expected_slack(curve: Array, at: Array) -> Array:
    """Returns the expected cost of slack of each size.

    Args:
        curve: P(need <= size), shape (sizes,).
        at: log(size / reference), rising, shape (sizes,).
    """
    mass = np.diff(curve, prepend=0.0)
    expected: Array = slack_cost(at[:, None] - at) @ mass
    return expected


def worth(confidence: float, slack: float, shortage_cost: float) -> float:
    """Returns what a recommendation is worth: its confidence less its expected slack in shortages.

    1 is one that is certain and wastes nothing. Where it is low, nothing good can be recommended: what
    would be sure would be waste, and what would not be waste is not sure.
    """
    return confidence - slack / shortage_cost


def choose_each(
    curves: Sequence[Array], slacks: Sequence[Array], shortage_costs: Sequence[float]
) -> list[tuple[int, ...]]:
    """Returns the indices of the sizes of all resources that are worth most, at each cost of a shortage.

    All resources at once, since a shortage of either breaks the word: so each bit of risk is taken where
    it saves most.

    Args:
        curves: of each resource, P(need <= size), shape (sizes,).
        slacks: of each resource, the expected cost of slack, shape (sizes,).
        shortage_costs: of not keeping the word, where a request of twice the need costs 1.
    """
    joint, cost = np.ones(()), np.zeros(())
    for curve, slack in zip(curves, slacks, strict=True):
        joint = joint[..., None] * curve
        cost = cost[..., None] + slack
    best = [int(np.argmax(shortage_cost * joint - cost)) for shortage_cost in shortage_costs]
    return [tuple(int(i) for i in np.unravel_index(index, joint.shape)) for index in best]
