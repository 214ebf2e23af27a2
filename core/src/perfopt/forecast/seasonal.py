"""Decayed seasonal quantiles with a conformal correction from the series' own past errors.

The distribution at a future step is the weighted distribution of past samples near the same time of
day: a day weighs half as much for every HALF_LIFE_DAYS of age. Three weightings are tried at rolling
origins in the history and the one with the smallest pinball loss wins: times of day apart, the same with
days of the same weekday weighing far more (with two weeks or more), and no season at all.
The errors at those origins then shift each level so that it would have covered its share (split
conformal prediction of quantiles, Romano, Patterson and Candès 2019, on rolling origins).
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from perfopt.forecast.quantiles import weighted_quantiles
from perfopt.metrics.snapshot import Array, TimeGrid

HALF_LIFE_DAYS = 5.0
SAME_WEEKDAY_WEIGHT = 20.0
_DAY = 86_400
# Samples this near in time of day count as the same time; quantiles are as fine as that, no finer.
_MARGIN = timedelta(minutes=15)
_ORIGINS = 7  # days: a whole week, so that weekends are judged as often as they come
_ROWS_TRIED = 24  # times of day on which the origins are judged: enough for a loss, cheap
_SHRINK = 30.0  # error samples at which half of the conformal correction is believed


Season = Literal["none", "day", "week"]


@dataclass(frozen=True, slots=True)
class _CalendarFold:
    """The history folded into days: values of shape (days, buckets), NaN where nothing was."""

    folded: Array
    first_day: int
    step: int

    @classmethod
    def fold(cls, values: Array, grid: TimeGrid) -> "_CalendarFold":
        seconds = grid.epoch_seconds().astype(np.int64)
        day, bucket = seconds // _DAY, seconds % _DAY // grid.step_seconds
        folded = np.full((int(day[-1] - day[0]) + 1, -(-_DAY // grid.step_seconds)), np.nan)
        folded[day - day[0], bucket] = values
        return cls(folded, int(day[0]), grid.step_seconds)

    def before(self, days: int) -> "_CalendarFold":
        """Returns the first `days` days."""
        return _CalendarFold(self.folded[:days], self.first_day, self.step)

    def weights(self, weekdays: NDArray[np.int64], season: Season) -> Array:
        """Returns the weight of each past day for each of the weekdays asked for, (weekdays, days)."""
        days = len(self.folded)
        weights = 0.5 ** (np.arange(days - 1, -1, -1) / HALF_LIFE_DAYS)
        same = (self.first_day + np.arange(days)) % 7 == weekdays[:, None]
        return np.where(same, SAME_WEEKDAY_WEIGHT if season == "week" else 1.0, 1.0) * weights


def seasonal_quantiles(values: Array, grid: TimeGrid, ahead: TimeGrid, levels: tuple[float, ...]) -> Array:
    """Returns quantiles of the steps ahead, shape (len(levels), ahead.size); they may cross.

    Args:
        values: shape (grid.size,), NaN where missing, something known.
        grid: the grid of the values.
        ahead: the steps to forecast, on the same steps as the grid.
        levels: increasing quantile levels.
    """
    if grid.step_seconds > _DAY // 4 or grid.size * grid.step_seconds < 2 * _DAY:
        return np.repeat(_pooled(values[None], levels), ahead.size, axis=1)
    calendar = _CalendarFold.fold(values, grid)
    season, correction = _judge(calendar, levels)
    seconds = ahead.epoch_seconds().astype(np.int64)
    day, bucket = seconds // _DAY, seconds % _DAY // grid.step_seconds
    weekday = day % 7 if season == "week" else np.zeros_like(day)
    weekdays = np.unique(weekday)
    stride = max(int(_MARGIN.total_seconds()) // grid.step_seconds, 1)
    buckets = np.arange(stride // 2, calendar.folded.shape[1], stride)
    table = _quantiles(calendar, weekdays, buckets, levels, season) + correction[:, None, None]
    nearest = np.minimum(bucket // stride, buckets.size - 1)
    result: Array = table[:, np.searchsorted(weekdays, weekday), nearest]
    return result


def _pooled(values: Array, levels: tuple[float, ...]) -> Array:
    """Returns the equally weighted quantiles of short histories, shape (levels, 1)."""
    return weighted_quantiles(values, np.ones(values.shape[1]), levels)


def _quantiles(
    calendar: _CalendarFold,
    weekdays: NDArray[np.int64],
    buckets: NDArray[np.int64],
    levels: tuple[float, ...],
    season: Season,
) -> Array:
    """Returns quantiles of shape (levels, weekdays, buckets)."""
    weights = calendar.weights(weekdays, season)
    size = calendar.folded.shape[1]
    if season != "none":
        reach = int(_MARGIN.total_seconds()) // calendar.step
        near = (buckets[:, None] + np.arange(-reach, reach + 1)) % size
        samples = calendar.folded[:, near].transpose(1, 0, 2).reshape(len(buckets), -1)
        spread = np.repeat(weights, 2 * reach + 1, axis=1)[:, None, :]
        table = weighted_quantiles(samples, spread, levels)
        if np.isfinite(table).all():
            return table
    else:
        table = np.full((len(levels), len(weekdays), len(buckets)), np.nan)
    # a flat distribution: a tenth of a day's samples tells its quantiles, and costs a tenth
    thin = calendar.folded[:, :: max(size // 144, 1)]
    pooled = np.repeat(weights, thin.shape[1], axis=1)[:, None, :]
    flat = weighted_quantiles(thin.reshape(1, -1), pooled, levels)
    return np.where(np.isfinite(table), table, flat)


def _judge(calendar: _CalendarFold, levels: tuple[float, ...]) -> tuple[Season, Array]:
    """Says which season helps most, and returns the conformal shift of each level, (levels,)."""
    days, size = calendar.folded.shape
    buckets = np.arange(0, size, max(size // _ROWS_TRIED, 1))
    origins = [day for day in range(max(days - _ORIGINS, 2), days) if _filled(calendar, day)]
    if not origins:
        return "none", np.zeros(len(levels))
    seasons: tuple[Season, ...] = ("day", "week", "none") if days >= 2 * 7 else ("day", "none")
    errors = {season: _errors(calendar, origins, buckets, levels, season) for season in seasons}
    best = min(seasons, key=lambda season: _pinball(errors[season], levels))
    return best, _conformal(errors[best], levels)


def _errors(
    calendar: _CalendarFold,
    origins: list[int],
    buckets: NDArray[np.int64],
    levels: tuple[float, ...],
    season: Season,
) -> Array:
    """Returns value minus quantile at each origin's day, forecast from the days before, (levels, n)."""
    parts = []
    for day in origins:
        weekday = np.array([(calendar.first_day + day) % 7])
        forecast = _quantiles(calendar.before(day), weekday, buckets, levels, season)[:, 0]
        parts.append(calendar.folded[day, buckets] - forecast)
    errors = np.concatenate(parts, axis=1)
    known: Array = errors[:, np.isfinite(errors).all(axis=0)]
    return known


def _filled(calendar: _CalendarFold, day: int) -> bool:
    """Says whether a day has half of its samples, and something came before it."""
    return bool(np.isfinite(calendar.folded[day]).mean() >= 0.5 and np.isfinite(calendar.folded[:day]).any())


def _pinball(errors: Array, levels: tuple[float, ...]) -> float:
    tau = np.asarray(levels)[:, None]
    return float(np.maximum(tau * errors, (tau - 1) * errors).mean()) if errors.size else np.inf


def _conformal(errors: Array, levels: tuple[float, ...]) -> Array:
    """Returns the shift that makes each level cover its share of the errors, shrunk where they are few."""
    count = errors.shape[1]
    if not count:
        return np.zeros(len(levels))
    belief = count / (count + _SHRINK)
    shifts = np.array([np.quantile(row, level) for row, level in zip(errors, levels, strict=True)])
    result: Array = belief * shifts
    return result
