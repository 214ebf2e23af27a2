"""When a change may be made: weekly windows and the closed hours of an exchange, as instants."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from perfopt.domain.period import parse_duration
from perfopt.domain.rules import TimeWindow
from perfopt.plugin.context import Sessions
from perfopt.rules.errors import RulePackError
from perfopt.rules.pack import DeferAction, PackParameter, WeeklyWindow

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_PARAMETER = "params."
_DAY = timedelta(days=1)


def check_defer(defer: DeferAction, parameters: Mapping[str, PackParameter]) -> None:
    """Checks a defer action when its pack is read.

    Raises:
        RulePackError: neither windows nor sessions, a malformed time, an unknown time zone or parameter.
    """
    if bool(defer.windows) == (defer.outside_sessions is not None):
        raise RulePackError("A defer needs either windows or outside_sessions.")
    for window in defer.windows:
        _check_window(window)
    for text, kind in (
        (defer.outside_sessions or "", "text"),
        (defer.before, "duration"),
        (defer.after, "duration"),
    ):
        if text.startswith(_PARAMETER):
            declared = parameters.get(text.removeprefix(_PARAMETER))
            if declared is None or declared.type != kind:
                raise RulePackError(f"{text} is no parameter of the type {kind}.", remedy="Declare it.")
        elif text and kind == "duration":
            parse_duration(text)


def _check_window(window: WeeklyWindow) -> None:
    for clock in (window.start, window.end):
        if not _CLOCK.fullmatch(clock):
            raise RulePackError(f"{clock!r} is no time of day.", remedy='Write it as "22:30", in quotes.')
    try:
        ZoneInfo(window.timezone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise RulePackError(
            f"The time zone {window.timezone!r} is not known.",
            remedy="Write an IANA name, such as Europe/Berlin.",
        ) from error


def exchange_of(defer: DeferAction, parameters: Mapping[str, Any]) -> str | None:
    """Returns the exchange that a defer asks for."""
    return None if defer.outside_sessions is None else _resolved(defer.outside_sessions, parameters)


def allowed(
    defer: DeferAction,
    parameters: Mapping[str, Any],
    sessions: Mapping[str, Sessions],
    start: datetime,
    end: datetime,
) -> tuple[TimeWindow, ...] | None:
    """Returns the windows of [start, end) that a defer allows, in order; None where it can't be known.

    Args:
        defer: the action.
        parameters: of its pack, names with "params." before them.
        sessions: exchange to its sessions.
        start: of the time in question, UTC.
        end: of it.
    """
    if defer.windows:
        return _weekly(defer.windows, start, end)
    known = sessions.get(exchange_of(defer, parameters) or "")
    if not known:
        return None
    return _closed(known, _length(defer.before, parameters), _length(defer.after, parameters), start, end)


def intersection(one: Sequence[TimeWindow], other: Sequence[TimeWindow]) -> tuple[TimeWindow, ...]:
    """Returns the time that lies in windows of both."""
    return tuple(
        TimeWindow(start=max(a.start, b.start), end=min(a.end, b.end))
        for a in one
        for b in other
        if max(a.start, b.start) < min(a.end, b.end)
    )


@lru_cache(maxsize=256)  # the strategies of a workload ask for the same, at the same past instants
def _weekly(windows: tuple[WeeklyWindow, ...], start: datetime, end: datetime) -> tuple[TimeWindow, ...]:
    spans = [span for window in windows for span in _spans(window, start, end)]
    return _clipped(_merged(spans), start, end)


@lru_cache(maxsize=256)
def _closed(
    sessions: Sessions, before: timedelta, after: timedelta, start: datetime, end: datetime
) -> tuple[TimeWindow, ...]:
    near = [(o - before, c + after) for o, c in sessions if c + after > start and o - before < end]
    return _clipped(_gaps(_merged(near), start, end), start, end)


def _resolved(text: str, parameters: Mapping[str, Any]) -> Any:
    return parameters[text] if text.startswith(_PARAMETER) else text


def _length(text: str, parameters: Mapping[str, Any]) -> timedelta:
    value = _resolved(text, parameters)
    return value if isinstance(value, timedelta) else parse_duration(value) if value else timedelta(0)


Span = tuple[datetime, datetime]


def _spans(window: WeeklyWindow, start: datetime, end: datetime) -> Iterator[Span]:
    """Yields the occurrences of a weekly window; local clock times, so that they follow daylight saving."""
    zone = ZoneInfo(window.timezone)
    opens, closes = time.fromisoformat(window.start), time.fromisoformat(window.end)
    day = (start.astimezone(zone) - _DAY).date()
    while datetime.combine(day, time(), zone) < end:
        if _DAYS[day.weekday()] in window.days:
            last = day if closes > opens else day + _DAY
            yield (
                datetime.combine(day, opens, zone).astimezone(UTC),
                datetime.combine(last, closes, zone).astimezone(UTC),
            )
        day += _DAY


def _merged(spans: list[Span]) -> list[Span]:
    merged: list[Span] = []
    for span in sorted(spans):
        if merged and span[0] <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], span[1]))
        else:
            merged.append(span)
    return merged


def _gaps(busy: list[Span], start: datetime, end: datetime) -> list[Span]:
    edges = [start, *(edge for span in busy for edge in span), end]
    return list(zip(edges[::2], edges[1::2], strict=True))


def _clipped(spans: list[Span], start: datetime, end: datetime) -> tuple[TimeWindow, ...]:
    return tuple(
        TimeWindow(start=max(a, start), end=min(b, end)) for a, b in spans if max(a, start) < min(b, end)
    )
