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


def raised_limit(predictor: LatencyPredictor, target_ms: float) -> LatencyRemedy | None:
    """Returns the smallest limit above the present that keeps the objective, if any does."""
    most = max(UNLIMITED_CORES * predictor.parts, 2 * predictor.limit_cores)
    return _first(
        predictor, target_ms, np.geomspace(predictor.limit_cores * (1 + _SMALLEST_MOVE), most, _LIMITS)
    )


def least_limit(predictor: LatencyPredictor, target_ms: float) -> LatencyRemedy | None:
    """Returns the smallest limit below the present that keeps the objective, if one is worth the move."""
    limits = np.geomspace(0.1 * predictor.limit_cores, (1 - _SMALLEST_MOVE) * predictor.limit_cores, _LIMITS)
    return _first(predictor, target_ms, limits)


def more_replicas(predictor: LatencyPredictor, target_ms: float) -> LatencyRemedy | None:
    """Returns the fewest more replicas that keep the objective, if up to three times as many do."""
    now = max(round(predictor.replicas), 1)
    counts = np.unique(np.round(np.geomspace(now + 1, max(_MAX_REPLICAS * now, now + 2), 8)))
    meets, predicted = predictor.meets(counts, np.full(counts.size, predictor.limit_cores), target_ms)
    good = np.flatnonzero(meets)
    if not good.size:
        return None
    first = int(good[0])
    return LatencyRemedy(float(predicted[first]), replicas=int(counts[first]))


def _first(predictor: LatencyPredictor, target_ms: float, limits: Array) -> LatencyRemedy | None:
    rounded = np.unique(np.ceil(limits * MILLICORES / 10) * 10 / MILLICORES)
    rounded = rounded[rounded >= 0.01]
    if not rounded.size:
        return None
    predicted = predictor.latency_ms(rounded)
    good = np.flatnonzero((predicted * MARGIN <= target_ms) & (predictor.utilisation(rounded) <= BUSIEST))
    if not good.size or not math.isfinite(target_ms):
        return None
    first = int(good[0])
    return LatencyRemedy(float(predicted[first]), limit_cores=float(rounded[first]))
