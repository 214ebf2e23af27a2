"""Windows of a fleet's history: what was known before each, and what it then needed."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from perfopt.plugin import (
    CPU_FLOOR_CORES,
    MEMORY_FLOOR_BYTES,
    MIN_COVERAGE,
    SCORED_COVERAGE,
    Array,
    TimeGrid,
    WorkloadSnapshot,
    smallest_cpu_request,
    smallest_memory_request,
)
from perfopt_cost.features import usage_features

HISTORY = timedelta(days=14)
HISTORIES = (HISTORY, timedelta(days=7), timedelta(days=3))  # a backtest knows less than the present does
STRIDE = timedelta(days=7)
METRICS = {"cpu": "cpu_cores", "memory": "memory_bytes"}
LEVELS = {"cpu": 0.99, "memory": 1.0}  # of the reference: the P99 and the maximum
FLOORS = {"cpu": CPU_FLOOR_CORES, "memory": float(MEMORY_FLOOR_BYTES)}


@dataclass(frozen=True, slots=True)
class FleetWindows:
    """The windows of one resource, one a row.

    Attributes:
        names: of the workloads.
        features: location, then spread, shape (n, features).
        needs: log(smallest accurate size / reference), shape (n,).
        references: log(reference), at least of half the floor, shape (n,).
    """

    names: tuple[str, ...]
    features: Array
    needs: Array
    references: Array

    def where(self, selected: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> "FleetWindows":
        """Returns the rows that are kept."""
        names = tuple(name for name, keep in zip(self.names, selected, strict=True) if keep)
        return FleetWindows(names, self.features[selected], self.needs[selected], self.references[selected])


def windows(snapshots: list[WorkloadSnapshot], resource: str, validity: timedelta) -> FleetWindows:
    """Returns the windows of a resource, of all containers.

    Args:
        snapshots: whole histories.
        resource: "cpu" or "memory".
        validity: length of a window.
    """
    names: list[str] = []
    features: list[Array] = []
    needs: list[float] = []
    references: list[float] = []
    for snapshot in snapshots:
        for row, need, reference in _of_workload(snapshot, resource, validity):
            names.append(str(snapshot.workload.id))
            features.append(row)
            needs.append(need)
            references.append(reference)
    return FleetWindows(tuple(names), np.array(features), np.array(needs), np.array(references))


def _of_workload(
    snapshot: WorkloadSnapshot, resource: str, validity: timedelta
) -> Iterator[tuple[Array, float, float]]:
    for name in sorted(snapshot.containers):
        series = snapshot.series(name, METRICS[resource])
        if series is None:
            continue
        for length in HISTORIES:
            for begin, cut, end in origins(snapshot, length, validity):
                before, after = series.values[:, begin:cut], series.values[:, cut:end]
                if _share(before) < MIN_COVERAGE or _share(after) < SCORED_COVERAGE:
                    continue
                yield _window(before, after, snapshot.grid, resource, end - cut)


def origins(
    snapshot: WorkloadSnapshot, history: timedelta, validity: timedelta
) -> Iterator[tuple[int, int, int]]:
    """Yields (first step known, origin, end of the window), oldest first.

    They begin at the first sample of use. Origins are the same whatever the length of the history.
    """
    used = [
        np.isfinite(series.values).any(axis=0)
        for name in snapshot.containers
        for metric in METRICS.values()
        if (series := snapshot.series(name, metric)) is not None
    ]
    steps = np.flatnonzero(np.logical_or.reduce(used)) if used else np.array([], dtype=int)
    if not steps.size:
        return
    step = snapshot.grid.step
    first, last = int(steps[0]) + HISTORY // step, int(steps[-1]) + 1 - validity // step
    for cut in range(first, last + 1, STRIDE // step):
        yield cut - history // step, cut, cut + validity // step


def _window(
    before: Array, after: Array, grid: TimeGrid, resource: str, steps: int
) -> tuple[Array, float, float]:
    need = smallest_cpu_request(after, grid) if resource == "cpu" else smallest_memory_request(after)
    assert need is not None  # there are samples
    floor = FLOORS[resource]
    seen = usage_features(before, steps, LEVELS[resource], floor)
    reference = max(seen.reference, floor / 2)
    features = np.concatenate([seen.location, seen.spread])
    return features, float(np.log(need / reference)), float(np.log(reference))


def _share(values: Array) -> float:
    return float(np.isfinite(values).mean()) if values.size else 0.0
