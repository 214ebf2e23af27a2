"""What a size costs and which is best: the trade between waste and shortage that a service's class sets."""

from collections.abc import Sequence

import numpy as np

from perfopt.metrics.snapshot import Array

LEAST_PROBABILITY = 0.75  # a joint probability that no class may go below, where it can be reached
_PENALTY = 1e3


def slack_cost(at: Array) -> Array:
    """Returns what a size costs beside what the history needed: its share of slack, 1 - need / size.

    Bounded by 1, so a restless service is sized surely instead of half-surely (as in Autopilot, whose
    measure slack is too). Below the need it is linear in the logarithm, or shortage would pay for itself.

    Args:
        at: log(size / reference).
    """
    cost: Array = np.where(at < 0, at, 1 - np.exp(-at))
    return cost


def choose(curves: Sequence[Array], at: Sequence[Array], shortage_cost: float) -> tuple[int, ...]:
    """Returns the index of the best size of each resource: least slack plus expected shortage.

    Args:
        curves: of each resource, P(need <= size), shape (sizes,).
        at: of each resource, log(size / reference), shape (sizes,).
        shortage_cost: of not keeping the word, in units of slack_cost.
    """
    return choose_each(curves, at, [shortage_cost])[0]


def choose_each(
    curves: Sequence[Array], at: Sequence[Array], shortage_costs: Sequence[float]
) -> list[tuple[int, ...]]:
    """Returns the choice at each of several costs of a shortage; see `choose`."""
    joint, cost = np.ones(()), np.zeros(())
    for curve, offsets in zip(curves, at, strict=True):
        joint = joint[..., None] * curve
        cost = cost[..., None] + slack_cost(offsets)
    cost = cost + _PENALTY * np.maximum(LEAST_PROBABILITY - joint, 0)
    best = [int(np.argmax(shortage_cost * joint - cost)) for shortage_cost in shortage_costs]
    return [tuple(int(i) for i in np.unravel_index(index, joint.shape)) for index in best]
