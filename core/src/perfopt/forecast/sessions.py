"""Reads when an exchange trades from exchange-calendars, or from what an analysis was given.

A session calendar marks steps at which the market is closed although it is open at that time on other
days (weekends, holidays, after an early close), and moves past days so that their opens fall on the time
of day of the coming session: an exchange that observes daylight saving time opens at another UTC time.
"""

import warnings
from datetime import UTC, datetime, timedelta
from importlib import import_module

from perfopt.errors import InvalidInputError
from perfopt.plugin.calendar import SessionCalendar
from perfopt.plugin.context import AnalysisContext


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
    except ImportError as error:
        raise InvalidInputError(
            "Exchange calendars are not installed.", field="calendar", remedy="Install perfopt[calendars]."
        ) from error
    first, last = start.date() - timedelta(days=1), end.date() + timedelta(days=7)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pandas, about what exchange-calendars does with it
            calendar = calendars.get_calendar(code, start=first.isoformat(), end=last.isoformat())
    except calendars.errors.InvalidCalendarName as error:
        raise InvalidInputError(
            f"{code!r} is not a known exchange.",
            field="calendar",
            remedy="Name it by its ISO 10383 code, such as XNYS.",
        ) from error
    sessions = {}
    for opened, close in zip(calendar.opens, calendar.closes, strict=True):
        begin = int(opened.timestamp())
        sessions[datetime.fromtimestamp(begin, UTC).date()] = (begin, int(close.timestamp()))
    return SessionCalendar(sessions)
