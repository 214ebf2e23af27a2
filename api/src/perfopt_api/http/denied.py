"""Calls that were denied: counted, logged, and once a minute for each caller and address in the audit."""

import contextlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import structlog

from perfopt.errors import UnavailableError
from perfopt_api.telemetry import DENIED_CALLS

EVERY_SECONDS = 60.0
MAX_NOTED = 1000
"""Of different callers and addresses within a minute; further ones are in the log and the metric only."""
Write = Callable[[str | None, str, str], Awaitable[None]]
_log = structlog.get_logger("perfopt_api.auth")


class DeniedCalls:
    """Notes denied calls.

    Args:
        write: adds one to the audit: who, what, and the reason's code; None leaves the audit out.
        monotonic: seconds that only grow.
    """

    def __init__(self, write: Write | None, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._monotonic = monotonic
        self._noted: OrderedDict[tuple[str, str, str], float] = OrderedDict()

    async def note(self, principal: str | None, address: str, call: str, reason: str) -> None:
        """Notes a call."""
        DENIED_CALLS.labels(reason).inc()
        _log.warning("call_denied", principal=principal, address=address, call=call, reason=reason)
        if self._write is not None and self._is_new((principal or address, call, reason)):
            text = reason if principal is not None else f"{reason}, from {address}"
            with contextlib.suppress(UnavailableError):  # the log has it
                await self._write(principal, call, text)

    def _is_new(self, key: tuple[str, str, str]) -> bool:
        now = self._monotonic()
        while self._noted and now - next(iter(self._noted.values())) >= EVERY_SECONDS:
            self._noted.popitem(last=False)
        if key in self._noted or len(self._noted) >= MAX_NOTED:
            return False
        self._noted[key] = now
        return True
