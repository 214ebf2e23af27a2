"""Waiting for a job to finish, with no polling storm."""

from datetime import timedelta
from typing import Protocol

from perfopt.domain.job import OptimizationJob


class JobWaiter(Protocol):
    """Tells when a job is finished."""

    async def wait_for_job(self, job_id: str, timeout: timedelta) -> OptimizationJob:
        """Returns the job as soon as it is no longer ANALYZING, or as it stands when the time is over.

        Raises:
            NotFoundError: there is no such job.
            UnavailableError: PostgreSQL is not reachable.
        """
