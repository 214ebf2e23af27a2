"""Runs apply jobs in a worker: claims them, keeps their leases, and takes each through its steps."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import msgspec
import structlog
from msgspec.structs import replace

from perfopt.domain.enums import OptimizationStatus
from perfopt.errors import PerfoptError, UnavailableError
from perfopt_api.apply.context import StepContext
from perfopt_api.apply.machine import ApplyMachine
from perfopt_api.apply.moves import note
from perfopt_api.apply.rescue import order_in
from perfopt_api.apply.state import ApplyOrder, ApplyState, Progress
from perfopt_api.store.apply_port import ApplyClaim, ApplyEnd, ApplyWork
from perfopt_api.supervision import BackgroundTask
from perfopt_api.telemetry import APPLIES_FINISHED, APPLIES_RUNNING, BACKGROUND_FAILURES, ROLLBACKS_FAILING

_CRASH_SECONDS = 30.0
_SOON = timedelta(seconds=30)
_CLOSE_TOGETHER = 1.0  # views of a workload come in bursts while it changes
_log = structlog.get_logger(__name__)


def utc_now() -> datetime:
    """Returns the present instant, UTC."""
    return datetime.now(UTC)


class ApplyRunner(BackgroundTask):
    """Works on every apply job that is due, up to a number at once.

    Args:
        store: the jobs.
        machine: their steps.
        finished: called with the id of each job that ended here, after the commit.
        lease_seconds: how long a job is held without being renewed.
        most: jobs that are worked on at once in this process.
        pause_seconds: from one look for jobs to the next, unless it is woken.
        now: the clock.
        prepare: called before each look.
    """

    name = "applies"

    def __init__(
        self,
        store: ApplyWork,
        machine: ApplyMachine,
        finished: Callable[[str], Awaitable[None]],
        *,
        lease_seconds: float = 15.0,
        most: int = 200,
        pause_seconds: float = 1.0,
        now: Callable[[], datetime] = utc_now,
        prepare: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._prepare = prepare
        self.pause_seconds = pause_seconds
        self._store = store
        self._machine = machine
        self._finished = finished
        self._lease = timedelta(seconds=lease_seconds)
        self._most = most
        self._now = now
        self._running: set[asyncio.Task[None]] = set()
        self._held: dict[str, _HeldJob] = {}
        self._failing: set[str] = set()
        self._woken = asyncio.Event()

    def wake(self, job_id: str | None = None) -> None:
        """Has it look for jobs at once, and for what is asked of one that it works on."""
        held = None if job_id is None else self._held.get(job_id)
        if held is not None:
            held.asked.set()
        self._woken.set()

    async def round(self) -> None:
        """Claims what is due."""
        if self._prepare is not None:
            await self._prepare()
        while len(self._running) < self._most:
            claim = await self._store.claim_apply(owner=uuid4().hex, lease=self._lease)
            if claim is None:
                return
            task = asyncio.create_task(self._hold(claim))
            self._running.add(task)
            task.add_done_callback(self._ended)
            APPLIES_RUNNING.set(len(self._running))

    async def pause(self) -> None:
        """Waits until it is woken, or a moment."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), self.pause_seconds)
        self._woken.clear()

    async def stop(self) -> None:
        """Gives back what it works on; another worker goes on from what was stored."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        APPLIES_RUNNING.set(len(self._running))
        self.wake()

    async def _hold(self, claim: ApplyClaim) -> None:
        """Works on a job for as long as its lease is held."""
        job = self._held[claim.job_id] = _HeldJob(claim)
        work = asyncio.create_task(self._work(job))
        beat = asyncio.create_task(self._keep(job))
        try:
            await asyncio.wait({work, beat}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
            else:
                _log.warning("lease_lost", job_id=claim.job_id)
        except asyncio.CancelledError:
            await self._cancelled(work, beat)
            with contextlib.suppress(UnavailableError):
                await self._store.release_apply(claim, due_at=self._now(), unlock=False)
            raise
        except UnavailableError as error:
            _log.warning("apply_waits", job_id=claim.job_id, reason=error.message)
        except Exception:
            _log.exception("apply_stopped", job_id=claim.job_id)
            BACKGROUND_FAILURES.labels(self.name, "unexpected").inc()
            with contextlib.suppress(UnavailableError):
                due = self._now() + timedelta(seconds=_CRASH_SECONDS)
                await self._store.release_apply(claim, due_at=due, unlock=False)
        finally:
            del self._held[claim.job_id]
            await self._cancelled(work, beat)
            self._note_failing(claim.job_id, failing=False)

    async def _cancelled(self, *tasks: asyncio.Task[None]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(self, job: "_HeldJob") -> None:
        """Renews the lease and learns of wishes; returns when it is lost."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(job.asked.wait(), self._lease.total_seconds() / 3)
            job.asked.clear()
            with contextlib.suppress(UnavailableError):  # away briefly: the lease outlasts two misses
                renewed = await self._store.extend_apply(job.claim, self._lease)
                if renewed is None:
                    return
                job.renew(renewed)

    async def _work(self, job: "_HeldJob") -> None:
        order = msgspec.convert(job.claim.order, ApplyOrder)
        state = msgspec.convert(job.claim.state, ApplyState)
        watching = asyncio.create_task(self._watch(order, job))
        try:
            while True:
                context = StepContext(claim=job.claim, order=order, state=state, now=self._now())
                progress = await self._machine.step(context)
                if progress.start:
                    progress = await self._started(context, progress)
                if not await self._stored(job.claim, order, state, progress):
                    return
                state = progress.state
                if progress.status is not None or progress.release_until is not None:
                    return
                self._note_failing(job.claim.job_id, failing=state.step == "rollback" and state.attempts > 0)
                if progress.wait is not None:
                    await job.wait(progress.wait.total_seconds())
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _started(self, context: StepContext, progress: Progress) -> Progress:
        """Counts the change as begun, or has it wait where no more may begin now."""
        try:
            proposed = await self._machine.proposed(context)
        except PerfoptError:
            return Progress(state=context.state, wait=_SOON)
        permit = self._machine.tools.gates.permit(proposed, context.now)
        if await self._store.start_apply(context.claim, permit):
            return progress
        rule = "policy.blast_radius"
        waiting = replace(context.state, step="preflight", since=context.now, waiting=rule)
        message = f"{rule}: other changes began meanwhile, and no more may now."
        entry = note(context.now, "gates", "deferred", message)
        entries = () if context.state.waiting == rule else (entry,)
        return Progress(state=waiting, entries=entries, release_until=context.now + _SOON)

    async def _stored(
        self, claim: ApplyClaim, order: ApplyOrder, before: ApplyState, progress: Progress
    ) -> bool:
        """Stores what a step gave, before anything else is done; False where the lease is lost."""
        state = progress.state
        if progress.status is not None:
            return await self._finish(claim, order, progress)
        if state is not before or progress.entries:
            snapshot = None if state.snapshot is None else msgspec.to_builtins(state.snapshot)
            saved = await self._store.save_apply(
                claim,
                step=state.step,
                state=msgspec.to_builtins(state),
                snapshot=None if state.snapshot is before.snapshot else snapshot,
                entries=progress.entries,
            )
            if not saved:
                return False
        if progress.release_until is not None:
            await self._store.release_apply(claim, due_at=progress.release_until, unlock=True)
        return True

    async def _finish(self, claim: ApplyClaim, order: ApplyOrder, progress: Progress) -> bool:
        state, status = progress.state, progress.status
        assert status is not None, "it has ended"
        applied = status is OptimizationStatus.APPLIED
        before = {} if state.snapshot is None else state.snapshot.fields
        end = ApplyEnd(
            status=status,
            error=None if applied else state.failure,
            verification=progress.verification,
            changes=order_in(order, state).whole.fields() if applied else {},
            before=before if state.written else {},
            left_alone=state.left_alone,
        )
        ended = msgspec.to_builtins(state)
        if not await self._store.finish_apply(claim, end, progress.entries, state=ended):
            return False
        APPLIES_FINISHED.labels(status.value).inc()
        _log.info("apply_ended", job_id=claim.job_id, workload=claim.workload, status=status.value)
        with contextlib.suppress(UnavailableError):  # who waits looks for himself, too
            await self._finished(claim.job_id)
        return True

    async def _watch(self, order: ApplyOrder, job: "_HeldJob") -> None:
        """Wakes the job whenever the workload changes; without a watch it looks at its own pace."""
        while True:
            try:
                async for _ in self._machine.tools.cluster.watch(order.whole.target):
                    job.changed.set()
                    await asyncio.sleep(_CLOSE_TOGETHER)
            except PerfoptError as error:
                _log.info("watch_ended", job_id=job.claim.job_id, reason=error.message)
            await asyncio.sleep(self._lease.total_seconds())

    def _note_failing(self, job_id: str, *, failing: bool) -> None:
        (self._failing.add if failing else self._failing.discard)(job_id)
        ROLLBACKS_FAILING.set(len(self._failing))


class _HeldJob:
    """A job that is worked on, with what wakes it.

    Attributes:
        claim: as last renewed.
        asked: somebody asked for something, which the next renewal tells.
        changed: the workload changed, or the renewal told what was asked for.
    """

    def __init__(self, claim: ApplyClaim) -> None:
        self.claim = claim
        self.asked = asyncio.Event()
        self.changed = asyncio.Event()

    def renew(self, claim: ApplyClaim) -> None:
        if (claim.wish, claim.approvals) != (self.claim.wish, self.claim.approvals):
            self.changed.set()
        self.claim = claim

    async def wait(self, seconds: float) -> None:
        """Waits so long, or until something changed."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.changed.wait(), seconds)
        self.changed.clear()
