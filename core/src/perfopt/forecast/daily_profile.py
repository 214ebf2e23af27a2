"""The shape of a day, learnt with the error that it had on the series' own past.

The history is folded into days that end now. The logarithm of a future step is expected to be the mean of
the logarithms at the same time of earlier days of its kind; a day weighs half for every five days of age.
Kinds are closed days (weekends, or with a calendar those without session) and others where these differ, or
the weekdays where that has had a tenth less error. Every past day is forecast in the same way from the days
up to two before it, and the errors there give the quantiles (split conformal prediction). Days before which
no day of their kind was known are no evidence: their errors are left out. Nor are exceptions: days in a row,
a week at most, whose peaks are under half of what is usual on their weekdays (a holiday, a week of leave).
"""

import math
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from perfopt.metrics.snapshot import Array, TimeGrid
from perfopt.plugin.calendar import DAY_SECONDS, Bools
from perfopt.plugin.forecasting import CostClass, ForecastRequest, Prediction

Ints = NDArray[np.int64]
DAY = timedelta(days=1)
HALF_LIFE_DAYS = 5.0
OTHER_KIND_OF_DAY = 1e-6  # only where no day of the kind has a sample at that time
CLOSED_DIFFER = 0.15  # of the mean logarithm
WEEKDAY_ERROR = 0.9  # of the error without: weekdays apart are learnt from fewer days each
MIN_DAYS_CLOSED, MIN_DAYS_WEEKDAYS = 3, 14
GAP_DAYS = 2  # a week ahead is further than a day: its middle is some days away
QUIET_PEAK = 0.5  # of the usual peak of the weekday
MAX_QUIET_DAYS = 7  # in a row; what lasts longer is how it is now
WEEKEND_DAYS = 2
QUIET_PART, RARE_DAYS = 12, 10  # a part of a day that counts as quiet: 2 h; one day in ten, or one
RECENT_DAYS = 2
JUDGED_LEVEL = 0.98
TOLERANCE = float(np.log(1.1))
_OFFSET = 0.05  # of the mean: what is small beside it is alike, and the logarithm of nothing is finite


class DailyProfileForecaster:
    """Days alike, with quantiles from the errors of past days; for non-negative series, from two days on."""

    name = "daily-profile"
    cost = CostClass.FAST

    def forecast(self, request: ForecastRequest) -> Prediction | None:
        """Returns quantiles, or None where a step doesn't divide a day, or for less than two days."""
        per_day = DAY // request.grid.step
        if not per_day or DAY % request.grid.step or request.grid.size < 2 * per_day:
            return None
        if np.nanmin(request.values) < 0:
            return None
        offset = max(_OFFSET * request.scale, 1e-6)
        days = _FoldedDays.best(request, per_day, offset)
        past = days.past
        errors = days.logs[1:] - past
        margins = _margins(errors[np.isfinite(errors)], request.levels)
        expected = np.maximum(np.exp(days.ahead()) - offset, 0.0)
        held = np.maximum(np.exp(past) - offset, 0.0).ravel()
        quantiles = np.maximum((expected + offset) * np.exp(margins) - offset, 0.0)
        most = np.maximum(np.exp(days.highest(past, request.levels)) - offset, expected.max())
        return Prediction(
            quantiles=np.minimum(quantiles, most),
            expected=expected,
            past=(held + offset) * np.exp(margins) - offset,
            recent_exceedance=_recent_exceedance(errors, days.logs[1:] - days.past_of_any_kind),
        )


def _margins(errors: Array, levels: tuple[float, ...]) -> Array:
    """Returns the error that a share of errors stayed below, by level, shape (levels, 1); 0 for none."""
    known = np.sort(errors) if errors.size else np.zeros(1)
    return np.array([margin(known, level) for level in levels])[:, None]


def margin(errors: Array, level: float) -> float:
    """Returns the error that a share of the sorted errors stayed below, linear between them."""
    at = level * (errors.size - 1)
    low = int(at)
    high = min(low + 1, errors.size - 1)
    return float(errors[low] + (at - low) * (errors[high] - errors[low]))


