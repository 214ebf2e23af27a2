"""The demand on a service, minute by minute, from the metrics of its snapshot."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfopt.autoscaling import SimulatedDemand
from perfopt.errors import NoDataError
from perfopt.metrics.snapshot import Array, WorkloadSnapshot

SERVICE_METRICS = ("requests_per_second", "events_per_second", "volume_per_second")
DEMAND_METRICS = frozenset({*SERVICE_METRICS, "cpu_cores"})
_MIN_MINUTES = 2 * 1440 + 60  # the warm-up, and an hour to score


@dataclass(frozen=True, slots=True)
class ServiceDemand:
    """What a service had to serve.

    Attributes:
        metric: what was measured.
        world: it, minute by minute; minutes without a sample have none.
    """

    metric: str
    world: SimulatedDemand


def demand_of(snapshot: WorkloadSnapshot) -> ServiceDemand:
    """Finds the demand: requests, events or volume per second, or else the CPU used by all pods.

    Samples further apart than a minute are held until the next is due; where none is due and none is there,
    there was no demand (a closed market has no bars).

    Args:
        snapshot: on a grid of one minute.

    Raises:
        NoDataError: none of the metrics, or too short a history.
    """
    name = snapshot.workload.service_name
    metric, values = _measured(snapshot)
    present = np.flatnonzero(np.isfinite(values))
    if present.size < 2 or not np.nansum(values):
        raise NoDataError(
            f"{name} has no demand to scale for.",
            field="service",
            remedy=f"It needs one of {', '.join(sorted(DEMAND_METRICS))}.",
        )
    step = _native_step(present)
    begin, end = int(present[0]), int(present[-1]) + step
    if end - begin < _MIN_MINUTES:
        raise NoDataError(
            f"{name} has {(end - begin) / 60:.0f} h of {metric}; two days pass before anything is scored.",
            field="service",
            remedy="Give a longer period.",
        )
    demand = np.zeros(end - begin)
    for minute in range(step):
        demand[present - begin + minute] = values[present]
    first = int(snapshot.grid.start.timestamp()) // 60 + begin
    return ServiceDemand(metric, SimulatedDemand.of_eight(demand, step_minutes=step, first_minute=first))


def _measured(snapshot: WorkloadSnapshot) -> tuple[str, Array]:
    for metric in SERVICE_METRICS:
        if metric in snapshot.service and np.isfinite(snapshot.service[metric]).any():
            return metric, snapshot.service[metric]
    rows = [s.values for name in snapshot.containers if (s := snapshot.series(name, "cpu_cores"))]
    if not rows:
        return "cpu_cores", np.full(snapshot.grid.size, np.nan)
    stacked = np.concatenate(rows)
    some = np.isfinite(stacked).any(axis=0)
    return "cpu_cores", np.where(some, np.where(np.isfinite(stacked), stacked, 0.0).sum(axis=0), np.nan)


def _native_step(present: NDArray[np.intp]) -> int:
    """Returns the usual distance of samples in minutes: the largest divisor of a day up to the commonest."""
    distances = np.diff(present)
    commonest = int(np.bincount(np.minimum(distances, 60)).argmax())
    return next(step for step in range(commonest, 0, -1) if 1440 % step == 0)
