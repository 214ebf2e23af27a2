"""The sessions of exchanges that rules ask for or load follows: known in advance, read once a month."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from perfopt.domain.recommendation import AnalysisWarning
from perfopt.errors import InvalidInputError
from perfopt.forecast import exchange_sessions
from perfopt.plugin.context import Sessions

_AHEAD = timedelta(days=62)


def sessions_of(
    exchanges: Iterable[str], start: datetime, end: datetime
) -> tuple[dict[str, Sessions], tuple[AnalysisWarning, ...]]:
    """Returns the sessions of exchanges over [start, end), and a warning for each that can't be had.

    Rules that need sessions and lack them ask for approval, so that nothing slips through a freeze.
    """
    sessions: dict[str, Sessions] = {}
    warnings: list[AnalysisWarning] = []
    for code in exchanges:
        try:
            known = _months(code, *_around(start, end))
        except InvalidInputError as error:
            text = (
                f"The sessions of {code} are not known, so its rules ask for approval and forecasts do"
                f" without them. {error.message}"
            )
            warnings.append(
                AnalysisWarning(code="sessions_unknown", message=f"{text} {error.remedy or ''}".strip())
            )
            continue
        sessions[code] = tuple((opened, close) for opened, close in known if close > start and opened < end)
    return sessions, tuple(warnings)


def _around(start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """Widens to whole months, so that many analyses ask for the same."""
    return datetime(start.year, start.month, 1, tzinfo=UTC), datetime(
        end.year, end.month, 1, tzinfo=UTC
    ) + _AHEAD


@lru_cache(maxsize=64)
def _months(code: str, start: datetime, end: datetime) -> Sessions:
    calendar = exchange_sessions(code, start, end)
    return tuple(
        (datetime.fromtimestamp(opened, UTC), datetime.fromtimestamp(close, UTC))
        for opened, close in sorted(calendar.sessions.values())
    )
