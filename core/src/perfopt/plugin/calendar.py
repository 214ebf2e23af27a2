"""Known in advance: the days and hours on which a load that follows an exchange is quiet. Pure data."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np
from numpy.typing import NDArray

from perfopt.metrics.snapshot import TimeGrid

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

    def opens_later(self, seconds: NDArray[np.int64], now: datetime) -> NDArray[np.int64]:
        """Returns by how many seconds sessions of each instant's day open later in the day than the next one.

        An exchange that observes daylight saving time opens at another time of UTC in winter. A day without
        a session goes by the session before it.

        Args:
            seconds: instants since the epoch, shape (n,).
            now: the next session is the first that opens at or after it.
        """
        opens = np.array(sorted(opened for opened, _ in self.sessions.values()), dtype=np.int64)
        if not opens.size:
            return np.zeros_like(seconds)
        days = seconds // DAY_SECONDS
        last = np.clip(np.searchsorted(opens // DAY_SECONDS, days, side="right") - 1, 0, opens.size - 1)
        coming = min(int(np.searchsorted(opens, int(now.timestamp()))), opens.size - 1)
        later: NDArray[np.int64] = opens[last] % DAY_SECONDS - opens[coming] % DAY_SECONDS
        return later

    def as_open_at(self, now: datetime) -> "SessionCalendar":
        """Returns the sessions as if all days opened at the next session's time of day."""
        moved = {}
        for day, (opened, close) in self.sessions.items():
            later = int(self.opens_later(np.array([opened], dtype=np.int64), now)[0])
            moved[day] = (opened - later, close - later)
        return SessionCalendar(moved)

    def _session(self, day: int) -> tuple[int, int] | None:
        return self.sessions.get(datetime.fromtimestamp(day * DAY_SECONDS, UTC).date())


def weekend(grid: TimeGrid) -> Bools:
    """Returns which steps lie on a Saturday or Sunday, UTC, shape (grid.size,)."""
    days = grid.epoch_seconds() // DAY_SECONDS
    result: Bools = (days.astype(np.int64) + 3) % 7 >= 5  # day 0 was a Thursday
    return result
