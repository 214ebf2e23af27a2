"""Autopilot's moving-window recommender (Rzadca et al., EuroSys 2020, section 3.2.2).

A serving job's cpu limit is the load-adjusted P95 of its samples, which decay with a half-life of 12 hours;
load-adjusted means that each sample weighs by its value. Memory of a job that tolerates no out-of-memory
error is the maximum of the window. The paper adds 10 to 15 %; 15 % is taken here.
"""

import numpy as np

from perfopt.domain.workload import Container
from perfopt.evaluation.baselines.base import ContainerHistory, largest_of_pods, with_requests
from perfopt.evaluation.baselines.histogram import ExponentialScale, weighted_percentile

HALF_LIFE_SECONDS = 12 * 3600
CPU_SHARE = 0.95
MARGIN = 1.15
MIN_WEIGHT = 1e-6
CPU_SCALE = ExponentialScale(first=0.001, ratio=1.05, largest=1000.0)


def moving_window(history: ContainerHistory) -> Container:
    """Requests are the load-adjusted P95 of cpu and the maximum of memory, each with 15 %; limits stay."""
    memory = None if history.memory is None else largest_of_pods(history.memory, 100.0) * MARGIN
    return with_requests(history.container, _cpu(history), memory)


def _cpu(history: ContainerHistory) -> float | None:
    if history.cpu is None:
        return None
    age = (history.grid.size - np.arange(history.grid.size)) * float(history.grid.step_seconds)
    decay = np.broadcast_to(np.exp2(-age / HALF_LIFE_SECONDS), history.cpu.shape)
    present = np.isfinite(history.cpu)
    values = history.cpu[present]
    weights = decay[present] * np.maximum(values, MIN_WEIGHT)
    return weighted_percentile(values, weights, CPU_SHARE, CPU_SCALE) * MARGIN
