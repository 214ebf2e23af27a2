"""Pods that came one after another share a row: a Deployment released daily has few at a time. Pure."""

import heapq
from collections.abc import Collection, Mapping

import numpy as np

from perfopt.metrics.snapshot import Array, PodSeries

Lifetime = tuple[int, int]


class PodRows:
    """Which row each pod's samples stand in: pods of one row did not live at the same time.

    A row is named for the first pod in it, so that what comes later changes no name. A workload of three
    replicas that was released ten times has three or six rows in place of thirty.

    Args:
        lifetimes: the steps [first, last) in which each (container, pod) existed.
    """

    def __init__(self, lifetimes: Mapping[tuple[str, str], Lifetime]) -> None:
        lives: dict[str, Lifetime] = {}
        for (_, pod), (first, last) in lifetimes.items():
            known = lives.get(pod, (first, last))
            lives[pod] = min(first, known[0]), max(last, known[1])
        self._rows = _rows(lives)
        self._names: dict[int, str] = {}
        for pod, row in self._rows.items():
            self._names.setdefault(row, pod)

    def series(self, pods: Collection[str], size: int) -> "PackedSeries":
        """Returns a series of some pods without samples yet; where none share a row it has their names."""
        used = sorted({self._rows[pod] for pod in pods}, key=lambda row: self._names[row])
        if len(used) == len(pods):
            return PackedSeries({pod: i for i, pod in enumerate(sorted(pods))}, tuple(sorted(pods)), size)
        places = {row: i for i, row in enumerate(used)}
        rows = {pod: places[self._rows[pod]] for pod in pods}
        return PackedSeries(rows, tuple(self._names[row] for row in used), size)


class PackedSeries:
    """One metric of one container while its pods are put into rows; only the rows are held.

    Args:
        rows: of each pod.
        names: of the rows.
        size: number of steps.
    """

    def __init__(self, rows: Mapping[str, int], names: tuple[str, ...], size: int) -> None:
        self._rows = rows
        self._series = PodSeries(names, np.full((len(names), size), np.nan))

    def add(self, pod: str, values: Array) -> None:
        """Adds a pod's samples, shape (size,)."""
        row = self._series.values[self._rows[pod]]
        np.fmax(row, values, out=row)

    def done(self) -> PodSeries:
        """Returns the series with what was added."""
        return self._series


def _rows(lives: Mapping[str, Lifetime]) -> dict[str, int]:
    """Returns the row of each pod, by birth: one that is free when it comes, the fewest there can be."""
    rows: dict[str, int] = {}
    ends: list[tuple[int, int]] = []
    for pod in sorted(lives, key=lambda pod: (lives[pod][0], pod)):
        first, last = lives[pod]
        row = heapq.heappop(ends)[1] if ends and ends[0][0] <= first else len(ends)
        heapq.heappush(ends, (last, row))
        rows[pod] = row
    return rows
