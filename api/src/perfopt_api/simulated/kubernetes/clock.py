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


class CatchUpClock(ManualClock):
    """Begins some seconds ago and is moved by hand; from `catch_up` on it is real time."""

    def __init__(self, seconds_ago: float) -> None:
        super().__init__(time.time() - seconds_ago)
        self._live = False

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time() if self._live else super().now()

    @property
    def behind(self) -> float:
        """Seconds it is behind the present."""
        return time.time() - self.now()

    def catch_up(self) -> None:
        """Jumps to the present and runs with it."""
        self._live = True


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
