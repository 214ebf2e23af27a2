"""What a size costs and which is best: the trade between waste and shortage that a service's class sets."""

import math
from collections.abc import Sequence

import numpy as np

from perfopt.plugin import Array

_ROOM = 0.5  # of the need: what a size may be larger before the cost of slack jumps
_SHARPNESS = 0.05  # in log(size / need), of that jump
_PROPORTIONAL = 0.1  # cost of each whole need of slack, where the jump costs 1


def slack_cost(excess: Array) -> Array:
    """Returns what a size costs that is larger than what was needed: 1 for twice the need.

    A size up to half larger than the need is about right and costs little; one beyond is wasteful, which
    costs once, and then in proportion to the slack. So a size stays within the half where that is nearly as
    sure as anything larger, and is far larger only where that buys much.

    Args:
        excess: log(size / need); nothing below 0 costs anything.
    """
    at = np.maximum(excess, 0)
    cost: Array = (_uneven(at) - _uneven(np.zeros(()))) / _TWICE
    return cost


def _uneven(excess: Array) -> Array:
    jump = 1 / (1 + np.exp(-(excess - math.log1p(_ROOM)) / _SHARPNESS))
    cost: Array = jump + _PROPORTIONAL * np.expm1(excess)
    return cost


_TWICE = float(_uneven(np.log(2.0)) - _uneven(np.zeros(())))


def expected_slack(curve: Array, at: Array) -> Array:
    """Returns the expected cost of slack of each size.

    Args:
        curve: P(need <= size), shape (sizes,).
        at: log(size / reference), rising, shape (sizes,).
    """
    mass = np.diff(curve, prepend=0.0)
    expected: Array = slack_cost(at[:, None] - at) @ mass
    return expected


def worth(confidence: float, slack: float, penalty: float) -> float:
    """Returns what a recommendation is worth: its confidence less its expected slack in shortages.

    1 is one that is certain and wastes nothing. Where it is low, nothing good can be recommended: what
    would be sure would be waste, and what would not be waste is not sure.
    """
    return confidence - slack / penalty


def choose_each(
    curves: Sequence[Array], slacks: Sequence[Array], penalties: Sequence[float]
) -> list[tuple[int, ...]]:
    """Returns the indices of the sizes of all resources that are worth most, at each penalty.

    All resources at once, since a shortage of either violates it: so each bit of risk is taken where
    it saves most.

    Args:
        curves: of each resource, P(need <= size), shape (sizes,).
        slacks: of each resource, the expected cost of slack, shape (sizes,).
        penalties: of a violated recommendation, where a request of twice the need costs 1.
    """
    joint, cost = np.ones(()), np.zeros(())
    for curve, slack in zip(curves, slacks, strict=True):
        joint = joint[..., None] * curve
        cost = cost[..., None] + slack
    best = [int(np.argmax(penalty * joint - cost)) for penalty in penalties]
    return [tuple(int(i) for i in np.unravel_index(index, joint.shape)) for index in best]
