"""Known in advance: the days and hours on which a load that follows an exchange is quiet. Pure data."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np
from numpy.typing import NDArray

from perfopt.metrics.snapshot import Array, TimeGrid

DAY_SECONDS = 86_400
_EARLY_SECONDS = 1800  # a close this much earlier than usual ends a half day

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SessionCalendar:
    """Sessions of one exchange.

    Attributes:
        sessions: UTC day to (open, close) in seconds since the epoch; days without a session are absent.
    """

    sessions: Mapping[date, tuple[int, int]]

    def closed(self, grid: TimeGrid) -> Bools:
        """Returns which steps lie on a day without session, or after a close earlier than usual."""
        seconds = grid.epoch_seconds().astype(np.int64)
        lengths = [close - opened for opened, close in self.sessions.values()]
        usual = int(np.median(lengths)) if lengths else DAY_SECONDS
        result = np.ones(grid.size, dtype=np.bool_)
        day = seconds // DAY_SECONDS
        for number in np.unique(day):
            session = self._session(int(number))
            if session is not None:
                steps = day == number
                early = session[1] - session[0] < usual - _EARLY_SECONDS
                result[steps] = early & (seconds[steps] >= session[1])
        return result

    def align(self, values: Array, grid: TimeGrid) -> Array:
        """Moves the samples of past days so that their opens fall on the next session's time of day.

        Returns:
            A copy of shape (grid.size,); the edge of a moved day repeats.
        """
        target = self._next_open(grid.end)
        if target is None:
            return values.copy()
        seconds = grid.epoch_seconds().astype(np.int64)
        day = seconds // DAY_SECONDS
        source = np.arange(grid.size)
        for number in np.unique(day):
            session = self._session(int(number))
            moved = 0 if session is None else (session[0] % DAY_SECONDS - target) // grid.step_seconds
            if moved:
                steps = np.flatnonzero(day == number)
                source[steps] = np.clip(steps + moved, steps[0], steps[-1])
        return values[source]

    def _session(self, day: int) -> tuple[int, int] | None:
        return self.sessions.get(datetime.fromtimestamp(day * DAY_SECONDS, UTC).date())

    def _next_open(self, instant: datetime) -> int | None:
        """Returns the time of day, in seconds, of the first open at or after an instant."""
        later = [opened for opened, _ in self.sessions.values() if opened >= instant.timestamp()]
        return min(later) % DAY_SECONDS if later else None


def weekend(grid: TimeGrid) -> Bools:
    """Returns which steps lie on a Saturday or Sunday, UTC, shape (grid.size,)."""
    days = grid.epoch_seconds() // DAY_SECONDS
    result: Bools = (days.astype(np.int64) + 3) % 7 >= 5  # day 0 was a Thursday
    return result
