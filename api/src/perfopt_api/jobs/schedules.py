"""Fires schedules that are due. Every worker that analyses runs one; each firing is one worker's."""

import contextlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType

import structlog

from perfopt.errors import UnavailableError
from perfopt_api.jobs.queue import JobQueue
from perfopt_api.store.schedule_port import DeclaredSchedule
from perfopt_api.store.schedules import PostgresSchedules
from perfopt_api.supervision import BackgroundTask

_log = structlog.get_logger(__name__)


class ScheduleTask(BackgroundTask):
    """Starts the jobs of schedules.

    Args:
        store: schedules.
        queue: wakes workers.
        declared: schedules of the configuration, by name.
        now: the clock.
    """

    name = "schedules"
    pause_seconds = 5.0

    def __init__(
        self,
        store: PostgresSchedules,
        queue: JobQueue,
        declared: Mapping[str, DeclaredSchedule] = MappingProxyType({}),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._queue = queue
        self._declared: Mapping[str, DeclaredSchedule] | None = declared
        self._now = now

    async def round(self) -> None:
        """Fires all that is due; the first time, after the schedules of the configuration are made."""
        if self._declared is not None:
            await self._store.declare(self._declared, now=self._now())
            self._declared = None
        while job_id := await self._store.fire(self._now()):
            _log.info("schedule_fired", job_id=job_id)
            with contextlib.suppress(UnavailableError):  # the row is stored: the sweeper queues it later
                await self._queue.enqueue(job_id)
