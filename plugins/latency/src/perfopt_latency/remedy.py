"""What it takes to keep the objective: the smallest limit that is predicted to, else the fewest replicas."""

import math
from dataclasses import dataclass

import numpy as np

from perfopt.capacity import BUSIEST, MARGIN, LatencyPredictor
from perfopt.capacity.latency import UNLIMITED_CORES
from perfopt.plugin import Array

_LIMITS = 24
_SMALLEST_MOVE = 0.1
_MAX_REPLICAS = 3.0  # times those that run
MILLICORES = 1000


@dataclass(frozen=True, slots=True)
class LatencyRemedy:
    """A state that is predicted to keep the objective; None is what there is.

    Attributes:
        busy_ms: the latency predicted at the busy load.
    """

    busy_ms: float
    limit_cores: float | None = None
    replicas: int | None = None


def raised_limit(found: LatencyPredictor, target_ms: float) -> LatencyRemedy | None:
    """Returns the smallest limit above the present that keeps the objective, if any does."""
    most = max(UNLIMITED_CORES * found.parts, 2 * found.limit_cores)
    return _first(found, target_ms, np.geomspace(found.limit_cores * (1 + _SMALLEST_MOVE), most, _LIMITS))


def least_limit(found: LatencyPredictor, target_ms: float) -> LatencyRemedy | None:
    """Returns the smallest limit below the present that keeps the objective, if one is worth the move."""
    limits = np.geomspace(0.1 * found.limit_cores, (1 - _SMALLEST_MOVE) * found.limit_cores, _LIMITS)
    return _first(found, target_ms, limits)


def more_replicas(found: LatencyPredictor, target_ms: float) -> LatencyRemedy | None:
    """Returns the fewest more replicas that keep the objective, if up to three times as many do."""
    now = max(round(found.replicas), 1)
    counts = np.unique(np.round(np.geomspace(now + 1, max(_MAX_REPLICAS * now, now + 2), 8)))
    kept, predicted = found.meets(counts, np.full(counts.size, found.limit_cores), target_ms)
    good = np.flatnonzero(kept)
    if not good.size:
        return None
    first = int(good[0])
    return LatencyRemedy(float(predicted[first]), replicas=int(counts[first]))


def _first(found: LatencyPredictor, target_ms: float, limits: Array) -> LatencyRemedy | None:
    rounded = np.unique(np.ceil(limits * MILLICORES / 10) * 10 / MILLICORES)
    rounded = rounded[rounded >= 0.01]
    if not rounded.size:
        return None
    predicted = found.latency_ms(rounded)
    good = np.flatnonzero((predicted * MARGIN <= target_ms) & (found.utilisation(rounded) <= BUSIEST))
    if not good.size or not math.isfinite(target_ms):
        return None
    first = int(good[0])
    return LatencyRemedy(float(predicted[first]), limit_cores=float(rounded[first]))
