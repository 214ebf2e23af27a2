"""Time in the simulation: moved by hand in tests, or running some times faster than real time."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where the simulation reads its time."""

    def now(self) -> float:
        """Seconds since the epoch."""
        ...


class ManualClock:
    """Stands still until it is moved."""

    def __init__(self, start: float = 1_764_000_000.0) -> None:
        self._now = start

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Moves time on."""
        self._now += seconds


class ScaledClock:
    """Real time, `speed` times as fast; it begins at the present."""

    def __init__(self, speed: float = 1.0) -> None:
        self.speed = speed
        self._origin, self._started = time.time(), time.monotonic()

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._origin + (time.monotonic() - self._started) * self.speed


def stamp(now: float) -> str:
    """A time as Kubernetes prints it, to the second."""
    return datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds(text: str) -> float:
    """Seconds since the epoch of a printed time."""
    return datetime.fromisoformat(text).timestamp()
