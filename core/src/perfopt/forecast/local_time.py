"""Series on local time: what repeats daily in a zone whose clocks change keeps its place in the day.

A series is moved so that each step lies where the clocks of the forecast's origin would show its local time.
An hour that clocks show twice becomes one with the larger of both values; one that they skip is unknown. The
exchange whose sessions a load follows says when it opens. Without one, a load may follow UTC or any zone
whose clocks change within the history or the horizon: what the days after a change show decides, and where
they show nothing yet the forecast covers them all.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
from numpy.typing import NDArray

from perfopt.metrics.snapshot import Array, TimeGrid
from perfopt.plugin.calendar import DAY_SECONDS, SessionCalendar
from perfopt.plugin.forecasting import ForecastRequest, Prediction

Ints = NDArray[np.int64]
_HOUR = 3600
CLEARLY = 1.5  # times the difference between days on the best clock: less is no evidence against another
_ALIKE = 0.02  # more of it that says nothing either, in logarithms
_DISAGREE = 0.1  # of logarithms: times of day at which clocks make days this much more alike tell them apart,
_NOISE = 4.0  # if that is more than these times what days differ by anyway
_WEEK = 7
_SMALL = 0.05  # of the mean: values below it are alike


@dataclass(frozen=True, slots=True)
class ClockRule:
    """When the clocks of a region change: on a Sunday of a month, the first being 0 and the last -1.

    Attributes:
        begins: month, Sunday, and hour of UTC from that Sunday's midnight on, at which summer time begins.
        ends: when it ends.
    """

    begins: tuple[int, int, int]
    ends: tuple[int, int, int]

    def changes(self, year: int) -> list[tuple[int, bool]]:
        """Returns the changes of a year in seconds since the epoch, and whether summer time begins."""
        return [
            (
                int(datetime.combine(_sunday(year, month, number), time(), UTC).timestamp()) + hour * _HOUR,
                summer,
            )
            for (month, number, hour), summer in ((self.begins, True), (self.ends, False))
        ]


RULES = {
    "Europe": ClockRule((3, -1, 1), (10, -1, 1)),
    "North America": ClockRule((3, 1, 7), (11, 0, 6)),
    "Australia": ClockRule((10, 0, -8), (4, 0, -8)),
    "New Zealand": ClockRule((9, -1, -10), (4, 0, -10)),
}


@dataclass(frozen=True, slots=True)
class LocalClock:
    """By how many steps local time is later, at each step, than the clocks of the origin would show.

    Attributes:
        past: of the steps of a history, shape (n,).
        ahead: of the steps after it, shape (m,).
    """

    past: Ints
    ahead: Ints

    @property
    def changes(self) -> bool:
        """Whether clocks change within the history or after it."""
        return bool(self.past.any() or self.ahead.any())

    def moved(self, values: Array) -> Array:
        """Returns a history on the clocks of its end, shape (n,); NaN where clocks skipped an hour."""
        result = np.full(values.size, np.nan)
        places = np.arange(values.size) + self.past
        inside = (places >= 0) & (places < values.size)
        np.fmax.at(result, places[inside], values[inside])
        return result

    @property
    def reach(self) -> int:
        """How many more steps must be known to read each step ahead."""
        return max(int(self.ahead.max(initial=0)), 0)

    def read_ahead(self, values: Array) -> Array:
        """Returns, of steps ahead on the clocks of the origin, those at each step's local time.

        Args:
            values: shape (..., m + reach).
        """
        places = np.clip(np.arange(self.ahead.size) + self.ahead, 0, values.shape[-1] - 1)
        result: Array = values[..., places]
        return result

    def read_past(self, values: Array) -> Array:
        """Returns values of the last steps of a moved history at the steps that they were moved from.

        Args:
            values: shape (..., steps), steps <= n; NaN in the answer where the origin is not among them.
        """
        steps = values.shape[-1]
        places = np.arange(steps) + self.past[self.past.size - steps :]
        known = (places >= 0) & (places < steps)
        result: Array = np.where(known, values[..., np.clip(places, 0, steps - 1)], np.nan)
        return result


def clocks(grid: TimeGrid, ahead: TimeGrid, calendar: SessionCalendar | None = None) -> list[LocalClock]:
    """Returns the clocks that a load may follow, each different from the others, UTC first.

    Args:
        grid: of the history.
        ahead: the steps after it.
        calendar: of the exchange that it follows: its clock is the only one then.
    """
    if calendar is not None:
        return [_clock(lambda seconds: -calendar.opens_later(seconds, grid.end), grid, ahead)]
    distinct = [LocalClock(np.zeros(grid.size, dtype=np.int64), np.zeros(ahead.size, dtype=np.int64))]
    start, origin, end = (int(at.timestamp()) for at in (grid.start, grid.end, ahead.end))
    for rule in RULES.values():
        shift = _rule_shift(rule, start, origin, end)
        if shift is None:
            continue
        one = _clock(shift, grid, ahead)
        if not any(_same(one, other) for other in distinct):
            distinct.append(one)
    return distinct


def likely_clocks(request: ForecastRequest) -> list[LocalClock]:
    """Returns the clocks that the history does not speak against, the likeliest first."""
    known = clocks(request.grid, request.ahead, request.calendar)
    per_day = timedelta(days=1) // request.grid.step
    if len(known) == 1 or not per_day or request.grid.size < 2 * per_day:
        return known
    spread = np.stack([_spread(request, clock, per_day) for clock in known])
    tells = np.ptp(spread, axis=0) > max(_DISAGREE, _NOISE * float(np.median(spread)))
    if not tells.any():
        return known
    differ = spread[:, tells].mean(axis=1)
    order = np.argsort(differ, kind="stable")
    return [known[number] for number in order if differ[number] <= CLEARLY * differ.min() + _ALIKE]


def on_local_time(
    request: ForecastRequest, forecast: Callable[[ForecastRequest], Prediction | None]
) -> Prediction | None:
    """Forecasts a series on each clock that it may follow, and covers what is expected by any of them.

    Levels from the median on are the highest of all clocks, those below it the lowest.

    Args:
        request: the series, on UTC.
        forecast: called with the series on other clocks; where none change, with the request itself.
    """
    parts = []
    for clock in likely_clocks(request):
        prediction = forecast(_moved(request, clock) if clock.changes else request)
        if prediction is not None:
            parts.append(_read(prediction, clock) if clock.changes else prediction)
    if len(parts) < 2:
        return parts[0] if parts else None
    levels, table = np.asarray(request.levels)[:, None], np.stack([one.quantiles for one in parts])
    expected = [one.expected for one in parts if one.expected is not None]
    return replace(
        parts[0],
        quantiles=np.where(levels >= 0.5, table.max(axis=0), table.min(axis=0)),
        expected=np.max(expected, axis=0) if expected else None,
    )


def _moved(request: ForecastRequest, clock: LocalClock) -> ForecastRequest:
    """Returns a request on the clocks of the origin."""
    ahead, calendar = request.ahead, request.calendar
    return replace(
        request,
        values=clock.moved(request.values),
        ahead=TimeGrid(ahead.start, ahead.step, ahead.size + clock.reach),
        calendar=None if calendar is None else calendar.as_open_at(request.grid.end),
    )


def _read(prediction: Prediction, clock: LocalClock) -> Prediction:
    """Returns a prediction on the clocks of the origin at the steps of UTC."""
    return replace(
        prediction,
        quantiles=clock.read_ahead(prediction.quantiles),
        expected=None if prediction.expected is None else clock.read_ahead(prediction.expected),
        past=None if prediction.past is None else clock.read_past(prediction.past),
    )


def _clock(shift: Callable[[Ints], Ints], grid: TimeGrid, ahead: TimeGrid) -> LocalClock:
    """Returns a clock of a shift in seconds, in whole steps."""
    past, coming = (shift(at.epoch_seconds().astype(np.int64)) // at.step_seconds for at in (grid, ahead))
    return LocalClock(past, coming)


def _rule_shift(rule: ClockRule, start: int, origin: int, end: int) -> Callable[[Ints], Ints] | None:
    """Returns by how many seconds summer time puts local time later than at the origin.

    None where clocks do not change between start and end, all in seconds since the epoch.
    """
    years = range(datetime.fromtimestamp(start, UTC).year, datetime.fromtimestamp(end, UTC).year + 1)
    changes = sorted((at, summer) for year in years for at, summer in rule.changes(year))
    if not any(start < at < end for at, _ in changes):
        return None
    instants = np.array([at for at, _ in changes], dtype=np.int64)
    summers = np.array([not changes[0][1], *(summer for _, summer in changes)], dtype=np.int64)

    def offsets(seconds: Ints) -> Ints:
        seconds_ahead: Ints = _HOUR * summers[np.searchsorted(instants, seconds, side="right")]
        return seconds_ahead

    return lambda seconds: offsets(seconds) - offsets(np.array([origin], dtype=np.int64))


def _sunday(year: int, month: int, number: int) -> date:
    """Returns a Sunday of a month: the first is 0, the last -1."""
    begin = date(year, month, 1)
    first = begin + timedelta(days=(6 - begin.weekday()) % 7)
    sundays = [day for week in range(5) if (day := first + timedelta(weeks=week)).month == month]
    return sundays[number]


def _same(one: LocalClock, other: LocalClock) -> bool:
    return np.array_equal(one.past, other.past) and np.array_equal(one.ahead, other.ahead)


def _spread(request: ForecastRequest, clock: LocalClock, per_day: int) -> Array:
    """Returns how much days differ from the median day of their kind on a clock.

    Kinds are weekdays, or in histories with no more than one of each closed days and others. The mean
    absolute difference of logarithms, by kind and time of day, shape (kinds * per_day,); 0 for none known.
    """
    size = request.grid.size // per_day * per_day
    values, kinds = (x[-size:].reshape(-1, per_day) for x in (clock.moved(request.values), _kinds(request)))
    logs = np.log(np.maximum(values, 0.0) + max(_SMALL * request.scale, 1e-9))
    spreads = []
    for kind in np.unique(kinds):
        one = np.where(kinds == kind, logs, np.nan)
        away = np.abs(one - _median(one))
        count = np.isfinite(away).sum(axis=0)
        spreads.append(np.nansum(away, axis=0) / np.maximum(count, 1))
    result: Array = np.concatenate(spreads)
    return result


def _kinds(request: ForecastRequest) -> Ints:
    """Returns the number of the kind of day of each step."""
    days = request.grid.epoch_seconds().astype(np.int64) // DAY_SECONDS
    if days[-1] - days[0] <= _WEEK:
        return request.closed.astype(np.int64)
    weekdays: Ints = days % _WEEK
    return weekdays


def _median(table: Array) -> Array:
    """Returns the median of each column without NaN, NaN where it has nothing else."""
    known = np.isfinite(table).any(axis=0)
    result = np.full(table.shape[1], np.nan)
    result[known] = np.nanmedian(table[:, known], axis=0)
    return result
