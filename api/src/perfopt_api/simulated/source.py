"""A metric source of the simulated cluster: what its pods' counters were at regular instants."""

from bisect import bisect_left
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from perfopt.domain.workload import Container, Workload, WorkloadId, WorkloadState
from perfopt.errors import NoDataError
from perfopt.metrics.counters import counter_increase
from perfopt.metrics.pods import LatencyHistogram, PodHistory
from perfopt.metrics.snapshot import Array, PodSeries, TimeGrid, WorkloadSnapshot
from perfopt_api.simulated.kubernetes.cluster import SimulatedCluster
from perfopt_api.simulated.kubernetes.kinds import DAEMON_SET, DEPLOYMENT, POD, STATEFUL_SET
from perfopt_api.simulated.kubernetes.server import SimulatedServer
from perfopt_api.simulated.kubernetes.status import Json
from perfopt_api.simulated.kubernetes.workload import BUCKETS

_COUNTERS = ("requests", "failed", "periods", "throttled_periods", "kills")
_KINDS = (DEPLOYMENT, STATEFUL_SET, DAEMON_SET)
_LEVELS = ("cpu_cores", "memory_bytes")
_SNAPSHOT_STEP = timedelta(seconds=30)


class PodRecorder:
    """Keeps what the pods' counters were whenever it looked, as a Prometheus does with its scrapes.

    Args:
        cluster: the simulated cluster; `record` is called in the thread of its server.
    """

    def __init__(self, cluster: SimulatedCluster) -> None:
        self._cluster = cluster
        self._times: dict[str, list[float]] = {}
        self._rows: dict[str, list[list[float]]] = {}
        self._labels: dict[str, tuple[str, Mapping[str, str], str]] = {}

    def record(self) -> None:
        """Looks at every running pod."""
        workloads, now = self._cluster.workloads, self._cluster.clock.now()
        for pod in self._cluster.store.all(POD.key):
            if pod.get("status", {}).get("phase") != "Running" or workloads.profile(pod).silent:
                continue
            counted, name = workloads.counters(pod), pod["metadata"]["name"]
            container = pod["spec"]["containers"][0]["name"]
            self._labels[name] = pod["metadata"]["namespace"], pod["metadata"].get("labels", {}), container
            counters = [counted.requests, counted.errors, counted.periods, counted.throttled_periods]
            levels = [counted.cores, counted.memory_bytes]
            row = [*counters, _oom_kills(pod), *counted.buckets[:-1], *levels]
            self._rows.setdefault(name, []).append(row)
            self._times.setdefault(name, []).append(now)  # last: other threads read what it has

    def pods(self, namespace: str, labels: Mapping[str, str]) -> tuple[str, ...]:
        """Returns the names of all pods there were with these labels."""
        return tuple(
            name
            for name, (space, own, _) in sorted(self._labels.items())
            if space == namespace and labels.items() <= own.items()
        )

    def container(self, pod: str) -> str:
        """Returns the name of the container that a pod's counters are of."""
        return self._labels[pod][2]

    def rows(self, pod: str, start: float, end: float) -> tuple[Array, Array]:
        """Returns the instants within [start, end] and what was seen then, shape (instants, series)."""
        times = self._times.get(pod, [])
        first, last = bisect_left(times, start), bisect_left(times, end + 1e-6)
        seen = self._rows.get(pod, [])[first:last]
        width = len(_COUNTERS) + len(BUCKETS) + len(_LEVELS)
        return np.array(times[first:last]), np.array(seen).reshape(len(seen), width)


