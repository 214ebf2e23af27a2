"""The list of installed plugins, probed in another process and kept for a while."""

import asyncio
import time
from collections.abc import Callable, Sequence

from perfopt.engine.registry import PluginInfo

KEEP_SECONDS = 60.0


class PluginCache:
    """Probes once, for all who ask at the same time, and keeps the answer for a minute.

    Args:
        probe: blocks; it must not import plugins into this process.
    """

    def __init__(self, probe: Callable[[], Sequence[PluginInfo]]) -> None:
        self._probe = probe
        self._lock = asyncio.Lock()
        self._known: tuple[PluginInfo, ...] = ()
        self._until = 0.0

    async def list(self) -> tuple[PluginInfo, ...]:
        """Returns the plugins, sorted as the probe sorts them."""
        async with self._lock:
            if time.monotonic() >= self._until:
                self._known = tuple(await asyncio.to_thread(self._probe))
                self._until = time.monotonic() + KEEP_SECONDS
            return self._known
