"""Attune (attune-io/attune a46402a): the highest of 24 hour-of-day percentiles of a week, with overheads.

Directional caps and the filter of small changes are left out: they slow a recommendation, they are not it.
"""

import math

import numpy as np

from perfopt.domain.workload import Container
from perfopt.evaluation.baselines.base import ContainerHistory, pooled, with_requests
from perfopt.metrics.snapshot import Array

CPU_PERCENT, CPU_OVERHEAD = 95.0, 1.2
MEMORY_PERCENT, MEMORY_OVERHEAD = 99.0, 1.3
BURST_PERCENT, BURST_RATIO, BURST_SENSITIVITY = 95.0, 3.0, 0.1
HISTORY_SECONDS = 7 * 86_400
FULL_CONFIDENCE_DAYS = 7.0
MIN_CONFIDENCE = 0.1
_HOURS = 24


def recommend(history: ContainerHistory) -> Container:
    """Requests are the estimates of cpu and memory; limits stay."""
    return with_requests(
        history.container,
        _estimate(history, history.cpu, CPU_PERCENT, CPU_OVERHEAD),
        _estimate(history, history.memory, MEMORY_PERCENT, MEMORY_OVERHEAD),
    )


def _estimate(
    history: ContainerHistory, values: Array | None, percent: float, overhead: float
) -> float | None:
    if values is None:
        return None
    week = slice(-max(HISTORY_SECONDS // history.grid.step_seconds, 1), None)
    recent, seconds = values[:, week], history.grid.epoch_seconds()[week]
    if not np.isfinite(recent).any():
        return None
    step = history.grid.step_seconds
    return (
        highest_of_hours(recent, seconds, percent)
        * overhead
        * burst_factor(pooled(recent))
        * uncertainty_factor(confidence(recent, step))
    )


def highest_of_hours(values: Array, seconds: Array, percent: float) -> float:
    """Returns the largest of the percentile of all samples and those of each hour of the day (UTC).

    Args:
        values: shape (pods, steps).
        seconds: start of each step since the epoch, shape (steps,).
        percent: linear between samples.
    """
    hour_of = np.broadcast_to(seconds // 3600 % _HOURS, values.shape)
    present = np.isfinite(values)
    samples, hours = values[present], hour_of[present]
    order = np.lexsort((samples, hours))
    samples, hours = samples[order], hours[order]
    parts = np.split(samples, np.flatnonzero(np.diff(hours)) + 1)
    return max(float(np.percentile(samples, percent)), *(_of_sorted(part, percent) for part in parts))


def _of_sorted(values: Array, percent: float) -> float:
    """Returns a percentile of sorted values: NumPy's own takes 30 times as long for so few."""
    rank = percent / 100 * (values.size - 1)
    low = int(rank)
    high = min(low + 1, values.size - 1)
    return float(values[low] + (rank - low) * (values[high] - values[low]))


def burst_factor(samples: Array) -> float:
    """Returns 1 + 0.1 log2 m, where m = maximum / P95 is above 3; else 1."""
    usual = float(np.percentile(samples, BURST_PERCENT))
    magnitude = float(samples.max()) / usual if usual > 0 else 0.0
    return 1 + BURST_SENSITIVITY * math.log2(magnitude) if magnitude > BURST_RATIO else 1.0


def confidence(values: Array, step_seconds: int) -> float:
    """Returns min(days between first and last sample, sqrt(samples / 24)) / 7, in [0, 1]."""
    steps = np.flatnonzero(np.isfinite(values).any(axis=0))
    days = (steps[-1] - steps[0]) * step_seconds / 86_400
    count = np.count_nonzero(np.isfinite(values))
    return float(min(days, math.sqrt(count / 24), FULL_CONFIDENCE_DAYS) / FULL_CONFIDENCE_DAYS)


def uncertainty_factor(confidence: float) -> float:
    """Returns 1 + (1 - confidence)^2, the confidence being at least 0.1."""
    return 1 + (1 - max(confidence, MIN_CONFIDENCE)) ** 2
