"""Metrics and state from a Prometheus API: a few queries by metric for many workloads at once."""

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain

import httpx
import msgspec

from perfopt.config.prometheus import PrometheusConfig
from perfopt.domain.price import PriceBook
from perfopt.domain.workload import Workload
from perfopt.errors import InvalidInputError, SourceError, SourceUnavailableError
from perfopt.metrics.catalogue import METRICS, STARTUP
from perfopt.metrics.grid import step_aligned
from perfopt.metrics.plausibility import NodeCapacity
from perfopt.metrics.pods import PodHistory
from perfopt.metrics.snapshot import TimeGrid, WorkloadSnapshot
from perfopt.sources.base import FailedSnapshot
from perfopt.sources.pod_starts import known_starts
from perfopt.sources.prometheus.asleep import with_last_state
from perfopt.sources.prometheus.assembly import SnapshotInputs, assemble, has_usage
from perfopt.sources.prometheus.client import PrometheusClient
from perfopt.sources.prometheus.days import DayStore
from perfopt.sources.prometheus.fetch import RangeFetcher
from perfopt.sources.prometheus.pod_history import PodHistoryReader
from perfopt.sources.prometheus.promql import load_catalogue
from perfopt.sources.prometheus.rows import FetchedRows, SeriesRow
from perfopt.sources.prometheus.seen import SeenSeries, missing_metrics, no_sample
from perfopt.sources.prometheus.state import StateReader

