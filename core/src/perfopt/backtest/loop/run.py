"""Runs closed loops: each service once, all policies on it, in the order of the services."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from perfopt.backtest.evaluate import origin_cases
from perfopt.backtest.evaluated import OriginCase, PolicyDecision
from perfopt.backtest.fitting import by_place
from perfopt.backtest.loop.day import ForceTimeline, ServiceDay, raises_of, score_day
from perfopt.backtest.loop.policies import LoopPolicy
from perfopt.backtest.run import over_services
from perfopt.backtest.schedule import OriginSchedule, ScheduleRequest
from perfopt.backtest.tiers import DailyPeaks, daily_peaks
from perfopt.batch import BatchExecutor
from perfopt.config import Config
from perfopt.domain.price import PriceBook
from perfopt.domain.recommendation import Declined
from perfopt.domain.workload import Workload, WorkloadState
from perfopt.engine.loop import worth_changing
from perfopt.errors import PerfoptError
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.sources.base import FailedSnapshot, MetricSource

Recommended = PolicyDecision | None


@dataclass(frozen=True, slots=True)
class ServiceLoop:
    """The closed loops of one service.

    Attributes:
        workload: the service.
        days: by policy, then by time.
        error: why it could not be run, or None.
        peaks: its daily peaks, which tell what it moves together with.
    """

    workload: Workload
    days: tuple[ServiceDay, ...] = ()
    error: PerfoptError | None = None
    peaks: DailyPeaks = field(default_factory=dict)


async def run_loops(
    source: MetricSource,
    workloads: Sequence[Workload],
    request: ScheduleRequest,
    policies: Sequence[LoopPolicy],
    config: Config,
    metrics: frozenset[str],
    batch: BatchExecutor,
) -> AsyncIterator[ServiceLoop]:
    """Runs the closed loop of each policy on the history of services.

    Args:
        source: where the metrics are; each service is read once.
        workloads: the services.
        request: when to recommend, and for how long.
        policies: what is in the loop.
        config: price books.
        metrics: names to read.
        batch: runs services; the results do not depend on it.

    Yields:
        One result a service, in their order.

    Raises:
        SourceUnavailableError: the source stopped answering.
        InvalidInputError: the request is malformed, or fits no service of a source without extents.
    """
    runner = _LoopRunner(tuple(policies), config, batch)
    async for result in over_services(
        source, workloads, request, metrics, runner.on, _failed, at_once=batch.at_once
    ):
        yield result


def _failed(workload: Workload, error: PerfoptError) -> ServiceLoop:
    return ServiceLoop(workload, error=error)


@dataclass(frozen=True, slots=True)
class _LoopRunner:
    policies: tuple[LoopPolicy, ...]
    config: Config
    batch: BatchExecutor

    def on(
        self, schedule: OriginSchedule
    ) -> Callable[[WorkloadSnapshot | FailedSnapshot], Coroutine[Any, Any, ServiceLoop]]:
        """Returns what runs the loops of one service on a schedule."""

        async def run(snapshot: WorkloadSnapshot | FailedSnapshot) -> ServiceLoop:
            if isinstance(snapshot, FailedSnapshot):
                return ServiceLoop(snapshot.workload, error=snapshot.error)
            try:
                days = await self._days(snapshot, schedule)
            except PerfoptError as error:
                return ServiceLoop(snapshot.workload, error=error)
            return ServiceLoop(snapshot.workload, tuple(days), peaks=daily_peaks(snapshot))

        return run

    async def _days(self, snapshot: WorkloadSnapshot, schedule: OriginSchedule) -> list[ServiceDay]:
        book = self.config.book_for(snapshot.workload.price_book, snapshot.price_book)
        elsewhere, here = by_place(self.policies, lambda one: one.policy)
        days: list[ServiceDay] = []
        if here:
            days += await asyncio.to_thread(loops_of, snapshot, schedule, here, book)
        if elsewhere:
            days += await self.batch.run(loops_of, snapshot, schedule, elsewhere, book)
        return days


def loops_of(
    snapshot: WorkloadSnapshot, schedule: OriginSchedule, policies: Sequence[LoopPolicy], book: PriceBook
) -> list[ServiceDay]:
    """Returns the days of each policy's loop on one service; may block.

    A policy that stands in several loops recommends once at each origin.
    """
    cases = list(origin_cases(snapshot, schedule, book))
    recommended: dict[str, list[Recommended]] = {}
    days = []
    for one in policies:
        name = one.policy.name
        if name not in recommended:
            recommended[name] = [_decision(one, case) for case in cases]
        days += list(_loop(one, zip(cases, recommended[name], strict=True)))
    return days


def _decision(policy: LoopPolicy, case: OriginCase) -> Recommended:
    decision = policy.policy.recommend(case)
    return None if isinstance(decision, Declined) else decision


def _loop(policy: LoopPolicy, cases: Iterable[tuple[OriginCase, Recommended]]) -> Iterable[ServiceDay]:
    """Yields the days of one loop: what is in force after one is what the next begins with."""
    force: WorkloadState | None = None
    recent: list[WorkloadState] = []
    for case, decision in cases:
        force = case.known.workload.state if force is None else force
        states = [(force, 0)]
        if decision is not None:
            recent.append(decision.target)
            changed = worth_changing(force, recent, policy.settings)
            states += [] if changed is None else [(changed, 0)]
        changes = len(states) - 1
        raised = list(raises_of(case, states[-1][0], policy.settings))
        states += [(one.state, one.step) for one in raised]
        recent += [one.state for one in raised]
        force = states[-1][0]
        day = score_day(
            case,
            policy.name,
            ForceTimeline(tuple(states), case.window.grid.size, len(raised)),
            decision,
            changes,
        )
        if day is not None:
            yield day
