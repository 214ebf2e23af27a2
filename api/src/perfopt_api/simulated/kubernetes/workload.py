"""What pods do: load, CPU, throttling, memory, latency and errors that follow from their resources.

A pod serves its share of its workload's requests. Each request costs CPU seconds. What is asked for beyond
the CPU limit is throttled: latency grows as the pod nears its limit (as in a queue with one server), and
requests that cannot be served in time fail. Memory grows with the load; over the limit the OOM killer ends
the container.
"""

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from perfopt.domain.quantity import parse_quantity
from perfopt_api.simulated.kubernetes.clock import Clock
from perfopt_api.simulated.kubernetes.kinds import POD
from perfopt_api.simulated.kubernetes.selectors import matches
from perfopt_api.simulated.kubernetes.status import Json
from perfopt_api.simulated.kubernetes.storage import Change, Store

_PERIOD_SECONDS = 0.1  # of the CPU controller
_LIMITED_QUEUE = 0.97
_LONGEST_STEP = 5.0
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_MIB = 2.0**20


@dataclass(frozen=True, slots=True)
class Profile:
    """How a workload's pods behave.

    Attributes:
        requests_per_second: of the whole workload, at seconds since the epoch.
        cpu_seconds: that a request costs.
        idle_cores: used without a request.
        memory_bytes: used without a request.
        memory_per_request: bytes more for each request a second of a pod.
        service_seconds: mean time of a request on an idle pod.
        error_ratio: share of requests that fail whatever the load.
        noise: standard deviation of load and time, as a share.
        container: that serves; "" is the first.
        silent: whether it exposes nothing.
        contended: whether others on its node take all that they get: without a limit it has its request then.
    """

    requests_per_second: Callable[[float], float] = lambda _: 0.0
    cpu_seconds: float = 0.002
    idle_cores: float = 0.01
    memory_bytes: float = 31 * _MIB
    memory_per_request: float = 0.0
    service_seconds: float = 0.02
    error_ratio: float = 0.0
    noise: float = 0.05
    container: str = ""
    silent: bool = False
    contended: bool = False


@dataclass
class Counters:
    """What a pod's serving container has counted since it started."""

    at: float
    cpu_seconds: float = 0.0
    periods: float = 0.0
    throttled_periods: float = 0.0
    throttled_seconds: float = 0.0
    requests: float = 0.0
    errors: float = 0.0
    latency_sum: float = 0.0
    buckets: list[float] = field(default_factory=lambda: [0.0] * (len(BUCKETS) + 1))
    memory_bytes: float = 0.0
    cores: float = 0.0
    restarts: int = 0


