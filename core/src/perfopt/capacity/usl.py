"""The Universal Scalability Law: throughput against requests in service."""

import math
from dataclasses import dataclass

import numpy as np

from perfopt.metrics.snapshot import Array

_MIN_POINTS = 6


@dataclass(frozen=True, slots=True)
class ScalabilityLaw:
    """X(N) = rate_alone N / (1 + contention (N - 1) + coherency N (N - 1)) (Gunther 2007, chapter 4).

    Attributes:
        rate_alone: requests per second with one request in service.
        contention: share of the work that requests wait for each other with.
        coherency: cost of each pair of requests in service.
    """

    rate_alone: float
    contention: float
    coherency: float

    def throughput(self, concurrency: Array) -> Array:
        """Returns requests per second with so many requests in service."""
        others = concurrency - 1
        slowed = 1 + self.contention * others + self.coherency * concurrency * others
        rate: Array = self.rate_alone * concurrency / slowed
        return rate

    @property
    def best_concurrency(self) -> float:
        """Requests in service at which throughput peaks; infinite without coherency cost."""
        if self.coherency <= 0:
            return math.inf
        return math.sqrt(max(1 - self.contention, 0.0) / self.coherency)


def fit_usl(throughput: Array, concurrency: Array) -> ScalabilityLaw | None:
    """Fits the law by least squares of N / X, which is linear in it; None where that is not determined.

    Args:
        throughput: requests per second, shape (n,).
        concurrency: requests in service: throughput x mean latency by Little's law, shape (n,).
    """
    good = np.isfinite(throughput) & np.isfinite(concurrency) & (throughput > 0) & (concurrency > 0)
    rate, busy = throughput[good], concurrency[good]
    if rate.size < _MIN_POINTS or busy.max() < 1.3 * busy.min():
        return None
    columns = np.stack([np.ones_like(busy), busy - 1, busy * (busy - 1)], -1)
    alone, contention, coherency = _non_negative(columns * (rate / busy)[:, None])
    if alone <= 0:
        return None
    return ScalabilityLaw(1 / alone, contention / alone, coherency / alone)


def _non_negative(columns: Array) -> tuple[float, float, float]:
    """Solves columns @ x = 1 with x >= 0, leaving out the terms that come out negative."""
    chosen = [0, 1, 2]
    while chosen:
        solution = np.linalg.lstsq(columns[:, chosen], np.ones(len(columns)), rcond=None)[0]
        if (solution >= 0).all():
            full = dict(zip(chosen, solution.tolist(), strict=True))
            return full.get(0, 0.0), full.get(1, 0.0), full.get(2, 0.0)
        chosen.remove(chosen[int(np.argmin(solution))])
    return 0.0, 0.0, 0.0
