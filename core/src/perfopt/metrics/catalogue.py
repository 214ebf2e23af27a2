"""The metrics perfopt knows, by name: unit and how raw samples become one value a step."""

import math
from typing import Literal

import msgspec

# No machine has as many cores or as much memory, and no cluster runs as many replicas of one workload.
_CEILINGS = {"cores": 16_384.0, "bytes": 2.0**47, "replicas": 1e6, "threads": 1e7, "connections": 1e9}

Aggregation = Literal["mean", "max", "min", "last", "sum"]


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """A metric after it was read.

    Attributes:
        unit: of its values.
        aggregation: how several samples in one step become one value.
        carry_forward: sparse by nature (written when it changes): the last value holds until the next.
        scope: measured per container and pod, or for the workload as a whole.
        complementary: each way of asking for it sees a part: of several the largest of each step counts.
    """

    name: str
    unit: str
    aggregation: Aggregation = "mean"
    carry_forward: bool = False
    scope: Literal["container", "workload"] = "container"
    complementary: bool = False

    @property
    def ceiling(self) -> float:
        """The value that no sample can reach, infinite for a unit without one."""
        return _CEILINGS.get(self.unit, math.inf)


def _container(name: str, unit: str, aggregation: Aggregation = "mean", *, carry: bool = False) -> Metric:
    return Metric(name=name, unit=unit, aggregation=aggregation, carry_forward=carry)


def _workload(name: str, unit: str, aggregation: Aggregation = "mean", *, carry: bool = False) -> Metric:
    return Metric(name=name, unit=unit, aggregation=aggregation, carry_forward=carry, scope="workload")


STARTUP = "startup_seconds"
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        _container("cpu_cores", "cores"),
        _container("memory_bytes", "bytes", "max"),
        _container("cpu_throttled_fraction", "ratio", "max"),
        Metric(name="oom_kills", unit="kills", aggregation="sum", complementary=True),
        _container("restarts", "restarts", "sum"),
        _container("cpu_request_cores", "cores", "last", carry=True),
        _container("memory_request_bytes", "bytes", "last", carry=True),
        _container("cpu_limit_cores", "cores", "last", carry=True),
        _container("memory_limit_bytes", "bytes", "last", carry=True),
        _workload("replicas", "replicas", "last", carry=True),
        _workload("requests_per_second", "requests/s"),
        _workload("latency_avg_ms", "ms"),
        _workload("latency_p50_ms", "ms"),
        _workload("latency_p90_ms", "ms"),
        _workload("latency_p95_ms", "ms"),
        _workload("latency_p99_ms", "ms"),
        _workload("network_receive_bytes_per_second", "bytes/s"),
        _workload("network_transmit_bytes_per_second", "bytes/s"),
        _workload("events_per_second", "events/s"),
        _workload("volume_per_second", "units/s"),
        _workload("availability_fraction", "ratio", "min"),
        # Of each pod that became ready: snapshots hold it as `starts`, not on the grid.
        _workload(STARTUP, "s", "max"),
        # What runtimes and pools say of themselves: of the hottest pod.
        _workload("go_gomaxprocs", "threads", "last"),
        _workload("jvm_processors", "cores", "last"),
        _workload("jvm_heap_max_bytes", "bytes", "max"),
        _workload("jvm_heap_live_bytes", "bytes", "max"),
        _workload("jvm_nonheap_bytes", "bytes", "max"),
        _workload("jvm_threads", "threads", "max"),
        _workload("jvm_gc_pause_fraction", "ratio"),
        _workload("node_heap_used_bytes", "bytes", "max"),
        _workload("db_pool_busy", "connections", "max"),
        _workload("db_pool_waiting", "requests", "max"),
        _workload("db_pool_max", "connections", "last"),
        _workload("thread_pool_busy", "threads", "max"),
        _workload("thread_pool_max", "threads", "last"),
    )
}
