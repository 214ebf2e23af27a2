"""What cAdvisor, kube-state-metrics and Prometheus replicas expose of workloads, in their own words.

Label names and metric names are those of kubelet 1.33 and kube-state-metrics 2.16 as kube-prometheus-stack
scrapes them. An HA pair scrapes the same targets some seconds apart, under another `prometheus_replica`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from prometheus_server import Exposition

Array = NDArray[np.float64]
STEP = 300


@dataclass
class ContainerRun:
    """What one container of one pod used: one value per step of five minutes, NaN where nothing was scraped.

    Attributes:
        times: starts of the steps, seconds since the epoch.
        cpu_cores: mean of each step.
        memory_bytes: the peak of each step; it is reached in the middle of it.
        resets: seconds at which the CPU counter starts again at zero under the same labels.
        restarts: seconds at which the container was restarted: counters go on in a new series.
        oom_at: those of the restarts that were by the OOM killer.
        throttled: share of the periods that were throttled.
    """

    name: str
    times: Array
    cpu_cores: Array
    memory_bytes: Array
    image: str = "registry/app:v1"
    cpu_request: float | None = None
    memory_request: float | None = None
    cpu_limit: float | None = None
    memory_limit: float | None = None
    resets: Sequence[float] = ()
    restarts: Sequence[float] = ()
    oom_at: Sequence[float] = ()
    throttled: float = 0.0
    sidecar: bool = False


@dataclass
class PodRun:
    """One pod: its direct owner and its containers."""

    namespace: str
    name: str
    owner_kind: str
    owner_name: str
    containers: list[ContainerRun]
    created: float = 0.0
    uid: str = ""


@dataclass
class Scraper:
    """Writes series as `replicas` Prometheus servers would have scraped them.

    Attributes:
        exposition: where to.
        replicas: names of the servers of an HA pair; one "" for a single server without such a label.
        totals: expose also what must not be counted, and network use; without, a large cluster loads faster.
        scrape_seconds: interval of cAdvisor; kube-state-metrics is scraped every `state_seconds`.
    """

    exposition: Exposition
    replicas: tuple[str, ...] = ("",)
    scrape_seconds: int = 60
    state_seconds: int = 300
    totals: bool = True
    extra: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, labels: dict[str, str], times: Array, values: Array) -> None:
        """Adds a series once for each server, each with its own clock offset and replica label."""
        for number, replica in enumerate(self.replicas):
            own = {"prometheus_replica": replica} if replica else {}
            self.exposition.add(
                name, labels | self.extra | own, (times + 7 * number).tolist(), values.tolist()
            )

    def constant(
        self, name: str, labels: dict[str, str], first: float, last: float, value: float = 1.0
    ) -> None:
        """Adds a kube-state-metrics gauge that holds a value over [first, last)."""
        times = np.arange(first, last, self.state_seconds, dtype=np.float64)
        source = {"job": "kube-state-metrics", "instance": "10.0.0.9:8080"}
        self.add(name, labels | source, times, np.full(len(times), float(value)))

    def pod(self, pod: PodRun) -> None:
        """Adds everything that cAdvisor and kube-state-metrics expose of a pod."""
        for container in pod.containers:
            self._cadvisor(pod, container)
            self._container_state(pod, container)
        longest = pod.containers[0]
        first, last = longest.times[0], longest.times[-1] + STEP
        place = {"namespace": pod.namespace, "pod": pod.name, "uid": pod.uid or f"uid-{pod.name}"}
        owner = {"owner_kind": pod.owner_kind, "owner_name": pod.owner_name, "owner_is_controller": "true"}
        self.constant("kube_pod_owner", place | owner, first, last)
        self.constant("kube_pod_created", place, first, last, pod.created or first)
        if self.totals:
            self._pod_totals(pod)

    def _ticks(self, run: ContainerRun) -> tuple[Array, NDArray[np.int64]]:
        """Returns scrape times within the steps that have a value, and the step of each."""
        offsets = np.arange(0, STEP, self.scrape_seconds, dtype=np.float64)
        present = np.flatnonzero(~np.isnan(run.cpu_cores))
        return (run.times[present][:, None] + offsets).ravel(), np.repeat(present, len(offsets))

    def _cadvisor(self, pod: PodRun, run: ContainerRun) -> None:
        ticks, steps = self._ticks(run)
        used = np.concatenate([[0.0], np.cumsum(np.nan_to_num(run.cpu_cores) * STEP)])
        for number, (begin, end) in enumerate(_lives(run.restarts)):
            mine = (ticks >= begin) & (ticks < end)
            at, step = ticks[mine], steps[mine]
            if not len(at):
                continue
            labels = self._cadvisor_labels(pod, run, number)
            for shift, replica in enumerate(self.replicas):
                when = at + 7 * shift
                total = used[step] + run.cpu_cores[step] * (when - run.times[step])
                cpu = _counter(total, when, run.resets, total[0] if number else 0.0)
                periods = (when - run.times[0]) * 10
                peak = np.isclose(
                    (at - run.times[step]) // self.scrape_seconds, (STEP // self.scrape_seconds) // 2
                )
                own = {"prometheus_replica": replica} if replica else {}
                for name, values in (
                    ("container_cpu_usage_seconds_total", cpu),
                    ("container_memory_working_set_bytes", run.memory_bytes[step] * np.where(peak, 1.0, 0.9)),
                    ("container_cpu_cfs_periods_total", periods),
                    ("container_cpu_cfs_throttled_periods_total", periods * run.throttled),
                    ("container_oom_events_total", np.zeros(len(at))),
                ):
                    self.exposition.add(name, labels | self.extra | own, when.tolist(), values.tolist())

    def _cadvisor_labels(self, pod: PodRun, run: ContainerRun, life: int) -> dict[str, str]:
        cgroup = f"/kubepods.slice/pod_{pod.name}/cri-containerd-{run.name}-{life}.scope"
        return {
            "container": run.name,
            "id": cgroup,
            "image": run.image,
            "name": f"{run.name}-{pod.name}-{life}",
            "namespace": pod.namespace,
            "pod": pod.name,
            "job": "kubelet",
            "metrics_path": "/metrics/cadvisor",
            "node": "node-1",
            "instance": "10.0.0.1:10250",
        }

    def _pod_totals(self, pod: PodRun) -> None:
        """Adds what must not be counted a second time: the pod's own cgroup and the pause container."""
        run = pod.containers[0]
        ticks, steps = self._ticks(run)
        used = np.concatenate([[0.0], np.cumsum(np.nan_to_num(run.cpu_cores) * STEP)])
        total = used[steps] + run.cpu_cores[steps] * (ticks - run.times[steps])
        for container, image in (("", ""), ("POD", "registry.k8s.io/pause:3.9")):
            labels = self._cadvisor_labels(pod, run, 0) | {"container": container, "image": image, "name": ""}
            labels["id"] = f"/kubepods.slice/pod_{pod.name}/{container}"
            self.add("container_cpu_usage_seconds_total", labels, ticks, total * 1.1)
            self.add("container_memory_working_set_bytes", labels, ticks, run.memory_bytes[steps] * 1.1)
        network = self._cadvisor_labels(pod, run, 0) | {"container": "", "interface": "eth0"}
        network["image"] = "registry.k8s.io/pause:3.9"
        for direction, rate in (("receive", 1000.0), ("transmit", 2000.0)):
            values = (ticks - run.times[0]) * rate
            self.add(f"container_network_{direction}_bytes_total", network, ticks, values)

    def _container_state(self, pod: PodRun, run: ContainerRun) -> None:
        first, last = run.times[0], run.times[-1] + STEP
        labels = {
            "namespace": pod.namespace,
            "pod": pod.name,
            "uid": f"uid-{pod.name}",
            "container": run.name,
        }
        prefix = "kube_pod_init_container" if run.sidecar else "kube_pod_container"
        info = {
            "image": run.image,
            "image_id": f"{run.image}@sha256:1",
            "container_id": f"containerd://{run.name}",
        }
        policy = {"restart_policy": "Always"} if run.sidecar else {}
        self.constant(f"{prefix}_info", labels | info | policy, first, last)
        for what, amounts in (
            ("requests", (run.cpu_request, run.memory_request)),
            ("limits", (run.cpu_limit, run.memory_limit)),
        ):
            for amount, resource, unit in zip(amounts, ("cpu", "memory"), ("core", "byte"), strict=True):
                if amount is not None:
                    kind = {"node": "node-1", "resource": resource, "unit": unit}
                    self.constant(f"{prefix}_resource_{what}", labels | kind, first, last, amount)
        times = np.arange(first, last, self.state_seconds, dtype=np.float64)
        count = np.zeros(len(times))
        for at in run.restarts:
            count += times >= at
        source = {"job": "kube-state-metrics", "instance": "10.0.0.9:8080"}
        if not run.sidecar:
            self.add("kube_pod_container_status_restarts_total", labels | source, times, count)
        if run.oom_at:
            reason = labels | {"reason": "OOMKilled"}
            self.constant("kube_pod_container_status_last_terminated_reason", reason, min(run.oom_at), last)