_PODS_PER_BATCH = 200  # ten metrics of 14 days at 5 minutes of as many containers are some 130 MB
_LOOKED_AT = 3  # workloads of a batch that have no use: why is looked up for so many
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
        days: DayStore | None = None,
    ) -> None:
        """Prepares the source; asks nothing yet.

        Args:
            name: of the source, as configured.
            config: where it is and what to ask it.
            transport: carries the requests; None for the network.
            sleep: waits between attempts.
            days: where days that were read are kept, for later passes; None reads all anew.

        Raises:
            InvalidInputError: a setting, a secret, or the catalogue is wrong.
        """
        self.name = name
        self._config = config
        catalogue = load_catalogue(config.catalogue)
        self._client = PrometheusClient(config, transport=transport, sleep=sleep)
        self._state = StateReader(self._client, config, catalogue)
        self._fetcher = RangeFetcher(self._client, self._state, config, catalogue, days)
        self._pods = PodHistoryReader(self._client, self._state, config, catalogue)

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
                yield FailedSnapshot(workload, no_sample(self.name, workload.id, grid, SeenSeries()))
            return
        names = sorted(name for name in {*metrics, *_judged_by(metrics)} if name in METRICS)
        current = await self._current(workloads, grid)
        batches = _batches(current, self._config.workloads_per_query)
        async with aclosing(_in_order(batches, lambda batch: self._batch(batch, grid, names))) as results:
            async for result in results:
                yield result

    async def _current(self, workloads: Sequence[Workload], grid: TimeGrid) -> list[Workload]:
        states = {known.id: known for known in await self._state.known(grid.end)}
        return [_with_state(workload, states.get(workload.id)) for workload in workloads]

    async def _batch(
        self, batch: Sequence[Workload], grid: TimeGrid, names: Sequence[str]
    ) -> list[WorkloadSnapshot | FailedSnapshot]:
        """Reads some workloads together; a query that is refused fails them only."""
        small = [workload for workload in batch if self._samples(workload, grid) <= self._config.max_samples]
        try:
            fetched = await self._fetcher.fetch(small, grid, names) if small else FetchedRows()
        except SourceUnavailableError:
            raise
        except SourceError as error:
            return [FailedSnapshot(workload, error) for workload in batch]
        books = await self._state.price_books(grid.end)
        shown = await self._state.starts(grid.end) if STARTUP in names else {}
        notes = await self._state.notes(grid.end)
        results: list[WorkloadSnapshot | FailedSnapshot] = []
        looked = 0
        for workload in batch:
            if workload not in small:
                results.append(FailedSnapshot(workload, self._too_many(workload, grid)))
                continue
            if not has_usage(fetched.of(workload.id)):
                looked += 1
                seen = await self._state.seen(workload, grid) if looked <= _LOOKED_AT else SeenSeries()
                label = self._config.cluster_label
                results.append(FailedSnapshot(workload, no_sample(self.name, workload.id, grid, seen, label)))
                continue
            lacking = _lacking(names, fetched.of(workload.id))
            missing: tuple[tuple[str, str], ...] = ()
            if lacking:
                looked += 1
                seen = await self._state.seen(workload, grid) if looked <= _LOOKED_AT else None
                missing = (missing_metrics(self.name, grid, lacking, seen),)
            snapshot = self._snapshot(workload, grid, names, fetched, (*notes, *missing))
            starts = (*fetched.starts_of(workload.id), *shown.get(workload.id, ()))
            book = books.get(workload.id.cluster)
            results.append(replace(snapshot, price_book=book, starts=known_starts(starts, grid.end)))
        return results

    async def pod_history(
        self, workload: Workload, pods: Sequence[str] | None, start: datetime, end: datetime, step: timedelta
    ) -> PodHistory:
        """Reads what each pod did; see KnowsPods."""
        least = timedelta(seconds=self._config.scrape_interval_seconds)
        return await self._pods.read(workload, pods, start, end, max(step, least))

    def _samples(self, workload: Workload, grid: TimeGrid) -> int:
        """Returns how many samples a metric of the pods that run at once has in the period."""
        return max(workload.state.replicas or 1, 1) * grid.size

    def _too_many(self, workload: Workload, grid: TimeGrid) -> InvalidInputError:
        return InvalidInputError(
            f"{workload.id} has {workload.state.replicas:,} pods: at {grid.size:,} steps these are"
            f" {self._samples(workload, grid):,} samples of each metric, and at most"
            f" {self._config.max_samples:,} are read.",
            field="analysis_period",
            remedy="Ask for a shorter period, or set a longer `step_seconds` or a larger `max_samples` of the"
            " source.",
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()
        await self._state.close()

    def _snapshot(
        self,
        workload: Workload,
        grid: TimeGrid,
        names: Sequence[str],
        fetched: FetchedRows,
        notes: Sequence[tuple[str, str]],
    ) -> WorkloadSnapshot:
        rows = fetched.of(workload.id)
        named = {container.name for container in workload.state.containers}
        templates = fetched.containers_of(workload.id)
        around = SnapshotInputs(
            images=fetched.images_of(workload.id),
            containers={*templates, *named} if templates else frozenset(),
            ended=fetched.ended_of(workload.id),
            largest=fetched.largest.get(workload.id.cluster, NodeCapacity()),
            warnings=(*(("source_note", note) for note in self._client.notes), *notes),
        )
        return assemble(with_last_state(workload, rows), grid, rows, names, around)


type _Results = list[WorkloadSnapshot | FailedSnapshot]


async def _in_order(
    batches: Iterable[Sequence[Workload]],
    read: Callable[[Sequence[Workload]], Coroutine[None, None, _Results]],
) -> AsyncGenerator[WorkloadSnapshot | FailedSnapshot]:
    """Reads a batch while the one before is analysed.

    What was read before the server stopped answering is kept; what is left fails for that reason.

    Raises:
        SourceUnavailableError: it did not answer the first batch.
    """
    left = iter(batches)
    task: asyncio.Task[_Results] | None = None
    batch, ahead, answered = next(left, None), next(left, None), False
    try:
        while batch is not None:
            try:
                results = await (task or read(batch))
            except SourceUnavailableError as error:
                if not answered:
                    raise
                for workload in chain(batch, ahead or (), *left):
                    yield FailedSnapshot(workload, error)
                return
            answered = True
            task = None if ahead is None else asyncio.ensure_future(read(ahead))
            for result in results:
                yield result
            batch, ahead = ahead, next(left, None)
    finally:
        if task is not None:
            task.cancel()


def _lacking(names: Collection[str], rows: Iterable[SeriesRow]) -> tuple[str, ...]:
    """Returns the resources of which no use was found."""
    found = {row.metric for row in rows}
    use = {"cpu": "cpu_cores", "memory": "memory_bytes"}
    return tuple(resource for resource, name in use.items() if name in names and name not in found)


def _with_state(workload: Workload, known: Workload | None) -> Workload:
    """Returns a workload as it is at the end of the period."""
    if known is None:
        return workload
    return msgspec.structs.replace(
        workload, state=known.state, unknown_autoscalers=known.unknown_autoscalers, limits=known.limits
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
