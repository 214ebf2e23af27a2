"""What is claimed of latency: predictions with intervals calibrated on the service's own past."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from perfopt.plugin import Array, Claim, realised_latency

MAX_INTERVAL = 0.25  # of the prediction, to either side: wider ones are not claimed
_MIN_WIDTH = 0.03
_STRIDES = 4  # windows a third of the history long, moved on by a quarter of their length
# The share of a predicted change of log latency that its interval reaches to either side: a stated constant.
CHANGE_ERROR = 0.4


@dataclass(frozen=True, slots=True)
class UsualLatency:
    """What the latency has been, and how much it moves by itself.

    Attributes:
        latency_ms: over the last window, as perfopt.plugin.realised_latency defines it.
        width: largest |log(latency of a window / of the window before)| in the history.
        pairs: how many such pairs there were: the interval holds in pairs of (pairs + 1) like them.
    """

    latency_ms: float
    width: float
    pairs: int


def usual(
    service: Mapping[str, Array], quantile: float, steps: int, validity_steps: int
) -> UsualLatency | None:
    """Measures how a window's latency predicted the next one's; None where the history does not allow it."""
    length = min(validity_steps, steps // 3)
    if length < 2 * _STRIDES:
        return None
    stride = length // _STRIDES
    ends = list(range(steps, length - 1, -stride))[: 3 * _STRIDES]
    realised = {end: realised_latency(_slice(service, end - length, end), quantile) for end in ends}
    last = realised[steps]
    ratios = [
        abs(np.log(after / before))
        for end, after in realised.items()
        if after and (before := realised.get(end - _STRIDES * stride))
    ]
    if last is None or len(ratios) < _STRIDES:
        return None
    return UsualLatency(last, max(float(max(ratios)), _MIN_WIDTH), len(ratios))


def claim(found: UsualLatency | None, target_ratio: float, gain_ratio: float) -> Claim:
    """Returns the claim of a move that multiplies latency by `target_ratio` (p99: by `gain_ratio`).

    Nothing is claimed where the interval would be wider than ±25 %.
    """
    gain = round(max(100 * (1 - gain_ratio), 0.0), 2)
    if found is None or np.expm1(found.width) > MAX_INTERVAL:
        return Claim(performance_gain_percent=gain)
    now = found.latency_ms
    current: dict[str, Any] = {"latency_now_ms": now, "latency_now_interval_ms": _interval(now, found.width)}
    width = float(np.hypot(found.width, CHANGE_ERROR * abs(np.log(target_ratio))))
    if np.expm1(width) > MAX_INTERVAL:
        return Claim(performance_gain_percent=gain, **current)
    target = now * target_ratio
    return Claim(
        latency_ms=round(target, 3),
        latency_interval_ms=_interval(target, width),
        performance_gain_percent=gain,
        **current,
    )


def _interval(centre: float, width: float) -> tuple[float, float]:
    return round(centre * float(np.exp(-width)), 3), round(centre * float(np.exp(width)), 3)


def _slice(service: Mapping[str, Array], begin: int, end: int) -> dict[str, Array]:
    names = ("requests_per_second", "latency_p50_ms", "latency_p90_ms", "latency_p95_ms", "latency_p99_ms")
    return {name: service[name][begin:end] for name in names if name in service}
