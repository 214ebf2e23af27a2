"""Runs a backtest: reads each service once, evaluates all policies on it, in the order of the services."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from perfopt.backtest.evaluate import evaluate_policies
from perfopt.backtest.evaluated import EvaluatedRecommendation
from perfopt.backtest.fitting import by_place
from perfopt.backtest.policies import Policy
from perfopt.backtest.schedule import OriginSchedule, ScheduleRequest
from perfopt.backtest.tiers import DailyPeaks, daily_peaks
from perfopt.batch import BatchExecutor
from perfopt.config import Config
from perfopt.domain.workload import Workload
from perfopt.engine.hours import book_of_hours
from perfopt.errors import NoDataError, PerfoptError
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.sources.base import FailedSnapshot, KnowsExtent, MetricSource
from perfopt.sources.orderly import in_order


class AbsentServiceError(NoDataError):
    """A service that the source has no sample of at all, such as one of a services file of other sources."""


@dataclass(frozen=True, slots=True)
class ServiceBacktest:
    """The evaluation of one service.

    Attributes:
        workload: the service.
        schedule: its origins; None where none fits.
        rows: by origin, then by policy; empty where it had no history at any origin.
        error: why it could not be evaluated, or None.
        peaks: its daily peaks, which tell what it moves together with.
    """

    workload: Workload
    schedule: OriginSchedule | None = None
    rows: tuple[EvaluatedRecommendation, ...] = ()
    error: PerfoptError | None = None
    peaks: DailyPeaks = field(default_factory=dict)


async def backtest_services(
    source: MetricSource,
    workloads: Sequence[Workload],
    request: ScheduleRequest,
    policies: Sequence[Policy],
    config: Config,
    metrics: frozenset[str],
    batch: BatchExecutor,
) -> AsyncIterator[ServiceBacktest]:
    """Evaluates policies on the history of services.

    Args:
        source: where the metrics are; each service is read once, over its whole schedule.
        workloads: the services.
        request: when to recommend.
        policies: what is evaluated.
        config: price books.
        metrics: names to read.
        batch: evaluates services; the results do not depend on it.

    Yields:
        One result a service, in their order.

    Raises:
        SourceUnavailableError: the source stopped answering.
        InvalidInputError: the request is malformed, or fits no service of a source without extents.
    """
    evaluator = _ServiceEvaluator(tuple(policies), config, batch)
    async for result in over_services(
        source, workloads, request, metrics, evaluator.on, _failed, at_once=batch.at_once
    ):
        yield result


def _failed(workload: Workload, error: PerfoptError) -> ServiceBacktest:
    return ServiceBacktest(workload, error=error)


async def over_services[R](
    source: MetricSource,
    workloads: Sequence[Workload],
    request: ScheduleRequest,
    metrics: frozenset[str],
    evaluator: Callable[
        [OriginSchedule], Callable[[WorkloadSnapshot | FailedSnapshot], Coroutine[Any, Any, R]]
    ],
    failed: Callable[[Workload, PerfoptError], R],
    *,
    at_once: int,
) -> AsyncIterator[R]:
    """Reads each service once, over its whole schedule, and yields what is made of it, in their order.

    Args:
        source: where the metrics are.
        workloads: the services.
        request: when to recommend.
        metrics: names to read.
        evaluator: from a schedule to what evaluates a service on it.
        failed: the result of a service that no schedule fits.
        at_once: services evaluated at once.

    Raises:
        SourceUnavailableError: the source stopped answering.
        InvalidInputError: the request is malformed, or fits no service of a source without extents.
    """
    planned = [(workload, await _schedule(source, workload, request)) for workload in workloads]
    for schedule, group in groupby(planned, key=lambda one: one[1]):
        members = [workload for workload, _ in group]
        if isinstance(schedule, PerfoptError):
            for workload in members:
                yield failed(workload, schedule)
            continue
        snapshots = source.snapshots(members, schedule.start, schedule.end, metrics)
        async for result in in_order(snapshots, evaluator(schedule), at_once=at_once):
            yield result


async def _schedule(
    source: MetricSource, workload: Workload, request: ScheduleRequest
) -> OriginSchedule | PerfoptError:
    if not isinstance(source, KnowsExtent):
        return request.shared(request.until if request.until is not None else await source.latest())
    extent = await source.extent(workload)
    if extent is None:
        name = workload.service_name
        return AbsentServiceError(f"{name} has no samples in {source.name}.", field="service")
    try:
        return request.for_extent(*extent)
    except PerfoptError as error:
        return error


@dataclass(frozen=True, slots=True)
class _ServiceEvaluator:
    policies: tuple[Policy, ...]
    config: Config
    batch: BatchExecutor

    def on(
        self, schedule: OriginSchedule
    ) -> Callable[[WorkloadSnapshot | FailedSnapshot], Coroutine[Any, Any, ServiceBacktest]]:
        """Returns what evaluates one service at the origins of a schedule."""

        async def evaluate(snapshot: WorkloadSnapshot | FailedSnapshot) -> ServiceBacktest:
            if isinstance(snapshot, FailedSnapshot):
                return ServiceBacktest(snapshot.workload, schedule, error=snapshot.error)
            try:
                rows = await self._rows(snapshot, schedule)
            except PerfoptError as error:
                return ServiceBacktest(snapshot.workload, schedule, error=error)
            return ServiceBacktest(snapshot.workload, schedule, tuple(rows), peaks=daily_peaks(snapshot))

        return evaluate

    async def _rows(
        self, snapshot: WorkloadSnapshot, schedule: OriginSchedule
    ) -> list[EvaluatedRecommendation]:
        known = self.config.book_for(snapshot.workload.price_book, snapshot.price_book)
        book = book_of_hours(known, snapshot)
        elsewhere, here = by_place(self.policies, lambda one: one)
        rows: list[EvaluatedRecommendation] = []
        if elsewhere:
            rows += await self.batch.run(evaluate_policies, snapshot, schedule, elsewhere, book)
        if here:
            rows += await asyncio.to_thread(evaluate_policies, snapshot, schedule, here, book)
        return rows
