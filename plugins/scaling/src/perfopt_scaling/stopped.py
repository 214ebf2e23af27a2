"""When a service that is scaled to zero at times will not run: blocks of the day in which it never did."""

from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from perfopt.forecast import ForecastRequest, likely_clocks
from perfopt.plugin import TimeGrid

Flags = NDArray[np.bool_]

MIN_DAYS, MIN_WEEKEND_DAYS = 3, 2  # that must all have been without a replica: one quiet day stops nothing
MIN_WEEKS = 2  # of one weekday, such as those between the runs of a weekly job
_DAY_SECONDS = 86_400


def stopped_blocks(stopped: Flags, grid: TimeGrid, steps: int, count: int) -> Flags:
    """Returns which blocks after the history are expected without any replica, shape (count,).

    Those in which no step of any day of their kind (weekdays, weekends; UTC) had one at this time of day, or
    no step of their weekday in two weeks or more. Where clocks change, that holds for each clock that it may
    follow.

    Args:
        stopped: steps without a replica up to the end of the grid, shape (n,).
        grid: of the snapshot; its end is the end of the history.
        steps: of the grid in a block; a whole number of blocks makes a day.
        count: blocks from the end of the grid on.
    """
    if not stopped.any():
        return np.zeros(count, dtype=np.bool_)
    past = stopped[stopped.size % steps :].reshape(-1, steps).all(axis=1)
    block = steps * grid.step
    known = TimeGrid(grid.end - past.size * block, block, past.size)
    runs = np.where(past, 0.0, 1.0)
    request = ForecastRequest(runs, known, TimeGrid(grid.end, block, count), (0.5,), float(runs.mean()))
    clear = np.ones(count, dtype=np.bool_)
    for clock in likely_clocks(request):
        stops = _never_ran(clock.moved(runs) != 1, grid, block, count + clock.reach)
        clear &= clock.read_ahead(stops.astype(np.float64)) > 0
    return clear


def _never_ran(past: Flags, grid: TimeGrid, block: timedelta, count: int) -> Flags:
    """Returns which blocks after the grid never had a replica on days of their kind, shape (count,)."""
    seconds = block // timedelta(seconds=1)
    blocks = np.arange(-past.size, count)
    kinds, weekdays = _kinds(grid, seconds, blocks)
    needed = np.where(kinds[past.size :] % 2 == 0, MIN_DAYS, MIN_WEEKEND_DAYS)
    same_kind = _always(past, kinds) >= needed
    return same_kind | (_always(past, weekdays) >= MIN_WEEKS)


def _always(past: Flags, kinds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns how many past blocks of its kind each block ahead has, 0 where one of them ran.

    Args:
        past: blocks without a replica, shape (n,).
        kinds: of the past blocks and those ahead, shape (n + count,).
    """
    known, ahead = kinds[: past.size], kinds[past.size :]
    minimum = np.zeros(ahead.size, dtype=np.int64)
    for kind in np.unique(ahead):
        days = past[known == kind]
        minimum[ahead == kind] = days.size if days.all() else 0
    return minimum


def _kinds(
    grid: TimeGrid, seconds: int, blocks: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns a number for each time of day on each kind of day, odd on weekends, and on each weekday."""
    starts = int(grid.end.timestamp()) + blocks * seconds
    weekday = (starts // _DAY_SECONDS + 3) % 7  # the epoch was a Thursday
    time = starts % _DAY_SECONDS // seconds
    return 2 * time + (weekday >= 5), 7 * time + weekday
