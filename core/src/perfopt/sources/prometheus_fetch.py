"""One batch of workloads: each metric by the first alternative of the catalogue that has data of it."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import batched

from perfopt.domain.workload import Workload, WorkloadId
from perfopt.errors import PerfoptError
from perfopt.metrics.catalogue import METRICS
from perfopt.metrics.snapshot import TimeGrid
from perfopt.prometheus_config import PrometheusConfig
from perfopt.sources.kube_state import Pod
from perfopt.sources.prometheus_answer import RangeSeries
from perfopt.sources.prometheus_http import PrometheusClient
from perfopt.sources.prometheus_state import StateReader
from perfopt.sources.promql import Alternative, Catalogue, escape_regex, quote, render

_PODS_PER_QUERY = 200  # 14 days at 5 minutes of as many pods are some 20 MB of JSON
_SCRAPES_IN_WINDOW = 3
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
    """

    metric: str
    container: str
    pod: str
    counter: bool
    series: RangeSeries


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a batch's queries gave, by workload."""

    rows: dict[WorkloadId, list[Row]] = field(default_factory=lambda: defaultdict(list))
    images: dict[WorkloadId, list[RangeSeries]] = field(default_factory=lambda: defaultdict(list))

    def of(self, identity: WorkloadId) -> list[Row]:
        """Returns the rows of one workload."""
        return self.rows.get(identity, [])

    def images_of(self, identity: WorkloadId) -> list[RangeSeries]:
        """Returns one series for each (pod, container, image) of one workload."""
        return self.images.get(identity, [])


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
        scrapes = _SCRAPES_IN_WINDOW * timedelta(seconds=config.scrape_interval_seconds)
        self._values = {
            "step": f"{int(self._step.total_seconds())}s",
            "window": f"{int(max(self._step, scrapes).total_seconds())}s",
            "replicas": ", ".join(config.replica_labels),
        }

    async def fetch(self, batch: Sequence[Workload], grid: TimeGrid, metrics: Sequence[str]) -> Fetched:
        """Reads the metrics of workloads of one cluster.

        Raises:
            SourceError: a query was refused; nothing partial is given back.
            SourceUnavailableError: the server stopped answering.
        """
        pods = await self._state.pods(batch, grid)
        fetched = Fetched()
        known = [metric for metric in metrics if metric in self._catalogue.metrics]
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._images(pods, grid, fetched))
                for metric in known:
                    group.create_task(self._metric(metric, batch, pods, grid, fetched))
        except BaseExceptionGroup as errors:  # the group stopped the other queries of the batch
            known_error = next((e for e in errors.exceptions if isinstance(e, PerfoptError)), None)
            if known_error is None:
                raise
            raise known_error from known_error.__cause__
        return fetched

    async def _metric(
        self,
        metric: str,
        batch: Sequence[Workload],
        pods: dict[Pod, WorkloadId],
        grid: TimeGrid,
        fetched: Fetched,
    ) -> None:
        missing = {workload.id for workload in batch}
        for alternative in self._catalogue.metrics[metric]:
            wanted = [
                i for i in sorted(missing, key=str) if not alternative.kinds or i.kind in alternative.kinds
            ]
            if not wanted:
                continue
            if METRICS[metric].scope == "container":
                found = await self._by_container(metric, alternative, wanted, pods, grid)
            else:
                found = await self._by_workload(metric, alternative, wanted, pods, grid)
            for identity, row in found:
                fetched.rows[identity].append(row)
                missing.discard(identity)

    async def _by_container(
        self,
        metric: str,
        alternative: Alternative,
        wanted: Sequence[WorkloadId],
        pods: dict[Pod, WorkloadId],
        grid: TimeGrid,
    ) -> list[tuple[WorkloadId, Row]]:
        mine = _pods_of(wanted, pods)
        found = []
        for series in await self._of_pods(alternative, mine, grid):
            labels = series.labels
            pod = self._pod(labels, alternative)
            if pod in mine and (container := labels.get("container")):
                found.append((mine[pod], Row(metric, container, pod.name, alternative.counter, series)))
        return found

    async def _by_workload(
        self,
        metric: str,
        alternative: Alternative,
        wanted: Sequence[WorkloadId],
        pods: dict[Pod, WorkloadId],
        grid: TimeGrid,
    ) -> list[tuple[WorkloadId, Row]]:
        """Asks by kind: a Deployment and a StatefulSet may have the same name."""
        kinds: dict[str, list[WorkloadId]] = defaultdict(list)
        for identity in wanted:
            kinds[identity.kind].append(identity)
        answers = await asyncio.gather(
            *(self._of_workloads(alternative, same_kind, pods, grid) for same_kind in kinds.values())
        )
        label = alternative.label if alternative.match == "workload" else "workload"
        found = []
        for same_kind, answer in zip(kinds.values(), answers, strict=True):
            named = {(i.namespace, i.name): i for i in same_kind}
            for series in answer:
                key = series.labels.get(alternative.namespace_label, ""), series.labels.get(label, "")
                if key in named:
                    found.append((named[key], Row(metric, "", "", alternative.counter, series)))
        return found

    async def _of_pods(
        self, alternative: Alternative, pods: dict[Pod, WorkloadId], grid: TimeGrid
    ) -> list[RangeSeries]:
        answers = await asyncio.gather(
            *(
                self._range(alternative, self._selector(alternative, chunk), grid)
                for chunk in _chunks(sorted(pods))
            )
        )
        return [series for answer in answers for series in answer]

    async def _of_workloads(
        self,
        alternative: Alternative,
        wanted: Sequence[WorkloadId],
        pods: dict[Pod, WorkloadId],
        grid: TimeGrid,
    ) -> list[RangeSeries]:
        if alternative.match == "workload":
            names = [identity.name for identity in wanted]
            selector = self._state.selector(wanted, alternative.namespace_label, alternative.label, names)
            return await self._range(alternative, selector, grid)
        mine = _pods_of(wanted, pods)
        if not mine:
            return []
        selector = self._selector(alternative, sorted(mine))
        return await self._range(alternative, selector, grid, pattern=_pattern(wanted))

    def _selector(self, alternative: Alternative, pods: Sequence[Pod]) -> str:
        places = [WorkloadId(cluster=pod.cluster, namespace=pod.namespace, name="") for pod in pods]
        names = [pod.name for pod in pods]
        return self._state.selector(places, alternative.namespace_label, alternative.label, names)

    async def _range(
        self, alternative: Alternative, selector: str, grid: TimeGrid, *, pattern: str = ""
    ) -> list[RangeSeries]:
        values = self._values | {
            "selector": selector,
            "by": f"{self._cluster_label}, {alternative.namespace_label}",
            "pattern": pattern,
            "quantile": str(alternative.quantile),
        }
        return await self._steps(render(alternative.query, values), grid)

    async def _steps(self, promql: str, grid: TimeGrid) -> list[RangeSeries]:
        """Evaluates at the end of each step and dates the values to its start."""
        answer = await self._client.query_range(promql, grid.start + self._step, grid.end, grid.step_seconds)
        back = grid.step_seconds * 1000
        return [RangeSeries(series.labels, series.times - back, series.values) for series in answer]

    async def _images(self, pods: dict[Pod, WorkloadId], grid: TimeGrid, fetched: Fetched) -> None:
        """Reads when images ran, for those workloads only that the index knows several images of."""
        plain = Alternative(name="images", query=self._catalogue.state["images"])
        seen: dict[tuple[WorkloadId, str], set[str]] = defaultdict(set)
        for chunk in _chunks(sorted(pods)):
            for labels in await self._state.images(self._selector(plain, chunk), grid):
                if (pod := self._pod(labels, plain)) in pods:
                    seen[pods[pod], labels.get("container", "")].add(labels.get("image", ""))
        released = {identity for (identity, _), images in seen.items() if len(images) > 1}
        mine = _pods_of(released, pods)
        for series in await self._of_pods(plain, mine, grid):
            if (pod := self._pod(series.labels, plain)) in mine:
                fetched.images[mine[pod]].append(series)

    def _pod(self, labels: dict[str, str], alternative: Alternative) -> Pod:
        cluster = labels.get(self._cluster_label, "")
        return Pod(cluster, labels.get(alternative.namespace_label, ""), labels.get(alternative.label, ""))


def _pods_of(wanted: Iterable[WorkloadId], pods: dict[Pod, WorkloadId]) -> dict[Pod, WorkloadId]:
    identities = set(wanted)
    return {pod: identity for pod, identity in pods.items() if identity in identities}


def _chunks(pods: Sequence[Pod]) -> Iterator[tuple[Pod, ...]]:
    return batched(pods, _PODS_PER_QUERY)


def _pattern(same_kind: Sequence[WorkloadId]) -> str:
    """Returns the inside of a PromQL string: a pod's name, with the workload's as group 1."""
    names = "|".join(sorted(escape_regex(identity.name) for identity in same_kind))
    return quote(f"({names}){_POD_SUFFIX.get(same_kind[0].kind, _OTHER_SUFFIX)}")[1:-1]
