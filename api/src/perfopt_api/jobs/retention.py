"""Forgets what is older than the setting says, a batch at a time. Every worker runs one."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog

from perfopt_api.store.retention import PostgresRetention
from perfopt_api.supervision import BackgroundTask

FLEET_JOBS = timedelta(days=30)
"""How long jobs of fleets stay that stored no recommendation: batches, failures, and what was unchanged."""
_BATCH = 500
_log = structlog.get_logger(__name__)


class RetentionTask(BackgroundTask):
    """Deletes hourly what has done its work.

    Args:
        store: deletes.
        keep: how long finished analyses, ended changes and published events stay; None is for ever.
        days: how long series of days stay.
        now: the clock.
    """

    name = "retention"
    pause_seconds = 3600.0

    def __init__(
        self,
        store: PostgresRetention,
        keep: timedelta | None,
        days: timedelta = timedelta(0),
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._keep = keep
        self._days = days
        self._now = now

    async def round(self) -> None:
        """Forgets once."""
        await self.forget()

    async def forget(self) -> dict[str, int]:
        """Deletes all that is old enough; returns how many rows by kind.

        Raises:
            UnavailableError: PostgreSQL is not reachable; what was deleted stays so.
        """
        periods = {
            "changes": (self._store.forget_changes, self._keep),
            "jobs": (self._store.forget_jobs, self._keep),
            "events": (self._store.forget_events, self._keep),
            "service_days": (self._store.forget_service_days, self._keep),
            "fleet_jobs": (self._store.forget_fleet_jobs, FLEET_JOBS),
            "days": (self._store.forget_days, self._days),
        }
        gone = dict.fromkeys(periods, 0)
        for kind, (forget, keep) in periods.items():
            while keep is not None and (count := await forget(self._now() - keep, limit=_BATCH)):
                gone[kind] += count
        if any(gone.values()):
            _log.info("expired_rows_deleted", **gone)
        return gone