def _lives(restarts: Sequence[float]) -> list[tuple[float, float]]:
    bounds = [-np.inf, *restarts, np.inf]
    return list(pairwise(bounds))


def _counter(total: Array, when: Array, resets: Sequence[float], start: float) -> Array:
    """Returns a cumulative total as a counter that begins at zero, and again at each reset."""
    counter = total - start
    for at in resets:
        after = when >= at
        if after.any():
            counter = np.where(after, counter - counter[after][0], counter)
    return counter


LATENCY_SHARES = ((0.1, 0.5), (0.25, 0.9), (0.5, 0.99), (1.0, 1.0), (np.inf, 1.0))
"""Upper bound in seconds and the share of requests below it: p50 100 ms, p90 250 ms, p99 500 ms."""


def add_opentelemetry(
    scraper: Scraper, labels: dict[str, str], times: Array, rate: float, failed: float
) -> None:
    """Adds http_server_request_duration_seconds at a steady rate: a good and a failed series."""
    for status, part in (("200", rate * (1 - failed)), ("500", rate * failed)):
        own = labels | {
            "http_response_status_code": status,
            "http_request_method": "GET",
            "http_route": "/v1",
        }
        _histogram(scraper, "http_server_request_duration_seconds", own, times, part, 1.0)


def add_http_requests_total(scraper: Scraper, labels: dict[str, str], times: Array, rate: float) -> None:
    """Adds the counter that most client libraries' examples expose."""
    own = labels | {"code": "200", "method": "get", "handler": "/"}
    scraper.add("http_requests_total", own, times, (times - times[0]) * rate)


