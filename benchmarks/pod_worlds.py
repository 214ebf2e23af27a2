"""Simulated pods of one workload: load with bursts, latency that drifts, pods that differ."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
from scipy.special import ndtr

from perfopt.metrics.pods import LatencyHistogram, PodHistory
from perfopt.metrics.snapshot import Array, TimeGrid

BOUNDS = np.array([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0])
"""The default buckets of Prometheus' client libraries, in seconds."""

_STEP = timedelta(minutes=1)
_START = datetime(2026, 3, 2, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class PodWorld:
    """A workload of which each pod takes its share of one load.

    Attributes:
        pods: how many.
        requests_per_second: of all pods together, on average.
        differ: standard deviation of the log of how much slower one pod is than another, always.
        drift: standard deviation of the log by which a pod's latency wanders on its own, in an hour or so.
        bursts: a day, in which the load is 2 to 5 times as high for some minutes, and everything slower.
        pauses: a day and pod, in which one pod is 3 times as slow for a minute or two.
        spread: standard deviation of the log of a request's latency.
    """

    pods: int = 10
    requests_per_second: float = 50.0
    differ: float = 0.05
    drift: float = 0.03
    bursts: float = 12.0
    pauses: float = 4.0
    spread: float = 0.7

    def history(self, steps: int, rng: np.random.Generator, slower: Array | None = None) -> PodHistory:
        """Returns what such pods did.

        Args:
            steps: minutes.
            rng: of all that is drawn.
            slower: factor on the latency, shape (pods, steps); None is 1 throughout.
        """
        grid = TimeGrid(_START, _STEP, steps)
        load = self._load(steps, rng)
        weight = rng.dirichlet(np.full(self.pods, 200.0))[:, None]
        requests = rng.poisson(weight * load * 60.0).astype(float)
        median = np.log(0.06) + 0.25 * np.log(load / self.requests_per_second).clip(-1)
        median = median + wander(steps, 30.0, 0.08, rng) + self._own(steps, rng)
        if slower is not None:
            median = median + np.log(slower)
        within = _counts(requests, median, self.spread, rng)
        busy = 0.02 * np.exp(self._own(steps, rng)) * (load / self.requests_per_second)
        throttled = np.clip(busy * rng.gamma(4.0, 0.25, busy.shape), 0.0, 1.0)
        failing = np.clip(0.0003 * np.exp(wander(steps, 10.0, 0.8, rng)), 0.0, 0.2)
        return PodHistory(
            grid=grid,
            pods=tuple(f"pod-{at}" for at in range(self.pods)),
            requests=requests,
            failed=rng.binomial(requests.astype(int), failing).astype(float),
            latency=LatencyHistogram(BOUNDS, within),
            levels={"cpu_throttled_fraction": throttled},
        )

    def _load(self, steps: int, rng: np.random.Generator) -> Array:
        minutes = np.arange(steps)
        load = self.requests_per_second * (1 + 0.5 * np.sin(2 * np.pi * minutes / 1440))
        load = load * np.exp(wander(steps, 20.0, 0.15, rng))
        for begin in np.flatnonzero(rng.random(steps) < self.bursts / 1440):
            length = int(rng.integers(3, 15))
            load[begin : begin + length] *= rng.uniform(2, 5)
        return load

    def _own(self, steps: int, rng: np.random.Generator) -> Array:
        own = np.stack([wander(steps, 60.0, self.drift, rng) for _ in range(self.pods)])
        own = own + rng.normal(0.0, self.differ, (self.pods, 1))
        pauses = rng.random(own.shape) < self.pauses / 1440
        pauses[:, 1:] |= pauses[:, :-1] & (rng.random(pauses[:, 1:].shape) < 0.5)
        result: Array = own + np.log(3.0) * pauses
        return result

    def quiet(self) -> "PodWorld":
        """Returns the same without bursts, pauses, drift, and differences between pods."""
        return replace(self, differ=0.0, drift=0.0, bursts=0.0, pauses=0.0)


def wander(steps: int, minutes: float, deviation: float, rng: np.random.Generator) -> Array:
    """Returns a stationary first-order autoregression, shape (steps,).

    Args:
        steps: minutes.
        minutes: after which its autocorrelation has fallen to 1 / e.
        deviation: its standard deviation.
        rng: of its innovations.
    """
    keep = np.exp(-1 / minutes)
    noise = rng.normal(0.0, deviation * np.sqrt(1 - keep**2), steps)
    values = np.empty(steps)
    last = rng.normal(0.0, deviation)
    for at in range(steps):
        last = keep * last + noise[at]
        values[at] = last
    return values


def _counts(requests: Array, median: Array, spread: float, rng: np.random.Generator) -> Array:
    """Draws how many requests were answered within each bound: lognormal latencies about a log median."""
    within = np.empty((*requests.shape, BOUNDS.size))
    left, done, before = requests.astype(int), np.zeros(requests.shape, dtype=int), np.zeros(requests.shape)
    for at, bound in enumerate(BOUNDS):
        share = ndtr((np.log(bound) - median) / spread)
        drawn = rng.binomial(left, np.clip((share - before) / np.maximum(1 - before, 1e-12), 0, 1))
        done, left, before = done + drawn, left - drawn, share
        within[..., at] = done
    return within
