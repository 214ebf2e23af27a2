"""What one replica carries: how busy it may be, from how demand jumps and from latency, and its start-up."""

from dataclasses import dataclass

import numpy as np

from perfopt.plugin import Array, WorkloadSnapshot
from perfopt_scaling.demand import Demand
from perfopt_scaling.startup import Startup, startup

FULL = 0.95  # of the request of a replica: what a planned need may fill
HPA_TOLERANCE = 1.1  # an HPA leaves a replica up to a tenth above its target
LEAST_BUSY, MOST_BUSY = 0.30, 0.75
IDLE = 0.2  # of the median: below it a jump adds no demand worth a replica
_LATENCY_BINS = 10
_LATENCY_SAMPLES = 200
_WITHIN = 0.95


@dataclass(frozen=True, slots=True)
class Capacity:
    """How a replica may be used.

    Attributes:
        busy: share of its CPU request at which an autoscaler should aim.
        growth: by how much demand outgrows itself while a replica starts, at the quantile asked for, where
            the plan does not hold enough anyway.
        slo_busy: share of the request above which the latency objective was not kept; None if not seen.
        requests_per_core: requests per second that a core served; None where they are not measured.
        startup: from the decision to a ready replica.
    """

    busy: float
    growth: float
    slo_busy: float | None
    requests_per_core: float | None
    startup: Startup


def capacity(snapshot: WorkloadSnapshot, demand: Demand, level: float, held: Array) -> Capacity:
    """Learns the capacity of a replica.

    Where a plan would have held enough, an autoscaler need not have grown: only the other jumps count.

    Args:
        snapshot: latency and requests, where they are measured.
        demand: in total.
        level: quantile of the growth of demand that must still be carried.
        held: what the plan would have held at each step of the demand, in cores.
    """
    ready = startup(snapshot)
    steps = max(-(-ready.time // snapshot.grid.step), 1)
    growth = _growth(demand.cores, steps, level, held)
    busy = 1 / (growth * HPA_TOLERANCE)
    slo_busy = _slo_busy(snapshot, demand)
    if slo_busy is not None:
        busy = min(busy, slo_busy / HPA_TOLERANCE)
    return Capacity(
        busy=min(max(busy, LEAST_BUSY), MOST_BUSY),
        growth=growth,
        slo_busy=slo_busy,
        requests_per_core=_requests_per_core(snapshot, demand),
        startup=ready,
    )


def _growth(cores: Array, steps: int, level: float, held: Array) -> float:
    before, after = cores[:-steps], cores[steps:]
    known = np.isfinite(before) & np.isfinite(after) & (before > 0)
    if not known.any():
        return 1.0
    least = IDLE * float(np.nanmedian(cores))
    ratio = after[known] / np.maximum(before[known], max(least, 1e-9))
    ratio = np.where(after[known] <= held[steps:][known], 1.0, ratio)
    return max(float(np.quantile(ratio, level)), 1.0)


def _slo_busy(snapshot: WorkloadSnapshot, demand: Demand) -> float | None:
    """Returns the load below which the latency objective was kept in 95 % of the steps of every tenth."""
    slo = snapshot.workload.slo
    if slo is None:
        return None
    latency = snapshot.service.get(f"latency_p{100 * slo.quantile:g}_ms")
    if latency is None:
        return None
    busy = demand.cores / (demand.replicas * demand.request_cores)
    known = np.isfinite(latency[demand.begin :]) & np.isfinite(busy)
    if known.sum() < _LATENCY_SAMPLES:
        return None
    order = np.argsort(busy[known], kind="stable")
    for part in np.array_split(order, _LATENCY_BINS):
        if np.mean(latency[demand.begin :][known][part] <= slo.latency_ms) < _WITHIN:
            return float(busy[known][part[0]])
    return None


def _requests_per_core(snapshot: WorkloadSnapshot, demand: Demand) -> float | None:
    requests = snapshot.service.get("requests_per_second")
    if requests is None:
        return None
    served = requests[demand.begin :]
    known = np.isfinite(served) & np.isfinite(demand.cores) & (demand.cores > 0)
    return float(served[known].sum() / demand.cores[known].sum()) if known.any() else None
