"""Small clusters with what goes wrong in real ones, each a `world` of its own in one Prometheus.

    worlds = Worlds(directory / "samples.om")
    world = worlds.world("jumps")
    world.deployment("api", cpu=..., memory=...)

A source reads one of them by the matcher `world="jumps"`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prometheus_server import Exposition

Array = NDArray[np.float64]
END = 1_795_392_000.0  # 2026-11-23T00:00Z
DAY = 86400
DAYS = 4
SCRAPE = 120
MI, GI = 2**20, 2**30
KSM = {"job": "kube-state-metrics", "instance": "10.0.0.1:8080"}
CADVISOR = {"job": "kubelet", "metrics_path": "/metrics/cadvisor", "node": "n1", "instance": "n1:10250"}
TIMES = np.arange(END - DAYS * DAY, END, SCRAPE)
Edit = Callable[[str, dict[str, str]], dict[str, str] | None]


class Worlds:
    """All of them, written to one exposition."""

    def __init__(self, path: Path) -> None:
        self.exposition = Exposition(path)

    def world(self, name: str, edit: Edit = lambda _, labels: labels) -> "World":
        """Returns an empty world; `edit` may change the labels of each series, or leave it out (None)."""
        return World(self.exposition, name, edit)


@dataclass
class World:
    """One cluster's series, as kube-state-metrics and cAdvisor expose them."""

    exposition: Exposition
    name: str
    edit: Edit
    times: Array = field(default_factory=lambda: TIMES)
    scrape: float = SCRAPE

    def add(self, metric: str, labels: Mapping[str, str], times: Array, values: Array | float) -> None:
        """Adds a series."""
        edited = self.edit(metric, dict(labels))
        if edited is not None and len(times):
            spread = np.broadcast_to(np.asarray(values, float), (len(times),)).tolist()
            self.exposition.add(metric, edited | {"world": self.name}, np.asarray(times).tolist(), spread)

    def use(
        self, pod: str, container: str, times: Array, cpu: Array | float, memory: Array | float, **more: str
    ) -> Array:
        """Adds a container's use; returns its CPU counter."""
        place = {**CADVISOR, "namespace": "q", "pod": pod, "container": container, "image": "app:1"}
        labels = {**place, "id": f"/{pod}/{container}", "name": f"{pod}-{container}", **more}
        counter = np.cumsum(np.broadcast_to(np.asarray(cpu, float), (len(times),)) * self.scrape)
        self.add("container_cpu_usage_seconds_total", labels, times, counter)
        self.add("container_memory_working_set_bytes", labels, times, memory)
        return counter

    def pod(
        self,
        pod: str,
        owner: tuple[str, str],
        times: Array,
        containers: Mapping[str, Mapping[str, Any]],
        restarts: float = 0.0,
        **more: str,
    ) -> None:
        """Adds what kube-state-metrics shows of a pod: containers by name, with cpu and memory in pairs."""
        place = {**KSM, "namespace": "q", "pod": pod, "uid": f"uid-{pod}", **more}
        kind, name = owner
        by = {"owner_kind": kind, "owner_name": name, "owner_is_controller": "true"}
        self.add("kube_pod_owner", place | by, times, 1)
        self.add("kube_pod_created", place, times, times[0])
        for container, what in containers.items():
            prefix = "kube_pod_init_container" if what.get("init") else "kube_pod_container"
            own = place | {"container": container}
            info = {"image": "app:1"} | {k: v for k, v in what.items() if isinstance(v, str)}
            self.add(f"{prefix}_info", own | info, times, 1)
            for sort in ("request", "limit"):
                for resource, unit in (("cpu", "core"), ("memory", "byte")):
                    value = what.get(f"{resource}_{sort}")
                    labels = own | {"resource": resource, "unit": unit}
                    if value is not None:
                        self.add(f"{prefix}_resource_{sort}s", labels, times, value)
            if not what.get("init"):
                self.add("kube_pod_container_status_restarts_total", own, times, restarts)

    def deployment(
        self,
        name: str,
        replicas: int = 1,
        cpu: Array | float = 0.2,
        memory: Array | float = 300 * MI,
        pods: list[str] | None = None,
        others: Mapping[str, Mapping[str, Any]] | None = None,
        **limits: Any,
    ) -> list[str]:
        """Adds a Deployment whose pods run all the time, with `others` beside app; returns their names."""
        replicaset = f"{name}-6c5d8f7b9c"
        names = pods or [f"{replicaset}-{suffix}" for suffix in ("bcdfg", "hjklm", "npqrs")[:replicas]]
        sizes = {"cpu_request": 1.0, "memory_request": GI} | limits
        for pod in names:
            self.use(pod, "app", self.times, cpu, memory)
            self.pod(pod, ("ReplicaSet", replicaset), self.times, {"app": sizes, **(others or {})})
        self.owned_by_deployment(name, replicaset, self.times)
        self.add("kube_deployment_status_replicas", self.place(deployment=name), self.times, len(names))
        return names

    def owned_by_deployment(self, name: str, replicaset: str, times: Array) -> None:
        """Adds who owns a ReplicaSet."""
        owner = {"owner_kind": "Deployment", "owner_name": name, "owner_is_controller": "true"}
        self.add("kube_replicaset_owner", self.place(replicaset=replicaset, **owner), times, 1)

    def place(self, **labels: str) -> dict[str, str]:
        """Returns labels of an object in the namespace q."""
        return {**KSM, "namespace": "q", **labels}