def add_istio(
    scraper: Scraper, namespace: str, workload: str, times: Array, rate: float, failed: float
) -> None:
    """Adds the mesh's view: each request is reported by the source's proxy as well, which must not count."""
    for reporter in ("source", "destination"):
        for code, part in (("200", rate * (1 - failed)), ("503", rate * failed)):
            labels = {
                "reporter": reporter,
                "source_workload": "gateway",
                "destination_workload": workload,
                "destination_workload_namespace": namespace,
                "destination_service_name": workload,
                "request_protocol": "http",
                "response_code": code,
            }
            scraper.add("istio_requests_total", labels, times, (times - times[0]) * part)
            if reporter == "destination":
                _histogram(scraper, "istio_request_duration_milliseconds", labels, times, part, 1000.0)


def _histogram(
    scraper: Scraper, name: str, labels: dict[str, str], times: Array, rate: float, unit: float
) -> None:
    total = (times - times[0]) * rate
    for bound, share in LATENCY_SHARES:
        le = "+Inf" if np.isinf(bound) else f"{bound * unit:g}"
        scraper.add(f"{name}_bucket", labels | {"le": le}, times, total * share)
    scraper.add(f"{name}_count", labels, times, total)
    scraper.add(f"{name}_sum", labels, times, total * 0.15 * unit)
