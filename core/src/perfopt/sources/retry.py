"""Retries with full jitter and Retry-After: one policy for the clients of Prometheus and Kubernetes."""

import random
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_BACKOFF_BASE, _BACKOFF_CAP, _RETRY_AFTER_CAP = 0.25, 8.0, 60.0


@dataclass(slots=True)
class RetryPolicy:
    """The attempts of one request.

    Attributes:
        retries: further attempts after the first that are always made.
        budget_seconds: attempts go on for so long, where that is longer: an outage costs time only.
        failures: what went wrong, one an attempt.
    """

    retries: int
    budget_seconds: float = 0.0
    failures: list[str] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)
    _waited: float = 0.0

    def wait_after(self, failure: str, retry_after: str | None = None) -> float | None:
        """Returns how long to wait before the next attempt; None where there is to be none.

        Args:
            failure: what went wrong.
            retry_after: the header of that name, in seconds or as a date; at most a minute counts.
        """
        self.failures.append(failure)
        attempt = len(self.failures) - 1
        requested = _seconds_of(retry_after)
        wait = _full_jitter(attempt) if requested is None else requested
        if attempt >= self.retries and self._elapsed() + wait > self.budget_seconds:
            return None
        self._waited += wait
        return wait

    def summary(self) -> str:
        """Returns what was tried, as a sentence."""
        count = len(self.failures)
        tried = "Tried once" if count == 1 else f"Tried {count} times"
        return f"{', '.join(dict.fromkeys(self.failures))}. {tried} in {self._elapsed():.1f} s."

    def _elapsed(self) -> float:
        return max(time.monotonic() - self._began, self._waited)


def _full_jitter(attempt: int) -> float:
    """Returns a random wait, so that many clients do not come back at once (AWS: full jitter)."""
    ceiling = min(_BACKOFF_CAP, _BACKOFF_BASE * 2 ** min(attempt, 16))
    return random.uniform(0, ceiling)  # noqa: S311  not a secret


def _seconds_of(value: str | None) -> float | None:
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (TypeError, ValueError):
            return None
    return min(max(seconds, 0.0), _RETRY_AFTER_CAP)
