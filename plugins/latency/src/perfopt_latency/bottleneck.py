"""What holds the latency of a service, with the evidence."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from perfopt.capacity import LatencyPredictor, ReplicaHistory, fit_usl
from perfopt.plugin import Array, Reason, Throttling, WorkloadSnapshot

_OFTEN = 0.05  # of the steps
_GC_PAUSES = 0.05  # of the time
_NEAR_LIMIT = 0.95
_CONSIDERABLE = 0.2  # of the busy latency: less than that is not what holds it


class BottleneckCause(StrEnum):
    """What adds most to latency at the busy load, or is seen to be exhausted."""

    THROTTLING = "cfs_throttling"
    CPU = "cpu_saturation"
    THREADS = "thread_pool"
    CONNECTIONS = "connection_pool"
    COLLECTOR = "garbage_collection"
    MEMORY = "memory_pressure"
    DOWNSTREAM = "downstream"
    OWN_WORK = "own_work"


NOT_OURS = (BottleneckCause.DOWNSTREAM, BottleneckCause.OWN_WORK)


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """A cause, and its evidence.

    Attributes:
        measured: whether a metric shows it; otherwise the model infers it.
    """

    cause: BottleneckCause
    text: str
    data: dict[str, Any]
    measured: bool = False

    def reason(self) -> Reason:
        """Returns it as a reason of a proposal."""
        return Reason(code=f"bottleneck_{self.cause}", text=self.text, data=self.data)


def inferred(
    predictor: LatencyPredictor, history: ReplicaHistory, throttled: Throttling | None
) -> Bottleneck:
    """Returns what the model says adds most to the busy latency: quota, threads, or what remains alone."""
    now, free = predictor.current_and_unlimited_ms()
    without_both, alone = predictor.with_any_threads().without_quota_and_alone_ms()
    parts = {"quota": now - free, "threads": free - without_both, "alone": alone}
    data: dict[str, Any] = {f"{name}_ms": round(max(value, 0.0), 1) for name, value in parts.items()}
    data |= {
        "busy_latency_ms": round(now, 1),
        "busy_requests_per_second": round(predictor.busy_rate, 2),
        "threads_inferred": round(predictor.model.threads * predictor.parts, 1),
        "downstream_wait_ms": round(1000 * predictor.model.wait_seconds, 1),
    }
    data |= _scalability(history)
    largest = max(("quota", "threads"), key=lambda name: parts[name])
    if parts[largest] < _CONSIDERABLE * now:
        return _alone(predictor, data, alone)
    if largest == "quota":
        return _cpu(predictor, throttled, data, now, free)
    return _threads(predictor, data, (now, free, without_both))


def _threads(
    predictor: LatencyPredictor, data: dict[str, Any], milliseconds: tuple[float, float, float]
) -> Bottleneck:
    now, free, without_both = milliseconds
    return Bottleneck(
        BottleneckCause.THREADS,
        f"Threads limit it, not CPU: about {data['threads_inferred']:.0f} requests are in service at once,"
        f" each waiting {1000 * predictor.model.wait_seconds:.0f} ms. At the busy load {now:.0f} ms;"
        f" {free:.0f} ms with any CPU limit, {without_both:.0f} ms without the limit on threads. Raise"
        " threads or replicas.",
        data,
    )


def _cpu(
    predictor: LatencyPredictor, throttled: Throttling | None, data: dict[str, Any], now: float, free: float
) -> Bottleneck:
    used = float(predictor.utilisation(np.array([predictor.limit_cores]))[0])
    data = data | {"busy_utilisation": round(used, 3), "limit_cores": predictor.limit_cores}
    text, cause = f"CPU is short at the busy load, at {used:.0%} of the limit", BottleneckCause.THROTTLING
    if throttled is not None:
        busiest = float(np.nanquantile(throttled.fractions, 0.95))
        data["throttled_fraction_p95"] = round(busiest, 3)
        if throttled.considerable:
            text = (
                f"The CPU quota throttles {busiest:.0%} of the 100 ms periods at the busy load, at"
                f" {used:.0%} of the limit"
            )
        else:
            text, cause = f"CPU is saturated: {used:.0%} of the limit at the busy load", BottleneckCause.CPU
    return Bottleneck(cause, f"{text}, which costs {now - free:.0f} of {now:.0f} ms.", data)


def _alone(predictor: LatencyPredictor, data: dict[str, Any], alone: float) -> Bottleneck:
    wait = 1000 * predictor.model.wait_seconds
    if wait > 1000 * predictor.model.cpu_seconds_per_request:
        return Bottleneck(
            BottleneckCause.DOWNSTREAM,
            f"Most of the latency is waiting downstream, {wait:.0f} ms a request on average; a request alone"
            f" takes {alone:.0f} ms. Resources of this service do not shorten it.",
            data,
        )
    return Bottleneck(
        BottleneckCause.OWN_WORK,
        f"The request's own work dominates: a request alone takes {alone:.0f} ms. Only faster code or cores"
        " shorten it.",
        data,
    )


def measured(snapshot: WorkloadSnapshot, container: str) -> Bottleneck | None:
    """Returns what a metric shows to be exhausted: a pool, the collector, memory; None where nothing is."""
    service = snapshot.service
    busy, most = service.get("thread_pool_busy"), service.get("thread_pool_max")
    if busy is not None and most is not None:
        full = _share(busy >= _NEAR_LIMIT * most, np.isfinite(busy) & np.isfinite(most))
        if full > _OFTEN:
            text = f"The thread pool is full in {full:.0%} of the steps: requests wait for threads, not CPU."
            return Bottleneck(BottleneckCause.THREADS, text, {"full_share": round(full, 3)}, measured=True)
    waiting = service.get("db_pool_waiting")
    if waiting is not None:
        share = _share(waiting > 0, np.isfinite(waiting))
        if share > _OFTEN:
            text = f"Requests wait for a database connection in {share:.0%} of the steps."
            return Bottleneck(
                BottleneckCause.CONNECTIONS, text, {"waiting_share": round(share, 3)}, measured=True
            )
    return _memory(snapshot, container)


def _memory(snapshot: WorkloadSnapshot, container: str) -> Bottleneck | None:
    pauses = snapshot.service.get("jvm_gc_pause_fraction")
    if pauses is not None and np.isfinite(pauses).any():
        worst = float(np.nanquantile(pauses, 0.95))
        if worst > _GC_PAUSES:
            text = f"Garbage collection takes {worst:.0%} of the time (P95 of the steps)."
            return Bottleneck(
                BottleneckCause.COLLECTOR, text, {"gc_pause_fraction_p95": round(worst, 3)}, measured=True
            )
    used, state = snapshot.series(container, "memory_bytes"), snapshot.workload.state.container(container)
    limit = None if state is None else state.memory_limit_bytes
    if used is not None and limit and np.isfinite(used.values).any():
        hottest = used.hottest()
        near = _share(hottest > _NEAR_LIMIT * limit, np.isfinite(hottest))
        if near > _OFTEN:
            text = f"Memory is within 5 % of its limit in {near:.0%} of the steps, where reclaim slows it."
            return Bottleneck(
                BottleneckCause.MEMORY, text, {"near_limit_share": round(near, 3)}, measured=True
            )
    return None


def _share(flags: Any, known: Any) -> float:
    return float(flags[known].mean()) if known.any() else 0.0


def _scalability(history: ReplicaHistory) -> dict[str, float]:
    """Returns the coefficients of the Universal Scalability Law, where production varied enough for them."""
    busy: Array = history.rate * history.latency_seconds[:, 0]
    law = fit_usl(history.rate, busy)
    if law is None:
        return {}
    return {"usl_contention": round(law.contention, 4), "usl_coherency": round(law.coherency, 6)}
