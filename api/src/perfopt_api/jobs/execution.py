"""One job from claim to result: lease kept alive, failures sorted by what to do next."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection
from datetime import timedelta
from uuid import uuid4

import msgspec
import structlog

from perfopt.domain.enums import OptimizationStatus
from perfopt.domain.recommendation import AnalysisResult
from perfopt.domain.request import FleetAnalysisRequest, PerformanceAnalysisRequest
from perfopt.errors import PerfoptError, SourceUnavailableError, UnavailableError
from perfopt_api.jobs.autoapply import AutoApplier
from perfopt_api.jobs.endings import CRASHED, explained, job_error, nothing_ran, unreadable
from perfopt_api.jobs.fleet import FleetRunner
from perfopt_api.jobs.policy import WorkerPolicy
from perfopt_api.store.port import (
    ALL_CLASSES,
    FinishResult,
    FleetBatch,
    JobClaim,
    JobClass,
    JobError,
    JobKind,
    WorkStore,
    why_not_again,
)
from perfopt_api.telemetry import JOB_WAIT, JOBS_FINISHED, STAGE, count_result, timed
from perfopt_api.tracing import span

Analyse = Callable[[PerformanceAnalysisRequest], Awaitable[AnalysisResult]]
Working = Callable[[], Awaitable[None]]

_RETRIED = (SourceUnavailableError, UnavailableError)
_STORE_RETRY_SECONDS = 0.25
_LONGEST_BACKOFF = 60.0
_WAKE_LATER_SECONDS = 0.05  # than the job may be claimed
_log = structlog.get_logger(__name__)


class JobOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What the queue is answered.

    Attributes:
        again_after: seconds until the next try; None when the job needs no message any more.
    """

    again_after: float | None = None


