"""The series that a fleet network learns from."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from perfopt.metrics.catalogue import METRICS
from perfopt.metrics.snapshot import Array, TimeGrid, WorkloadSnapshot

LOADS = ("cpu_cores", "requests_per_second", "events_per_second", "volume_per_second")
"""Metrics that the network is calibrated on: of others, memory hardly scatters and traffic stands still."""
OTHERS = ("memory_bytes", "network_receive_bytes_per_second", "network_transmit_bytes_per_second")


@dataclass(frozen=True, slots=True)
class TrainingSeries:
    """One series.

    Attributes:
        name: of its service, and of its container where there are several.
        metric: from the metric catalogue, or "generated".
        start: of the first step, seconds since the epoch.
        step: in seconds.
        values: shape (n,), NaN where missing; the first and the last are known.
    """

    name: str
    metric: str
    start: int
    step: int
    values: Array


def series_of(snapshot: WorkloadSnapshot) -> Iterator[TrainingSeries]:
    """Yields the measured series of a workload; of a container the hottest pod at each step."""
    service = str(snapshot.workload.id)
    for metric in (*LOADS, *OTHERS):
        if METRICS[metric].scope == "workload":
            values = snapshot.service.get(metric)
            if values is not None:
                yield from _trimmed(service, metric, snapshot.grid, values)
            continue
        for container in sorted(snapshot.containers):
            pods = snapshot.series(container, metric)
            if pods is not None and len(pods.values):
                name = service if len(snapshot.containers) == 1 else f"{service}/{container}"
                yield from _trimmed(name, metric, snapshot.grid, pods.hottest())


def _trimmed(name: str, metric: str, grid: TimeGrid, values: Array) -> Iterator[TrainingSeries]:
    """Yields a series from its first known value to its last; nothing where there is none."""
    known = np.flatnonzero(np.isfinite(values))
    if known.size:
        first, last = int(known[0]), int(known[-1])
        start = int(grid.start.timestamp()) + first * grid.step_seconds
        yield TrainingSeries(name, metric, start, grid.step_seconds, values[first : last + 1])
