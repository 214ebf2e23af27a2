"""Forgets what is older than the setting says, a batch at a time. Every worker runs one."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog

from perfopt_api.store.retention import PostgresRetention
from perfopt_api.supervision import BackgroundTask

_BATCH = 500
_log = structlog.get_logger(__name__)


class RetentionTask(BackgroundTask):
    """Deletes hourly what has done its work.

    Args:
        store: deletes.
        keep: how long.
        now: the clock.
    """

    name = "retention"
    pause_seconds = 3600.0

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

    async def round(self) -> None:
        """Forgets once."""
        await self.forget()

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
            _log.info("expired_jobs_deleted", jobs=gone[0], events=gone[1], before=before.isoformat())
        return gone[0], gone[1]
