"""When a service that is scaled to zero at times will not run: blocks of the day in which it never did."""

import numpy as np
from numpy.typing import NDArray

from perfopt.plugin import TimeGrid

Flags = NDArray[np.bool_]

MIN_DAYS, MIN_WEEKEND_DAYS = 3, 2  # that must all have been without a replica: one quiet day stops nothing
_DAY_SECONDS = 86_400


def stopped_blocks(stopped: Flags, grid: TimeGrid, steps: int, count: int) -> Flags:
    """Returns which blocks after the history are expected without any replica, shape (count,).

    Those in which no step of any day of their kind (weekdays, weekends; UTC) had one at this time of day.

    Args:
        stopped: steps without a replica up to the end of the grid, shape (n,).
        grid: of the snapshot; its end is the end of the history.
        steps: of the grid in a block; a whole number of blocks makes a day.
        count: blocks from the end of the grid on.
    """
    if not stopped.any():
        return np.zeros(count, dtype=np.bool_)
    seconds = steps * grid.step_seconds
    past = stopped[stopped.size % steps :].reshape(-1, steps).all(axis=1)
    kinds = _kinds(grid, seconds, np.arange(-past.size, count))
    known, ahead = kinds[: past.size], kinds[past.size :]
    found = np.zeros(count, dtype=np.bool_)
    for kind in np.unique(ahead):
        days = past[known == kind]
        needed = MIN_DAYS if kind % 2 == 0 else MIN_WEEKEND_DAYS
        found[ahead == kind] = days.size >= needed and days.all()
    return found


def _kinds(grid: TimeGrid, seconds: int, blocks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns a number for each time of day on each kind of day; odd on weekends."""
    starts = int(grid.end.timestamp()) + blocks * seconds
    weekend = (starts // _DAY_SECONDS + 3) % 7 >= 5  # the epoch was a Thursday
    kinds: NDArray[np.int64] = 2 * (starts % _DAY_SECONDS // seconds) + weekend
    return kinds
