"""What the latency of a service over a period was: one definition for those who predict it and who check."""

from collections.abc import Mapping

import numpy as np

from perfopt.metrics.need import SCORED_COVERAGE
from perfopt.metrics.snapshot import Array

_MEASURED = {0.5: "latency_p50_ms", 0.9: "latency_p90_ms", 0.95: "latency_p95_ms", 0.99: "latency_p99_ms"}


def latency_series(service: Mapping[str, Array], quantile: float) -> Array | None:
    """Returns the measured latency whose quantile is nearest, the higher of two as near; None without any.

    Args:
        service: workload-scoped metrics by name, as in a snapshot.
        quantile: of the objective, in (0, 1).
    """
    there = [level for level, name in _MEASURED.items() if name in service]
    if not there:
        return None
    nearest = min(there, key=lambda level: (round(abs(level - quantile), 9), -level))
    return service[_MEASURED[nearest]]


def realised_latency(service: Mapping[str, Array], quantile: float) -> float | None:
    """Returns the latency of a period in ms: the median, over its requests, of their step's quantile.

    Half of the requests fell into steps whose quantile was at most this. Without a rate of requests each
    step weighs the same. A step without requests has no latency worth the name and does not count.

    Args:
        service: workload-scoped metrics of the period.
        quantile: of the objective; the nearest measured one is taken.

    Returns:
        None where fewer than half of the steps have a latency, or no request was served in them.
    """
    values = latency_series(service, quantile)
    if values is None or not values.size:
        return None
    present = np.isfinite(values)
    rate = service.get("requests_per_second")
    weights = np.ones(values.size) if rate is None else np.where(np.isfinite(rate), rate, 0.0)
    idle = np.zeros(values.size, dtype=bool) if rate is None else rate == 0
    if (present | idle).mean() < SCORED_COVERAGE:
        return None
    present &= weights > 0
    return _weighted_median(values[present], weights[present]) if present.any() else None


def missed_share(service: Mapping[str, Array], quantile: float, target_ms: float) -> float:
    """Returns the share of a period's requests that came in steps whose quantile was above a target.

    Without a rate of requests each step weighs the same; 0 where no latency was measured.
    """
    values = latency_series(service, quantile)
    if values is None:
        return 0.0
    rate = service.get("requests_per_second")
    weights = np.ones(values.size) if rate is None else np.where(np.isfinite(rate), rate, 0.0)
    weights = np.where(np.isfinite(values), weights, 0.0)
    total = float(weights.sum())
    return float(weights[values > target_ms].sum()) / total if total > 0 else 0.0


def _weighted_median(values: Array, weights: Array) -> float:
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(reached, reached[-1] / 2)])
