"""The sweeper: queues again what lost its lease or its message. Every worker runs one; they don't collide."""

from datetime import timedelta

from perfopt_api.jobs.policy import WorkerPolicy
from perfopt_api.jobs.queue import JobQueue
from perfopt_api.store.port import WorkStore
from perfopt_api.supervision import BackgroundTask

_LIMIT = 500
_MAX_PAUSE_SECONDS = 5.0


class JobSweeper(BackgroundTask):
    """Looks through the jobs that should be worked on.

    Args:
        store: holds the jobs.
        queue: where they are put again.
        policy: when a job counts as stranded, and how often it is tried.
    """

    name = "sweeper"

    def __init__(self, store: WorkStore, queue: JobQueue, policy: WorkerPolicy) -> None:
        self._store = store
        self._queue = queue
        self._policy = policy
        self.pause_seconds = min(_MAX_PAUSE_SECONDS, policy.lease_seconds / 2, policy.stranded_seconds / 2)

    async def round(self) -> None:
        """Sweeps once."""
        await self.sweep()

    async def sweep(self) -> int:
        """Queues what is stranded, and forgets expired idempotency keys; returns how many jobs.

        Raises:
            UnavailableError: PostgreSQL or NATS is not reachable.
        """
        stranded = await self._store.take_stranded(
            older_than=timedelta(seconds=self._policy.stranded_seconds),
            max_attempts=self._policy.max_attempts,
            max_lost=self._policy.max_lost_workers,
            limit=_LIMIT,
        )
        for job_id in stranded:
            await self._queue.enqueue(job_id)
        await self._store.forget_expired()
        return len(stranded)
