"""Durations and analysis periods: Prometheus style (14d, 1h30m), ISO 8601 (P14D, PT6H, start/end)."""

import re
from datetime import UTC, datetime, timedelta

import msgspec

from perfopt.errors import InvalidInputError

_UNITS = {"y": 365 * 86400.0, "w": 7 * 86400.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PROMETHEUS = re.compile(
    r"(?:(?P<y>\d{1,6})y)?(?:(?P<w>\d{1,6})w)?(?:(?P<d>\d{1,6})d)?(?:(?P<h>\d{1,8})h)?"
    r"(?:(?P<m>\d{1,9})m)?(?:(?P<s>\d{1,10})s)?(?:(?P<ms>\d{1,12})ms)?",
    re.ASCII,
)
_ISO = re.compile(
    r"P(?:(?P<w>\d{1,6})W|(?:(?P<d>\d{1,6}(?:\.\d{1,9})?)D)?"
    r"(?:T(?:(?P<h>\d{1,8}(?:\.\d{1,9})?)H)?(?:(?P<m>\d{1,9}(?:\.\d{1,9})?)M)?"
    r"(?:(?P<s>\d{1,10}(?:\.\d{1,9})?)S)?)?)",
    re.ASCII,
)
MAX_DURATION = timedelta(days=3660)
MAX_PERIOD = timedelta(days=400)
"""Of history that one analysis reads: a year and what a yearly pattern needs beside it."""
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_DURATION = "Write 14d, 24h or 1w, or ISO 8601 such as P14D."
_PERIOD = "Write 14d, 24h or 1w, ISO 8601 such as P14D, or start/end."


def parse_duration(
    text: str, *, field: str | None = None, remedy: str = _DURATION, most: timedelta = MAX_DURATION
) -> timedelta:
    """Parses a positive duration.

    Args:
        text: Prometheus style ("14d", "1h30m") or an ISO 8601 duration without years and months
            ("P14D", "PT6H"), whose length would depend on the calendar.
        field: the request field to name in an error.
        remedy: what to write instead of what is malformed.
        most: the longest that is taken.

    Raises:
        InvalidInputError: malformed, zero, or longer than `most`.
    """
    stripped = text.strip()
    match = _PROMETHEUS.fullmatch(stripped) or _ISO.fullmatch(stripped)
    parts = {unit: value for unit, value in match.groupdict().items() if value} if match else {}
    if not parts:
        raise InvalidInputError(f"{text!r} is not a duration.", field=field, remedy=remedy)
    seconds = sum(float(value) * _UNITS[unit] for unit, value in parts.items())
    if not 0 < seconds <= most.total_seconds():
        raise _out_of_range(text, field, most)
    return timedelta(seconds=seconds)


def parse_instant(text: str, *, field: str | None = None) -> datetime:
    """Parses an ISO 8601 instant to UTC; a time without offset is refused.

    Raises:
        InvalidInputError: malformed, or naive.
    """
    try:
        instant = datetime.fromisoformat(text.strip())
        in_utc = instant.astimezone(UTC) if instant.tzinfo is not None else None
    except (ValueError, OverflowError) as error:
        raise InvalidInputError(
            f"{text!r} is not an instant.", field=field, remedy="Write ISO 8601 such as 2026-11-23T10:00:00Z."
        ) from error
    if in_utc is None:
        raise InvalidInputError(
            f"{text!r} names no time zone.", field=field, remedy="Add Z for UTC, or an offset such as +01:00."
        )
    return in_utc


def parse_validity(text: str) -> timedelta:
    """Parses how long a recommendation must hold.

    Raises:
        InvalidInputError: malformed, or longer than MAX_PERIOD.
    """
    return parse_duration(text, field="validity", most=MAX_PERIOD)


class AnalysisPeriod(msgspec.Struct, frozen=True):
    """A stretch of history, half-open [start, end); without an end it ends where the source does.

    Attributes:
        length: how long it is.
        end: the instant it ends before (UTC), or None for "now, or the source's last sample".
    """

    length: timedelta
    end: datetime | None = None

    @classmethod
    def parse(cls, text: str, *, field: str = "analysis_period") -> "AnalysisPeriod":
        """Parses "14d", "P14D" or "start/end" (each of the two an instant, or one of them a duration).

        Raises:
            InvalidInputError: malformed, longer than MAX_PERIOD, or not within EARLIEST and LATEST.
        """
        period = cls._parse(text, field)
        if period.length > MAX_PERIOD:
            raise _out_of_range(text, field, MAX_PERIOD)
        return period

    @classmethod
    def _parse(cls, text: str, field: str) -> "AnalysisPeriod":
        if "/" not in text:
            return cls(parse_duration(text, field=field, remedy=_PERIOD, most=MAX_PERIOD))
        first, _, second = text.partition("/")
        if second.strip().startswith("P"):
            length = parse_duration(second, field=field, most=MAX_PERIOD)
            start = _in_range(parse_instant(first, field=field), field)
            return cls(length, _in_range(start + length, field))
        end = _in_range(parse_instant(second, field=field), field)
        if first.strip().startswith("P"):
            return cls(parse_duration(first, field=field, most=MAX_PERIOD), end)
        start = _in_range(parse_instant(first, field=field), field)
        if start >= end:
            raise InvalidInputError(
                f"{text!r} ends before it starts.", field=field, remedy="Put the earlier instant first."
            )
        return cls(end - start, end)


def _out_of_range(text: str, field: str | None, most: timedelta) -> InvalidInputError:
    remedy = f"Give more than zero and at most {most.days} days."
    return InvalidInputError(f"{text!r} is out of range.", field=field, remedy=remedy)


def _in_range(instant: datetime, field: str) -> datetime:
    if not EARLIEST <= instant <= LATEST:
        raise InvalidInputError(
            f"{instant.isoformat()} is not within {EARLIEST.year} and {LATEST.year}.",
            field=field,
            remedy="Check the year.",
        )
    return instant


def format_duration(duration: timedelta) -> str:
    """Prints a duration in Prometheus style, the shortest exact form ("14d", "1h30m")."""
    milliseconds = round(duration.total_seconds() * 1000)
    parts = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, milliseconds = divmod(milliseconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def format_instant(instant: datetime) -> str:
    """Prints a UTC instant with milliseconds and Z, as events carry it."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
