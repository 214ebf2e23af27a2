"""What one replica did, step by step: load, CPU, throttling and latency."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfopt.capacity.latency import UNLIMITED_CORES
from perfopt.capacity.law import LEVELS
from perfopt.capacity.observations import GroupedObservations, observe
from perfopt.domain.enums import DeclineCode
from perfopt.metrics.snapshot import Array, PodSeries, WorkloadSnapshot
from perfopt.plugin.context import AnalysisContext
from perfopt.plugin.history import InsufficientHistory, check_history, running_replicas

_QUANTILES = ("latency_p50_ms", "latency_p90_ms", "latency_p95_ms", "latency_p99_ms")
_HEADROOM = 1.5  # of the most CPU used, where no limit is set


@dataclass(frozen=True, slots=True)
class ReplicaHistory:
    """The mean replica of a service; all arrays of shape (steps,), NaN where missing.

    Attributes:
        container: the one that serves: it uses the most CPU.
        rate: requests per second of a replica.
        cpu_cores, limit_cores, throttled: of that container in a replica.
        latency_seconds: quantiles at perfopt.capacity.LEVELS, shape (steps, 4).
        replicas: how many shared the load.
        parts: a replica above 3 cores counts as so many equal parts, the range the law was fitted on.
        limited: whether a CPU limit is set.
        step_seconds: length of a step.
    """

    container: str
    rate: Array
    cpu_cores: Array
    limit_cores: Array
    throttled: Array
    latency_seconds: Array
    replicas: Array
    parts: int
    limited: bool
    step_seconds: int

    def observations(self) -> GroupedObservations | None:
        """Returns the windows grouped for identification."""
        return observe(
            self.rate / self.parts,
            self.cpu_cores / self.parts,
            self.limit_cores / self.parts,
            self.latency_seconds,
            self.throttled,
            self.step_seconds,
        )

    def quantile_ms(self, quantile: float) -> Array:
        """Returns the measured latency in ms whose quantile is nearest, the higher of two as near."""
        measured = np.isfinite(self.latency_seconds).any(axis=0)
        there = [i for i in range(len(LEVELS)) if measured[i]]
        nearest = min(there, key=lambda i: (round(abs(LEVELS[i] - quantile), 9), -LEVELS[i]))
        milliseconds: Array = 1000 * self.latency_seconds[:, nearest]
        return milliseconds


def read_history(context: AnalysisContext) -> ReplicaHistory | InsufficientHistory:
    """Reads the history of a service, or what it lacks."""
    snapshot = context.snapshot
    service = snapshot.service
    for names, what in ((_QUANTILES, "latency quantiles"), (("requests_per_second",), "requests per second")):
        if not any(name in service and np.isfinite(service[name]).any() for name in names):
            return InsufficientHistory(DeclineCode.NO_DATA, f"The source has no {what} for this service.")
    name = _busiest(snapshot)
    if name is None:
        return InsufficientHistory(DeclineCode.NO_DATA, "The source has no CPU use for this service.")
    begin = check_history(context, _known(snapshot), snapshot.workload.service_name, "requests and latency")
    if isinstance(begin, InsufficientHistory):
        return begin
    replicas = running_replicas(snapshot)
    cpu = _mean(snapshot.series(name, "cpu_cores"), snapshot.grid.size)
    limit, limited = _limit(snapshot, name, cpu)
    return ReplicaHistory(
        container=name,
        rate=service["requests_per_second"] / replicas,
        cpu_cores=cpu,
        limit_cores=limit,
        throttled=_mean(snapshot.series(name, "cpu_throttled_fraction"), snapshot.grid.size),
        latency_seconds=_latency(snapshot),
        replicas=replicas,
        parts=max(math.ceil(float(np.nanmax(limit)) / UNLIMITED_CORES - 1e-9), 1),
        limited=limited,
        step_seconds=snapshot.grid.step_seconds,
    )


def _busiest(snapshot: WorkloadSnapshot) -> str | None:
    used = {}
    for name in snapshot.containers:
        series = snapshot.series(name, "cpu_cores")
        if series is not None and np.isfinite(series.values).any():
            used[name] = float(np.nanmean(series.values))
    return max(used, key=lambda name: (used[name], name)) if used else None


def _known(snapshot: WorkloadSnapshot) -> NDArray[np.bool_]:
    """Returns the steps that say what latency was at what rate: without requests there is none."""
    rate = snapshot.service["requests_per_second"]
    known: NDArray[np.bool_] = np.isfinite(rate) & np.isfinite(_latency(snapshot)).any(axis=1) | (rate == 0)
    return known


def _latency(snapshot: WorkloadSnapshot) -> Array:
    none = np.full(snapshot.grid.size, np.nan)
    return np.stack([snapshot.service.get(name, none) for name in _QUANTILES], -1) / 1000


def _mean(series: PodSeries | None, size: int) -> Array:
    """Returns the mean over the pods of each step, NaN without any."""
    if series is None or not len(series.values):
        return np.full(size, np.nan)
    finite = np.isfinite(series.values)
    total = np.where(finite, series.values, 0.0).sum(axis=0)
    count = finite.sum(axis=0)
    mean: Array = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean


def _limit(snapshot: WorkloadSnapshot, name: str, cpu: Array) -> tuple[Array, bool]:
    """Returns the CPU limit at each step, and whether there is one; without one, more than was ever used."""
    recorded = _mean(snapshot.series(name, "cpu_limit_cores"), snapshot.grid.size)
    container = snapshot.workload.state.container(name)
    stated = None if container is None else container.cpu_limit_cores
    if stated or np.isfinite(recorded).any():
        fallback = stated or float(np.nanmax(recorded))
        return np.where(np.isfinite(recorded) & (recorded > 0), recorded, fallback), True
    most = float(np.nanmax(cpu)) if np.isfinite(cpu).any() else 0.0
    return np.full(cpu.size, max(UNLIMITED_CORES, _HEADROOM * most)), False
