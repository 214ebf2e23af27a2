"""Known in advance: when an exchange trades. Pure data; `exchange_sessions` reads exchange-calendars.

A session calendar marks steps at which the market is closed although it is open at that time on other
days (weekends, holidays, after an early close), and moves past days so that their opens fall on the time
of day of the coming session: an exchange that observes daylight saving time opens at another UTC time.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from importlib import import_module

import numpy as np

from perfopt.errors import InvalidInputError
from perfopt.forecast.folding import DAY, Bools
from perfopt.metrics.snapshot import Array, TimeGrid
from perfopt.plugin.context import AnalysisContext


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
        usual = int(np.median(lengths)) if lengths else DAY
        result = np.ones(grid.size, dtype=np.bool_)
        day = seconds // DAY
        for number in np.unique(day):
            session = self._session(int(number))
            if session is not None:
                steps = day == number
                early = session[1] - session[0] < usual - 1800
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
        day = seconds // DAY
        source = np.arange(grid.size)
        for number in np.unique(day):
            session = self._session(int(number))
            moved = 0 if session is None else (session[0] % DAY - target) // grid.step_seconds
            if moved:
                steps = np.flatnonzero(day == number)
                source[steps] = np.clip(steps + moved, steps[0], steps[-1])
        return values[source]

    def _session(self, day: int) -> tuple[int, int] | None:
        return self.sessions.get(datetime.fromtimestamp(day * DAY, UTC).date())

    def _next_open(self, instant: datetime) -> int | None:
        """Returns the time of day, in seconds, of the first open at or after an instant."""
        later = [opened for opened, _ in self.sessions.values() if opened >= instant.timestamp()]
        return min(later) % DAY if later else None


def calendar_of(context: AnalysisContext) -> SessionCalendar | None:
    """Returns the sessions that a workload's load follows, or None where it follows none, or none are known.

    They are known in advance, so the replay of a past instant may read those after it.
    """
    known = context.sessions.get(context.snapshot.workload.exchange or "")
    if known is None:
        return None
    stamps = ((int(opened.timestamp()), int(close.timestamp())) for opened, close in known)
    return SessionCalendar({datetime.fromtimestamp(begin, UTC).date(): (begin, end) for begin, end in stamps})


def exchange_sessions(code: str, start: datetime, end: datetime) -> SessionCalendar:
    """Returns the sessions of an exchange between two instants, widened to whole days.

    Args:
        code: ISO 10383 market identifier, such as XNYS or XETR.
        start: first instant of interest, UTC.
        end: last instant of interest, UTC.

    Raises:
        InvalidInputError: the code is unknown, or exchange-calendars (perfopt[calendars]) is not installed.
    """
    try:
        calendars = import_module("exchange_calendars")
    except ImportError:
        raise InvalidInputError(
            "Exchange calendars are not installed.", field="calendar", remedy="Install perfopt[calendars]."
        ) from None
    first, last = start.date() - timedelta(days=1), end.date() + timedelta(days=7)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pandas, about what exchange-calendars does with it
            calendar = calendars.get_calendar(code, start=first.isoformat(), end=last.isoformat())
    except calendars.errors.InvalidCalendarName:
        raise InvalidInputError(
            f"{code!r} is not a known exchange.",
            field="calendar",
            remedy="Name it by its ISO 10383 code, such as XNYS.",
        ) from None
    sessions = {}
    for opened, close in zip(calendar.opens, calendar.closes, strict=True):
        begin = int(opened.timestamp())
        sessions[datetime.fromtimestamp(begin, UTC).date()] = (begin, int(close.timestamp()))
    return SessionCalendar(sessions)
