"""From which latency on requests are counted as slow, and how many more of them are too many. Pure."""

from dataclasses import dataclass

import numpy as np

from perfopt.metrics.pods import LatencyHistogram
from perfopt.metrics.snapshot import Array

TAIL_SHARE, BODY_SHARE = 0.01, 0.1
"""Requests counted as slow: the bounds nearest to p99, where objectives lie, and p90, which moves sooner."""

_FEWEST = 30.0  # slow requests in the past, or the bound tells nothing
_LARGEST_SHARE = 0.5
_NEEDED = 4.0  # standard errors from no harm to the margin, for a bound to decide by the deadline


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


def slow_bounds(
    past: LatencyHistogram, requests: Array, latency_increase: float, expected: float = np.inf
) -> tuple[SlowBound, ...]:
    """Returns the bounds of the buckets that requests are counted over: none, one or two.

    Of the bounds that enough requests will be over to decide by the deadline, those nearest to p99 and p90.

    Where all requests take longer by a factor, those over b are those that were over b / factor before; that
    share is read off the histogram of the past, log-linear between two bounds.

    Args:
        past: the histogram before the change.
        requests: served in its steps, shape (pods, steps).
        latency_increase: the increase of latency that is accepted: 0.1 is a tenth.
        expected: requests until the deadline, c k / (c + k) of c by the canary and k by the control.
    """
    total = float(np.nansum(requests))
    if total <= 0:
        return ()
    over = np.clip(total - np.nansum(past.within, axis=(0, 1)), 0.0, total) / total
    fit = (over * total >= _FEWEST) & (over <= _LARGEST_SHARE)
    if not fit.any():
        return ()
    candidates = [_slow_bound(int(at), past.bounds, over, latency_increase) for at in np.flatnonzero(fit)]
    decide = [one for one in candidates if one.margin * np.sqrt(one.share * expected) >= _NEEDED]
    chosen = {
        min(decide or candidates, key=lambda one: abs(np.log(one.share / share)))
        for share in (TAIL_SHARE, BODY_SHARE)
    }
    return tuple(sorted(chosen, key=lambda one: -one.seconds))


def _slow_bound(at: int, bounds: Array, over: Array, latency_increase: float) -> SlowBound:
    before = _share_over(bounds[at] / (1 + latency_increase), bounds, over)
    margin = float(np.log(max(before / over[at], 1.0)))
    return SlowBound(float(bounds[at]), float(over[at]), max(margin, latency_increase))


def _share_over(latency: float, bounds: Array, over: Array) -> float:
    """Returns the share of requests that took longer than a latency: log-linear in it between bounds.

    Below the first bound it goes on as between the first two.
    """
    known = over > 0
    at, share = np.log(bounds[known]), np.log(over[known])
    if latency < bounds[known][0]:
        slope = (share[1] - share[0]) / (at[1] - at[0]) if at.size > 1 else 0.0
        return float(np.exp(min(share[0] + slope * (np.log(latency) - at[0]), 0.0)))
    return float(np.exp(np.interp(np.log(latency), at, share)))


def slow(histogram: LatencyHistogram, requests: Array, bound_seconds: float) -> Array:
    """Returns how many requests took longer than a bound, shape (pods, steps), NaN where unknown."""
    at = int(np.abs(histogram.bounds - bound_seconds).argmin())
    result: Array = np.maximum(requests - histogram.within[:, :, at], 0.0)
    return result