class JobRunner:
    """Does the next job each time it is woken.

    Args:
        store: claims and results.
        analyse: answers a request.
        finished: called with the id of each job that ended here, after the commit.
        policy: leases and attempts.
        auto: applies what policy allows of analyses with `auto_apply`; None where no executor is configured.
        fleets: does the work of fleets; None where no job is of one.
    """

    def __init__(
        self,
        store: WorkStore,
        analyse: Analyse,
        finished: Callable[[str], Awaitable[None]],
        policy: WorkerPolicy,
        auto: AutoApplier | None = None,
        fleets: FleetRunner | None = None,
    ) -> None:
        self._store = store
        self._analyse = analyse
        self._auto = auto
        self._fleets = fleets
        self._finished = finished
        self._policy = policy
        self._lease = timedelta(seconds=policy.lease_seconds)

    async def run(self, working: Working, classes: Collection[JobClass] = ALL_CLASSES) -> JobOutcome | None:
        """Claims the next job, works on it under the lease, and stores what came of it.

        Args:
            working: called now and then while the work goes on.
            classes: only jobs of these are taken.

        Returns:
            None where no job waits.

        Raises:
            UnavailableError: PostgreSQL is not reachable; the job stays as it is.
        """
        claim = await self._store.claim(owner=uuid4().hex, lease=self._lease, classes=classes)
        if claim is None:
            return None
        if claim.attempt == 1:
            JOB_WAIT.labels(claim.job_class.name.lower()).observe(claim.waited_seconds)
        outcome = await self._held(claim, working)
        ended = outcome.again_after is None
        single = claim.kind is JobKind.SINGLE
        if ended and single and self._auto is not None and claim.body.get("auto_apply"):
            with contextlib.suppress(UnavailableError):  # asked for again with the next analysis
                await self._auto.apply(claim.job_id)
        return outcome

    async def _held(self, claim: JobClaim, working: Working) -> JobOutcome:
        """Works on a job for as long as its lease is held."""
        work = asyncio.create_task(self._work(claim))
        beat = asyncio.create_task(self._keep(claim, working))
        try:
            await asyncio.wait({work, beat}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            _log.warning("lease_lost", job_id=claim.job_id, attempt=claim.attempt)
            with contextlib.suppress(UnavailableError):
                await self._store.survived(claim)
            return JobOutcome(again_after=self._policy.lease_seconds)
        except asyncio.CancelledError:
            work.cancel()
            with contextlib.suppress(UnavailableError):
                await self._store.release(claim, retry_in=timedelta(0), count_attempt=False)
            raise
        finally:
            for task in (work, beat):
                task.cancel()
            await asyncio.gather(work, beat, return_exceptions=True)

    async def _keep(self, claim: JobClaim, working: Working) -> None:
        """Renews the lease; returns when it is lost."""
        while True:
            await asyncio.sleep(self._policy.lease_seconds / 3)
            with contextlib.suppress(UnavailableError):  # away briefly: the lease outlasts two misses
                if not await self._store.extend(claim, self._lease):
                    return
                await working()

    async def _work(self, claim: JobClaim) -> JobOutcome:
        """Works on a job as part of the trace of its request; all that is logged meanwhile names the job."""
        traced = span("analysis", kind="consumer", parent=claim.traceparent, job_id=claim.job_id)
        with structlog.contextvars.bound_contextvars(job_id=claim.job_id), traced:
            return await self._analysed(claim)

    async def _analysed(self, claim: JobClaim) -> JobOutcome:
        started = time.monotonic()
        service = claim.body.get("service_name")
        log = _log.bind(job_id=claim.job_id, service_name=service, attempt=claim.attempt)
        hopeless = why_not_again(
            claim.attempt, claim.lost, self._policy.max_attempts, self._policy.max_lost_workers
        )
        if hopeless is not None:
            return await self._end(claim, None, hopeless)
        try:
            request = claim.request
        except msgspec.ValidationError as error:
            # A newer version may have written it, whose workers take the tries that are left.
            log.warning("request_unreadable", reason=str(error))
            return await self._retry(claim, unreadable(error))
        try:
            if not isinstance(request, PerformanceAnalysisRequest):
                await self._run_fleet(claim, request)
                return JobOutcome()
            result = await self._analyse(request)
            if request.auto_apply:
                result = await explained(result, self._auto)
        except _RETRIED as error:
            log.warning("analysis_failed", reason=str(error))
            return await self._retry(claim, job_error(error))
        except PerfoptError as error:
            log.info("analysis_refused", reason=str(error))
            return await self._end(claim, None, job_error(error))
        except Exception:
            log.exception("analysis_crashed")
            return await self._retry(claim, CRASHED)
        outcome = await self._end(claim, result, nothing_ran(result))
        STAGE.labels("total").observe(time.monotonic() - started)
        log.info(
            "job_finished", seconds=round(time.monotonic() - started, 3), made=len(result.recommendations)
        )
        return outcome

    async def _run_fleet(self, claim: JobClaim, request: FleetAnalysisRequest | FleetBatch) -> None:
        assert self._fleets is not None, "workers that take jobs of fleets know how"
        if isinstance(request, FleetBatch):
            await self._fleets.run_batch(claim, request)
        else:
            await self._fleets.divide(claim, request)

    async def _retry(self, claim: JobClaim, error: JobError) -> JobOutcome:
        if claim.attempt >= self._policy.max_attempts:
            tried = f"{error.message} ({claim.attempt} attempts)"
            return await self._end(claim, None, msgspec.structs.replace(error, message=tried))
        delay = min(self._policy.backoff_seconds * 2 ** (claim.attempt - 1), _LONGEST_BACKOFF)
        await self._store.release(claim, retry_in=timedelta(seconds=delay), count_attempt=True)
        return JobOutcome(again_after=delay + _WAKE_LATER_SECONDS)

    async def _end(
        self, claim: JobClaim, result: AnalysisResult | None, error: JobError | None
    ) -> JobOutcome:
        """Stores the end of a job, trying for as long as the lease while PostgreSQL is away."""
        deadline = time.monotonic() + self._policy.lease_seconds
        while True:
            try:
                with timed("store"):
                    stored = await self._store_end(claim, result, error)
                break
            except UnavailableError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(_STORE_RETRY_SECONDS)
            except PerfoptError as refused:
                result, error = None, job_error(refused)
        if stored is FinishResult.LEASE_LOST:
            return JobOutcome(again_after=self._policy.lease_seconds)
        if stored is FinishResult.DONE:
            _count(claim, result, error)
            with contextlib.suppress(UnavailableError):  # who waits looks for himself, too
                await self._finished(claim.job_id)
        return JobOutcome()

    async def _store_end(
        self, claim: JobClaim, result: AnalysisResult | None, error: JobError | None
    ) -> FinishResult:
        if error is not None:
            return await self._store.fail_job(claim, error, result)
        assert result is not None, "a job ends with a result or an error"
        return await self._store.finish_job(claim, result)


def _count(claim: JobClaim, result: AnalysisResult | None, error: JobError | None) -> None:
    status = OptimizationStatus.RECOMMENDATIONS_READY if error is None else OptimizationStatus.FAILED
    JOBS_FINISHED.labels(claim.job_class.name.lower(), status.value).inc()
    if result is not None:
        count_result(result)
