"""What changed in a history: dead periods, level shifts and leaks.

Forecasts use them: `relevant` takes dead periods that are over out of a history, since they are no evidence
of what comes, and brings what was before a level shift to the level and spread of after; `climb` says what
a leak adds.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from perfopt.metrics.snapshot import Array, TimeGrid

_DAY = timedelta(days=1)
_MIN_DEAD = timedelta(days=1)
_KEPT_DAYS = 5  # history that is never taken away
_SHIFT_FACTOR = 4.0  # of the noise between days, for a change of level to count
_SHIFT_RATIO = 1.5
_LEAK_SHARE = 0.9  # of the differences to the day before, resets aside, that go up
_LEAK_GROWTH = 0.02  # of the level a day
_LEAK_ERRORS = 4.0  # standard errors of the climb that it must be above nothing
_LEAK_DAYS = 5  # a leak may have begun late: at least so long ago
_IDLE = 0.02  # of the samples outside such stretches, at about the lowest value: more is idling
_BOTTOM = 0.005  # of the way from the lowest value to the 90th percentile: what counts as dead
_STRAYS = 0.02  # of samples as far off as half a shift that is for good
_MAX_STRETCH = 5.0  # of the spread of what was before a level shift


@dataclass(frozen=True, slots=True)
class GridSpan:
    """Steps [begin, end) of a grid."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class LevelShift:
    """The level changed and stayed.

    Attributes:
        at: start of the first step on the new level, in UTC.
        step: its number.
        before, after: medians of the daily levels, in the unit of the series.
    """

    at: datetime
    step: int
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class MemoryLeak:
    """A steady climb, with or without resets.

    Attributes:
        per_day: median climb of the lows over a day, in the unit of the series.
        resets: how often it fell back.
        since: step of the grid from which on it climbs.
    """

    per_day: float
    resets: int
    since: int


@dataclass(frozen=True, slots=True)
class HistoryChanges:
    """All that was found in one history."""

    dead: tuple[GridSpan, ...]
    shift: LevelShift | None
    leak: MemoryLeak | None


def find_changes(values: Array, grid: TimeGrid) -> HistoryChanges:
    """Looks for changes in a history of shape (grid.size,), NaN where missing."""
    dead = dead_periods(values, grid)
    living = _without(values, dead)
    return HistoryChanges(dead, level_shift(living + climb(living, grid)[1], grid), leak(living, grid))


def relevant(values: Array, grid: TimeGrid) -> Array:
    """Returns a copy as if what holds now had always held, NaN in dead periods that are over.

    A series that is dead now stays as it is: being dead is its present.
    """
    dead = dead_periods(values, grid)
    over = tuple(stretch for stretch in dead if stretch.end < grid.size)
    living = _without(values, over)
    if np.isfinite(living).sum() * grid.step < _KEPT_DAYS * _DAY:
        living = values.copy()
    if len(over) < len(dead):
        return living
    shift = level_shift(living, grid)
    return living if shift is None or not _is_for_good(living, grid, shift) else _levelled(living, shift)


