"""What each pod of a workload did, from its counters: for judging a change of some of them."""

import asyncio
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np

from perfopt.config.prometheus import PrometheusConfig
from perfopt.domain.workload import Workload
from perfopt.errors import NoDataError
from perfopt.metrics.counters import counter_increase
from perfopt.metrics.pods import LatencyHistogram, PodHistory
from perfopt.metrics.snapshot import Array, TimeGrid
from perfopt.sources.prometheus.answer import RangeSeries
from perfopt.sources.prometheus.batch import copy_placeholders
from perfopt.sources.prometheus.client import PrometheusClient
from perfopt.sources.prometheus.promql import PodCounter, QueryCatalogue, render
from perfopt.sources.prometheus.state import StateReader

_SCRAPES_IN_WINDOW = 3
_SECOND = 1000  # of the times of series


class PodHistoryReader:
    """Reads the counters of pods; see PodHistory."""

    def __init__(
        self,
        client: PrometheusClient,
        state: StateReader,
        config: PrometheusConfig,
        catalogue: QueryCatalogue,
    ) -> None:
        self._client = client
        self._state = state
        self._config = config
        self._counters = catalogue.pods

    async def read(
        self, workload: Workload, pods: Sequence[str] | None, start: datetime, end: datetime, step: timedelta
    ) -> PodHistory:
        """Returns what some pods did over [start, end).

        Args:
            workload: of the inventory.
            pods: names; one without any sample has rows of NaN. None is all that it had in the period.
            start: of the period; whole steps of it are read.
            end: of the period.
            step: of the grid, at least the scrape interval.

        Raises:
            NoDataError: the server knows none of the pods.
            SourceError: it refused a query.
            SourceUnavailableError: it did not answer.
        """
        grid = TimeGrid.covering(start - step, end, step)  # a counter's growth needs the value before it
        if pods is None:
            pods = sorted({pod.name for pod in await self._state.pods([workload], grid)})
        if not pods:
            raise NoDataError(
                f"The server knows no pod of {workload.id} in the period.",
                remedy="Look whether it scrapes kube-state-metrics.",
            )
        copies = await self._state.copies(grid)
        values = copy_placeholders(copies) | {
            "selector": self._state.selector([workload.id], "namespace", "pod", pods),
            "by": f"{self._config.cluster_label}, namespace",
            "window": f"{self._window(step)}s",
        }
        names = list(self._counters)
        answers = await asyncio.gather(*(self._first(name, values, grid) for name in names))
        samples = dict(zip(names, answers, strict=True))
        if not any(series for _, series in answers):
            raise NoDataError(
                f"The server has no sample of {len(pods)} pods of {workload.id} in the period.",
                remedy="Look whether it scrapes them and cAdvisor, and under which namespace and pod labels.",
            )
        return _history(grid, tuple(pods), samples).between(1, grid.size)

    def _window(self, step: timedelta) -> int:
        return int(max(step.total_seconds(), _SCRAPES_IN_WINDOW * self._config.scrape_interval_seconds))

    async def _first(
        self, name: str, values: Mapping[str, str], grid: TimeGrid
    ) -> tuple[PodCounter, list[RangeSeries]]:
        """Returns the first alternative that any pod has series of, and these."""
        for counter in self._counters[name]:
            promql = render(counter.query, values)
            series = await self._client.query_range(
                promql, grid.start + grid.step, grid.end, grid.step_seconds
            )
            if series:
                return counter, series
        return self._counters[name][-1], []


def _history(
    grid: TimeGrid, pods: tuple[str, ...], samples: Mapping[str, tuple[PodCounter, list[RangeSeries]]]
) -> PodHistory:
    grown = {name: _growth(series, grid, pods) for name, (_, series) in samples.items() if name != "latency"}
    periods, throttled = grown["periods"], grown["throttled_periods"]
    levels = {}
    if periods is not None and throttled is not None:
        with np.errstate(invalid="ignore", divide="ignore"):
            levels["cpu_throttled_fraction"] = np.where(periods > 0, throttled / periods, np.nan)
    return PodHistory(
        grid=grid,
        pods=pods,
        requests=grown["requests"],
        failed=grown["failed"],
        latency=_histogram(*samples["latency"], grid, pods),
        levels=levels,
        kills=grown["oom_kills"],
        restarts=grown["restarts"],
    )


def _histogram(
    counter: PodCounter, series: Sequence[RangeSeries], grid: TimeGrid, pods: tuple[str, ...]
) -> LatencyHistogram | None:
    by_bound: dict[float, list[RangeSeries]] = defaultdict(list)
    for one in series:
        if math.isfinite(bound := float(one.labels.get("le", "inf"))):
            by_bound[bound * counter.scale].append(one)
    if not by_bound:
        return None
    bounds = sorted(by_bound)
    grown = [_growth(by_bound[bound], grid, pods) for bound in bounds]
    unknown = np.full((len(pods), grid.size), np.nan)
    within = np.stack([unknown if one is None else one for one in grown], axis=2)
    return LatencyHistogram(np.array(bounds), within)


def _growth(series: Sequence[RangeSeries], grid: TimeGrid, pods: tuple[str, ...]) -> Array | None:
    """Returns the growth of each pod's counter in each step, NaN where it has none; None of no series."""
    if not series:
        return None
    rows = {pod: row for row, pod in enumerate(pods)}
    cumulative = np.full((len(pods), grid.size), np.nan)
    for one in series:
        row = rows.get(one.labels.get("pod", ""))
        if row is None:
            continue
        steps = ((one.times / _SECOND - grid.start.timestamp()) // grid.step_seconds).astype(int) - 1
        inside = (steps >= 0) & (steps < grid.size)
        cumulative[row, steps[inside]] = np.fmax(cumulative[row, steps[inside]], one.values[inside])
    return np.stack([counter_increase(row)[0] for row in cumulative])
