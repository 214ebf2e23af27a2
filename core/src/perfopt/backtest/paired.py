"""Walks two engines through the same history: each service is read once and walked by both."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from perfopt.backtest.orderly import in_order
from perfopt.backtest.plan import Plan
from perfopt.backtest.trial import Trial
from perfopt.backtest.walk import TYPE, walk_engine
from perfopt.config import Config
from perfopt.domain.workload import Workload
from perfopt.engine import Engine
from perfopt.errors import PerfoptError
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.sources.base import FailedSnapshot, MetricSource


@dataclass(frozen=True, slots=True)
class PairedWalk:
    """What came of one service.

    Attributes:
        workload: the service.
        incumbent, candidate: trials at the same instants; empty where it had no history at any cut.
        error: why it could not be walked, or None.
    """

    workload: Workload
    incumbent: tuple[Trial, ...] = ()
    candidate: tuple[Trial, ...] = ()
    error: PerfoptError | None = None


async def walk_both(
    source: MetricSource,
    workloads: Sequence[Workload],
    plan: Plan,
    config: Config,
    incumbent: Engine,
    candidate: Engine,
    *,
    processes: int,
) -> AsyncIterator[PairedWalk]:
    """Walks services through their history with two engines.

    Args:
        source: where the metrics are; each service is read once, over the whole plan.
        workloads: the services.
        plan: when.
        config: price books.
        incumbent: one engine.
        candidate: the other; the two differ in their models.
        processes: services walked at once; what is found does not depend on it.

    Yields:
        One walk a service, in their order.

    Raises:
        SourceUnavailableError: the source stopped answering.
    """
    metrics = incumbent.metrics((TYPE,)) | candidate.metrics((TYPE,))

    def walk(found: WorkloadSnapshot | FailedSnapshot) -> PairedWalk:
        if isinstance(found, FailedSnapshot):
            return PairedWalk(found.workload, error=found.error)
        book = config.book_for(found.workload.price_book, found.price_book)
        try:
            first, second = (walk_engine(found, plan, engine, book) for engine in (incumbent, candidate))
        except PerfoptError as error:
            return PairedWalk(found.workload, error=error)
        return PairedWalk(found.workload, tuple(first), tuple(second))

    found = source.snapshots(workloads, plan.start, plan.end, metrics)
    async for walked in in_order(found, walk, at_once=processes):
        yield walked
