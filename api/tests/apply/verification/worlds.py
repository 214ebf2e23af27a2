"""Small pod histories with known rates, for tests of verification."""

from datetime import UTC, datetime, timedelta

import numpy as np

from perfopt.metrics.pods import LatencyHistogram, PodHistory
from perfopt.metrics.snapshot import Array, TimeGrid

BOUNDS = np.array([0.05, 0.1, 0.25, 0.5, 1.0])
START = datetime(2026, 3, 2, tzinfo=UTC)


def history(
    slow: Array | float = 0.05,
    *,
    pods: int = 6,
    steps: int = 300,
    requests: float = 300.0,
    failed: Array | float = 0.0002,
    throttled: Array | float = 0.02,
    seed: int = 0,
) -> PodHistory:
    """Returns pods of equal load: shares of slow (over 250 ms) and failed requests, and of throttled periods.

    Args:
        slow, failed, throttled: for all pods and steps, or of a shape that broadcasts to (pods, steps).
        pods: how many, named a, b, c...
        steps: minutes.
        requests: of a pod and minute, on average.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    shape = pods, steps
    served = rng.poisson(requests, shape)
    over = rng.binomial(served, np.broadcast_to(slow, shape))
    noise = rng.normal(0, 0.01, shape)
    within = np.stack([served - over - (served - over) // 2, *[served - over] * 2, served, served], axis=2)
    return PodHistory(
        grid=TimeGrid(START, timedelta(minutes=1), steps),
        pods=tuple("abcdefghijklmnopqrstuvwxyz"[:pods]),
        requests=served.astype(float),
        failed=rng.binomial(served, np.broadcast_to(failed, shape)).astype(float),
        latency=LatencyHistogram(BOUNDS, within.astype(float)),
        levels={"cpu_throttled_fraction": np.clip(np.broadcast_to(throttled, shape) + noise, 0, 1)},
    )


def from_step(
    value: float, otherwise: float, *, pods: int = 6, changed: int = 1, steps: int = 300, at: int = 270
) -> Array:
    """Returns one value for the first pods from a step on and another elsewhere, shape (pods, steps)."""
    values = np.full((pods, steps), otherwise)
    values[:changed, at:] = value
    return values
