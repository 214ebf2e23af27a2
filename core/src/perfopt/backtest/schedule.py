"""The origins of a backtest: when recommendations are made, what they are given and scored on."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from perfopt.domain.period import format_duration, format_instant, parse_duration
from perfopt.errors import InvalidInputError
from perfopt.plugin.history import MIN_HISTORY

DEFAULT_ORIGINS = 4
LOOP_ORIGINS = 28
MAX_ORIGINS = 1000
DEFAULT_HISTORY, DEFAULT_VALIDITY = timedelta(days=14), timedelta(days=7)
SHORT_SHARE = 0.3  # of the data of a service that is too short for the default validity


@dataclass(frozen=True, slots=True)
class OriginSchedule:
    """The instants of a backtest.

    Attributes:
        origins: instants at which every policy recommends, increasing.
        history: how much of the past a policy is given.
        validity: how long a recommendation must hold, and is scored.
    """

    origins: tuple[datetime, ...]
    history: timedelta
    validity: timedelta

    @property
    def start(self) -> datetime:
        """The begin of the data that is needed."""
        return self.origins[0] - self.history

    @property
    def end(self) -> datetime:
        """The end of the data that is needed."""
        return self.origins[-1] + self.validity


@dataclass(frozen=True, slots=True)
class ScheduleRequest:
    """What a user asks of the origins.

    Attributes:
        begin, until: of the data; None is what there is.
        history: for each recommendation.
        validity: of each; None is 7 days, and less of a service whose data are too short for that.
        origins: a stride ("7d") or a number ("10"); None is a stride of the validity.
        every: of a closed loop, whose last origins are that far apart, on whole strides since the epoch; 28
            where no number is given.
    """

    begin: datetime | None = None
    until: datetime | None = None
    history: timedelta = DEFAULT_HISTORY
    validity: timedelta | None = None
    origins: str | None = None
    every: timedelta | None = None

    def for_extent(self, first: datetime, end: datetime) -> OriginSchedule:
        """Returns the schedule of a service whose samples lie in [first, end).

        Without a begin every origin has at least 3/7 of the validity of samples before it.

        Raises:
            InvalidInputError: malformed, or no origin fits.
        """
        until = end if self.until is None else min(self.until, end)
        if self.begin is not None:
            return self.shared(until)
        validity = self.validity if self.validity is not None else _validity(until - first)
        latest = self._latest(until, validity)
        oldest = first + validity * MIN_HISTORY[0] / MIN_HISTORY[1]
        fitting = tuple(origin for origin in latest.origins if origin >= oldest)
        if not fitting:
            raise InvalidInputError(
                f"The samples from {format_instant(first)} to {format_instant(max(first, until))} are too few"
                f" for a validity of {format_duration(validity)} and 3/7 of it as history.",
                field="validity",
                remedy="Give a shorter --validity or another --until.",
            )
        return OriginSchedule(fitting, self.history, validity)

    def shared(self, until: datetime) -> OriginSchedule:
        """Returns one schedule up to an instant, wherever the samples of a service lie.

        Raises:
            InvalidInputError: malformed, or no origin fits.
        """
        validity = self.validity if self.validity is not None else DEFAULT_VALIDITY
        if self.begin is None:
            return self._latest(until, validity)
        return make_schedule(
            until, begin=self.begin, history=self.history, validity=validity, origins=self._stride()
        )

    def _stride(self) -> str | None:
        return self.origins if self.every is None else format_duration(self.every)

    def _latest(self, until: datetime, validity: timedelta) -> OriginSchedule:
        """Returns the last origins before an instant, however far back they lie."""
        if self.every is None:
            return make_schedule(until, history=self.history, validity=validity, origins=self.origins)
        count = number_and_stride(self.origins, validity)[0] or LOOP_ORIGINS
        seconds = self.every.total_seconds()
        last = datetime.fromtimestamp((until - validity).timestamp() // seconds * seconds, UTC)
        origins = tuple(last - self.every * back for back in reversed(range(count)))
        return OriginSchedule(origins, self.history, validity)


def _validity(extent: timedelta) -> timedelta:
    """Returns seven days, or 3/10 of the data in whole hours where those are too short for seven."""
    if extent >= DEFAULT_VALIDITY * sum(MIN_HISTORY) / MIN_HISTORY[1]:
        return DEFAULT_VALIDITY
    hours = extent * SHORT_SHARE // timedelta(hours=1)
    return timedelta(hours=max(hours, 1))


def make_schedule(
    until: datetime,
    *,
    begin: datetime | None = None,
    history: timedelta = DEFAULT_HISTORY,
    validity: timedelta = DEFAULT_VALIDITY,
    origins: str | None = None,
) -> OriginSchedule:
    """Places the origins.

    The first has its history, and the last its validity window, within [begin, until). Without a begin
    there are as many as asked for, the last ones.

    Args:
        until: end of the data.
        begin: start of the data.
        history: for each recommendation.
        validity: of each recommendation.
        origins: a stride ("7d") or a number of origins ("10"); None is a stride of the validity.

    Raises:
        InvalidInputError: malformed, or no origin fits.
    """
    last = until - validity
    number, stride = number_and_stride(origins, validity)
    if begin is None:
        count = number or DEFAULT_ORIGINS
        instants = tuple(last - stride * back for back in reversed(range(count)))
    else:
        _check_fits(begin, until, history, validity)
        instants = _between(begin + history, last, number, stride)
    return OriginSchedule(instants, history, validity)


def number_and_stride(text: str | None, validity: timedelta) -> tuple[int | None, timedelta]:
    """Returns the number of origins, where one is given, and the stride.

    Raises:
        InvalidInputError: it is neither, or out of range.
    """
    if text is None:
        return None, validity
    if not re.fullmatch(r"-?\d+", text.strip(), re.ASCII):
        return None, parse_duration(text, field="origins")
    number = int(text) if len(text) < 10 else MAX_ORIGINS + 1
    if not 1 <= number <= MAX_ORIGINS:
        raise InvalidInputError(
            f"{text} origins are out of range.",
            field="origins",
            remedy=f"Give 1 to {MAX_ORIGINS}, or a stride such as 7d.",
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
        if count > MAX_ORIGINS:
            raise InvalidInputError(
                f"That would be {count} origins, and {MAX_ORIGINS} are the most.",
                field="origins",
                remedy="Take a longer stride.",
            )
        return tuple(first + stride * k for k in range(count))
    if number == 1:
        return (last,)
    seconds = (last - first).total_seconds()
    return tuple(first + timedelta(seconds=round(seconds * k / (number - 1))) for k in range(number))
