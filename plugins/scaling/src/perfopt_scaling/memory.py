"""Whether the memory of a pod allows fewer replicas: each then carries more of the load."""

import numpy as np

from perfopt.capacity.memory import memory_at_load
from perfopt.plugin import AnalysisContext, Array, Container
from perfopt_scaling.demand import TotalDemand

_ROUNDING = 1e-9


def fewest_by_memory(context: AnalysisContext, demand: TotalDemand, load_cores: float, least: int) -> int:
    """Returns the fewest replicas, `least` or more, on which no pod's memory passes its request or limit.

    An autoscaler that never lets a replica carry more than `load_cores`, and never runs fewer than the
    answer, is applied to the history; at each step the hottest pod holds more by the load that it carries
    more. Use that is above the size today counts up to today's peak: fewer replicas do not make it worse.
    A container whose memory is not measured, or has no size, asks for nothing.

    Args:
        context: has memory and sizes.
        demand: of the workload, with the replicas that ran.
        load_cores: what a replica carries where the autoscaler holds it.
        least: the fewest that cpu allows.
    """
    by_container = [
        _memory(context, container, demand.begin) for container in context.snapshot.workload.state.containers
    ]
    known = [one for one in by_container if one is not None]
    ran = demand.replicas
    desired = np.where(np.isfinite(demand.cores), np.ceil(demand.cores / load_cores - _ROUNDING), ran)
    for count in range(max(least, 1), int(ran.max(initial=0.0))):
        load = ran / np.maximum(desired, float(count))
        if all(np.nanmax(memory_at_load(low, used, load)) <= size for low, used, size in known):
            return count
    return max(least, int(ran.max(initial=0.0))) if known else least


def _memory(context: AnalysisContext, container: Container, begin: int) -> tuple[float, Array, float] | None:
    """Returns the least and the hottest pod's memory by step, and what it may reach; None where unknown."""
    series = context.snapshot.series(container.name, "memory_bytes")
    held = (container.memory_request_bytes, container.memory_limit_bytes)
    sizes = [size for size in held if size is not None]
    if not sizes or series is None:
        return None
    values = np.where(np.isfinite(series.values[:, begin:]), series.values[:, begin:], np.nan)
    if not np.isfinite(values).any():
        return None
    hottest = np.fmax.reduce(values, axis=0)
    return float(np.nanmin(values)), hottest, max(float(min(sizes)), float(np.nanmax(hottest)))
