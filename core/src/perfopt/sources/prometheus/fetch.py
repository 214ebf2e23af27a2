"""One batch of workloads: each metric by the first alternative of the catalogue that has data of it."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from perfopt.config.prometheus import PrometheusConfig
from perfopt.domain.workload import Workload, WorkloadId
from perfopt.errors import PerfoptError
from perfopt.metrics.catalogue import METRICS, STARTUP
from perfopt.metrics.snapshot import TimeGrid
from perfopt.sources.pod_starts import starts_of_pods
from perfopt.sources.prometheus.answer import RangeSeries
from perfopt.sources.prometheus.batch import (
    WorkloadBatch,
    appears_in,
    copy_placeholders,
    is_settled,
    pods_of,
    times_of,
)
from perfopt.sources.prometheus.cache import AnswerCache
from perfopt.sources.prometheus.client import PrometheusClient
from perfopt.sources.prometheus.combine import added, divided, grouped, varies
from perfopt.sources.prometheus.days import DayStore, StoredDays, read_by_days
from perfopt.sources.prometheus.exporters import ForeignExporters
from perfopt.sources.prometheus.identity import CopyLabels
from perfopt.sources.prometheus.jumps import WithoutJumps, spikes, without_jumps
from perfopt.sources.prometheus.kube_state import image_name
from perfopt.sources.prometheus.naming import groups
from perfopt.sources.prometheus.owners import PodKey
from perfopt.sources.prometheus.promql import QueryAlternative, QueryCatalogue
from perfopt.sources.prometheus.queries import BatchQueries
from perfopt.sources.prometheus.ranges import QueryLimits, RangeReader, coarser, pieces
from perfopt.sources.prometheus.rows import FetchedRows, SeriesRow
from perfopt.sources.prometheus.state import StateReader

_PODS_PER_QUERY = (
    50  # 14 days at 5 minutes of as many pods' requests, limits and restarts: some 20 MB of JSON
)
_COARSE = timedelta(hours=1)  # what rarely changes is read at steps as long first
_SCRAPES_IN_WINDOW = 3
_KEPT = 4  # names of metrics of as many periods
_ADD_UP = ("requests/s", "bytes/s", "events/s", "units/s")


class RangeFetcher:
    """Turns metrics and workloads into queries and the answers into rows."""

    def __init__(
        self,
        client: PrometheusClient,
        state: StateReader,
        config: PrometheusConfig,
        catalogue: QueryCatalogue,
        days: DayStore | None = None,
    ) -> None:
        self._days = days
        self._origin = f"{config.address} {config.cluster_label}"
        self._client = client
        self._state = state
        self._cluster_label = config.cluster_label
        self._catalogue = catalogue
        self._step = config.step
        self._names = AnswerCache(self._metric_names, _KEPT)
        self._largest = AnswerCache(state.largest_nodes, _KEPT)
        self._scrapes = _SCRAPES_IN_WINDOW * timedelta(seconds=config.scrape_interval_seconds)
        self._limits = QueryLimits(config.max_query_bytes, _PODS_PER_QUERY)
        self._queries = BatchQueries(client, state, config.cluster_label, self._limits)
        self._coarse_limits = QueryLimits(
            config.max_query_bytes, _PODS_PER_QUERY * max(_COARSE // self._step, 1)
        )

    async def fetch(
        self, workloads: Sequence[Workload], grid: TimeGrid, metrics: Sequence[str]
    ) -> FetchedRows:
        """Reads the metrics of workloads of one cluster.

        Raises:
            SourceError: a query was refused; nothing partial is given back.
            SourceUnavailableError: the server stopped answering.
        """
        names, pods, largest, copies = await asyncio.gather(
            self._names.get(grid),
            self._state.pods(workloads, grid),
            self._largest.get(grid),
            self._state.copies(grid),
        )
        fetched = FetchedRows(largest=largest)
        stored = await self._stored(workloads, grid)
        wanted = [workload.id for workload in workloads]
        known = [metric for metric in metrics if metric in self._catalogue.metrics]
        try:
            async with asyncio.TaskGroup() as group:
                fine = self._reader(grid, self._limits, copies, group, stored)
                longer = coarser(grid, _COARSE)
                coarse = (
                    None
                    if longer is None
                    else self._reader(longer, self._coarse_limits, copies, group, stored)
                )
                batch = WorkloadBatch(pods, names, grid, fetched, fine, coarse, copies.foreign)
                group.create_task(self._images(batch))
                group.create_task(self._ended(batch))
                if STARTUP in metrics:
                    group.create_task(self._starts(batch))
                for metric in known:
                    group.create_task(self._metric(metric, wanted, batch))
        except BaseExceptionGroup as errors:  # the group stopped the other queries of the batch
            known_error = next((e for e in errors.exceptions if isinstance(e, PerfoptError)), None)
            if known_error is None:
                raise
            raise known_error from known_error.__cause__
        if stored is not None:
            stored.list_pods(wanted, {str(pod): identity for pod, identity in pods.items()}, grid)
            await stored.save()
        return fetched

    async def _stored(self, workloads: Sequence[Workload], grid: TimeGrid) -> StoredDays | None:
        if self._days is None:
            return None
        return await StoredDays.load(self._days, self._origin, [one.id for one in workloads], grid)

    def _reader(
        self,
        grid: TimeGrid,
        limits: QueryLimits,
        copies: CopyLabels,
        group: asyncio.TaskGroup,
        stored: StoredDays | None,
    ) -> RangeReader:
        window = int(max(grid.step, self._scrapes).total_seconds())
        values = {"step": f"{grid.step_seconds}s", "window": f"{window}s", "wide": f"{2 * window}s"}
        known = values | copy_placeholders(copies)
        return RangeReader(self._client, grid, limits, group, known, days=stored)

    async def _metric_names(self, grid: TimeGrid) -> frozenset[str] | None:
        return await self._client.metric_names(grid.start, grid.end)

    async def _metric(self, metric: str, identities: Iterable[WorkloadId], batch: WorkloadBatch) -> None:
        missing = set(identities)
        answered: dict[str | None, set[WorkloadId]] = defaultdict(set)
        for alternative in self._catalogue.metrics[metric]:
            wanted = [
                identity
                for identity in sorted(missing - answered[alternative.unless], key=str)
                if not alternative.kinds or identity.kind in alternative.kinds
            ]
            if not wanted or not batch.may_answer(alternative.query):
                continue
            if METRICS[metric].scope == "container":
                rows = await self._by_container(metric, alternative, wanted, batch)
            else:
                rows = await self._by_workload(metric, alternative, wanted, batch)
            for identity, row in rows:
                batch.fetched.rows[identity].append(row)
                answered[alternative.name].add(identity)
                if not METRICS[metric].complementary:
                    missing.discard(identity)

    async def _by_container(
        self, metric: str, alternative: QueryAlternative, wanted: Sequence[WorkloadId], batch: WorkloadBatch
    ) -> list[tuple[WorkloadId, SeriesRow]]:
        mine = pods_of(wanted, batch.pods)

        def key(series: RangeSeries) -> tuple[PodKey, str] | None:
            pod, container = self._queries.pod_of(series.labels, alternative), series.labels.get("container")
            return (pod, container) if pod in mine and container else None

        results, settled = await self._fine_where_needed(alternative, mine, batch)
        if alternative.per is not None:
            results = await self._divided(alternative, alternative.per, results, batch)
        rows = grouped(results, key)
        judged = {place: WithoutJumps(series) for place, series in rows.items()}
        if alternative.resets is not None:
            odd = {pod: mine[pod] for (pod, _), series in rows.items() if spikes(series).any()}
            fell = grouped(await self._queries.of_pods(alternative, alternative.resets, odd, batch.fine), key)
            step = batch.grid.step_seconds * 1000
            judged = {place: without_jumps(one, fell.get(place), step) for place, one in rows.items()}
        counts: dict[tuple[PodKey, str], RangeSeries] | None = None
        born = await self._born(alternative, rows, batch) if alternative.counter else frozenset()
        if alternative.where is not None:
            grew = {pod: mine[pod] for (pod, _), series in rows.items() if varies(series) or pod in born}
            counts = grouped(
                await self._queries.of_pods(alternative, alternative.where, grew, batch.fine), key
            )
        series_rows = []
        for (pod, container), one in judged.items():
            row = SeriesRow(
                metric,
                container,
                pod.name,
                alternative.counter,
                one.series,
                where=None if counts is None else times_of(counts.get((pod, container))),
                from_zero=pod in born or (alternative.appears and appears_in(one.series, batch.grid)),
                implausible=one.count,
            )
            series_rows.append((mine[pod], row))
        for (pod, container), series in grouped(settled, key).items():
            row = SeriesRow(metric, container, pod.name, alternative.counter, series, coarse=_COARSE)
            series_rows.append((mine[pod], row))
        return series_rows

    async def _fine_where_needed(
        self, alternative: QueryAlternative, mine: Mapping[PodKey, WorkloadId], batch: WorkloadBatch
    ) -> tuple[list[RangeSeries], list[RangeSeries]]:
        """Returns series at the steps of the grid, and at longer steps those of pods that change nothing."""
        if not alternative.rarely or batch.coarse is None:
            return await self._series(alternative, mine, batch.fine, batch.foreign), []
        of: dict[tuple[PodKey, str], list[RangeSeries]] = defaultdict(list)
        for series in await self._series(alternative, mine, batch.coarse, batch.foreign):
            of[self._queries.pod_of(series.labels, alternative), series.labels.get("container", "")].append(
                series
            )
        changing = {pod for (pod, _), parts in of.items() if not is_settled(parts, alternative)}
        settled = [one for (pod, _), parts in of.items() if pod not in changing for one in parts]
        some = {pod: identity for pod, identity in mine.items() if pod in changing}
        return await self._series(alternative, some, batch.fine, batch.foreign), settled

    async def _series(
        self,
        alternative: QueryAlternative,
        mine: Mapping[PodKey, WorkloadId],
        reader: RangeReader,
        foreign: ForeignExporters,
    ) -> list[RangeSeries]:
        answer = await self._queries.of_pods(alternative, alternative.query, mine, reader)
        return [
            series
            for series in answer
            if all(series.labels.get(name) == value for name, value in alternative.only.items())
            and not foreign.left_out(series.labels)
        ]

    async def _born(
        self,
        alternative: QueryAlternative,
        rows: Mapping[tuple[PodKey, str], RangeSeries],
        batch: WorkloadBatch,
    ) -> frozenset[PodKey]:
        """Returns the pods, of those whose counter begins above zero, that were created in the period."""
        if alternative.appears:
            return frozenset()
        pods = sorted({pod for (pod, _), one in rows.items() if len(one.values) and one.values[0] > 0})
        plain = QueryAlternative(name="pods_born", query=self._catalogue.state["pods_born"])
        start = batch.grid.start.timestamp()
        return frozenset(
            self._queries.pod_of(sample.labels, plain)
            for sample in await self._queries.at_end(plain, pods, batch)
            if sample.value >= start
        )

    async def _divided(
        self, alternative: QueryAlternative, per: str, results: Sequence[RangeSeries], batch: WorkloadBatch
    ) -> list[RangeSeries]:
        """Divides what is not zero throughout; what is would stay so."""
        zero = [series for series in results if not series.values.any()]
        others = [series for series in results if series.values.any()]
        pods = {
            pod: batch.pods[pod]
            for s in others
            if (pod := self._queries.pod_of(s.labels, alternative)) in batch.pods
        }
        return [*zero, *divided(others, await self._queries.of_pods(alternative, per, pods, batch.fine))]

    async def _by_workload(
        self, metric: str, alternative: QueryAlternative, wanted: Sequence[WorkloadId], batch: WorkloadBatch
    ) -> list[tuple[WorkloadId, SeriesRow]]:
        """Asks by kind: a Deployment and a StatefulSet may have the same name."""
        combine = added if METRICS[metric].unit in _ADD_UP else grouped
        rows = []
        for group in groups(wanted, batch.pods, by_pod=alternative.match == "pod"):

            async def ask(
                some: Sequence[WorkloadId], first: int, last: int, kind: str = group[0].kind
            ) -> list[tuple[WorkloadId, RangeSeries]]:
                part = replace(batch, fine=batch.fine.within(first, last))
                return await self._combined(alternative, some, part, combine)

            stored, key = batch.fine.days, self._queries.day_key(alternative, alternative.query, batch.fine)
            if stored is None:
                answer = await ask(group, 0, batch.grid.size)
            else:
                items = {identity: identity for identity in group}
                answer = await read_by_days(stored, batch.grid, key, items, ask)
            for identity, series in answer:
                rows.append((identity, SeriesRow(metric, "", "", alternative.counter, series)))
        return rows

    async def _combined(
        self,
        alternative: QueryAlternative,
        group: Sequence[WorkloadId],
        batch: WorkloadBatch,
        combine: Callable[..., dict[WorkloadId, RangeSeries]],
    ) -> list[tuple[WorkloadId, RangeSeries]]:
        """Returns one series for each of some workloads of a kind that has any."""
        named = {(i.cluster, i.namespace, i.name): i for i in group}
        label = alternative.label if alternative.match == "workload" else "workload"
        alone = group[0] if len(group) == 1 and alternative.match == "pod" else None

        def key(series: RangeSeries) -> WorkloadId | None:
            labels = series.labels
            place = labels.get(self._cluster_label, ""), labels.get(alternative.namespace_label, "")
            return alone or named.get((*place, labels.get(label, "")))

        return list(combine(await self._queries.of_workloads(alternative, group, batch), key).items())

    async def _images(self, batch: WorkloadBatch) -> None:
        """Reads which containers templates had, and when images ran where the index knows several."""
        plain = QueryAlternative(name="images", query=self._catalogue.state["images"])
        seen: dict[tuple[WorkloadId, str], set[str]] = defaultdict(set)
        for chunk in pieces(
            sorted(batch.pods), lambda some: len(self._queries.selector(plain, some)), self._limits
        ):
            for labels in await self._state.images(self._queries.selector(plain, chunk), batch.grid):
                pod, container = self._queries.pod_of(labels, plain), labels.get("container", "")
                init = labels.get("__name__") == "kube_pod_init_container_info"
                if pod not in batch.pods or (init and labels.get("restart_policy") != "Always"):
                    continue
                batch.fetched.containers[batch.pods[pod]].add(container)
                if not init:
                    seen[batch.pods[pod], container].add(image_name(labels))
        released = {identity for (identity, _), images in seen.items() if len(images) > 1}
        mine = pods_of(released, batch.pods)

        def key(series: RangeSeries) -> tuple[PodKey, str, str] | None:
            pod, labels = self._queries.pod_of(series.labels, plain), series.labels
            return (pod, labels.get("container", ""), image_name(labels)) if pod in mine else None

        answer = await self._queries.of_pods(plain, plain.query, mine, batch.fine)
        for (pod, _, _), series in grouped(answer, key).items():
            batch.fetched.images[mine[pod]].append(series)

    async def _ended(self, batch: WorkloadBatch) -> None:
        """Reads which pods failed or succeeded, and when; they stay in kube-state-metrics."""
        plain = QueryAlternative(name="pods_ended", query=self._catalogue.state["pods_ended"])
        for sample in await self._queries.at_end(plain, sorted(batch.pods), batch):
            pod = self._queries.pod_of(sample.labels, plain)
            if pod in batch.pods:
                batch.fetched.ended[batch.pods[pod]][pod.name] = int(sample.value * 1000)

    async def _starts(self, batch: WorkloadBatch) -> None:
        """Reads how long the pods of the period took to be ready."""
        plain = QueryAlternative(name="pod_starts", query=self._catalogue.state["pod_starts"])
        samples = await self._queries.at_end(plain, sorted(batch.pods), batch)
        ready = {self._queries.pod_of(sample.labels, plain) for sample in samples}
        plain = QueryAlternative(name="pod_creations", query=self._catalogue.state["pod_creations"])
        samples += await self._queries.at_end(plain, sorted(ready & batch.pods.keys()), batch)
        for pod, start in starts_of_pods(samples, self._cluster_label):
            if pod in batch.pods:
                batch.fetched.starts[batch.pods[pod]].append(start)
