"""One batch of workloads: each metric by the first alternative of the catalogue that has data of it."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import batched

import numpy as np

from perfopt.config.prometheus import PrometheusConfig
from perfopt.domain.workload import Workload, WorkloadId
from perfopt.errors import PerfoptError
from perfopt.metrics.catalogue import METRICS, STARTUP
from perfopt.metrics.grid import Times
from perfopt.metrics.snapshot import PodStart, TimeGrid
from perfopt.sources.pod_starts import starts_of_pods
from perfopt.sources.prometheus.answer import RangeSeries
from perfopt.sources.prometheus.cache import Remembered
from perfopt.sources.prometheus.client import PrometheusClient
from perfopt.sources.prometheus.combine import divided, grouped, varies
from perfopt.sources.prometheus.kube_state import Pod
from perfopt.sources.prometheus.promql import Alternative, Catalogue, escape_regex, names_in, quote, render
from perfopt.sources.prometheus.state import StateReader

_PODS_PER_QUERY = (
    50  # 14 days at 5 minutes of as many pods' requests, limits and restarts: some 20 MB of JSON
)
_SCRAPES_IN_WINDOW = 3
_KEPT = 4  # names of metrics of as many periods
_POD_SUFFIX = {
    "Deployment": "-[a-z0-9]+-[a-z0-9]+",
    "Rollout": "-[a-z0-9]+-[a-z0-9]+",
    "CronJob": "-[0-9]+-[a-z0-9]+",
    "StatefulSet": "-[0-9]+",
}
_OTHER_SUFFIX = "-[a-z0-9]+"


@dataclass(frozen=True, slots=True)
class Row:
    """One series of one workload; times are the starts of the steps.

    Attributes:
        metric: its name.
        container, pod: "" for a metric of the workload as a whole.
        counter: the values are cumulative.
        where: the starts of the steps in which a counter's growth counts; None is all.
    """

    metric: str
    container: str
    pod: str
    counter: bool
    series: RangeSeries
    where: Times | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a batch's queries gave, by workload."""

    rows: dict[WorkloadId, list[Row]] = field(default_factory=lambda: defaultdict(list))
    starts: dict[WorkloadId, list[PodStart]] = field(default_factory=lambda: defaultdict(list))
    images: dict[WorkloadId, list[RangeSeries]] = field(default_factory=lambda: defaultdict(list))

    def of(self, identity: WorkloadId) -> list[Row]:
        """Returns the rows of one workload."""
        return self.rows.get(identity, [])

    def starts_of(self, identity: WorkloadId) -> list[PodStart]:
        """Returns the starts of one workload's pods."""
        return self.starts.get(identity, [])

    def images_of(self, identity: WorkloadId) -> list[RangeSeries]:
        """Returns one series for each (pod, container, image) of one workload."""
        return self.images.get(identity, [])


@dataclass(frozen=True, slots=True)
class _Batch:
    """Some workloads that are read together.

    Attributes:
        pods: of theirs, in the whole period.
        names: of the metrics that the server has in the period; None where it won't tell.
        asked: PromQL to the task of its answer, in the group.
    """

    pods: dict[Pod, WorkloadId]
    names: frozenset[str] | None
    grid: TimeGrid
    fetched: Fetched
    group: asyncio.TaskGroup
    asked: dict[str, asyncio.Task[list[RangeSeries]]] = field(default_factory=dict)

    def may_answer(self, query: str) -> bool:
        """Returns whether there can be an answer: most servers have few of the metrics of the catalogue."""
        wanted = names_in(query)
        return self.names is None or not wanted or not wanted.isdisjoint(self.names)


