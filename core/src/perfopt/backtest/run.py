"""Runs a backtest: reads each service once, walks it, and gives the trials in the order of the services."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from perfopt.backtest.orderly import in_order
from perfopt.backtest.plan import Plan
from perfopt.backtest.policies import OURS
from perfopt.backtest.trial import Trial
from perfopt.backtest.walk import TYPE, walk_engine
from perfopt.backtest.walkers import Walkers
from perfopt.backtest.worker import Task
from perfopt.config import Config
from perfopt.domain.workload import Workload
from perfopt.engine import Engine
from perfopt.engine.engine import BASE_METRICS
from perfopt.errors import PerfoptError
from perfopt.evaluation.baselines import BASELINE_METRICS
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.sources.base import FailedSnapshot, MetricSource


@dataclass(frozen=True, slots=True)
class Walk:
    """What came of one service.

    Attributes:
        workload: the service.
        trials: by cut, then by policy; empty where it had no history at any cut.
        error: why it could not be walked, or None.
    """

    workload: Workload
    trials: tuple[Trial, ...] = ()
    error: PerfoptError | None = None


async def walk_fleet(
    source: MetricSource,
    workloads: Sequence[Workload],
    plan: Plan,
    policies: Sequence[str],
    config: Config,
    engine: Engine | None,
    *,
    processes: int,
) -> AsyncIterator[Walk]:
    """Walks services through their history.

    Args:
        source: where the metrics are; each service is read once, over the whole plan.
        workloads: the services.
        plan: when.
        policies: names; `perfopt` needs an engine.
        config: price books.
        engine: runs the installed strategies; None without `perfopt`.
        processes: services walked at once; what is found does not depend on it.

    Yields:
        One walk a service, in their order.

    Raises:
        SourceUnavailableError: the source stopped answering.
    """
    metrics = BASELINE_METRICS | BASE_METRICS | (engine.metrics((TYPE,)) if engine is not None else set())
    with Walkers() as walkers:
        walker = _Walker(plan, tuple(policies), config, engine, walkers)
        found = source.snapshots(workloads, plan.start, plan.end, metrics)
        async for walked in in_order(found, walker.walk, at_once=processes):
            yield walked


@dataclass(frozen=True, slots=True)
class _Walker:
    plan: Plan
    policies: tuple[str, ...]
    config: Config
    engine: Engine | None
    walkers: Walkers

    def walk(self, found: WorkloadSnapshot | FailedSnapshot) -> Walk:
        if isinstance(found, FailedSnapshot):
            return Walk(found.workload, error=found.error)
        book = self.config.book_for(found.workload.price_book, found.price_book)
        baselines = tuple(name for name in self.policies if name != OURS)
        trials: list[Trial] = []
        try:
            if self.engine is not None and OURS in self.policies:
                trials += walk_engine(found, self.plan, self.engine, book)
            if baselines:
                trials += self.walkers.walk(Task(found, self.plan, baselines, book))
        except PerfoptError as error:
            return Walk(found.workload, error=error)
        return Walk(found.workload, tuple(trials))