@dataclass
class Workloads:
    """The pods of all workloads, brought up to the present whenever they are looked at."""

    store: Store
    clock: Clock
    seed: int = 0
    _profiles: list[tuple[str, Mapping[str, str], Profile]] = field(default_factory=list)
    _pods: dict[str, Counters] = field(default_factory=dict)
    _serving: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311
        self.store.listeners.append(self._forget)

    def behave(self, namespace: str, labels: Mapping[str, str], profile: Profile) -> None:
        """Gives the pods with these labels a profile; the latest that selects a pod holds."""
        self._profiles.insert(0, (namespace, dict(labels), profile))
        self._serving.clear()

    def profile(self, pod: Json) -> Profile:
        """The profile of a pod."""
        metadata = pod["metadata"]
        for namespace, labels, profile in self._profiles:
            if namespace == metadata["namespace"] and matches(
                {"matchLabels": labels}, metadata.get("labels", {})
            ):
                return profile
        return _QUIET

    def memory_bytes(self, pod: Json, container: str) -> float:
        """Working set of a container."""
        profile = self.profile(pod)
        if container != _serving(pod, profile):
            return _QUIET.memory_bytes
        return profile.memory_bytes + profile.memory_per_request * self.offered(pod, profile)

    def cpu_cores(self, pod: Json) -> float | None:
        """CPU use of a pod at present."""
        return self.counters(pod).cores

    def offered(self, pod: Json, profile: Profile) -> float:
        """Requests a second that come to a pod: an equal share among the ready pods of its profile."""
        total = profile.requests_per_second(self.clock.now())
        if not total or not _ready(pod):
            return 0.0
        return total / max(1, self._serving_pods(pod))

    def _serving_pods(self, pod: Json) -> int:
        uid = pod["metadata"]["uid"]
        if uid not in self._serving:  # counted once between two changes of pods
            self._serving[uid] = self._counted(pod["metadata"])
        return self._serving[uid]

    def _counted(self, metadata: Json) -> int:
        for namespace, labels, _ in self._profiles:
            if namespace == metadata["namespace"] and matches(
                {"matchLabels": labels}, metadata.get("labels", {})
            ):
                pods = self.store.all(POD.key, namespace)
                return sum(
                    _ready(each) and matches({"matchLabels": labels}, each["metadata"].get("labels", {}))
                    for each in pods
                )
        return 1

    def counters(self, pod: Json) -> Counters:
        """What a pod has counted up to the present."""
        now, uid = self.clock.now(), pod["metadata"]["uid"]
        profile = self.profile(pod)
        status = _status(pod, _serving(pod, profile))
        restarts = int(status.get("restartCount", 0))
        counted = self._pods.get(uid)
        if counted is None or counted.restarts != restarts:
            counted = self._pods[uid] = Counters(now, restarts=restarts)
        offered = self.offered(pod, profile)
        while (left := now - counted.at) > 1e-9:
            step = min(left, _LONGEST_STEP)
            self._run(counted, profile, offered, status, step)
            counted.at += step
        counted.memory_bytes = self.memory_bytes(pod, _serving(pod, profile))
        return counted

    def _run(self, counted: Counters, profile: Profile, offered: float, status: Json, step: float) -> None:
        rate = max(0.0, offered * (1 + profile.noise * self._random.gauss(0, 1)))
        demand = profile.idle_cores + rate * profile.cpu_seconds
        limit = _cores(status, "limits")
        most = _cores(status, "requests") if limit is None and profile.contended else limit
        used = demand if most is None else min(demand, most)
        load = 0.0 if most is None else demand / most
        served = min(1.0, 1 / load) if load > 1 else 1.0
        errors = rate * (1 - served) + rate * served * profile.error_ratio
        seconds = profile.service_seconds / (1 - min(load, _LIMITED_QUEUE)) * self._spread(profile)
        throttled = min(1.0, max(0.0, (load - 0.5) * 2)) ** 2
        counted.cores = used
        counted.cpu_seconds += used * step
        counted.periods += step / _PERIOD_SECONDS if limit is not None else 0.0
        counted.throttled_periods += throttled * step / _PERIOD_SECONDS if limit is not None else 0.0
        counted.throttled_seconds += max(0.0, demand - used) * step
        self._count(counted, rate * step, errors * step, seconds)

    def _spread(self, profile: Profile) -> float:
        return max(0.2, 1 + profile.noise * self._random.gauss(0, 1))

    def _count(self, counted: Counters, requests: float, errors: float, mean: float) -> None:
        """Adds requests of exponentially distributed times."""
        counted.requests += requests
        counted.errors += min(errors, requests)
        counted.latency_sum += requests * mean
        for n, bound in enumerate(BUCKETS):
            counted.buckets[n] += requests * (1 - math.exp(-bound / mean))
        counted.buckets[-1] += requests

    def _forget(self, change: Change) -> None:
        if change.kind == POD.key:
            self._serving.clear()
        if change.kind == POD.key and change.after is None and change.before is not None:
            self._pods.pop(change.before["metadata"]["uid"], None)


_QUIET = Profile()


def _serving(pod: Json, profile: Profile) -> str:
    return profile.container or str(pod["spec"]["containers"][0]["name"])


def _status(pod: Json, container: str) -> Json:
    statuses: list[Any] = pod.get("status", {}).get("containerStatuses", [])
    return next((dict(each) for each in statuses if each["name"] == container), {})


def _ready(pod: Json) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def _cores(status: Json, kind: str) -> float | None:
    text = status.get("resources", {}).get(kind, {}).get("cpu")
    return float(parse_quantity(text)) if text else None
