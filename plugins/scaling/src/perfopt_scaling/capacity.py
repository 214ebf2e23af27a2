"""What one replica carries: how busy it may be, from how demand jumps and from latency, and its start-up."""

from dataclasses import dataclass

import numpy as np

from perfopt.capacity.throughput import ReplicaThroughput, throughput
from perfopt.plugin import AnalysisContext, Array, running_replicas
from perfopt_scaling.demand import TotalDemand
from perfopt_scaling.startup import StartupTime, startup

FULL = 0.95  # of the request of a replica: what a planned need may fill
HPA_TOLERANCE = 1.1  # an HPA leaves a replica up to a tenth above its target
MIN_BUSY, MAX_BUSY = 0.30, 0.75
IDLE = 0.2  # of the median: below it a jump adds no demand worth a replica


@dataclass(frozen=True, slots=True)
class ReplicaCapacity:
    """How a replica may be used.

    Attributes:
        busy: share of its CPU request at which an autoscaler may aim, by how demand grows.
        growth: by how much demand outgrows itself while a replica starts, at the quantile asked for, where
            the plan does not hold enough anyway.
        slo_busy: share of the request up to which the latency objective is kept; None where nothing shows it.
        serves: what a replica serves within its objective, and how that is known.
        startup: from the decision to a ready replica.
    """

    busy: float
    growth: float
    slo_busy: float | None
    serves: ReplicaThroughput
    startup: StartupTime


def capacity(context: AnalysisContext, demand: TotalDemand, level: float, held: Array) -> ReplicaCapacity:
    """Learns the capacity of a replica.

    Where a plan would have held enough, an autoscaler need not have grown: only the other jumps count, from
    when there was a past to plan from.

    Args:
        context: latency and requests, where they are measured.
        demand: in total.
        level: quantile of the growth of demand that must still be carried.
        held: what the plan would have held at each step of the demand, in cores.
    """
    snapshot = context.snapshot
    ready = startup(snapshot)
    steps = max(-(-ready.time // snapshot.grid.step), 1)
    growth = _growth(demand.cores, steps, level, held)
    busy = 1 / (growth * HPA_TOLERANCE)
    whole = np.r_[np.full(demand.begin, np.nan), demand.cores]
    serves = throughput(context, whole, running_replicas(snapshot))
    slo_busy = None if serves.cores_within is None else serves.cores_within / demand.request_cores
    return ReplicaCapacity(
        busy=min(max(busy, MIN_BUSY), MAX_BUSY),
        growth=growth,
        slo_busy=slo_busy,
        serves=serves,
        startup=ready,
    )


def _growth(cores: Array, steps: int, level: float, held: Array) -> float:
    before, after = cores[:-steps], cores[steps:]
    known = np.isfinite(before) & np.isfinite(after) & (before > 0)
    if held.any():
        known[: max(int(np.argmax(held > 0)) - steps, 0)] = False  # a plan had no past to hold those from
    if not known.any():
        return 1.0
    least = IDLE * float(np.nanmedian(cores))
    ratio = after[known] / np.maximum(before[known], max(least, 1e-9))
    ratio = np.where(after[known] <= held[steps:][known], 1.0, ratio)
    return max(float(np.quantile(ratio, level)), 1.0)