class Fetcher:
    """Turns metrics and workloads into queries and the answers into rows."""

    def __init__(
        self, client: PrometheusClient, state: StateReader, config: PrometheusConfig, catalogue: Catalogue
    ) -> None:
        self._client = client
        self._state = state
        self._cluster_label = config.cluster_label
        self._catalogue = catalogue
        self._step = config.step
        self._names = Remembered(self._metric_names, _KEPT)
        scrapes = _SCRAPES_IN_WINDOW * timedelta(seconds=config.scrape_interval_seconds)
        self._values = {
            "step": f"{int(self._step.total_seconds())}s",
            "window": f"{int(max(self._step, scrapes).total_seconds())}s",
            "replicas": ", ".join(config.replica_labels),
        }

    async def fetch(self, workloads: Sequence[Workload], grid: TimeGrid, metrics: Sequence[str]) -> Fetched:
        """Reads the metrics of workloads of one cluster.

        Raises:
            SourceError: a query was refused; nothing partial is given back.
            SourceUnavailableError: the server stopped answering.
        """
        names, pods = await asyncio.gather(self._names.get(grid), self._state.pods(workloads, grid))
        fetched = Fetched()
        wanted = [workload.id for workload in workloads]
        known = [metric for metric in metrics if metric in self._catalogue.metrics]
        try:
            async with asyncio.TaskGroup() as group:
                batch = _Batch(pods, names, grid, fetched, group)
                group.create_task(self._images(batch))
                if STARTUP in metrics:
                    group.create_task(self._starts(batch))
                for metric in known:
                    group.create_task(self._metric(metric, wanted, batch))
        except BaseExceptionGroup as errors:  # the group stopped the other queries of the batch
            known_error = next((e for e in errors.exceptions if isinstance(e, PerfoptError)), None)
            if known_error is None:
                raise
            raise known_error from known_error.__cause__
        return fetched

    async def _metric_names(self, grid: TimeGrid) -> frozenset[str] | None:
        return await self._client.metric_names(grid.start, grid.end)

    async def _metric(self, metric: str, identities: Iterable[WorkloadId], batch: _Batch) -> None:
        missing = set(identities)
        for alternative in self._catalogue.metrics[metric]:
            wanted = [
                i for i in sorted(missing, key=str) if not alternative.kinds or i.kind in alternative.kinds
            ]
            if not wanted or not batch.may_answer(alternative.query):
                continue
            if METRICS[metric].scope == "container":
                found = await self._by_container(metric, alternative, wanted, batch)
            else:
                found = await self._by_workload(metric, alternative, wanted, batch)
            for identity, row in found:
                batch.fetched.rows[identity].append(row)
                missing.discard(identity)

    async def _by_container(
        self, metric: str, alternative: Alternative, wanted: Sequence[WorkloadId], batch: _Batch
    ) -> list[tuple[WorkloadId, Row]]:
        mine = _pods_of(wanted, batch.pods)

        def key(series: RangeSeries) -> tuple[Pod, str] | None:
            pod, container = self._pod(series.labels, alternative), series.labels.get("container")
            return (pod, container) if pod in mine and container else None

        answer = await self._of_pods(alternative, alternative.query, mine, batch)
        results = [s for s in answer if alternative.only.items() <= s.labels.items()]
        if alternative.per is not None:
            results = await self._divided(alternative, alternative.per, results, batch)
        rows = grouped(results, key)
        counts: dict[tuple[Pod, str], RangeSeries] | None = None
        if alternative.where is not None:
            grew = {pod: mine[pod] for (pod, _), series in rows.items() if varies(series)}
            counts = grouped(await self._of_pods(alternative, alternative.where, grew, batch), key)
        found = []
        for (pod, container), series in rows.items():
            where = None if counts is None else _times(counts.get((pod, container)))
            row = Row(metric, container, pod.name, alternative.counter, series, where)
            found.append((mine[pod], row))
        return found

    async def _divided(
        self, alternative: Alternative, per: str, results: Sequence[RangeSeries], batch: _Batch
    ) -> list[RangeSeries]:
        """Divides what is not zero throughout; what is would stay so."""
        zero = [series for series in results if not series.values.any()]
        others = [series for series in results if series.values.any()]
        pods = {
            pod: batch.pods[pod] for s in others if (pod := self._pod(s.labels, alternative)) in batch.pods
        }
        return [*zero, *divided(others, await self._of_pods(alternative, per, pods, batch))]

    async def _by_workload(
        self, metric: str, alternative: Alternative, wanted: Sequence[WorkloadId], batch: _Batch
    ) -> list[tuple[WorkloadId, Row]]:
        """Asks by kind: a Deployment and a StatefulSet may have the same name."""
        kinds: dict[str, list[WorkloadId]] = defaultdict(list)
        for identity in wanted:
            kinds[identity.kind].append(identity)
        answers = await asyncio.gather(
            *(self._of_workloads(alternative, same_kind, batch) for same_kind in kinds.values())
        )
        label = alternative.label if alternative.match == "workload" else "workload"
        found = []
        for same_kind, answer in zip(kinds.values(), answers, strict=True):
            named = {(i.cluster, i.namespace, i.name): i for i in same_kind}

            def key(
                series: RangeSeries, named: dict[tuple[str, str, str], WorkloadId] = named
            ) -> WorkloadId | None:
                labels = series.labels
                place = labels.get(self._cluster_label, ""), labels.get(alternative.namespace_label, "")
                return named.get((*place, labels.get(label, "")))

            for identity, series in grouped(answer, key).items():
                found.append((identity, Row(metric, "", "", alternative.counter, series)))
        return found

    async def _of_pods(
        self, alternative: Alternative, query: str, pods: dict[Pod, WorkloadId], batch: _Batch
    ) -> list[RangeSeries]:
        answers = await asyncio.gather(
            *(
                self._range(alternative, query, self._selector(alternative, chunk), batch)
                for chunk in _chunks(sorted(pods))
            )
        )
        return [series for answer in answers for series in answer]

    async def _of_workloads(
        self, alternative: Alternative, wanted: Sequence[WorkloadId], batch: _Batch
    ) -> list[RangeSeries]:
        if alternative.match == "workload":
            names = [identity.name for identity in wanted]
            selector = self._state.selector(wanted, alternative.namespace_label, alternative.label, names)
            return await self._range(alternative, alternative.query, selector, batch)
        mine = _pods_of(wanted, batch.pods)
        if not mine:
            return []
        selector = self._selector(alternative, sorted(mine))
        return await self._range(alternative, alternative.query, selector, batch, pattern=_pattern(wanted))

    def _selector(self, alternative: Alternative, pods: Sequence[Pod]) -> str:
        places = [WorkloadId(cluster=pod.cluster, namespace=pod.namespace, name="") for pod in pods]
        names = [pod.name for pod in pods]
        return self._state.selector(places, alternative.namespace_label, alternative.label, names)

    async def _range(
        self, alternative: Alternative, query: str, selector: str, batch: _Batch, *, pattern: str = ""
    ) -> list[RangeSeries]:
        """Asks a query of the catalogue; the same one for two metrics once only."""
        values = self._values | {
            "selector": selector,
            "by": f"{self._cluster_label}, {alternative.namespace_label}",
            "pattern": pattern,
            "quantile": str(alternative.quantile),
        }
        promql = render(query, values)
        if promql not in batch.asked:
            batch.asked[promql] = batch.group.create_task(self._steps(promql, batch.grid))
        return await batch.asked[promql]

    async def _steps(self, promql: str, grid: TimeGrid) -> list[RangeSeries]:
        """Evaluates at the end of each step and dates the values to its start."""
        answer = await self._client.query_range(promql, grid.start + self._step, grid.end, grid.step_seconds)
        back = grid.step_seconds * 1000
        return [RangeSeries(series.labels, series.times - back, series.values) for series in answer]

    async def _images(self, batch: _Batch) -> None:
        """Reads when images ran, for those workloads only that the index knows several images of."""
        plain = Alternative(name="images", query=self._catalogue.state["images"])
        seen: dict[tuple[WorkloadId, str], set[str]] = defaultdict(set)
        for chunk in _chunks(sorted(batch.pods)):
            for labels in await self._state.images(self._selector(plain, chunk), batch.grid):
                if (pod := self._pod(labels, plain)) in batch.pods:
                    seen[batch.pods[pod], labels.get("container", "")].add(labels.get("image", ""))
        released = {identity for (identity, _), images in seen.items() if len(images) > 1}
        mine = _pods_of(released, batch.pods)

        def key(series: RangeSeries) -> tuple[Pod, str, str] | None:
            pod, labels = self._pod(series.labels, plain), series.labels
            return (pod, labels.get("container", ""), labels.get("image", "")) if pod in mine else None

        answer = await self._of_pods(plain, plain.query, mine, batch)
        for (pod, _, _), series in grouped(answer, key).items():
            batch.fetched.images[mine[pod]].append(series)

    async def _starts(self, batch: _Batch) -> None:
        """Reads how long the pods of the period took to be ready."""
        plain = Alternative(name="pod_starts", query=self._catalogue.state["pod_starts"])
        if not batch.may_answer(plain.query):
            return
        values = {"cluster": self._cluster_label, "step": self._values["step"]}
        values["period"] = f"{batch.grid.size * batch.grid.step_seconds}s"
        asked = (
            render(plain.query, values | {"selector": self._selector(plain, chunk)})
            for chunk in _chunks(sorted(batch.pods))
        )
        answers = await asyncio.gather(*(self._client.query(promql, batch.grid.end) for promql in asked))
        for pod, start in starts_of_pods([s for answer in answers for s in answer], self._cluster_label):
            if pod in batch.pods:
                batch.fetched.starts[batch.pods[pod]].append(start)

    def _pod(self, labels: dict[str, str], alternative: Alternative) -> Pod:
        cluster = labels.get(self._cluster_label, "")
        return Pod(cluster, labels.get(alternative.namespace_label, ""), labels.get(alternative.label, ""))


def _pods_of(wanted: Iterable[WorkloadId], pods: dict[Pod, WorkloadId]) -> dict[Pod, WorkloadId]:
    identities = set(wanted)
    return {pod: identity for pod, identity in pods.items() if identity in identities}


def _times(series: RangeSeries | None) -> Times:
    return np.empty(0, dtype=np.int64) if series is None else series.times


def _chunks(pods: Sequence[Pod]) -> Iterator[tuple[Pod, ...]]:
    return batched(pods, _PODS_PER_QUERY)


def _pattern(same_kind: Sequence[WorkloadId]) -> str:
    """Returns the inside of a PromQL string: a pod's name, with the workload's as group 1."""
    names = "|".join(sorted(escape_regex(identity.name) for identity in same_kind))
    return quote(f"({names}){_POD_SUFFIX.get(same_kind[0].kind, _OTHER_SUFFIX)}")[1:-1]