class SimulatedSource:
    """Implements perfopt.sources.base.MetricSource and KnowsPods on a recorder.

    Args:
        name: of the source.
        server: of the simulated cluster.
        recorder: of its pods.
    """

    def __init__(self, name: str, server: SimulatedServer, recorder: PodRecorder) -> None:
        self.name = name
        self._server = server
        self._recorder = recorder

    async def latest(self) -> datetime:
        """See MetricSource.latest."""
        return datetime.now(UTC)

    async def inventory(self, at: datetime) -> tuple[Workload, ...]:
        """See MetricSource.inventory; it is that of now."""
        found = self._server.run(
            lambda cluster: [each for kind in _KINDS for each in cluster.store.all(kind.key)]
        )
        return tuple(_workload(each) for each in found)

    async def snapshots(
        self, workloads: Sequence[Workload], start: datetime, end: datetime, metrics: Collection[str]
    ) -> AsyncIterator[WorkloadSnapshot]:
        """See MetricSource.snapshots; only `cpu_cores` and `memory_bytes` are there."""
        grid = TimeGrid.covering(start, end, _SNAPSHOT_STEP)
        for workload in workloads:
            pods = self._pods(workload)
            containers = {
                self._recorder.container(pods[0]): {
                    metric: PodSeries(pods, np.stack([self._level(pod, metric, grid) for pod in pods]))
                    for metric in _LEVELS
                    if metric in metrics
                }
            }
            yield WorkloadSnapshot(workload, grid, containers)

    async def pod_history(
        self, workload: Workload, pods: Sequence[str] | None, start: datetime, end: datetime, step: timedelta
    ) -> PodHistory:
        """See KnowsPods.pod_history."""
        names = tuple(pods) if pods is not None else self._pods(workload)
        grid = TimeGrid.covering(start, end, step)
        grown = np.stack([self._growth(pod, grid) for pod in names])
        counted = dict(zip(_COUNTERS, np.moveaxis(grown[..., : len(_COUNTERS)], 2, 0), strict=True))
        periods, levels = counted["periods"], {}
        if np.nansum(periods) > 0:
            with np.errstate(invalid="ignore", divide="ignore"):
                share = np.where(periods > 0, counted["throttled_periods"] / periods, np.nan)
            levels["cpu_throttled_fraction"] = share
        return PodHistory(
            grid=grid,
            pods=names,
            requests=counted["requests"],
            failed=counted["failed"],
            latency=LatencyHistogram(np.array(BUCKETS), grown[..., len(_COUNTERS) :]),
            levels=levels,
            kills=counted["kills"],
        )

    async def close(self) -> None:
        """See MetricSource.close."""

    def _pods(self, workload: Workload) -> tuple[str, ...]:
        pods = self._recorder.pods(workload.id.namespace, workload.labels)
        if not pods:
            raise NoDataError(f"No pod of {workload.id} was seen.", remedy="Wait for its pods to run.")
        return pods

    def _growth(self, pod: str, grid: TimeGrid) -> Array:
        """Returns the growth of each counter in each step, shape (steps, counters), NaN where unknown."""
        edges = grid.start.timestamp() + np.arange(grid.size + 1) * grid.step_seconds
        times, rows = self._recorder.rows(pod, edges[0] - grid.step_seconds, edges[-1] + grid.step_seconds)
        if len(times) < 2:
            return np.full((grid.size, len(_COUNTERS) + len(BUCKETS)), np.nan)
        grown = (np.cumsum(counter_increase(column)[0]) for column in rows.T[: -len(_LEVELS)])
        at_edges = [np.interp(edges, times, column, left=np.nan, right=np.nan) for column in grown]
        return np.diff(np.stack(at_edges, axis=1), axis=0)

    def _level(self, pod: str, metric: str, grid: TimeGrid) -> Array:
        times, rows = self._recorder.rows(pod, grid.start.timestamp(), grid.end.timestamp())
        values = np.full(grid.size, np.nan)
        steps = ((times - grid.start.timestamp()) // grid.step_seconds).astype(int)
        for step, value in zip(steps, rows[:, _LEVELS.index(metric) - len(_LEVELS)], strict=True):
            if step < grid.size:
                values[step] = np.fmax(values[step], value)
        return values


def _oom_kills(pod: Json) -> float:
    """Returns how often the pod's containers were restarted for their memory."""
    statuses: Iterable[dict[str, Any]] = pod["status"].get("containerStatuses", ())
    return float(
        sum(
            each["restartCount"]
            for each in statuses
            if each.get("lastState", {}).get("terminated", {}).get("reason") == "OOMKilled"
        )
    )


def _workload(obj: Json) -> Workload:
    metadata, spec = obj["metadata"], obj["spec"]
    containers = tuple(Container(name=each["name"]) for each in spec["template"]["spec"]["containers"])
    return Workload(
        id=WorkloadId(name=metadata["name"], namespace=metadata["namespace"], kind=obj["kind"].lower()),
        service_name=metadata["name"],
        state=WorkloadState(containers=containers, replicas=spec.get("replicas")),
        labels=spec["selector"]["matchLabels"],
    )
