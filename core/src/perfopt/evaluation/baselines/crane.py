"""Crane's resource recommendation (gocrane/crane 2b0ddae): P99 of a week and 15 %, in coarse buckets."""

import numpy as np

from perfopt.domain.workload import Container
from perfopt.evaluation.baselines.base import MIB, ContainerHistory, pooled, with_requests
from perfopt.evaluation.baselines.histogram import LinearScale, weighted_percentile
from perfopt.metrics.snapshot import Array

HISTORY_SECONDS = 7 * 86_400
SHARE = 0.99
MARGIN = 1.15
MIN_WEIGHT = 1e-5
CPU_SCALE = LinearScale(width=0.1, largest=100.0)
MEMORY_SCALE = LinearScale(width=100.0 * MIB, largest=1e12)


def percentile(history: ContainerHistory) -> Container:
    """Requests are P99 and 15 % of the last 7 days' samples, each weighted by its own value; limits stay."""
    cpu = _estimate(history, history.cpu, CPU_SCALE)
    memory = _estimate(history, history.memory, MEMORY_SCALE)
    return with_requests(history.container, cpu, memory)


def _estimate(history: ContainerHistory, values: Array | None, scale: LinearScale) -> float | None:
    if values is None:
        return None
    recent = pooled(values[:, -max(HISTORY_SECONDS // history.grid.step_seconds, 1) :])
    if not recent.size:
        return None
    return weighted_percentile(recent, np.maximum(recent, MIN_WEIGHT), SHARE, scale) * MARGIN
