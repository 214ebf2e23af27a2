"""First imports of modules pause the clock of an analysis: they are slow once, and no fault of a strategy."""

import builtins
import sys
from collections.abc import Callable
from typing import Any

BEGUN, ENDED = b"\x00import begun", b"\x00import ended"
"""What a worker sends between request and answer; no answer begins so."""
IMPORT_SECONDS = 60.0
"""For which the clock is paused for at most, in one answer."""


class ImportNotices:
    """Tells the parent of a worker when a module is imported that was not before.

    Args:
        send: sends to the parent.
    """

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._import = builtins.__import__
        self._inside = True

    def install(self) -> None:
        """Takes the place of the import statement's function."""
        builtins.__import__ = self

    def watch(self, *, on: bool) -> None:
        """Sends notices from now on, or no longer: only a parent that waits for an answer reads them."""
        self._inside = not on

    def __call__(self, name: str, *given: Any, **more: Any) -> Any:
        """Imports as the statement does."""
        if self._inside or name in sys.modules:
            return self._import(name, *given, **more)
        self._inside = True
        self._send(BEGUN)
        try:
            return self._import(name, *given, **more)
        finally:
            self._send(ENDED)
            self._inside = False


class PausedClock:
    """The deadline of an answer, moved by the time that imports take.

    Args:
        deadline: on the clock.
        clock: seconds that only grow.
    """

    def __init__(self, deadline: float, clock: Callable[[], float]) -> None:
        self._deadline = deadline
        self._clock = clock
        self._begun: float | None = None
        self._left = IMPORT_SECONDS

    @property
    def remaining(self) -> float:
        """Seconds until the answer is late."""
        paused = 0.0 if self._begun is None else min(self._clock() - self._begun, self._left)
        return self._deadline + paused - self._clock()

    def notice(self, message: bytes) -> bool:
        """Takes a message of a worker; returns whether it was a notice, and no answer."""
        if message == BEGUN:
            self._begun = self._clock()
        elif message == ENDED and self._begun is not None:
            paused = min(self._clock() - self._begun, self._left)
            self._deadline, self._left, self._begun = self._deadline + paused, self._left - paused, None
        return message in (BEGUN, ENDED)
