"""Services whose daily peaks move together: a tier of machines is one service many times. Pure."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from perfopt.metrics.snapshot import Array, WorkloadSnapshot

TOGETHER = 0.9  # correlation of the logarithms of daily peaks, beside what weekdays have in common
MIN_DAYS = 14
_DAY_SECONDS, _WEEK = 86_400, 7
_FLOOR, _STILL = 1e-6, 0.02

DailyPeaks = Mapping[int, float]
"""Number of the UTC day to the logarithm of the highest use of CPU on it, or of memory without CPU."""


def daily_peaks(snapshot: WorkloadSnapshot) -> dict[int, float]:
    """Returns the peaks of a service by day; empty where nothing was measured."""
    days = snapshot.grid.epoch_seconds().astype(np.int64) // _DAY_SECONDS
    for metric in ("cpu_cores", "memory_bytes"):
        rows = [one[metric].hottest() for one in snapshot.containers.values() if metric in one]
        if not rows:
            continue
        total = np.nansum(rows, axis=0)
        known = np.isfinite(rows).any(axis=0)
        peaks: dict[int, float] = {}
        for day in np.unique(days[known]):
            peaks[int(day)] = float(np.log(max(total[known & (days == day)].max(), _FLOOR)))
        if peaks:
            return peaks
    return {}


def tiers(peaks: Mapping[str, DailyPeaks]) -> dict[str, str]:
    """Returns the group of each service: the first name of those that it moves together with.

    Two move together where their peaks of 14 common days or more correlate by 0.9 or more, after the mean of
    each weekday is taken off: that all are quiet on Sundays makes no tier. Groups are chains of such pairs.

    Args:
        peaks: by name.
    """
    names = sorted(peaks)
    if not names:
        return {}
    correlation = _correlation([peaks[name] for name in names])
    group = list(range(len(names)))
    for one, other in np.argwhere(np.triu(correlation >= TOGETHER, 1)).tolist():
        lower, joined = sorted((group[one], group[other]))
        group = [lower if number == joined else number for number in group]
    return {name: names[number] for name, number in zip(names, group, strict=True)}


def _correlation(peaks: Sequence[DailyPeaks]) -> Array:
    """Returns the correlations, shape (n, n); 0 for too few common days, or where one hardly varies."""
    days = np.array(sorted({day for one in peaks for day in one}), dtype=np.int64)
    table = np.array([[one.get(int(day), np.nan) for day in days] for one in peaks])
    known = np.isfinite(table)
    residuals = np.where(known, table - _by_weekday(table, days), 0.0)
    common = known.astype(np.float64) @ known.T
    squares = residuals**2 @ known.T
    spread = np.sqrt(squares * squares.T)
    still = np.sqrt(squares / np.maximum(common, 1)) < _STILL
    usable = (common >= MIN_DAYS) & ~still & ~still.T
    result: Array = np.where(usable, residuals @ residuals.T / np.maximum(spread, 1e-12), 0.0)
    return result


def _by_weekday(table: Array, days: NDArray[np.int64]) -> Array:
    means = np.zeros_like(table)
    for weekday in range(_WEEK):
        chosen = days % _WEEK == weekday
        part = table[:, chosen]
        count = np.isfinite(part).sum(axis=1)
        means[:, chosen] = (np.nansum(part, axis=1) / np.maximum(count, 1))[:, None]
    return means
