"""KRR (robusta-dev/krr d6baa74): a percentile of cpu per pod, the peak of memory and a buffer."""

import math

import msgspec
import numpy as np

from perfopt.domain.workload import Container
from perfopt.evaluation.baselines.base import (
    MIB,
    ContainerHistory,
    Rule,
    largest_of_pods,
    millicores,
    pooled,
    with_requests,
)

CPU_FLOOR_CORES = 0.010
MEMORY_FLOOR_BYTES = 100 * MIB
MEMORY_BUFFER = 1.15


def simple(percent: float) -> Rule:
    """Strategy `simple`: cpu request is the largest over pods of a percentile, no cpu limit.

    Memory request and limit are the peak of all pods and 15 %.
    """

    def rule(history: ContainerHistory) -> Container:
        cpu = None if history.cpu is None else max(largest_of_pods(history.cpu, percent), CPU_FLOOR_CORES)
        sized = _with_memory(history, cpu)
        return msgspec.structs.replace(sized, cpu_limit_cores=None) if cpu is not None else sized

    return rule


def simple_limit(request_percent: float, limit_percent: float) -> Rule:
    """Strategy `simple_limit`: cpu request and limit are two percentiles of the samples of all pods."""

    def rule(history: ContainerHistory) -> Container:
        if history.cpu is None:
            return _with_memory(history, None)
        request, limit = (
            max(float(np.percentile(pooled(history.cpu), percent)), CPU_FLOOR_CORES)
            for percent in (request_percent, limit_percent)
        )
        return msgspec.structs.replace(_with_memory(history, request), cpu_limit_cores=millicores(limit))

    return rule


def _with_memory(history: ContainerHistory, cpu: float | None) -> Container:
    if history.memory is None:
        return with_requests(history.container, cpu, None)
    peak = float(pooled(history.memory).max()) * MEMORY_BUFFER
    size = max(math.ceil(peak / 1e6) * 10**6, MEMORY_FLOOR_BYTES)
    return msgspec.structs.replace(with_requests(history.container, cpu, size), memory_limit_bytes=size)
