"""What production showed: windows of one replica, grouped by how busy it was."""

from dataclasses import dataclass

import numpy as np

from perfopt.capacity.law import ReplicaLoad
from perfopt.metrics.snapshot import Array

GROUPS = 8
BUSIEST = 0.97  # of the limit: beyond, a window is not a queue in balance but a backlog that grows
MIN_REQUESTS = 10  # in a window, or its quantiles say nothing


@dataclass(frozen=True, slots=True)
class GroupedObservations:
    """Windows grouped by utilisation, each value the mean of its group, busier groups later.

    Attributes:
        load: shape (groups,).
        log_latency: mean logarithm of the quantiles in seconds at LEVELS, shape (groups, 4); NaN where the
            source has no such quantile.
        throttled: share of throttled periods, shape (groups,); NaN where unknown.
        windows: how many are in each group.
    """

    load: ReplicaLoad
    log_latency: Array
    throttled: Array
    windows: Array

    @property
    def cpu_seconds_per_request(self) -> float:
        """CPU that a request needs, over all windows."""
        return float((self.load.cpu_cores * self.windows).sum() / (self.load.rate * self.windows).sum())

    @property
    def requests(self) -> float:
        """Requests in all windows."""
        return float((self.load.rate * self.load.window_seconds * self.windows).sum())


def observe(
    rate: Array,
    cpu_cores: Array,
    limit_cores: Array,
    latency_seconds: Array,
    throttled: Array,
    window_seconds: float,
) -> GroupedObservations | None:
    """Groups windows of one replica by utilisation; None where fewer than two groups can be filled.

    Windows at the limit, and the one after each, are left out: they show a backlog of earlier load.

    Args:
        rate: requests per second, shape (n,), NaN where missing as all of them.
        cpu_cores: used, shape (n,).
        limit_cores: the CPU limit, shape (n,).
        latency_seconds: quantiles at LEVELS, shape (n, 4).
        throttled: share of throttled periods, shape (n,).
        window_seconds: length of a window.
    """
    used = cpu_cores / limit_cores
    saturated = used >= BUSIEST
    after = np.concatenate([[False], saturated[:-1]])
    counts = (rate * window_seconds >= MIN_REQUESTS) & (cpu_cores > 0)
    keep = counts & ~saturated & ~after & np.isfinite(latency_seconds).any(axis=1) & np.isfinite(used)
    total = int(keep.sum())
    groups = min(GROUPS, total // 3)
    if groups < 2:
        return None
    order = np.argsort(used[keep], kind="stable")
    chunks = [np.flatnonzero(keep)[part] for part in np.array_split(order, groups)]
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(latency_seconds)

    def means(values: Array) -> Array:
        return np.array([_mean(values[chunk]) for chunk in chunks])

    return GroupedObservations(
        load=ReplicaLoad(means(rate), means(cpu_cores), means(limit_cores), np.asarray(window_seconds)),
        log_latency=means(logs),
        throttled=means(throttled),
        windows=np.array([float(chunk.size) for chunk in chunks]),
    )


def _mean(values: Array) -> Array:
    """Returns the mean over the first axis of what is finite, NaN without any."""
    finite = np.isfinite(values)
    if values.ndim == 1 and finite.all():
        return np.asarray(values.sum() / max(values.size, 1))
    count = finite.sum(axis=0)
    total = np.where(finite, values, 0.0).sum(axis=0)
    mean: Array = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean
