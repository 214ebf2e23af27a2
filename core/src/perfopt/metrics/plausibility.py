"""Samples that cannot be: use above the limit in force or the largest machine, no memory at all. Pure."""

from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from perfopt.domain.recommendation import Coverage
from perfopt.metrics.grid import GridReport
from perfopt.metrics.snapshot import Array, PodSeries

IMPLAUSIBLE = "implausible"
"""The reason under which coverage counts samples that were dropped because they cannot be."""

_TOLERANCE = 0.1
_JITTER_SECONDS = 30.0  # a scrape that comes early or late moves a rate over a short step by as much

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class NodeCapacity:
    """The largest machine that a workload may have run on; None is unknown."""

    cpu_cores: float | None = None
    memory_bytes: float | None = None


def above_limit(use: PodSeries, limit: PodSeries | None, largest: float | None, step_seconds: int) -> Flags:
    """Returns which samples are above the limit in force, or above the largest machine, by over a tenth.

    A limit counts at its own step and the steps next to it, since it may change within one. A limit of 0 is
    none. Before a pod's first known limit that one counts: a container is created with it.

    Args:
        use: cores or bytes.
        limit: of the same container; pods without a row have none.
        largest: cores or bytes of the largest machine.
        step_seconds: of the grid; on short steps a rate may be further above a limit.

    Returns:
        Shape of the use.
    """
    factor = 1 + max(_TOLERANCE, _JITTER_SECONDS / step_seconds)
    bounds = np.full(use.values.shape, np.inf if largest is None or largest <= 0 else largest)
    rows = {} if limit is None else dict(zip(limit.pods, limit.values, strict=True))
    for number, pod in enumerate(use.pods):
        if pod in rows:
            bounds[number] = np.minimum(bounds[number], _in_force(rows[pod]))
    with np.errstate(invalid="ignore"):
        above: Flags = use.values > bounds * factor
    return above


def without_memory(memory: PodSeries, cpu: PodSeries | None) -> Flags:
    """Returns which samples say that a running container holds no memory: zero while it used CPU.

    Args:
        memory: bytes.
        cpu: cores of the same container; pods without a row are not judged.

    Returns:
        Shape of the memory.
    """
    rows = {} if cpu is None else dict(zip(cpu.pods, cpu.values, strict=True))
    none: Flags = np.zeros(memory.values.shape, dtype=bool)
    for number, pod in enumerate(memory.pods):
        if pod in rows:
            with np.errstate(invalid="ignore"):
                none[number] = (memory.values[number] == 0) & (rows[pod] > 0)
    return none


def dropped(series: PodSeries, implausible: Flags) -> PodSeries:
    """Returns a series without the samples that are marked."""
    if not implausible.any():
        return series
    return PodSeries(series.pods, np.where(implausible, np.nan, series.values))


def counted(report: GridReport, count: int) -> GridReport:
    """Returns a report in which so many of the samples were dropped as implausible."""
    if not count:
        return report
    reasons = dict(report.dropped)
    reasons[IMPLAUSIBLE] = reasons.get(IMPLAUSIBLE, 0) + count
    return replace(report, present=max(report.present - count, 0), dropped=reasons)


def without(coverage: Coverage, count: int) -> Coverage:
    """Returns a coverage in which so many of the samples were dropped as implausible."""
    if not count:
        return coverage
    present = max(coverage.present - count, 0)
    reasons = coverage.dropped | {IMPLAUSIBLE: coverage.dropped.get(IMPLAUSIBLE, 0) + count}
    fraction = present / coverage.expected if coverage.expected else 0.0
    return msgspec.structs.replace(coverage, present=present, fraction=fraction, dropped=reasons)


def _in_force(limit: Array) -> Array:
    """Returns the largest limit at each step and its neighbours, infinite where none is known."""
    known = np.isfinite(limit) & (limit > 0)
    if not known.any():
        return np.full(limit.shape, np.inf)
    values = limit[known]
    if (values == values[0]).all():
        return np.full(limit.shape, values[0])
    held = np.where(known, limit, np.nan)
    places = np.flatnonzero(known)
    nearest = places[np.clip(np.searchsorted(places, np.arange(limit.size), side="right") - 1, 0, None)]
    filled = held[nearest]
    padded = np.concatenate((filled[:1], filled, filled[-1:]))
    neighbours: Array = np.maximum(np.maximum(padded[:-2], padded[1:-1]), padded[2:])
    return neighbours
