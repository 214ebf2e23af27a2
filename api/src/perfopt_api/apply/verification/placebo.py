"""How much wider the bounds must be: the same test on past windows in which nothing was changed. Pure."""

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from perfopt.metrics.snapshot import Array

_USUAL = 0.95  # quantile by which metrics are put on one scale
_DEPENDENCE = (
    0.5  # of alpha: placebo runs of one day overlap, so they show less than as many independent ones
)


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """What placebo runs showed of the false-alarm rate: pods split at random while nothing was changed.

    Attributes:
        runs: placebo runs.
        false_alarms: share of them in which the bounds as they were raised an alarm; None without runs.
        alpha: false-alarm rate that holds with the widening: the one asked for, or 1 / (runs + 1) where there
            are too few runs to show it. Without runs it rests on the model alone.
    """

    runs: int
    false_alarms: float | None
    alpha: float


def calibrate_upper(needed: Sequence[float], beta: float) -> float:
    """Returns the factor, at least 1, with which an upper bound fails in at most a share beta of placebos.

    Args:
        needed: of each run, by which factor the bound had to be moved.
        beta: in (0, 1).
    """
    if not needed:
        return 1.0
    rank = math.ceil((len(needed) + 1) * (1 - beta))
    return max(float(np.sort(needed)[min(rank, len(needed)) - 1]), 1.0)


def calibrate(needed: Sequence[Sequence[float]], metrics: int, alpha: float) -> tuple[Array, Calibration]:
    """Returns the widening of each metric with which at most a share alpha of placebo runs raises an alarm.

    Metrics are put on one scale by what they usually need; then one factor is the quantile of the largest
    need of each run. Its rank is that of conformal prediction, so that the next run, exchangeable with these,
    raises an alarm in any metric with probability alpha at most.

    Args:
        needed: of each run, by which factor the bounds of each metric had to be widened.
        metrics: how many there are.
        alpha: the false-alarm rate wanted, in (0, 1).

    Returns:
        Factors of at least 1, shape (metrics,), and what the runs showed.
    """
    runs = len(needed)
    if not runs or not metrics:
        return np.ones(metrics), Calibration(runs=0, false_alarms=None, alpha=alpha)
    factors = np.array(needed)
    usual = np.maximum(np.quantile(factors, _USUAL, axis=0), 1.0)
    rank = math.ceil((runs + 1) * (1 - _DEPENDENCE * alpha))
    factor = max(float(np.sort((factors / usual).max(axis=1))[min(rank, runs) - 1]), 1.0)
    alarms = float((factors.max(axis=1) > 1).mean())
    reached = max(alpha, 1 / (runs + 1))
    return usual * factor, Calibration(runs=runs, false_alarms=alarms, alpha=reached)