@dataclass(frozen=True)
class _FoldedDays:
    """A history by day, ending now, and the steps ahead by day, beginning now.

    Attributes:
        logs: of the values, shape (days, steps of a day), NaN where missing.
        kinds: number of the kind of day of each step, same shape.
        kinds_ahead: of each step ahead, shape (days ahead, steps of a day).
        steps_ahead: how many steps are ahead.
    """

    logs: Array
    kinds: Ints
    kinds_ahead: Ints
    steps_ahead: int

    @classmethod
    def best(cls, request: ForecastRequest, per_day: int, offset: float) -> "_FoldedDays":
        """Folds a history by the kinds of days that serve it best."""
        values = request.values
        days = request.grid.size // per_day
        table = values[-days * per_day :].reshape(days, per_day)
        table = np.where(_quiet_exceptions(table)[:, None], np.nan, table)
        table = np.where(_quiet_parts(table), np.nan, table)
        logs = np.log(np.maximum(table + offset, 1e-9))

        def folded(past: Ints, ahead: Ints) -> "_FoldedDays":
            rows = -(-ahead.size // per_day)
            padded = np.r_[ahead, np.zeros(rows * per_day - ahead.size, dtype=np.int64)]
            kinds = past[-days * per_day :].reshape(logs.shape)
            return cls(logs, kinds, padded.reshape(rows, per_day), ahead.size)

        closed, closed_ahead = (at.astype(np.int64) for at in (request.closed, request.closed_ahead))
        apart = folded(closed, closed_ahead)
        if days < MIN_DAYS_CLOSED or not _differ(logs, apart.kinds == 1):
            apart = folded(np.zeros_like(closed), np.zeros_like(closed_ahead))
        if days < MIN_DAYS_WEEKDAYS:
            return apart
        weekdays = folded(2 * _weekday(request.grid) + closed, 2 * _weekday(request.ahead) + closed_ahead)
        error, error_apart = weekdays.errors(apart)
        return weekdays if error < WEEKDAY_ERROR * error_apart else apart

    def errors(self, other: "_FoldedDays") -> tuple[float, float]:
        """Returns the mean sizes of the errors of this and the other folding of the same history.

        Over the past days that both can forecast; inf for none.
        """
        own, others = (np.abs(self.logs[1:] - folded.past) for folded in (self, other))
        both = np.isfinite(own) & np.isfinite(others)
        if not both.any():
            return math.inf, math.inf
        return float(own[both].mean()), float(others[both].mean())

    @cached_property
    def past(self) -> Array:
        """What is expected of each day but the first, from those before; (days - 1, per day).

        NaN where no day of the kind was known.
        """
        numbers = range(1, len(self.logs))
        known = [self._of_kind(max(d - GAP_DAYS, 1), self.kinds[d]).any(axis=0) for d in numbers]
        return np.where(np.stack(known), self.past_of_any_kind, np.nan)

    @cached_property
    def past_of_any_kind(self) -> Array:
        """As `past`, from days of other kinds where none of the kind was known."""
        numbers = range(1, len(self.logs))
        return np.stack([self._mean(max(d - GAP_DAYS, 1), self.kinds[d], d) for d in numbers])

    def ahead(self) -> Array:
        """Returns what is expected of the steps ahead, shape (steps_ahead,)."""
        days = len(self.logs)
        logs = [self._mean(days, kinds, days + row) for row, kinds in enumerate(self.kinds_ahead)]
        filled: Array = np.nan_to_num(
            np.concatenate(logs)[: self.steps_ahead], nan=float(np.nanmax(self.logs))
        )
        return filled

    def highest(self, past: Array, levels: tuple[float, ...]) -> Array:
        """Returns the logarithm that no step exceeds at each level, shape (levels, 1).

        The errors at times of day when a load begins or ends are large, and say nothing of its peak: that is
        bounded by the highest value so far and by how far peaks of days were above what was expected.
        """
        peaks = np.fmax.reduce(self.logs[1:], axis=1) - np.fmax.reduce(past, axis=1)
        above = _margins(peaks[np.isfinite(peaks)], levels)
        return float(np.nanmax(self.logs)) + np.maximum(above, 0.0)

    @cached_property
    def _present(self) -> Bools:
        return np.isfinite(self.logs)

    @cached_property
    def _filled(self) -> Array:
        filled: Array = np.nan_to_num(self.logs)
        return filled

    def _of_kind(self, known: int, kinds: Ints) -> Bools:
        """Returns which of the first `known` days have a sample of the kind of each time of day."""
        of_kind: Bools = (self.kinds[:known] == kinds) & self._present[:known]
        return of_kind

    def _mean(self, known: int, kinds: Ints, day: int) -> Array:
        """Returns the decayed mean of the first `known` days at each time of day; NaN where none has it."""
        weights = 0.5 ** ((day - np.arange(known)) / HALF_LIFE_DAYS)[:, None] * self._present[:known]
        weights = weights * np.where(self.kinds[:known] == kinds, 1.0, OTHER_KIND_OF_DAY)
        total = weights.sum(axis=0)
        mean: Array = np.where(
            total > 0, (weights * self._filled[:known]).sum(axis=0) / np.maximum(total, 1e-300), np.nan
        )
        return mean


def _weekday(grid: TimeGrid) -> Ints:
    days: Ints = grid.epoch_seconds().astype(np.int64) // DAY_SECONDS % 7
    return days


def _quiet_exceptions(table: Array) -> Bools:
    """Returns which days are exceptions: quiet for their weekday, and part of a week of such days at most.

    Usual is the upper median of the peaks seven days apart: of two, the larger, as nothing says which stays;
    and the median of the days that are not quiet by that.

    Args:
        table: values, shape (days, steps of a day), NaN where missing.
    """
    peaks = np.fmax.reduce(table, axis=1)
    quiet = np.zeros(peaks.size, dtype=bool)
    for weekday in range(min(7, peaks.size)):
        alike = peaks[weekday::7]
        known = np.sort(alike[np.isfinite(alike)])
        if known.size > 1:
            quiet[weekday::7] = alike < QUIET_PEAK * known[known.size // 2]
    if quiet.any():  # a few days of growth make none of the days before them quiet
        quiet &= peaks < QUIET_PEAK * np.nanmedian(peaks[~quiet])
    for begin, end in _runs(quiet):
        if end - begin > MAX_QUIET_DAYS:
            quiet[begin:end] = False
    return quiet


def _quiet_parts(table: Array) -> Bools:
    """Returns which steps are exceptions: hours of a day that are quiet for its weekday, as of a half day.

    None where such days are not rare: then the load is like that.

    Args:
        table: as `_quiet_exceptions`.
    """
    days, per_day = table.shape
    quiet = np.zeros(table.shape, dtype=bool)
    for weekday in range(min(7, days)):
        alike = table[weekday::7]
        if np.isfinite(alike).sum(axis=0).max() > 1:
            quiet[weekday::7] = alike < QUIET_PEAK * np.fmax.reduce(alike, axis=0)
    busy = table >= QUIET_PEAK * np.fmax.reduce(table, axis=1, keepdims=True)
    lasting = _lasting(quiet, max(per_day // QUIET_PART, 1))
    is_quiet = lasting.any(axis=1)
    rare = is_quiet.any() and is_quiet.sum() <= max(days // RARE_DAYS, 1) and busy[is_quiet].any(axis=1).all()
    return lasting if rare else np.zeros(table.shape, dtype=bool)


def _lasting(flags: Bools, steps: int) -> Bools:
    """Returns the flags that lie in runs of at least so many steps of one day."""
    result = np.zeros(flags.shape, dtype=bool)
    for begin in range(flags.shape[1] - steps + 1):
        whole = flags[:, begin : begin + steps].all(axis=1)
        result[:, begin : begin + steps] |= whole[:, None]
    return result


def _runs(days: Bools) -> list[tuple[int, int]]:
    """Returns the [begin, end) of runs of days; a weekend in between, which is quiet anyway, ends none."""
    numbers = np.flatnonzero(days)
    breaks = np.flatnonzero(np.diff(numbers) > WEEKEND_DAYS + 1)
    begins, ends = np.r_[0, breaks + 1], np.r_[breaks, numbers.size - 1]
    return (
        [(int(numbers[b]), int(numbers[e]) + 1) for b, e in zip(begins, ends, strict=True)]
        if numbers.size
        else []
    )


def _differ(logs: Array, closed: Bools) -> bool:
    known = np.isfinite(logs)
    on, off = logs[closed & known], logs[~closed & known]
    return bool(on.size and off.size and abs(on.mean() - off.mean()) > CLOSED_DIFFER)


def _recent_exceedance(errors: Array, of_any_kind: Array) -> float:
    """Returns the share of recent steps above the judged quantile of the errors before them.

    A first day of its kind counts here: far above days of other kinds, it may be how it is from now on.
    """
    before, recent = errors[:-RECENT_DAYS], of_any_kind[-RECENT_DAYS:]
    before, recent = before[np.isfinite(before)], recent[np.isfinite(recent)]
    if not before.size or not recent.size:
        return 0.0
    return float((recent > np.quantile(before, JUDGED_LEVEL) + TOLERANCE).mean())
