"""The work queue: which jobs wait for a worker. The job row is the truth; a message only wakes."""

from typing import Protocol


class JobQueue(Protocol):
    """Where the API puts jobs for the worker. Raises UnavailableError while NATS is not reachable."""

    async def enqueue(self, job_id: str) -> None:
        """Puts a job on the queue, at most once at a time: a job that waits there already stays as it is.

        A caller that stored the job may go on when this fails: the sweeper queues it later.
        """

    async def ping(self) -> None:
        """Returns when NATS answers and the queue is there."""
