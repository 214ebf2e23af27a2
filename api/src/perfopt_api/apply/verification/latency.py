"""From which latency on requests are counted as slow, and how many more of them are too many. Pure."""

from dataclasses import dataclass

import numpy as np

from perfopt.metrics.pods import LatencyHistogram
from perfopt.metrics.snapshot import Array

TAIL_SHARE, BODY_SHARE = 0.01, 0.1
"""Requests counted as slow: the bounds nearest to p99, where objectives lie, and p90, which moves sooner."""

_FEWEST = 30.0  # slow requests in the past, or the bound tells nothing
_LARGEST_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class SlowBound:
    """A latency from which on a request is slow.

    Attributes:
        seconds: a bound of the histogram's buckets.
        share: of the requests of the past that took longer.
        margin: the log of how many times as many are slow once every request takes longer by the margin.
    """

    seconds: float
    share: float
    margin: float


def slow_bounds(past: LatencyHistogram, requests: Array, latency_increase: float) -> tuple[SlowBound, ...]:
    """Returns the bounds of the buckets that requests are counted over: none, one or two.

    Where all requests take longer by a factor, those over b are those that were over b / factor before; that
    share is read off the histogram of the past, log-linear between two bounds.

    Args:
        past: the histogram before the change.
        requests: served in its steps, shape (pods, steps).
        latency_increase: the increase of latency that is accepted: 0.1 is a tenth.
    """
    total = float(np.nansum(requests))
    if total <= 0:
        return ()
    over = np.clip(total - np.nansum(past.within, axis=(0, 1)), 0.0, total) / total
    fit = (over * total >= _FEWEST) & (over <= _LARGEST_SHARE)
    if not fit.any():
        return ()
    candidates = np.flatnonzero(fit)
    chosen = {
        int(candidates[np.abs(np.log(over[candidates] / share)).argmin()])
        for share in (TAIL_SHARE, BODY_SHARE)
    }
    bounds = []
    for at in sorted(chosen, reverse=True):
        before = _share_over(past.bounds[at] / (1 + latency_increase), past.bounds, over)
        margin = float(np.log(max(before / over[at], 1.0)))
        bounds.append(SlowBound(float(past.bounds[at]), float(over[at]), max(margin, latency_increase)))
    return tuple(bounds)


def _share_over(latency: float, bounds: Array, over: Array) -> float:
    """Returns the share of requests that took longer than a latency, between bounds log-linear in it."""
    known = over > 0
    return float(np.exp(np.interp(np.log(latency), np.log(bounds[known]), np.log(over[known]), left=0.0)))


def slow(histogram: LatencyHistogram, requests: Array, bound_seconds: float) -> Array:
    """Returns how many requests took longer than a bound, shape (pods, steps), NaN where unknown."""
    at = int(np.abs(histogram.bounds - bound_seconds).argmin())
    result: Array = np.maximum(requests - histogram.within[:, :, at], 0.0)
    return result
