"""Admission to a pool of connections: who would wait too long is refused at once, by what is measured."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from perfopt_api.errors import OverloadedError

MAX_WAIT_SECONDS = 4.0
"""That a command may be expected to wait: half of what a caller of a list would."""
_WEIGHT = 0.1  # of the latest use of a connection in the mean of uses
_ASSUMED_SECONDS = 0.01  # a use takes, before one was measured


class AdmissionQueue:
    """A queue whose length is bounded by time: on a slow machine fewer may wait than on a fast one.

    The expected wait of one more is that of those before it: their number over the connections, times the
    mean time for which a connection is used lately.

    Args:
        connections: that are used at the same time.
        clock: seconds that only grow.
    """

    def __init__(self, connections: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._connections = connections
        self._clock = clock
        self._inside = 0
        self._mean = _ASSUMED_SECONDS

    @property
    def expected_wait(self) -> float:
        """Seconds that one more would wait for a connection."""
        before = self._inside - self._connections + 1
        return max(before, 0) / self._connections * self._mean

    @contextmanager
    def place(self) -> Iterator[Callable[[], None]]:
        """Gives a place in the queue for as long as the connection is used.

        Yields:
            To be called once there is a connection: its use begins.

        Raises:
            OverloadedError: it would wait too long; it says when to come back.
        """
        wait = self.expected_wait
        if wait > MAX_WAIT_SECONDS:
            raise OverloadedError(
                f"{self._inside} requests are at work or wait, {wait:.1f} s of work on this machine.",
                remedy="Wait for the seconds in Retry-After.",
                retry_after_seconds=math.ceil(wait),
            )
        began: float | None = None

        def use() -> None:
            nonlocal began
            began = self._clock()

        self._inside += 1
        try:
            yield use
        finally:
            self._inside -= 1
            if began is not None:
                self._mean += _WEIGHT * (self._clock() - began - self._mean)
