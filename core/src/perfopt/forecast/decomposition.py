"""What a history is made of: trend, shape of its days, and what is left, by STL (Cleveland et al. 1990).

Needs statsmodels (perfopt[trends]); it is for people who read a history, no strategy uses it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from perfopt.forecast.changes import HistoryChanges, find_changes
from perfopt.metrics.snapshot import Array, TimeGrid

HOUR = timedelta(hours=1)
HOURS_A_DAY = 24
MIN_DAYS = 3
MIN_KNOWN = 0.6  # of the hours


@dataclass(frozen=True, slots=True)
class SeriesComponents:
    """Parts of a series by the hour, which add up to it, and what changed in it.

    Attributes:
        grid: of hours.
        trend, season, remainder: in the unit of the series, shape (grid.size,).
        changes: dead periods, a level shift and a steady climb; steps count on the grid of the history.
        history: that grid.
    """

    grid: TimeGrid
    trend: Array
    season: Array
    remainder: Array
    changes: HistoryChanges
    history: TimeGrid

    def at(self, step: int) -> datetime:
        """Returns the start of a step of the history."""
        return self.history.start + step * self.history.step

    @property
    def trend_per_day(self) -> float:
        """Mean change of the trend a day."""
        days = (self.grid.size - 1) * HOUR / timedelta(days=1)
        return float(self.trend[-1] - self.trend[0]) / days

    @property
    def season_strength(self) -> float:
        """Share of the variance around the trend that the season explains, 0 to 1."""
        return _explained(self.season, self.remainder)

    @property
    def trend_strength(self) -> float:
        """Share of the variance without the season that the trend explains, 0 to 1."""
        return _explained(self.trend, self.remainder)

    @property
    def day(self) -> Array:
        """Mean of the season at each hour of the day in UTC, shape (24,)."""
        hours = (self.grid.epoch_seconds() // 3600 % HOURS_A_DAY).astype(np.int64)
        sums = np.bincount(hours, weights=self.season, minlength=HOURS_A_DAY)
        return sums / np.bincount(hours, minlength=HOURS_A_DAY)


def _explained(part: Array, remainder: Array) -> float:
    """Returns the strength of a part (Wang, Smith and Hyndman 2006)."""
    whole = float((part + remainder).var())
    return max(0.0, 1 - float(remainder.var()) / whole) if whole > 0 else 0.0


def decompose(values: Array, grid: TimeGrid) -> SeriesComponents | None:
    """Takes a history apart.

    Args:
        values: shape (grid.size,), NaN where missing.
        grid: of the history; its step divides an hour.

    Returns:
        None with less than three days, with too few known hours, or for another step.

    Raises:
        ImportError: statsmodels is not installed.
    """
    known = np.flatnonzero(np.isfinite(values))
    per_hour = HOUR // grid.step
    if not known.size or not per_hour or HOUR % grid.step:
        return None
    hours = (values.size - int(known[0])) // per_hour
    if hours < MIN_DAYS * HOURS_A_DAY:
        return None
    blocks = values[values.size - hours * per_hour :].reshape(hours, per_hour)
    counts = np.isfinite(blocks).sum(axis=1)
    if (counts > 0).mean() < MIN_KNOWN:
        return None
    means = np.nansum(blocks, axis=1)[counts > 0] / counts[counts > 0]
    filled = np.interp(np.arange(hours), np.flatnonzero(counts), means)
    trend, season, remainder = _stl(filled)
    hourly = TimeGrid(grid.end - hours * HOUR, HOUR, hours)
    return SeriesComponents(hourly, trend, season, remainder, find_changes(values, grid), grid)


def _stl(values: Array) -> tuple[Array, Array, Array]:
    from statsmodels.tsa.seasonal import STL

    spread = float(np.ptp(values))
    if spread <= 1e-12 * float(np.abs(values).max()):
        return values, np.zeros(values.size), np.zeros(values.size)
    low = float(values.min())
    parts = STL((values - low) / spread, period=HOURS_A_DAY, robust=True).fit()
    trend, season = np.asarray(parts.trend) * spread + low, np.asarray(parts.seasonal) * spread
    return trend, season, values - trend - season
