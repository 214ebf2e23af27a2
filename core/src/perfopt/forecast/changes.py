"""What changed in a history: dead periods, level shifts and leaks.

Forecasts use them: `relevant` takes dead periods that are over out of a history, since they are no evidence
of what comes, and `climb` says what a leak adds.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from perfopt.metrics.snapshot import Array, TimeGrid

_DAY = timedelta(days=1)
_DEAD_AT_LEAST = timedelta(days=1)
_KEPT_DAYS = 5  # history that is never taken away
_SHIFT_FACTOR = 4.0  # of the noise between days, for a change of level to count
_SHIFT_RATIO = 1.5
_LEAK_SHARE = 0.9  # of the day-to-day steps between resets that go up
_LEAK_GROWTH = 0.02  # of the level a day


@dataclass(frozen=True, slots=True)
class Stretch:
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
class Leak:
    """A steady climb, with or without resets.

    Attributes:
        per_day: median climb of the daily minimum, in the unit of the series.
        resets: how often it fell back.
    """

    per_day: float
    resets: int


@dataclass(frozen=True, slots=True)
class Changes:
    """All that was found in one history."""

    dead: tuple[Stretch, ...]
    shift: LevelShift | None
    leak: Leak | None


def find_changes(values: Array, grid: TimeGrid) -> Changes:
    """Looks for changes in a history of shape (grid.size,), NaN where missing."""
    dead = dead_periods(values, grid)
    living = _without(values, dead)
    return Changes(dead, level_shift(living, grid), leak(living, grid))


def relevant(values: Array, grid: TimeGrid) -> Array:
    """Returns a copy without what no longer holds: NaN in dead periods that are over.

    A series that is dead now stays as it is: being dead is its present.
    """
    stretches = [stretch for stretch in dead_periods(values, grid) if stretch.end < grid.size]
    result = _without(values, tuple(stretches))
    return result if np.isfinite(result).sum() * grid.step >= _KEPT_DAYS * _DAY else values.copy()


def climb(values: Array, grid: TimeGrid) -> float:
    """Returns the climb of each step of a leak that has not been reset in the history, else 0."""
    found = leak(values, grid)
    return found.per_day * (grid.step / _DAY) if found is not None and not found.resets else 0.0


def dead_periods(values: Array, grid: TimeGrid) -> tuple[Stretch, ...]:
    """Returns stretches of a day or more at exactly the lowest value, in a series that seldom is there.

    A service that idles at its minimum most of the time is idle, not dead.
    """
    known = np.isfinite(values)
    if not known.any():
        return ()
    lowest = float(values[known].min())
    bottom = known & (values == lowest)
    if bottom.sum() > known.sum() / 2 or values[known].max() == lowest:
        return ()
    still = bottom | ~known
    edges = np.flatnonzero(np.diff(np.concatenate([[False], still, [False]]).astype(np.int8)))
    least = _DEAD_AT_LEAST // grid.step
    return tuple(
        Stretch(int(begin), int(end))
        for begin, end in zip(edges[::2], edges[1::2], strict=True)
        if end - begin >= least and bottom[begin:end].mean() >= 0.5
    )


def _without(values: Array, stretches: tuple[Stretch, ...]) -> Array:
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
    known = np.isfinite(with_days).sum(axis=1) >= size // 4
    numbers = np.flatnonzero(known)
    if numbers.size < 5:
        return None
    medians = np.array([float(np.nanmedian(with_days[day])) for day in numbers])
    costs = [_spread(medians[:k]) + _spread(medians[k:]) for k in range(2, medians.size - 1)]
    split = int(np.argmin(costs)) + 2
    before, after = float(np.median(medians[:split])), float(np.median(medians[split:]))
    moves = np.abs(np.diff(medians))
    noise = float(np.median(np.delete(moves, split - 1)))
    least = (1 - 1 / _SHIFT_RATIO) * max(abs(before), abs(after))
    large = abs(after - before) > max(_SHIFT_FACTOR * noise, least)
    if not large or costs[split - 2] > 0.5 * _spread(medians):
        return None
    step = first + int(numbers[split]) * size
    return LevelShift(grid.start + step * grid.step, step, before, after)


def _spread(values: Array) -> float:
    return float(np.abs(values - np.median(values)).sum())


def leak(values: Array, grid: TimeGrid) -> Leak | None:
    """Returns a steady climb of the lows, as of memory that is never given back.

    The minimum of each six hours must rise in nine of ten steps (falls by more than a tenth of the range
    are resets and are left out), by two percent of the level a day or more.
    """
    size = _DAY // grid.step // 4
    blocks = grid.size // size if size else 0
    if blocks < 12:
        return None
    folded = values[grid.size - blocks * size :].reshape(blocks, size)
    seen = np.isfinite(folded).any(axis=1)
    lows = np.where(np.isfinite(folded), folded, np.inf).min(axis=1)[seen]
    if lows.size < 12:
        return None
    moves = np.diff(lows)
    resets = moves < -0.1 * max(float(np.ptp(lows)), 1e-300)
    climbs = moves[~resets]
    per_day = 4 * float(np.median(climbs)) if climbs.size else 0.0
    steady = climbs.size >= 8 and float((climbs > 0).mean()) >= _LEAK_SHARE
    if not steady or per_day < _LEAK_GROWTH * abs(float(np.median(lows))):
        return None
    return Leak(per_day, int(resets.sum()))
