"""Fleets: dividing one into batches, and analysing a batch workload by workload."""

import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Protocol
from uuid import NAMESPACE_URL, uuid5

import msgspec
import structlog

from perfopt.domain.enums import OptimizationStatus
from perfopt.domain.recommendation import AnalysisResult
from perfopt.domain.request import FleetAnalysisRequest
from perfopt.domain.resolve import selected_workloads
from perfopt.domain.workload import Workload
from perfopt.errors import (
    InvalidInputError,
    PerfoptError,
    SourceUnavailableError,
    UnavailableError,
)
from perfopt.sources.prometheus.days import DayStore
from perfopt.sources.usage import measured_usage
from perfopt_api.jobs.autoapply import AutoApplier
from perfopt_api.jobs.endings import explained, job_error, nothing_ran
from perfopt_api.jobs.queue import JobQueue
from perfopt_api.store.mapping import MAX_SERVICE_NAME
from perfopt_api.store.port import FleetBatch, FleetStore, JobClaim, JobError
from perfopt_api.telemetry import FLEET_WORKLOADS, JOBS_FINISHED, count_result, count_usage

type Analysed = AnalysisResult | tuple[Workload, PerfoptError]
_log = structlog.get_logger(__name__)


class FleetAnalyzer(Protocol):
    """Reads inventories and analyses many workloads together.

    Attributes:
        days: keeps what is read of each day; None has all of a period read each time.
    """

    days: DayStore | None

    async def inventory(self, request: FleetAnalysisRequest) -> tuple[datetime, tuple[Workload, ...]]:
        """Returns the end of the period, and the workloads just before it.

        Raises:
            SourceError: the source is down or answers nonsense.
        """

    def analyses(
        self, request: FleetAnalysisRequest, end: datetime, names: Sequence[str]
    ) -> AsyncGenerator[Analysed]:
        """Analyses workloads of the inventory by their full names; a failing one is an item of the answer.

        Raises:
            SourceError: the source is down or answers nonsense.
        """


class FleetLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How fleets are divided.

    Attributes:
        workloads: of a fleet, at most.
        batch: workloads of a batch.
        samples: that one fleet may read of the source in all.
    """

    workloads: int
    batch: int
    samples: int


class FleetRunner:
    """Does the work of fleets' jobs.

    Args:
        store: fleets and their batches.
        analyzer: of the metric sources.
        queue: wakes workers for batches.
        finished: called with the id of each job that ended here, after the commit.
        limits: how fleets are divided.
        auto: applies what policy allows of analyses with `auto_apply`; None without an executor.
    """

    def __init__(
        self,
        store: FleetStore,
        analyzer: FleetAnalyzer,
        queue: JobQueue,
        finished: Callable[[str], Awaitable[None]],
        limits: FleetLimits,
        auto: AutoApplier | None = None,
    ) -> None:
        self._store = store
        self._analyzer = analyzer
        self._queue = queue
        self._finished = finished
        self._limits = limits
        self._auto = auto

    async def divide(self, claim: JobClaim, request: FleetAnalysisRequest) -> None:
        """Reads the inventory of a claimed fleet and stores its batches.

        Raises:
            NotFoundError, AmbiguousError, InvalidInputError: the selector means nothing, or too much.
            SourceError: the source is down or answers nonsense.
        """
        end, inventory = await self._analyzer.inventory(request)
        chosen = selected_workloads(request.selector, inventory)
        if len(chosen) > self._limits.workloads:
            raise InvalidInputError(
                f"{len(chosen):,} workloads match, and at most {self._limits.workloads:,} are analysed.",
                field="selector",
                remedy="Select fewer, such as one namespace, or raise service.fleet_max_workloads.",
            )
        batches = [
            FleetBatch(request=request, end=end, workloads=tuple(str(workload.id) for workload in part))
            for part in _parts(chosen, self._limits.batch)
        ]
        await self._wake(await self._store.divide(claim, batches))
        _log.info("fleet_divided", job_id=claim.job_id, workloads=len(chosen), batches=len(batches))

    async def run_batch(self, claim: JobClaim, batch: FleetBatch) -> None:
        """Analyses what is left of a claimed batch; each workload is stored as soon as it is done.

        A batch that lost a worker is halved, so that a workload that kills its worker is alone in the end.

        Raises:
            InvalidInputError: the fleet has read as many samples as it may.
            SourceUnavailableError: the source does not answer; what is left is for the next attempt.
        """
        ids = {name: str(uuid5(NAMESPACE_URL, f"{claim.fleet_id}/{name}")) for name in batch.workloads}
        stored = await self._store.stored_analyses(tuple(ids.values()))
        left = [name for name, job_id in ids.items() if job_id not in stored]
        if claim.lost and len(left) > 1:
            half = -(-len(left) // 2)
            halves = [
                msgspec.structs.replace(batch, workloads=tuple(part)) for part in (left[:half], left[half:])
            ]
            await self._wake(await self._store.divide(claim, halves))
            return
        await self._check_budget(claim)
        started = time.monotonic()
        with measured_usage() as usage:
            async with aclosing(self._analyzer.analyses(batch.request, batch.end, left)) as answers:
                async for answer in answers:
                    await self._finish(claim, batch.request, ids, answer)
        count_usage(usage.total)
        ended = await self._store.finish_batch(claim, usage.total)
        seconds = round(time.monotonic() - started, 3)
        _log.info("batch_finished", job_id=claim.job_id, workloads=len(left), seconds=seconds)
        if ended and claim.fleet_id is not None:
            with contextlib.suppress(UnavailableError):  # who waits looks at the store, too
                await self._finished(claim.fleet_id)

    async def _check_budget(self, claim: JobClaim) -> None:
        read = await self._store.samples_read(claim.fleet_id or "")
        if read >= self._limits.samples:
            raise InvalidInputError(
                f"The fleet read {read:,} samples, and at most {self._limits.samples:,} are read for one.",
                field="selector",
                remedy="Select fewer workloads or a shorter period, or raise service.fleet_max_samples.",
            )

    async def _finish(
        self, claim: JobClaim, request: FleetAnalysisRequest, ids: dict[str, str], answer: Analysed
    ) -> None:
        """Stores one analysis, and applies of it what policy allows."""
        result, error = await self._result_of(request, answer)
        workload = answer.workload if isinstance(answer, AnalysisResult) else str(answer[0].id)
        service = answer.service_name if isinstance(answer, AnalysisResult) else answer[0].service_name
        name = workload if len(workload) <= MAX_SERVICE_NAME else service[:MAX_SERVICE_NAME]
        job_id = ids[workload]
        if not await self._store.finish_workload(claim, job_id, name, result, error):
            return
        status = OptimizationStatus.RECOMMENDATIONS_READY if error is None else OptimizationStatus.FAILED
        JOBS_FINISHED.labels(claim.job_class.name.lower(), status.value).inc()
        FLEET_WORKLOADS.labels("analysed" if error is None else "failed").inc()
        if result is not None:
            count_result(result)
        with contextlib.suppress(UnavailableError):
            await self._finished(job_id)
            if request.auto_apply and self._auto is not None and error is None:
                await self._auto.apply(job_id)

    async def _result_of(
        self, request: FleetAnalysisRequest, answer: Analysed
    ) -> tuple[AnalysisResult | None, JobError | None]:
        if not isinstance(answer, AnalysisResult):
            if isinstance(answer[1], SourceUnavailableError):
                raise answer[1]
            return None, job_error(answer[1])
        result = await explained(answer, self._auto) if request.auto_apply else answer
        return result, nothing_ran(result)

    async def _wake(self, job_ids: Sequence[str]) -> None:
        with contextlib.suppress(UnavailableError):  # the rows are stored: the sweeper queues them later
            for job_id in job_ids:
                await self._queue.enqueue(job_id)


def _parts(workloads: Sequence[Workload], size: int) -> Iterator[Sequence[Workload]]:
    """Divides workloads in order into as few parts of a size as there can be, of nearly equal length."""
    count = -(-len(workloads) // size)
    for number in range(count):
        yield workloads[number * len(workloads) // count : (number + 1) * len(workloads) // count]
