"""Forgets what is older than the setting says, a batch at a time. Every worker runs one."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog

from perfopt.errors import UnavailableError
from perfopt_api.store.retention import PostgresRetention

_BATCH = 500
_PAUSE_SECONDS = 3600.0
_log = structlog.get_logger(__name__)


class Retention:
    """Deletes hourly what has done its work.

    Args:
        store: deletes.
        keep: how long.
        now: the clock.
    """

    def __init__(
        self,
        store: PostgresRetention,
        keep: timedelta,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._keep = keep
        self._now = now

    async def start(self) -> None:
        """Needs nothing before the first job."""

    async def run(self) -> None:
        """Forgets until cancelled."""
        while True:
            try:
                await self.forget()
            except UnavailableError as error:
                _log.debug("retention_skipped", reason=error.message)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def forget(self) -> tuple[int, int]:
        """Deletes all that is old enough; returns how many jobs and events.

        Raises:
            UnavailableError: PostgreSQL is not reachable; what was deleted stays so.
        """
        before = self._now() - self._keep
        gone = [0, 0]
        for place, forget in enumerate((self._store.forget_jobs, self._store.forget_events)):
            while count := await forget(before, limit=_BATCH):
                gone[place] += count
        if any(gone):
            _log.info("forgotten", jobs=gone[0], events=gone[1], before=before.isoformat())
        return gone[0], gone[1]
