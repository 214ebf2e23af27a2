"""The service as the model sees it at its busy and at its ordinary load, under other limits or replicas."""

from dataclasses import dataclass, replace

import numpy as np

from perfopt.capacity import LatencyModel
from perfopt.capacity.latency import UNLIMITED_CORES
from perfopt.plugin import Array
from perfopt_latency.history import History

BUSY = 0.95  # share of the steps whose load is at most the busy load
_QUIET = 0.02


@dataclass(frozen=True, slots=True)
class Outlook:
    """A model with the load that it is asked about.

    Attributes:
        model: of one part of a replica.
        parts: of a replica.
        quantile: of the objective.
        busy_rate, usual_rate: requests per second of a replica: at the busy load, and where half of the
            requests came at no more.
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

    def latency_ms(self, limits: Array | float, *, rate: float | None = None) -> Array:
        """Returns the latency in ms at limits of a replica, never rising with the limit."""
        asked = np.atleast_1d(np.asarray(limits, dtype=np.float64))
        load = self.model.load((self.busy_rate if rate is None else rate) / self.parts, asked / self.parts)
        order = np.argsort(asked)
        found = np.empty(asked.size)
        found[order] = np.minimum.accumulate(self.model.latency_ms(load, self.quantile)[order])
        return found

    def utilisation(self, limits: Array) -> Array:
        """Returns the share of the limits that the busy load uses, above 1 where it is more."""
        return self.busy_rate * self.model.cpu_seconds_per_request / limits

    def with_replicas_ms(self, replicas: Array) -> Array:
        """Returns the busy latency in ms with so many replicas at the limit in force."""
        rates = self.busy_rate * self.replicas / replicas
        return np.array([float(self.latency_ms(self.limit_cores, rate=rate)[0]) for rate in rates])

    def with_any_cpu_ms(self) -> float:
        """Returns the busy latency in ms without a quota."""
        return float(self.latency_ms(max(UNLIMITED_CORES * self.parts, self.limit_cores))[0])

    def with_any_threads(self) -> "Outlook":
        """Returns the same service with more threads than it could need."""
        return replace(self, model=self.model.without_thread_limit())

    def alone_ms(self) -> float:
        """Returns the latency in ms of a request that meets no other and no quota."""
        free = self.with_any_threads()
        return float(free.latency_ms(UNLIMITED_CORES * self.parts, rate=_QUIET * self.busy_rate)[0])


def outlook(history: History, model: LatencyModel, quantile: float, recent: slice) -> Outlook | None:
    """Returns the outlook for a load like that of the `recent` steps; None where they had no requests."""
    rate = history.rate[recent]
    rate = rate[np.isfinite(rate) & (rate > 0)]
    if not rate.size:
        return None
    ordered = np.sort(rate)
    reached = np.cumsum(ordered)
    return Outlook(
        model=model,
        parts=history.parts,
        quantile=quantile,
        busy_rate=float(np.quantile(rate, BUSY)),
        usual_rate=float(ordered[np.searchsorted(reached, reached[-1] / 2)]),
        limit_cores=float(history.limit_cores[-1]),
        replicas=float(history.replicas[-1]),
    )
