"""Calibration of quantiles by group, over a fleet.

A forecast states quantiles at the levels tau. Its probability integral transform at an outcome is the level
u at which its quantile function passes through the outcome; were it calibrated, P(u <= tau) = tau. Instead
of the quantile at tau we state the one at theta(tau), the tau-quantile of u on series that the model was not
trained on, apart for each group of horizon and phase of the day: recalibration (Kuleshov, Fenner and Ermon
2018), which for exchangeable series is split conformal prediction by group (Mondrian).

Levels are interpolated, and carried beyond the outermost, on the scale of the normal distribution.

Adapting theta further to a series' own outcomes at rolling origins (adaptive conformal inference, Gibbs and
Candès 2021) was tried on the tuning half: at a rate of 0.05 the loss fell by 0.02 % and coverage came no
nearer (1.9 points off at 90 % with and without), at 0.2 the loss rose by 2 %. It is not done.
"""

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from perfopt.metrics.snapshot import Array

_LEAST, _MOST = 0.0001, 0.9999
_NORMAL = NormalDist()


def probits(levels: Sequence[float] | Array) -> Array:
    """Returns the standard normal quantiles of levels, clipped to [0.0001, 0.9999]."""
    return np.array([_NORMAL.inv_cdf(min(max(float(level), _LEAST), _MOST)) for level in levels])


def transform(quantiles: Array, outcomes: Array, levels: Sequence[float]) -> Array:
    """Returns at which level, as a probit, a forecast's quantiles pass through the outcomes.

    Args:
        quantiles: shape (n, len(levels)), non-decreasing along the last axis.
        outcomes: shape (n,).
        levels: of the quantiles, increasing; the middle one is taken as the centre for extrapolation.

    Returns:
        Shape (n,), within probits of 0.0001 to 0.9999; NaN where all quantiles are the outcome itself.
    """
    grid = probits(levels)
    middle = len(grid) // 2
    rows = np.arange(len(outcomes))
    above = np.clip((quantiles < outcomes[:, None]).sum(axis=1), 1, len(grid) - 1)
    left, right = above - 1, above
    under = outcomes < quantiles[:, 0]
    over = outcomes > quantiles[:, -1]
    left, right = np.where(under, 0, left), np.where(under, middle, right)
    left, right = np.where(over, middle, left), np.where(over, len(grid) - 1, right)
    low, high = quantiles[rows, left], quantiles[rows, right]
    width = high - low
    share = np.where(width > 0, (outcomes - low) / np.where(width > 0, width, 1.0), 0.5)
    share = np.where((width <= 0) & under, -np.inf, np.where((width <= 0) & over, np.inf, share))
    interpolated = grid[left] + share * (grid[right] - grid[left])
    exact = (quantiles[:, 0] == outcomes) & (quantiles[:, -1] == outcomes)
    return np.where(exact, np.nan, np.clip(interpolated, *probits((0.0, 1.0))))


def mixing(levels: Sequence[float], targets: Array) -> Array:
    """Returns the matrix that takes quantiles at `levels` to those at the probits `wanted`.

    Returns:
        Shape (len(levels), len(wanted)), columns summing to 1.
    """
    grid = probits(levels)
    middle = len(grid) // 2
    matrix = np.zeros((len(grid), len(targets)))
    for column, probit in enumerate(targets):
        if probit <= grid[0]:
            left, right = 0, middle
        elif probit >= grid[-1]:
            left, right = middle, len(grid) - 1
        else:
            right = int(np.searchsorted(grid, probit))
            left = right - 1
        share = (probit - grid[left]) / (grid[right] - grid[left])
        matrix[left, column] += 1 - share
        matrix[right, column] += share
    return matrix
