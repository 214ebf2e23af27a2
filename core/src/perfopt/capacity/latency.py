"""The latency model of one service: its quantiles at any load and CPU limit."""

from dataclasses import dataclass, replace

import numpy as np

from perfopt.capacity.law import LEVELS, ReplicaLoad, ServiceParameters
from perfopt.capacity.residual import LatencyResidual
from perfopt.capacity.surrogate import LatencySurrogate
from perfopt.metrics.snapshot import Array

UNLIMITED_CORES = 3.0  # the largest limit the surrogate has seen stands for none
MANY_THREADS = 64.0


@dataclass(frozen=True, slots=True)
class LatencyModel:
    """Services that explain what was observed, weighed by their posterior probability.

    Attributes:
        service: a batch of shape (candidates, 1).
        weights: of the candidates, summing to 1.
        cpu_seconds_per_request: CPU that a request needs.
        window_seconds: of the windows it was identified on, whose quantiles it predicts.
        seen_rate: least and most requests per second of a replica that it was identified on.
        surrogate: gives the quantiles of a candidate.
        residual: what production adds; None is nothing.
    """

    service: ServiceParameters
    weights: Array
    cpu_seconds_per_request: float
    window_seconds: float
    seen_rate: tuple[float, float]
    surrogate: LatencySurrogate
    residual: LatencyResidual | None = None

    def with_residual(self, residual: LatencyResidual | None) -> "LatencyModel":
        """Returns the model with another residual."""
        return replace(self, residual=residual)

    def load(
        self, rate: float, limit_cores: Array | float, window_seconds: float | None = None
    ) -> ReplicaLoad:
        """Returns what a replica is under at a rate and at limits."""
        limits = np.atleast_1d(np.asarray(limit_cores, dtype=np.float64))
        cpu = np.minimum(rate * self.cpu_seconds_per_request, limits)
        return ReplicaLoad(
            np.full(limits.shape, max(rate, 1e-3)),
            cpu,
            limits,
            np.asarray(window_seconds or self.window_seconds),
        )

    def quantiles(self, load: ReplicaLoad) -> Array:
        """Returns latency in seconds at LEVELS, shape (loads, 4), non-decreasing in the level."""
        logs = np.tensordot(self.weights, self._candidates(load), axes=1)
        if self.residual is not None:
            logs = logs + self.residual.at(load.utilisation)
        seconds: Array = np.maximum.accumulate(np.exp(logs), axis=-1)
        return seconds

    def latency_ms(self, load: ReplicaLoad, quantile: float) -> Array:
        """Returns latency in ms at one quantile, between LEVELS linearly in its logarithm."""
        logs = np.log(self.quantiles(load))
        at = np.interp(quantile, LEVELS, np.arange(len(LEVELS)))
        below = min(int(at), len(LEVELS) - 2)
        mixed = logs[:, below] + (at - below) * (logs[:, below + 1] - logs[:, below])
        milliseconds: Array = 1000 * np.exp(mixed)
        return milliseconds

    def throttled(self, load: ReplicaLoad) -> Array:
        """Returns the share of throttled periods, shape (loads,)."""
        doubled = np.tensordot(self.weights, self.surrogate.predict(self.service, load)[..., -1], axes=1)
        return np.clip(doubled / 2, 0.0, 1.0)

    def without_thread_limit(self) -> "LatencyModel":
        """Returns the same service with more threads than it could need."""
        return replace(
            self, service=replace(self.service, threads=np.full_like(self.service.threads, MANY_THREADS))
        )

    @property
    def threads(self) -> float:
        """How many requests are in service at once, at most: weighted geometric mean of the candidates."""
        return float(np.exp(self.weights @ np.log(self.service.threads[:, 0])))

    @property
    def wait_seconds(self) -> float:
        """How long a request waits downstream."""
        return float(self.weights @ self.service.wait_seconds[:, 0])

    def _candidates(self, load: ReplicaLoad) -> Array:
        return self.surrogate.predict(self.service, load)[..., :-1]
