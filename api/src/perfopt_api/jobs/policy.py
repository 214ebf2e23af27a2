"""How a worker works: leases, attempts, waits."""

import msgspec


class WorkerPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How a worker works.

    Attributes:
        lease_seconds: how long a job is held without being renewed.
        max_attempts: claims of a job before it ends as FAILED.
        max_lost_workers: workers lost with a job before it ends as FAILED: one that takes all memory of its
            worker must not take every other worker's.
        grace_seconds: at a stop, how long running jobs may go on before they are given back.
        stranded_seconds: after which a job that nobody claimed is put on the queue again.
        backoff_seconds: before the second attempt; doubled for each further one.
    """

    lease_seconds: float = 15.0
    max_attempts: int = 5
    max_lost_workers: int = 3
    grace_seconds: float = 6.0
    stranded_seconds: float = 10.0
    backoff_seconds: float = 1.0
