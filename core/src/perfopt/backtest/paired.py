"""Evaluates two engines at the same origins: each service is read once for both."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from perfopt.backtest.evaluate import evaluate_policies
from perfopt.backtest.evaluated import EvaluatedRecommendation
from perfopt.backtest.policies import StrategyPolicy
from perfopt.backtest.schedule import OriginSchedule
from perfopt.batch import BatchExecutor
from perfopt.config import Config
from perfopt.domain.enums import OptimizationType
from perfopt.domain.workload import Workload
from perfopt.engine import Engine
from perfopt.engine.hours import book_of_hours
from perfopt.errors import PerfoptError
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.sources.base import FailedSnapshot, MetricSource
from perfopt.sources.orderly import in_order


@dataclass(frozen=True, slots=True)
class PairedBacktest:
    """The evaluation of one service.

    Attributes:
        workload: the service.
        incumbent, candidate: rows of the same origins; empty where it had no history at any.
        error: why it could not be evaluated, or None.
    """

    workload: Workload
    incumbent: tuple[EvaluatedRecommendation, ...] = ()
    candidate: tuple[EvaluatedRecommendation, ...] = ()
    error: PerfoptError | None = None


async def backtest_pair(
    source: MetricSource,
    workloads: Sequence[Workload],
    schedule: OriginSchedule,
    config: Config,
    incumbent: Engine,
    candidate: Engine,
    *,
    batch: BatchExecutor,
    types: Sequence[OptimizationType],
) -> AsyncIterator[PairedBacktest]:
    """Evaluates every strategy of some types on the history of services, with two engines.

    Args:
        source: where the metrics are; each service is read once, over the whole schedule.
        workloads: the services.
        schedule: when to recommend.
        config: price books.
        incumbent: one engine.
        candidate: the other; the two differ in their models.
        batch: evaluates services; the results do not depend on it.
        types: of the strategies that are compared.

    Yields:
        One result a service, in their order.

    Raises:
        SourceUnavailableError: the source stopped answering.
    """
    metrics = incumbent.metrics(types) | candidate.metrics(types)

    async def evaluate(snapshot: WorkloadSnapshot | FailedSnapshot) -> PairedBacktest:
        if isinstance(snapshot, FailedSnapshot):
            return PairedBacktest(snapshot.workload, error=snapshot.error)
        known = config.book_for(snapshot.workload.price_book, snapshot.price_book)
        book = book_of_hours(known, snapshot)
        try:
            first, second = [
                await batch.run(evaluate_policies, snapshot, schedule, _strategies(engine, types), book)
                for engine in (incumbent, candidate)
            ]
        except PerfoptError as error:
            return PairedBacktest(snapshot.workload, error=error)
        return PairedBacktest(snapshot.workload, tuple(first), tuple(second))

    snapshots = source.snapshots(workloads, schedule.start, schedule.end, metrics)
    async for result in in_order(snapshots, evaluate, at_once=batch.at_once):
        yield result


def _strategies(engine: Engine, types: Sequence[OptimizationType]) -> list[StrategyPolicy]:
    return [
        StrategyPolicy(engine, info.key, info.optimization_type) for info in engine.registry.of_types(types)
    ]
