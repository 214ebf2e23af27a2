"""Hours and kinds of days: when a service is needed, and the schedule that follows from it. All in UTC."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfopt.forecast import SessionCalendar, calendar_of
from perfopt.plugin import AnalysisContext, Array, TimeGrid

KINDS, HOURS = 2, 24  # days that are worked (or traded), and days that are not
WEEKDAYS = 7
MIN_DAYS = (3, 2)  # of each kind, for an hour of it to be taken as known
LEAD = timedelta(minutes=15)  # replicas are added so long before they are needed
_HOUR = 3600
_SHORTEST, _LONGEST = 4, 20  # hours of the busy block of a day

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class HourCells:
    """Which hour of which kind of day each step of a history is.

    Attributes:
        cell: kind * HOURS + hour, shape (steps,).
        day: number of the UTC day, shape (steps,).
        calendar: the exchange whose sessions separate the kinds; None is weekdays and weekends.
    """

    cell: Ints
    day: Ints
    calendar: str | None

    def shape(self, values: Array, begin: int, reference: float) -> Array:
        """Returns the share of a reference that each hour reached, at most 1, shape (KINDS, HOURS).

        The highest sample of an hour and of the hours beside it, over all days of the kind. 1 where fewer
        than MIN_DAYS days of the kind are known, or not every weekday: what runs once a week would be missed.
        """
        known = np.isfinite(values)
        if np.unique(self.day[begin:][known] % WEEKDAYS).size < WEEKDAYS:
            return np.ones((KINDS, HOURS))
        cell, day = self.cell[begin:][known], self.day[begin:][known]
        peaks = np.zeros(KINDS * HOURS)
        np.maximum.at(peaks, cell, values[known])
        days = np.bincount(np.unique(cell * 100_000 + day % 100_000) // 100_000, minlength=KINDS * HOURS)
        grid = peaks.reshape(KINDS, HOURS)
        grid = np.maximum.reduce([grid, np.roll(grid, 1, axis=1), np.roll(grid, -1, axis=1)])
        share = np.minimum(grid / reference, 1.0) if reference > 0 else np.ones((KINDS, HOURS))
        enough = days.reshape(KINDS, HOURS) >= np.array(MIN_DAYS)[:, None]
        return np.where(enough.all(axis=1)[:, None], share, 1.0)


def cells_of(context: AnalysisContext) -> HourCells:
    """Returns the cells of a history, by the sessions of the exchange that the workload follows, if any."""
    calendar = calendar_of(context)
    code = context.snapshot.workload.exchange if calendar else None
    return _cells(context.snapshot.grid, calendar, code, context.now)


def _cells(grid: TimeGrid, calendar: SessionCalendar | None, code: str | None, now: datetime) -> HourCells:
    """An exchange's hours are those of the days around `now`: its opens move with daylight saving time."""
    seconds = grid.epoch_seconds().astype(np.int64)
    day = seconds // (HOURS * _HOUR)
    if calendar is None:
        closed = (day + 3) % 7 >= 5  # day 0 was a Thursday
    else:
        closed = calendar.closed(grid)
        seconds = seconds - calendar.opens_later(seconds, now)
    return HourCells(closed.astype(np.int64) * HOURS + seconds // _HOUR % HOURS, day, code)


def _blocks() -> tuple[NDArray[np.bool_], list[tuple[int, int]]]:
    spans = [(begin, length) for begin in range(HOURS) for length in range(_SHORTEST, _LONGEST + 1)]
    masks = np.zeros((len(spans), HOURS), dtype=np.bool_)
    for row, (begin, length) in enumerate(spans):
        masks[row, (begin + np.arange(length)) % HOURS] = True
    return masks, spans


_MASKS, _SPANS = _blocks()


@dataclass(frozen=True, slots=True)
class SchedulePeriod:
    """Hours that have the same number of replicas.

    Attributes:
        cells: which hours of which kind, shape (KINDS * HOURS,).
        hours: how many of them the validity window holds.
    """

    cells: NDArray[np.bool_]
    hours: float


def whole(context: AnalysisContext) -> list[SchedulePeriod]:
    """Returns the one period of a state without schedule."""
    return [SchedulePeriod(np.ones(KINDS * HOURS, dtype=np.bool_), context.validity.total_seconds() / _HOUR)]


def periods(context: AnalysisContext, cells: HourCells, shape: Array) -> list[SchedulePeriod]:
    """Returns a busy and a quiet part of each kind of day, so that the least area is under their peaks.

    Args:
        context: has the validity window.
        cells: of the history, with the calendar.
        shape: share of the peak needed in each hour, shape (KINDS, HOURS).
    """
    ahead = hours_ahead(context, cells)
    parts = []
    for kind in range(KINDS):
        row = shape[kind]
        inside = np.where(_MASKS, row, 0.0).max(axis=1)
        outside = np.where(_MASKS, 0.0, row).max(axis=1)
        lengths = _MASKS.sum(axis=1)
        best = int(np.argmin(inside * lengths + outside * (HOURS - lengths)))
        for mask in (_MASKS[best], ~_MASKS[best]):
            chosen = np.zeros((KINDS, HOURS), dtype=np.bool_)
            chosen[kind] = mask
            flat = chosen.reshape(-1)
            parts.append(SchedulePeriod(flat, float(flat[ahead].sum())))
    return [period for period in parts if period.hours > 0]


def hours_ahead(context: AnalysisContext, cells: HourCells) -> Ints:
    """Returns the cell of each hour of the validity window, shape (hours,)."""
    count = max(-(-context.validity // timedelta(hours=1)), 1)
    start = context.now.replace(minute=0, second=0, microsecond=0)
    grid = TimeGrid(start, timedelta(hours=1), int(count))
    return _cells(grid, calendar_of(context), cells.calendar, context.now).cell


def schedule(
    context: AnalysisContext, cells: HourCells, periods: list[SchedulePeriod], replicas: tuple[int, ...]
) -> list[dict[str, Any]]:
    """Returns the minimum of replicas over the validity window, as {start, end, min_replicas} in turn.

    More replicas begin LEAD before the hour that needs them; fewer begin on it.
    """
    by_cell = np.zeros(KINDS * HOURS, dtype=np.int64)
    for period, count in zip(periods, replicas, strict=True):
        by_cell[period.cells] = count
    planned = by_cell[hours_ahead(context, cells)]
    hour = context.now.replace(minute=0, second=0, microsecond=0)
    begins: list[tuple[datetime, int]] = [(context.now, int(planned[0]))]
    for number in range(1, planned.size):
        if planned[number] != planned[number - 1]:
            at = hour + number * timedelta(hours=1)
            at -= LEAD if planned[number] > planned[number - 1] else timedelta(0)
            begins.append((max(at, context.now), int(planned[number])))
    ends = [at for at, _ in begins[1:]] + [context.now + context.validity]
    return [
        {"start": at.isoformat(), "end": end.isoformat(), "min_replicas": count}
        for (at, count), end in zip(begins, ends, strict=True)
        if end > at
    ]
