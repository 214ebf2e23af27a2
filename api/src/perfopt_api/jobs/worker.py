"""The worker: woken by the queue it claims, analyses, stores, and only then answers the queue."""

import asyncio
import contextlib
from collections.abc import Collection, Coroutine
from typing import Any, Protocol

import structlog

from perfopt.errors import UnavailableError
from perfopt_api.jobs.execution import JobOutcome, JobRunner
from perfopt_api.store.port import JobClass
from perfopt_api.telemetry import BACKGROUND_FAILURES

_PULL_SECONDS = 2.0
_RETRY_SECONDS = 0.5
_CRASH_SECONDS = 5.0
_log = structlog.get_logger(__name__)


class WakeUp(Protocol):
    """A wake-up: some job waits. Which one is done first is for PostgreSQL to say."""

    async def done(self) -> None:
        """Takes it off the queue: a job was done."""

    async def nothing(self) -> None:
        """Takes it off the queue: no job waited."""

    async def again(self, delay: float) -> None:
        """Has it delivered again after so many seconds."""

    async def working(self) -> None:
        """Has the queue wait on."""


class WakeUpQueue(Protocol):
    """The worker's end of the queue."""

    @property
    def classes(self) -> Collection[JobClass]:
        """Only jobs of these are done for its wake-ups."""

    async def next(self, within: float) -> WakeUp | None:
        """Returns the next message, or None when none came in so many seconds."""


class Worker:
    """Runs one job at a time in each of its slots.

    Args:
        slots: one end of the queue each.
        execution: does the job of one message.
        grace_seconds: see WorkerPolicy.
    """

    def __init__(self, slots: list[WakeUpQueue], execution: JobRunner, grace_seconds: float) -> None:
        self._slots = slots
        self._execution = execution
        self._grace_seconds = grace_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Works until the stop; then running jobs get the grace, and what is left is given back."""
        tasks = {asyncio.create_task(self._slot(slot, stop)) for slot in self._slots}
        try:
            await stop.wait()
            if tasks:
                await asyncio.wait(tasks, timeout=self._grace_seconds)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _slot(self, deliveries: WakeUpQueue, stop: asyncio.Event) -> None:
        reachable = True
        while not stop.is_set():
            try:
                delivery = await _unless(stop, deliveries.next(_PULL_SECONDS))
                reachable = True
                if delivery is not None:
                    await self._handle(delivery, deliveries.classes)
            except UnavailableError as error:
                if reachable:
                    _log.warning("queue_unreachable", reason=error.message)
                reachable = False
                await _unless(stop, asyncio.sleep(_RETRY_SECONDS))
            except Exception:
                _log.exception("queue_failed")
                BACKGROUND_FAILURES.labels("queue", "unexpected").inc()
                await _unless(stop, asyncio.sleep(_CRASH_SECONDS))

    async def _handle(self, delivery: WakeUp, classes: Collection[JobClass]) -> None:
        try:
            outcome = await self._execution.run(delivery.working, classes)
        except asyncio.CancelledError:
            with contextlib.suppress(UnavailableError):
                await delivery.again(0)
            raise
        except UnavailableError as error:
            _log.warning("job_waits", reason=error.message)
            outcome = JobOutcome(again_after=_RETRY_SECONDS)
        except Exception:
            _log.exception("job_stopped")
            outcome = JobOutcome(again_after=_CRASH_SECONDS)
        if outcome is None:
            await delivery.nothing()
        elif outcome.again_after is None:
            await delivery.done()
        else:
            await delivery.again(outcome.again_after)


async def _unless[T](stop: asyncio.Event, waiting: Coroutine[Any, Any, T]) -> T | None:
    """Waits, but no longer than until the stop: then the wait is cancelled and gives None."""
    task = asyncio.create_task(waiting)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for each in (task, stopping):
            each.cancel()
        await asyncio.gather(task, stopping, return_exceptions=True)