def _is_for_good(values: Array, grid: TimeGrid, shift: LevelShift) -> bool:
    """Says whether either side hardly knew the other's level at that time of day.

    Loads that come and go in jobs of days shift too, and will be back: taking their shifts for good costs
    half as much loss again over a week (Bitbrains, tuning half).
    """
    far = abs(shift.after - shift.before) / 2
    parts = (_off_usual(part, _DAY // grid.step) for part in np.split(values, [shift.step]))
    return all(float((off > far).sum()) <= _STRAYS * float(np.isfinite(off).sum()) for off in parts)


def _off_usual(values: Array, size: int) -> Array:
    """Returns how far each value is from the median of its time of day."""
    padded = np.concatenate([np.full(-values.size % size, np.nan), values]).reshape(-1, size)
    result: Array = np.abs(padded - _medians(padded.T))
    return result


def _levelled(values: Array, shift: LevelShift) -> Array:
    """Brings what was before a shift to the median and mean absolute deviation of what came after."""
    result = values.copy()
    before, after = values[: shift.step], values[shift.step :]
    spreads = [float(np.nanmean(np.abs(part - np.nanmedian(part)))) for part in (before, after)]
    stretch = spreads[1] / spreads[0] if spreads[0] > 0 else 1.0
    stretch = min(max(stretch, 1 / _MAX_STRETCH), _MAX_STRETCH)
    result[: shift.step] = (before - np.nanmedian(before)) * stretch + np.nanmedian(after)
    return result


def climb(values: Array, grid: TimeGrid) -> tuple[float, Array]:
    """Returns what a leak that has not been reset adds: to each step to come, and what to level the history.

    Returns:
        The climb of a step, 0 without such a leak, and what to add to each value of the history for it to
        stand where it would had it always leaked as much as now, shape (grid.size,).
    """
    memory_leak = leak(values, grid)
    if memory_leak is None or memory_leak.resets:
        return 0.0, np.zeros(grid.size)
    slope = memory_leak.per_day * (grid.step / _DAY)
    return slope, slope * np.minimum(np.arange(grid.size - 1, -1, -1), grid.size - 1 - memory_leak.since)


def dead_periods(values: Array, grid: TimeGrid) -> tuple[GridSpan, ...]:
    """Returns stretches of a day or more at about the lowest value, in a series that seldom is there.

    A service that idles at its minimum most of the time, or at other times too, is idle, not dead.
    """
    known = np.isfinite(values)
    if not known.any():
        return ()
    lowest = float(values[known].min())
    bottom = known & (values <= lowest + _BOTTOM * (float(np.quantile(values[known], 0.9)) - lowest))
    if bottom.sum() > known.sum() / 2 or values[known].max() == lowest:
        return ()
    still = bottom | ~known
    edges = np.flatnonzero(np.diff(np.concatenate([[False], still, [False]]).astype(np.int8)))
    least = _MIN_DEAD // grid.step
    periods = tuple(
        GridSpan(int(begin), int(end))
        for begin, end in zip(edges[::2], edges[1::2], strict=True)
        if end - begin >= least and bottom[begin:end].mean() >= 0.5
    )
    elsewhere = np.isfinite(_without(values, periods))
    return periods if (bottom & elsewhere).sum() <= _IDLE * elsewhere.sum() else ()


def _without(values: Array, stretches: tuple[GridSpan, ...]) -> Array:
    result = values.copy()
    for stretch in stretches:
        result[stretch.begin : stretch.end] = np.nan
    return result


def level_shift(values: Array, grid: TimeGrid) -> LevelShift | None:
    """Returns the change of level that explains most, if it stands out of the noise between days.

    The split of the daily medians that leaves the smallest sum of absolute deviations (a single change
    point by least absolute cost; Killick and Eckley 2014 for the general case); at least two days on
    either side, a difference of four times the median move from day to day, and of half the level.
    """
    size = _DAY // grid.step
    days = grid.size // size if size else 0
    if days < 5:
        return None
    first = grid.size - days * size
    with_days = values[first:].reshape(days, size)
    numbers = np.flatnonzero(np.isfinite(with_days).sum(axis=1) >= max(size // 4, 1))
    if numbers.size < 5:
        return None
    medians = _medians(with_days[numbers])
    if np.ptp(medians) <= (1 - 1 / _SHIFT_RATIO) * np.abs(medians).max():
        return None
    costs = [_spread(medians[:k]) + _spread(medians[k:]) for k in range(2, medians.size - 1)]
    split = int(np.argmin(costs)) + 2
    before, after = float(np.median(medians[:split])), float(np.median(medians[split:]))
    moves = np.abs(np.diff(medians))
    noise = float(np.median(np.delete(moves, split - 1)))
    least = (1 - 1 / _SHIFT_RATIO) * max(abs(before), abs(after))
    large = abs(after - before) > max(_SHIFT_FACTOR * noise, least)
    if not large or costs[split - 2] > 0.5 * _spread(medians):
        return None
    step = _crossing(values, first + int(numbers[split]) * size, size, (before, after))
    return LevelShift(grid.start + step * grid.step, step, before, after)


def _medians(rows: Array) -> Array:
    """Returns the median of each row's known values, NaN where there are none."""
    ordered = np.sort(rows, axis=1)  # NaN last
    count = np.isfinite(rows).sum(axis=1)
    places = np.arange(len(rows))
    result: Array = (ordered[places, (count - 1) // 2] + ordered[places, count // 2]) / 2
    return result


def _crossing(values: Array, near: int, size: int, levels: tuple[float, float]) -> int:
    """Returns the step within a day of `near` from which on values are like the day after, not that before.

    Samples are held against those of the same time of day, so that a night is not taken for the change.
    """
    begin = near - size
    window = values[begin : begin + 2 * size]
    days = (values[begin - size : begin], values[begin + 2 * size : begin + 3 * size])
    usual = (np.where(np.isfinite(day), day, level) for day, level in zip(days, levels, strict=True))
    off_before, off_after = (np.abs(window - np.tile(day, 2)) for day in usual)
    nearer = np.where(np.isfinite(window), off_before - off_after, 0.0)
    return begin + int(np.argmin(np.concatenate([[0.0], np.cumsum(nearer)])))


def _spread(values: Array) -> float:
    return float(np.abs(values - np.median(values)).sum())


def leak(values: Array, grid: TimeGrid) -> MemoryLeak | None:
    """Returns a steady climb of the lows, as of memory that is never given back, that lasts until now.

    Nine in ten minima of six hours must be higher than a day before (falls by more than a tenth of the
    range are resets and are left out), by two percent of the level in the median, and that by four standard
    errors. Looked for in all of the history, then in ever less of it, since a leak comes with a release.
    """
    size = _DAY // grid.step // 4
    blocks = grid.size // size if size else 0
    if blocks < 12:
        return None
    folded = values[grid.size - blocks * size :].reshape(blocks, size)
    lows = np.where(np.isfinite(folded), folded, np.inf).min(axis=1)
    lows[np.isinf(lows)] = np.nan
    if _is_constant(lows):
        return None
    used = blocks
    while used >= 12:
        slope = _leak_of(lows[blocks - used :])
        if slope is not None:
            return MemoryLeak(*slope, since=grid.size - used * size)
        if used <= 4 * _LEAK_DAYS:
            return None
        used = max(used * 2 // 3, 4 * _LEAK_DAYS)
    return None


def _is_constant(lows: Array) -> bool:
    known = lows[np.isfinite(lows)]
    return known.size < 12 or float(np.ptp(known)) == 0


def _leak_of(lows: Array) -> tuple[float, int] | None:
    """Returns climb a day and resets of minima of six hours each, NaN where missing; None if no leak."""
    climbs = lows[4:] - lows[:-4]
    known = np.isfinite(climbs)
    if known.sum() < 8:
        return None
    reset = known & (climbs < -0.1 * float(np.nanmax(lows) - np.nanmin(lows)))
    rising = climbs[known & ~reset]
    if rising.size < 8 or float((rising > 0).mean()) < _LEAK_SHARE:
        return None
    per_day = float(np.median(rising))
    # Differences over a day overlap: only as many stand apart as there are days. Loads that wander climb
    # for five days too, less steadily: to go on for a week doubled the loss (Bitbrains, tuning half).
    error = float(rising.std()) / (rising.size / 4) ** 0.5
    if per_day < max(_LEAK_GROWTH * abs(float(np.nanmedian(lows))), _LEAK_ERRORS * error):
        return None
    return per_day, int((np.diff(np.concatenate([[False], reset]).astype(np.int8)) == 1).sum())
