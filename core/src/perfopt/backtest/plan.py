"""When recommendations are made in a backtest, and what they are given."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from perfopt.domain.period import format_duration, format_instant, parse_duration
from perfopt.errors import InvalidInputError

DEFAULT_CUTS = 4
MAX_CUTS = 1000


@dataclass(frozen=True, slots=True)
class Plan:
    """The instants of a backtest.

    Attributes:
        cuts: instants at which every policy recommends, increasing.
        history: how much of the past a policy is given.
        validity: how long a recommendation must hold, and is scored.
    """

    cuts: tuple[datetime, ...]
    history: timedelta
    validity: timedelta

    @property
    def start(self) -> datetime:
        """The begin of the data that is needed."""
        return self.cuts[0] - self.history

    @property
    def end(self) -> datetime:
        """The end of the data that is needed."""
        return self.cuts[-1] + self.validity


def make_plan(
    until: datetime,
    *,
    begin: datetime | None = None,
    history: timedelta = timedelta(days=14),
    validity: timedelta = timedelta(days=7),
    cuts: str | None = None,
) -> Plan:
    """Places the cuts.

    The first has its history, and the last its validity window, within [begin, until). Without a begin
    there are as many as asked for, the last ones.

    Args:
        until: end of the data.
        begin: start of the data.
        history: for each recommendation.
        validity: of each recommendation.
        cuts: a stride ("7d") or a number of cuts ("10"); None is a stride of the validity.

    Raises:
        InvalidInputError: malformed, or no cut fits.
    """
    last = until - validity
    number, stride = _cuts(cuts, validity)
    if begin is None:
        count = number or DEFAULT_CUTS
        found = tuple(last - stride * back for back in reversed(range(count)))
    else:
        _check_fits(begin, until, history, validity)
        found = _between(begin + history, last, number, stride)
    return Plan(found, history, validity)


def _cuts(text: str | None, validity: timedelta) -> tuple[int | None, timedelta]:
    """Returns the number of cuts, where one is given, and the stride."""
    if text is None:
        return None, validity
    if not re.fullmatch(r"\d+", text.strip(), re.ASCII):
        return None, parse_duration(text, field="cuts")
    number = int(text)
    if not 1 <= number <= MAX_CUTS:
        raise InvalidInputError(
            f"{text} cuts are out of range.", field="cuts", remedy=f"Give 1 to {MAX_CUTS}, or a stride."
        )
    return number, validity


def _check_fits(begin: datetime, until: datetime, history: timedelta, validity: timedelta) -> None:
    if begin + history + validity > until:
        raise InvalidInputError(
            f"From {format_instant(begin)} to {format_instant(until)} there are"
            f" {format_duration(max(until - begin, timedelta(0)))}, which do not hold a history of"
            f" {format_duration(history)} and a validity of {format_duration(validity)}.",
            field="from",
            remedy="Give an earlier --from, or a shorter --history or --validity.",
        )


def _between(first: datetime, last: datetime, number: int | None, stride: timedelta) -> tuple[datetime, ...]:
    if number is None:
        count = (last - first) // stride + 1
        if count > MAX_CUTS:
            raise InvalidInputError(
                f"That would be {count} cuts, and {MAX_CUTS} are the most.",
                field="cuts",
                remedy="Take a longer stride.",
            )
        return tuple(first + stride * k for k in range(count))
    if number == 1:
        return (last,)
    seconds = (last - first).total_seconds()
    return tuple(first + timedelta(seconds=round(seconds * k / (number - 1))) for k in range(number))
