"""What a workload serves in total: the CPU of all its replicas, and how many of them there were."""

import numpy as np

from perfopt.metrics.snapshot import Array, PodSeries, WorkloadSnapshot


def running_replicas(snapshot: WorkloadSnapshot) -> Array:
    """Returns how many replicas ran, shape (steps,), at least 1.

    Gaps of the record are carried forward; where nothing was recorded it is as many as run now.
    """
    now = float(max(snapshot.workload.state.replicas or 1, 1))
    recorded = snapshot.service.get("replicas")
    if recorded is None:
        return np.full(snapshot.grid.size, now)
    last = np.maximum.accumulate(np.where(np.isfinite(recorded), np.arange(recorded.size), -1))
    return np.maximum(np.where(last >= 0, recorded[last], now), 1.0)


def total_cores(snapshot: WorkloadSnapshot, replicas: Array) -> Array:
    """Returns the CPU of all containers of all replicas, shape (steps,), NaN where none is measured.

    Args:
        snapshot: the history.
        replicas: how many ran: the one nameless row of a file source is the use of each of them.
    """
    total = np.zeros(snapshot.grid.size)
    known = np.zeros(snapshot.grid.size, dtype=np.bool_)
    for name in snapshot.containers:
        series = snapshot.series(name, "cpu_cores")
        if series is not None:
            cores = _sum(series, replicas)
            known |= np.isfinite(cores)
            total += np.nan_to_num(cores)
    return np.where(known, total, np.nan)


def _sum(series: PodSeries, replicas: Array) -> Array:
    if series.pods == ("",):
        each: Array = series.values[0] * replicas
        return each
    present = np.isfinite(series.values)
    return np.where(present.any(axis=0), np.where(present, series.values, 0.0).sum(axis=0), np.nan)
