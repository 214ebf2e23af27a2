"""Waiting for a job to finish, by a bounded number of callers, with no polling storm."""

import asyncio
import contextlib
import time
from collections import defaultdict
from datetime import timedelta
from typing import Protocol

from nats.aio.msg import Msg

from perfopt.domain.enums import OptimizationStatus
from perfopt.domain.job import OptimizationJob
from perfopt.errors import NotFoundError
from perfopt_api.events.nats import FINISHED_SUBJECT, NatsConnection
from perfopt_api.store.port import JobStore

_LOOK_SECONDS = 2.0


class JobWaiter(Protocol):
    """Waits for finished jobs."""

    async def wait_for_job(self, job_id: str, timeout: timedelta) -> OptimizationJob:
        """Returns the job as soon as it is no longer ANALYZING, or as it stands when the time is over.

        Where too many wait already, or the process stops, the job is returned as it stands at once.

        Raises:
            NotFoundError: there is no such job.
            UnavailableError: PostgreSQL is not reachable.
        """

    def stop(self) -> None:
        """Ends all waits, now and from now on."""


class NatsJobWaiter:
    """Implements JobWaiter: one subscription for all who wait, and a look at the store every two seconds.

    Args:
        store: holds the jobs.
        connection: to NATS.
        max_waiters: callers that may wait at the same time.
    """

    def __init__(self, store: JobStore, connection: NatsConnection, *, max_waiters: int = 200) -> None:
        self._store = store
        self._connection = connection
        self._free = max_waiters
        self._stopped = False
        self._looking: dict[str, asyncio.Future[OptimizationJob | None]] = {}
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    async def start(self) -> None:
        """Subscribes; to be called once before anyone waits.

        Raises:
            UnavailableError: NATS is not reachable.
        """
        with self._connection.translated():
            await self._connection.client.subscribe(f"{FINISHED_SUBJECT}.*", cb=self._heard)

    async def _look(self, job_id: str) -> OptimizationJob | None:
        """Reads the job, once for all who ask at the same time."""
        looking = self._looking.get(job_id)
        if looking is None:
            looking = self._looking[job_id] = asyncio.ensure_future(self._store.get_job(job_id))
            looking.add_done_callback(lambda _: self._looking.pop(job_id, None))
        return await asyncio.shield(looking)

    async def _heard(self, message: Msg) -> None:
        for event in self._waiting.get(message.subject.rpartition(".")[2], ()):
            event.set()

    def stop(self) -> None:
        """See JobWaiter.stop."""
        self._stopped = True
        for events in self._waiting.values():
            for event in events:
                event.set()

    async def wait_for_job(self, job_id: str, timeout: timedelta) -> OptimizationJob:
        """See JobWaiter.wait_for_job."""
        seconds = timeout.total_seconds() if self._free > 0 else 0.0
        deadline = time.monotonic() + seconds
        self._free -= 1
        event = asyncio.Event()
        self._waiting[job_id].add(event)  # before the first look: a job that finishes in between is heard
        try:
            while True:
                event.clear()
                job = await self._look(job_id)
                if job is None:
                    raise NotFoundError(f"There is no job {job_id}.", field="job_id")
                left = 0.0 if self._stopped else deadline - time.monotonic()
                if job.status is not OptimizationStatus.ANALYZING or left <= 0:
                    return job
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(event.wait(), min(left, _LOOK_SECONDS))
                if not event.is_set() and left <= _LOOK_SECONDS:
                    return job  # nothing was heard: hundreds of waits that end together ask nothing more
        finally:
            self._free += 1
            self._waiting[job_id].discard(event)
            if not self._waiting[job_id]:
                del self._waiting[job_id]
