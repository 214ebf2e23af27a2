"""The series behind the worst misses: what was known, what was recommended, what came."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perfopt.backtest.report import BacktestResult, ViolatedRecommendation
from perfopt.domain.period import parse_duration
from perfopt.domain.resolve import resolve_workload
from perfopt.metrics.snapshot import Array, TimeGrid, WorkloadSnapshot
from perfopt.sources.base import FailedSnapshot, MetricSource

_METRIC = {"cpu": "cpu_cores", "memory": "memory_bytes"}


@dataclass(frozen=True, slots=True)
class ViolationSeries:
    """One miss with its series.

    Attributes:
        miss: what was recommended and needed.
        grid: of the values, from the begin of the history to the end of the window.
        values: the resource over containers, hottest pod of each; shape (grid.size,), NaN where missing.
    """

    miss: ViolatedRecommendation
    grid: TimeGrid
    values: Array


async def read_miss_series(source: MetricSource, result: BacktestResult) -> tuple[ViolationSeries, ...]:
    """Reads the series of the misses of a result; one that is not there any more is left out.

    Raises:
        SourceError: the source refused or stopped answering.
    """
    history = parse_duration(result.history)
    series: list[ViolationSeries] = []
    for miss in result.misses:
        start, end = miss.made_at - history, miss.made_at + parse_duration(miss.validity)
        workload = resolve_workload(miss.service, await source.inventory(end))
        async for one in source.snapshots([workload], start, end, {_METRIC[miss.resource]}):
            if not isinstance(one, FailedSnapshot):
                series.append(ViolationSeries(miss, one.grid, _total(one, _METRIC[miss.resource])))
    return tuple(series)


def _total(snapshot: WorkloadSnapshot, metric: str) -> Array:
    hottest = [metrics[metric].hottest() for metrics in snapshot.containers.values() if metric in metrics]
    return _sum(hottest) if hottest else np.full(snapshot.grid.size, np.nan)


def _sum(series: Sequence[Array]) -> Array:
    stacked = np.stack(series)
    total: Array = np.where(np.isfinite(stacked).any(axis=0), np.nansum(stacked, axis=0), np.nan)
    return total
