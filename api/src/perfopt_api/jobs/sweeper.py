"""The sweeper: queues again what lost its lease or its message. Every worker runs one; they don't collide."""

import asyncio
from datetime import timedelta

import structlog

from perfopt.errors import UnavailableError
from perfopt_api.jobs.policy import WorkerPolicy
from perfopt_api.jobs.queue import JobQueue
from perfopt_api.store.port import WorkStore

_LIMIT = 500
_LONGEST_PAUSE = 5.0
_log = structlog.get_logger(__name__)


class Sweeper:
    """Looks through the jobs that should be worked on.

    Args:
        store: holds the jobs.
        queue: where they are put again.
        policy: when a job counts as stranded, and how often it is tried.
    """

    def __init__(self, store: WorkStore, queue: JobQueue, policy: WorkerPolicy) -> None:
        self._store = store
        self._queue = queue
        self._policy = policy

    async def run(self) -> None:
        """Sweeps until cancelled."""
        pause = min(_LONGEST_PAUSE, self._policy.lease_seconds / 2, self._policy.stranded_seconds / 2)
        while True:
            try:
                await self.sweep()
            except UnavailableError as error:
                _log.debug("sweep_skipped", reason=error.message)
            await asyncio.sleep(pause)

    async def sweep(self) -> int:
        """Queues what is stranded, and forgets expired idempotency keys; returns how many jobs.

        Raises:
            UnavailableError: PostgreSQL or NATS is not reachable.
        """
        stranded = await self._store.take_stranded(
            older_than=timedelta(seconds=self._policy.stranded_seconds),
            max_attempts=self._policy.max_attempts,
            limit=_LIMIT,
        )
        for job_id in stranded:
            await self._queue.enqueue(job_id)
        await self._store.forget_expired()
        return len(stranded)
