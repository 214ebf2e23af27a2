"""The shape of a day, learnt with the error that it had on the series' own past.

The history is folded into days that end now. The logarithm of a future step is expected to be the mean of
the logarithms at the same time of earlier days: a day weighs half for every five days of age, and little
where one is closed and the other is not, if these differ. Every past day is forecast in the same way from the
days up to two before it, and the errors there give the quantiles (split conformal prediction).
"""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from perfopt.metrics.snapshot import Array
from perfopt.plugin.calendar import Bools
from perfopt.plugin.forecasting import CostClass, ForecastRequest, Prediction

DAY = timedelta(days=1)
HALF_LIFE_DAYS = 5.0
OTHER_KIND_OF_DAY = 0.05
CLOSED_DIFFER = 0.15  # of the mean logarithm
GAP_DAYS = 2  # a week ahead is further than a day: its middle is some days away
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
        days = _Days.fold(request, per_day, offset)
        past = days.past()
        errors = days.logs[1:] - past
        known = np.sort(errors[np.isfinite(errors)])
        known = known if known.size else np.zeros(1)
        margins = np.array([margin(known, level) for level in request.levels])[:, None]
        expected = np.maximum(np.exp(days.ahead(request.closed_ahead)) - offset, 0.0)
        held = np.maximum(np.exp(past) - offset, 0.0).ravel()
        return Prediction(
            quantiles=np.maximum((expected + offset) * np.exp(margins) - offset, 0.0),
            expected=expected,
            past=(held + offset) * np.exp(margins) - offset,
            recent_exceedance=_recent_exceedance(errors),
        )


def margin(errors: Array, level: float) -> float:
    """Returns the error that a share of the sorted errors stayed below, linear between them."""
    at = level * (errors.size - 1)
    low = int(at)
    high = min(low + 1, errors.size - 1)
    return float(errors[low] + (at - low) * (errors[high] - errors[low]))


@dataclass(frozen=True, slots=True)
class _Days:
    """A history by day, both ending now.

    Attributes:
        logs: of the values, shape (days, steps of a day), NaN where missing.
        closed: same shape.
        differ: whether closed days differ from others.
    """

    logs: Array
    closed: Bools
    differ: bool

    @classmethod
    def fold(cls, request: ForecastRequest, per_day: int, offset: float) -> "_Days":
        days = request.grid.size // per_day
        shape = (days, per_day)
        logs = np.log(np.maximum(request.values[-days * per_day :] + offset, 1e-9)).reshape(shape)
        closed = request.closed[-days * per_day :].reshape(shape)
        return cls(logs, closed, days >= 7 and _differ(logs, closed))

    def past(self) -> Array:
        """Returns what is expected of each day but the first, from those before; (days - 1, per day)."""
        numbers = range(1, len(self.logs))
        return np.stack([self._mean(max(day - GAP_DAYS, 1), self.closed[day], day) for day in numbers])

    def ahead(self, closed: Bools) -> Array:
        """Returns what is expected of the steps ahead, of which `closed` are; shape of `closed`."""
        days, per_day = self.logs.shape
        rows = -(-closed.size // per_day)
        padded = np.r_[closed, np.zeros(rows * per_day - closed.size, dtype=np.bool_)].reshape(rows, per_day)
        logs = np.concatenate([self._mean(days, padded[row], days + row) for row in range(rows)])
        filled: Array = np.nan_to_num(logs[: closed.size], nan=float(np.nanmax(self.logs)))
        return filled

    def _mean(self, known: int, closed: Bools, day: int) -> Array:
        """Returns the decayed mean of the first `known` days at each time of day; NaN where none has it."""
        logs = self.logs[:known]
        weights = 0.5 ** ((day - np.arange(known)) / HALF_LIFE_DAYS)[:, None] * np.isfinite(logs)
        if self.differ:
            weights = weights * np.where(self.closed[:known] == closed, 1.0, OTHER_KIND_OF_DAY)
        total = weights.sum(axis=0)
        mean: Array = np.where(
            total > 0, (weights * np.nan_to_num(logs)).sum(axis=0) / np.maximum(total, 1e-12), np.nan
        )
        return mean


def _differ(logs: Array, closed: Bools) -> bool:
    known = np.isfinite(logs)
    on, off = logs[closed & known], logs[~closed & known]
    return bool(on.size and off.size and abs(on.mean() - off.mean()) > CLOSED_DIFFER)


def _recent_exceedance(errors: Array) -> float:
    """Returns the share of recent steps above the judged quantile of the errors before them."""
    before, recent = errors[:-RECENT_DAYS], errors[-RECENT_DAYS:]
    before, recent = before[np.isfinite(before)], recent[np.isfinite(recent)]
    if not before.size or not recent.size:
        return 0.0
    return float((recent > np.quantile(before, JUDGED_LEVEL) + TOLERANCE).mean())
