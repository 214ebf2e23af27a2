"""Distributions that a history suggests for a future step, among which the fleet network chooses.

Each is a column of quantiles at LEVELS, in z (see folding.py). A network alone blurs what is sharp: of a
service that either idles or runs at its limit it states something between. A quantile of samples is one of
the two, so the network says, for each level, how far to believe which.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from perfopt.forecast.folding import FoldedHistory
from perfopt.metrics.snapshot import Array

LEVELS = (0.005, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.995)
COUNT = 5
_WEEK_DAYS = 7
_HOURS = 6


def experts(folded: FoldedHistory, at_phase: Array, ordered: Array) -> NDArray[np.float32]:
    """Returns what the history suggests, float32 of shape (n, COUNT, len(LEVELS)).

    In this order: the time of day, all of the history, its last week, its last six hours, its last value.

    Args:
        folded: the history.
        at_phase: quantiles of past samples at the time of day of each step, shape (len(LEVELS), n).
        ordered: the known values of the history, sorted.
    """
    week = _known(folded.z[-_WEEK_DAYS:])
    latest = week[-1:] if week.size else ordered[ordered.size // 2 : ordered.size // 2 + 1]
    hours = _known(folded.z[-1, -max(_HOURS * 3600 // folded.step, 1) :])
    pooled = [
        sorted_quantiles(ordered, LEVELS),
        sorted_quantiles(np.sort(week) if week.size else ordered, LEVELS),
        sorted_quantiles(np.sort(hours) if hours.size else latest, LEVELS),
        np.full(len(LEVELS), latest[0]),
    ]
    result = np.empty((at_phase.shape[1], COUNT, len(LEVELS)), np.float32)
    result[:, 0] = at_phase.T
    result[:, 1:] = pooled
    return result


def _known(values: Array) -> Array:
    return values[np.isfinite(values)]


def sorted_quantiles(ordered: Array, levels: Sequence[float]) -> Array:
    """Returns quantiles of sorted values, at least one, by straight lines between them."""
    places = np.array(levels) * (ordered.size - 1)
    low = places.astype(np.int64)
    below, above = ordered[low], ordered[np.minimum(low + 1, ordered.size - 1)]
    result: Array = below + (places - low) * (above - below)
    return result
