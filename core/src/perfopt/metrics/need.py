"""The smallest accurate value of a resource over a period: safe in 99 % of CPU samples, in all of memory."""

import math

import numpy as np

from perfopt.domain.floors import CPU_FLOOR_CORES, MEMORY_FLOOR_BYTES
from perfopt.metrics.snapshot import Array, TimeGrid

CPU_SAFE_PERCENT = 99
SCORED_COVERAGE = 0.5
_MEAN_SECONDS = 300


def five_minute_means(values: Array, grid: TimeGrid) -> Array:
    """Returns the means over aligned 5-minute blocks of each row, NaN where a block has no sample.

    Args:
        values: shape (pods, grid.size).
        grid: the grid of the values; with steps of 5 minutes or more they are returned as they are.
    """
    if grid.step_seconds >= _MEAN_SECONDS or not grid.size:
        return values
    block = (grid.epoch_seconds() // _MEAN_SECONDS).astype(np.int64)
    starts = np.concatenate(([0], np.flatnonzero(np.diff(block)) + 1))
    present = np.isfinite(values)
    sums = np.add.reduceat(np.where(present, values, 0.0), starts, axis=1)
    counts = np.add.reduceat(present.astype(np.float64), starts, axis=1)
    with np.errstate(invalid="ignore"):
        means: Array = sums / counts
    return means


def smallest_cpu_request(values: Array, grid: TimeGrid) -> float | None:
    """Returns the smallest CPU-safe request in cores: whole millicores, at least 10m; None without a sample.

    Args:
        values: cores, shape (pods, grid.size): samples are pooled over pods.
        grid: the grid of the values.
    """
    pooled = five_minute_means(values, grid)
    pooled = pooled[np.isfinite(pooled)]
    if not pooled.size:
        return None
    covered = -(-CPU_SAFE_PERCENT * pooled.size // 100)  # the fewest samples that are 99 %
    millicores = math.ceil(np.partition(pooled, covered - 1)[covered - 1] * 1000)
    return max(float(millicores) / 1000, CPU_FLOOR_CORES)


def smallest_memory_request(values: Array) -> float | None:
    """Returns the smallest memory-safe request: whole bytes, at least 16Mi; None without a sample."""
    finite = values[np.isfinite(values)]
    return float(max(math.ceil(finite.max()), MEMORY_FLOOR_BYTES)) if finite.size else None
