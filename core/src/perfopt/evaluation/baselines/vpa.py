"""The vertical pod autoscaler (kubernetes/autoscaler 55c37cd), and Goldilocks, which shows its target.

CPU: a decaying histogram of all samples. Memory: a decaying histogram of the peaks of days. Target P90,
bounds P50 and P95, each with a margin of 15 %; the bounds widen where there is little history.
"""

from dataclasses import dataclass

import msgspec
import numpy as np

from perfopt.domain.workload import Container
from perfopt.evaluation.baselines.base import (
    MIB,
    ContainerHistory,
    millicores,
    with_limits_as_requests,
    with_requests,
)
from perfopt.evaluation.baselines.histogram import BucketScale, ExponentialScale, weighted_percentile
from perfopt.metrics.snapshot import Array

HALF_LIFE_SECONDS = 86_400
DAY_SECONDS = 86_400
MEMORY_WINDOWS = 8
MARGIN = 1.15
CPU_FLOOR_CORES = 0.025
MEMORY_FLOOR_BYTES = 250 * MIB
CPU_SCALE = ExponentialScale(first=0.01, ratio=1.05, largest=1000.0)
MEMORY_SCALE = ExponentialScale(first=1e7, ratio=1.05, largest=1e12)
OOM_MIN_BUMP_BYTES = 100 * MIB
OOM_BUMP_RATIO = 1.2
_LOWER, _TARGET, _UPPER = 0.5, 0.9, 0.95
_MINUTES_A_DAY = 1440


@dataclass(frozen=True, slots=True)
class VpaBounds:
    """What the autoscaler says of one resource, in cores or bytes."""

    lower: float
    target: float
    upper: float


def target(history: ContainerHistory) -> Container:
    """Requests are the targets; a limit keeps its ratio to the request it stood beside."""
    cpu, memory = cpu_bounds(history), memory_bounds(history)
    old = history.container
    new = with_requests(old, None if cpu is None else cpu.target, None if memory is None else memory.target)
    if cpu is not None and old.cpu_limit_cores and old.cpu_request_cores:
        limit = old.cpu_limit_cores / old.cpu_request_cores * cpu.target
        new = msgspec.structs.replace(new, cpu_limit_cores=millicores(limit))
    if memory is not None and old.memory_limit_bytes and old.memory_request_bytes:
        size = round(old.memory_limit_bytes / old.memory_request_bytes * memory.target)
        new = msgspec.structs.replace(new, memory_limit_bytes=max(size, new.memory_request_bytes or 0))
    return new


def goldilocks(history: ContainerHistory) -> Container:
    """Goldilocks, quality of service Guaranteed: requests and limits are the targets."""
    cpu, memory = cpu_bounds(history), memory_bounds(history)
    return with_limits_as_requests(
        history.container, None if cpu is None else cpu.target, None if memory is None else memory.target
    )


def goldilocks_burstable(history: ContainerHistory) -> Container:
    """Goldilocks, quality of service Burstable: requests are the lower bounds, limits the upper ones."""
    cpu, memory = cpu_bounds(history), memory_bounds(history)
    new = with_requests(
        history.container, None if cpu is None else cpu.lower, None if memory is None else memory.lower
    )
    if cpu is not None:
        new = msgspec.structs.replace(new, cpu_limit_cores=millicores(cpu.upper))
    if memory is not None:
        new = msgspec.structs.replace(new, memory_limit_bytes=round(memory.upper))
    return new


def cpu_bounds(history: ContainerHistory) -> VpaBounds | None:
    """Returns the bounds of cpu, or None without a sample."""
    if history.cpu is None:
        return None
    age = (history.grid.size - np.arange(history.grid.size)) * float(history.grid.step_seconds)
    decay = np.broadcast_to(np.exp2(-age / HALF_LIFE_SECONDS), history.cpu.shape)
    present = np.isfinite(history.cpu)
    return _bounds(
        history, history.cpu, history.cpu[present], decay[present], CPU_SCALE, CPU_FLOOR_CORES * history.share
    )


def memory_bounds(history: ContainerHistory) -> VpaBounds | None:
    """Returns the bounds of memory, or None without a sample in the last 8 days."""
    if history.memory is None:
        return None
    peaks, ages = daily_peaks(_with_oom(history, history.memory), history.grid.step_seconds)
    if not peaks.size:
        return None
    floor = MEMORY_FLOOR_BYTES * history.share
    return _bounds(history, history.memory, peaks, np.exp2(-ages), MEMORY_SCALE, floor)


def _bounds(
    history: ContainerHistory, samples: Array, values: Array, weights: Array, scale: BucketScale, floor: float
) -> VpaBounds:
    observed = np.isfinite(samples).any(axis=0)
    days = (history.grid.size - int(observed.argmax())) * history.grid.step_seconds / DAY_SECONDS
    minutes = np.count_nonzero(np.isfinite(samples)) * history.grid.step_seconds / 60
    confidence = min(days, minutes / _MINUTES_A_DAY)
    lower, middle, upper = (
        weighted_percentile(values, weights, share, scale) * MARGIN for share in (_LOWER, _TARGET, _UPPER)
    )
    return VpaBounds(
        lower=max(lower * (1 + 0.001 / confidence) ** -2, floor),
        target=max(middle, floor),
        upper=max(upper * (1 + 1 / confidence), floor),
    )


def daily_peaks(memory: Array, step_seconds: int) -> tuple[Array, Array]:
    """Returns the peaks of the pods in each of the last 8 days, and their ages in days.

    Args:
        memory: bytes, shape (pods, steps); the days end where it does.
        step_seconds: of the grid.
    """
    a_day = max(DAY_SECONDS // step_seconds, 1)
    recent = memory[:, -MEMORY_WINDOWS * a_day :]
    days = -(-recent.shape[1] // a_day)
    padded = np.full((recent.shape[0], days * a_day), np.nan)
    padded[:, padded.shape[1] - recent.shape[1] :] = recent
    peaks = np.fmax.reduce(padded.reshape(recent.shape[0], days, a_day), axis=2)
    ages = np.broadcast_to(np.arange(days - 1, -1, -1, dtype=np.float64), peaks.shape)
    present = np.isfinite(peaks)
    return peaks[present], ages[present]


def _with_oom(history: ContainerHistory, memory: Array) -> Array:
    """Raises the sample of each step with an OOM kill to what the autoscaler records for it.

    That is max(used + 100 MiB, 1.2 x used); used is the larger of the request and the day's peak so far.
    """
    kills = history.oom_kills
    if kills is None or kills.shape != memory.shape or not (kills > 0).any():
        return memory
    bumped = memory.copy()
    a_day = max(DAY_SECONDS // history.grid.step_seconds, 1)
    request = float(history.container.memory_request_bytes or 0)
    for pod, step in np.argwhere(kills > 0).tolist():
        begin = step - (step - memory.shape[1]) % a_day
        seen = memory[pod, max(begin, 0) : step + 1]
        peak = float(np.fmax.reduce(seen, initial=0.0))
        used = max(request, peak)
        bumped[pod, step] = max(used + OOM_MIN_BUMP_BYTES, used * OOM_BUMP_RATIO)
    return bumped
