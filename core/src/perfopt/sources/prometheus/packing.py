"""Pods that came one after another share a row: a Deployment released daily has few at a time. Pure."""

import heapq
from collections.abc import Mapping

import numpy as np

from perfopt.metrics.snapshot import PodSeries

Lifetime = tuple[int, int]


def in_rows(
    series: Mapping[tuple[str, str], PodSeries], lifetimes: Mapping[tuple[str, str], Lifetime]
) -> dict[tuple[str, str], PodSeries]:
    """Returns series of which each row holds pods that did not live at the same time.

    A row is named for the first pod in it, so that what comes later changes no name. At each step there
    are the same values as before; a workload of three replicas that was released ten times has three or
    six rows in place of thirty.

    Args:
        series: of each (container, metric), a row for each pod.
        lifetimes: the steps [first, last) in which each (container, pod) existed.
    """
    lives: dict[str, Lifetime] = {}
    for (_, pod), (first, last) in lifetimes.items():
        known = lives.get(pod, (first, last))
        lives[pod] = min(first, known[0]), max(last, known[1])
    rows = _rows(lives)
    names: dict[int, str] = {}
    for pod, row in rows.items():
        names.setdefault(row, pod)
    return {key: _merged(one, rows, names) for key, one in series.items()}


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


def _merged(series: PodSeries, rows: Mapping[str, int], names: Mapping[int, str]) -> PodSeries:
    used = sorted({rows[pod] for pod in series.pods}, key=lambda row: names[row])
    if len(used) == len(series.pods):
        return series
    values = np.full((len(used), series.values.shape[1]), np.nan)
    for pod, mine in zip(series.pods, series.values, strict=True):
        np.fmax(values[used.index(rows[pod])], mine, out=values[used.index(rows[pod])])
    return PodSeries(tuple(names[row] for row in used), values)
