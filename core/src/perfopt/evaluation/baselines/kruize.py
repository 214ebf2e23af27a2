"""Kruize (kruize/autotune c671ae3), medium term (7 days), profiles cost and performance."""

import math

import numpy as np

from perfopt.domain.workload import Container
from perfopt.evaluation.baselines.base import ContainerHistory, Rule, blocks, with_limits_as_requests
from perfopt.metrics.snapshot import Array

INTERVAL_SECONDS = 15 * 60
HISTORY_SECONDS = 7 * 86_400
ONE_CORE = 1.0
MEMORY_BUFFER = 1.2
SPIKE_BUFFER = 1.05
COST_PERCENT, PERFORMANCE_PERCENT = 60.0, 98.0


def profile(percent: float) -> Rule:
    """Returns the rule of a profile: requests, and limits as high.

    CPU: the highest use (throttling added) of the 15-minute intervals where that is under a core, else
    their percentile. Memory: the lower of the peak and 20 %, and the peak and 1.05 times the largest rise
    within an interval.
    """

    def rule(history: ContainerHistory) -> Container:
        cpu = None if history.cpu is None else _cpu(history, history.cpu, percent)
        memory = None if history.memory is None else _memory(history, history.memory)
        return with_limits_as_requests(history.container, cpu, memory)

    return rule


def _cpu(history: ContainerHistory, cpu: Array, percent: float) -> float | None:
    if history.throttled is not None and history.throttled.shape == cpu.shape:
        # A container throttled in a share of its periods wanted about as much more.
        cpu = cpu * (1 + np.nan_to_num(history.throttled))
    _, highest = _intervals(history, cpu)
    if not highest.size:
        return None
    peak = float(highest.max())
    return peak if peak < ONE_CORE else nearest_rank(highest, percent)


def _memory(history: ContainerHistory, memory: Array) -> float | None:
    lowest, highest = _intervals(history, memory)
    if not highest.size:
        return None
    peak, spike = float(highest.max()), float(np.ceil(highest - lowest).max())
    return min(peak * MEMORY_BUFFER, peak + spike * SPIKE_BUFFER)


def _intervals(history: ContainerHistory, values: Array) -> tuple[Array, Array]:
    recent = values[:, -max(HISTORY_SECONDS // history.grid.step_seconds, 1) :]
    return blocks(recent, max(INTERVAL_SECONDS // history.grid.step_seconds, 1))


def nearest_rank(values: Array, percent: float) -> float:
    """Returns the value at rank ceil(percent / 100 x n) of the sorted values."""
    rank = max(math.ceil(percent / 100 * values.size), 1)
    return float(np.sort(values)[rank - 1])
