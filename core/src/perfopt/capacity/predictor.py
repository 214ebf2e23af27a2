"""The service as the model sees it at its busy and at its ordinary load, under other limits or replicas."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from perfopt.capacity.history import ReplicaHistory
from perfopt.capacity.latency import UNLIMITED_CORES, LatencyModel
from perfopt.capacity.law import ReplicaLoad
from perfopt.metrics.snapshot import Array

Bools = NDArray[np.bool_]

BUSY = 0.95  # share of the requests that come at no more than the busy load
# A move is made only to what is predicted to meet the objective with this margin, which was chosen on a
# testbed of five services (docs/research/latency.md).
MARGIN = 1.3
BUSIEST = 0.9  # of the limit, at the busy load: beyond, a backlog grows whenever a little more comes
_QUIET = 0.02


@dataclass(frozen=True, slots=True)
class LatencyPredictor:
    """A latency model with the load that it predicts for.

    Attributes:
        model: of one part of a replica.
        parts: of a replica.
        quantile: of the objective.
        busy_rate, usual_rate: requests per second of a replica: 95 % and half of the requests came at no
            more.
        limit_cores: in force.
        replicas: that run.
    """

    model: LatencyModel
    parts: int
    quantile: float
    busy_rate: float
    usual_rate: float
    limit_cores: float
    replicas: float

    def points_ms(self, rates: Array, limits: Array) -> Array:
        """Returns the latency in ms of replicas at pairs of a rate and a limit."""
        cpu = np.minimum(rates * self.model.cpu_seconds_per_request, limits)
        load = ReplicaLoad(
            rates / self.parts, cpu / self.parts, limits / self.parts, np.array(self.model.window_seconds)
        )
        return self.model.latency_ms(load, self.quantile)

    def latency_ms(self, limits: Array | float) -> Array:
        """Returns the busy latency in ms at increasing limits of a replica, never rising with the limit."""
        points = np.atleast_1d(np.asarray(limits, dtype=np.float64))
        return np.minimum.accumulate(self.points_ms(np.full(points.size, self.busy_rate), points))

    def utilisation(self, limits: Array) -> Array:
        """Returns the share of the limits that the busy load uses, above 1 where it is more."""
        return self.busy_rate * self.model.cpu_seconds_per_request / limits

    def meets(self, replicas: Array, limits: Array, target_ms: float) -> tuple[Bools, Array]:
        """Returns which pairs of a number of replicas and a limit are predicted to meet an objective.

        At the busy load, with MARGIN and no more than BUSIEST of the limit used; and the latency in
        ms that is predicted of each.
        """
        rates = self.busy_rate * self.replicas / replicas
        used = rates * self.model.cpu_seconds_per_request / limits
        busy = self.points_ms(rates, limits)
        met: Bools = (busy * MARGIN <= target_ms) & (used <= BUSIEST)
        return met, busy

    @property
    def any_cores(self) -> float:
        """A limit that is none: the largest the model knows."""
        return max(UNLIMITED_CORES * self.parts, self.limit_cores)

    def current_and_unlimited_ms(self) -> tuple[float, float]:
        """Returns the busy latency in ms, as it is and without a quota."""
        now, free = self.latency_ms(np.array([self.limit_cores, self.any_cores])).tolist()
        return now, free

    def without_quota_and_alone_ms(self) -> tuple[float, float]:
        """Returns the latency in ms without a quota, at the busy load and of a request alone."""
        rates = np.array([self.busy_rate, _QUIET * self.busy_rate])
        busy, alone = self.points_ms(rates, np.full(2, self.any_cores)).tolist()
        return busy, min(alone, busy)

    def with_any_threads(self) -> "LatencyPredictor":
        """Returns the same service with more threads than it could need."""
        return replace(self, model=self.model.without_thread_limit())


def latency_predictor(
    history: ReplicaHistory, model: LatencyModel, quantile: float, recent: slice
) -> LatencyPredictor | None:
    """Returns the predictor for a load like the history's; None where `recent` steps had no requests."""
    lately = history.rate[recent]
    if not (np.isfinite(lately) & (lately > 0)).any():
        return None
    ordered = np.sort(history.rate[np.isfinite(history.rate) & (history.rate > 0)])
    reached = np.cumsum(ordered)
    usual, busy = ordered[np.searchsorted(reached, reached[-1] * np.array([0.5, BUSY]))].tolist()
    return LatencyPredictor(
        model=model,
        parts=history.parts,
        quantile=quantile,
        busy_rate=busy,
        usual_rate=usual,
        limit_cores=float(history.limit_cores[-1]),
        replicas=float(history.replicas[-1]),
    )
