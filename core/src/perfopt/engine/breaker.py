"""Sets a plugin version aside for a while after failures in a row."""

import time
from collections.abc import Callable
from threading import Lock

FAILURES_IN_A_ROW = 3
PAUSE_SECONDS = 600.0

PluginVersion = tuple[str, str]


class PluginCircuitBreaker:
    """Counts failures in a row by (plugin, version). Thread-safe.

    It knows of the runs of one process only. The service, where several workers run a plugin, is to give
    the engine one that shares its counts.

    Args:
        failures: in a row, after which a plugin version is set aside.
        pause_seconds: for how long; afterwards one more failure sets it aside again.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        failures: int = FAILURES_IN_A_ROW,
        pause_seconds: float = PAUSE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = failures
        self._pause = pause_seconds
        self._clock = clock
        self._lock = Lock()
        self._failures: dict[PluginVersion, int] = {}
        self._until: dict[PluginVersion, float] = {}

    def allows(self, plugin: PluginVersion) -> bool:
        """Returns whether the plugin version may run now."""
        with self._lock:
            return self._clock() >= self._until.get(plugin, float("-inf"))

    def record(self, plugin: PluginVersion, *, failed: bool) -> None:
        """Takes note of how a run went."""
        with self._lock:
            if not failed:
                self._failures.pop(plugin, None)
                return
            self._failures[plugin] = self._failures.get(plugin, 0) + 1
            if self._failures[plugin] >= self._limit:
                self._until[plugin] = self._clock() + self._pause
