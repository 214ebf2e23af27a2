"""Metrics and state from a Prometheus API: a few queries by metric for many workloads at once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import msgspec

from perfopt.config.prometheus import PrometheusConfig
from perfopt.domain.period import format_instant
from perfopt.domain.price import PriceBook
from perfopt.domain.workload import Workload
from perfopt.errors import NoDataError, SourceError, SourceUnavailableError
from perfopt.metrics.catalogue import METRICS, STARTUP
from perfopt.metrics.grid import step_aligned
from perfopt.metrics.plausibility import Capacity
from perfopt.metrics.snapshot import TimeGrid, WorkloadSnapshot
from perfopt.sources.base import FailedSnapshot
from perfopt.sources.pod_starts import known_starts
from perfopt.sources.prometheus.asleep import with_last_state
from perfopt.sources.prometheus.assembly import Surroundings, assemble, has_usage
from perfopt.sources.prometheus.client import PrometheusClient
from perfopt.sources.prometheus.fetch import Fetcher
from perfopt.sources.prometheus.promql import load_catalogue
from perfopt.sources.prometheus.rows import Fetched
from perfopt.sources.prometheus.state import StateReader

_PODS_PER_BATCH = 200  # ten metrics of 14 days at 5 minutes of as many containers are some 130 MB
_INGEST_LAG = timedelta(minutes=1)  # remote write and the last scrape of a step take their time


class PrometheusSource:
    """A MetricSource over the HTTP API of Prometheus, Thanos, Mimir or VictoriaMetrics.

    Attributes:
        name: of the source, as configured.
    """

    def __init__(
        self,
        name: str,
        config: PrometheusConfig,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Prepares the source; asks nothing yet.

        Args:
            name: of the source, as configured.
            config: where it is and what to ask it.
            transport: carries the requests; None for the network.
            sleep: waits between attempts.

        Raises:
            InvalidInputError: a setting, a secret, or the catalogue is wrong.
        """
        self.name = name
        self._config = config
        catalogue = load_catalogue(config.catalogue)
        self._client = PrometheusClient(config, transport=transport, sleep=sleep)
        self._state = StateReader(self._client, config, catalogue)
        self._fetcher = Fetcher(self._client, self._state, config, catalogue)

    @property
    def queries(self) -> int:
        """Returns how many requests were made so far, retries not counted."""
        return self._client.queries

    async def latest(self) -> datetime:
        """Returns the last step boundary whose samples have surely arrived."""
        return step_aligned(datetime.now(UTC) - _INGEST_LAG, self._config.step)

    async def inventory(self, at: datetime) -> tuple[Workload, ...]:
        """Returns what kube-state-metrics showed just before an instant; see MetricSource."""
        return await self._state.inventory(at)

    async def price_books(self, at: datetime) -> Mapping[str, PriceBook]:
        """Returns what nodes cost just before an instant by OpenCost, by cluster; nothing without it."""
        return await self._state.price_books(at)

    async def snapshots(
        self, workloads: Sequence[Workload], start: datetime, end: datetime, metrics: Collection[str]
    ) -> AsyncIterator[WorkloadSnapshot | FailedSnapshot]:
        """Reads histories in batches; see MetricSource. A query that is refused fails its batch only."""
        grid = TimeGrid.covering(start, end, self._config.step)
        if not workloads:
            return
        if not grid.size:
            for workload in workloads:
                yield FailedSnapshot(workload, self._no_data(workload, grid))
            return
        states = {known.id: known.state for known in await self._state.inventory(grid.end)}
        books = await self._state.price_books(grid.end)
        shown = await self._state.starts(grid.end) if STARTUP in metrics else {}
        notes = await self._state.notes(grid.end)
        current = [
            msgspec.structs.replace(workload, state=states.get(workload.id, workload.state))
            for workload in workloads
        ]
        names = sorted(name for name in {*metrics, *_judged_by(metrics)} if name in METRICS)
        for batch in _batches(current, self._config.workloads_per_query):
            try:
                fetched = await self._fetcher.fetch(batch, grid, names)
            except SourceUnavailableError:
                raise
            except SourceError as error:
                for workload in batch:
                    yield FailedSnapshot(workload, error)
                continue
            for workload in batch:
                found = self._snapshot(workload, grid, names, fetched, notes)
                if isinstance(found, WorkloadSnapshot):
                    starts = (*fetched.starts_of(workload.id), *shown.get(workload.id, ()))
                    starts = known_starts(starts, grid.end)
                    found = replace(found, price_book=books.get(workload.id.cluster), starts=starts)
                yield found

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()
        await self._state.close()

    def _snapshot(
        self,
        workload: Workload,
        grid: TimeGrid,
        names: Sequence[str],
        fetched: Fetched,
        notes: Sequence[tuple[str, str]],
    ) -> WorkloadSnapshot | FailedSnapshot:
        rows = fetched.of(workload.id)
        if not has_usage(rows):
            return FailedSnapshot(workload, self._no_data(workload, grid))
        named = {container.name for container in workload.state.containers}
        templates = fetched.containers_of(workload.id)
        around = Surroundings(
            images=fetched.images_of(workload.id),
            containers={*templates, *named} if templates else frozenset(),
            ended=fetched.ended_of(workload.id),
            largest=fetched.largest.get(workload.id.cluster, Capacity()),
            warnings=(*(("source_note", note) for note in self._client.notes), *notes),
        )
        return assemble(with_last_state(workload, rows), grid, rows, names, around)

    def _no_data(self, workload: Workload, grid: TimeGrid) -> NoDataError:
        return NoDataError(
            f"{self.name} holds no sample of {workload.id} "
            f"from {format_instant(grid.start)} to {format_instant(grid.end)}.",
            field="analysis_period",
            remedy="Check the period, and that cAdvisor and kube-state-metrics are scraped.",
        )


def _judged_by(metrics: Collection[str]) -> tuple[str, ...]:
    """Returns the metrics by which samples of others are found implausible."""
    bounds = {"cpu_cores": "cpu_limit_cores", "memory_bytes": "memory_limit_bytes"}
    return tuple(limit for use, limit in bounds.items() if use in metrics)


def _batches(workloads: Sequence[Workload], size: int) -> Iterator[list[Workload]]:
    """Cuts the workloads in order into batches of one cluster each, of few pods where that can be.

    Pods that were replaced weigh little: each has samples only of the time it lived.
    """
    batch: list[Workload] = []
    pods = 0
    for workload in workloads:
        more = max(workload.state.replicas or 1, 1)
        full = len(batch) == size or pods + more > _PODS_PER_BATCH
        if batch and (full or batch[0].id.cluster != workload.id.cluster):
            yield batch
            batch, pods = [], 0
        batch.append(workload)
        pods += more
    if batch:
        yield batch
