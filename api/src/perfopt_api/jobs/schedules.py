"""Fires schedules that are due. Every worker that analyses runs one; each firing is one worker's."""

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from perfopt.errors import UnavailableError
from perfopt_api.jobs.queue import JobQueue
from perfopt_api.store.schedules import PostgresSchedules
from perfopt_api.supervision import BackgroundTask

_log = structlog.get_logger(__name__)


class ScheduleTask(BackgroundTask):
    """Starts the jobs of schedules.

    Args:
        store: schedules.
        queue: wakes workers.
        now: the clock.
    """

    name = "schedules"
    pause_seconds = 5.0

    def __init__(
        self,
        store: PostgresSchedules,
        queue: JobQueue,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._queue = queue
        self._now = now

    async def round(self) -> None:
        """Fires all that is due."""
        while job_id := await self._store.fire(self._now()):
            _log.info("schedule_fired", job_id=job_id)
            with contextlib.suppress(UnavailableError):  # the row is stored: the sweeper queues it later
                await self._queue.enqueue(job_id)
