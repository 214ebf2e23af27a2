"""When a change may begin: weekly windows, and not during sessions of exchanges. Pure."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, time, timedelta

from perfopt_api.policy.settings import WeeklyWindow

Spans = Sequence[tuple[datetime, datetime]]
"""Sessions, (open, close) each, UTC."""

_AHEAD = timedelta(days=8)


def next_window(windows: Iterable[WeeklyWindow], now: datetime) -> datetime | None:
    """Returns the first instant from now on that lies in a window; now where there are none.

    None is never reached in practice: every window comes back within a week.
    """
    chosen = tuple(windows)
    if not chosen:
        return now
    begins = [begin if begin > now else now for begin, end in _spans(chosen, now) if end > now]
    return min(begins, default=None)


def _spans(windows: Sequence[WeeklyWindow], now: datetime) -> Iterable[tuple[datetime, datetime]]:
    today = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
    for offset in range(-1, _AHEAD.days + 1):
        day = today + timedelta(days=offset)
        for window in windows:
            if day.weekday() in window.days:
                begin = day + timedelta(minutes=window.start)
                length = (window.end - window.start) % (24 * 60) or 24 * 60
                yield begin, begin + timedelta(minutes=length)


def after_session(sessions: Spans, now: datetime, margin: timedelta) -> datetime | None:
    """Returns when the session that is on now, margins included, is over; None while none is on."""
    ends = [close + margin for opened, close in sessions if opened - margin <= now < close + margin]
    return max(ends, default=None)
