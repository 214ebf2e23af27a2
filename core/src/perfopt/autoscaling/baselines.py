"""Baselines' policies of horizontal scaling in the world of one-minute steps.

Each returns the replicas wanted in every minute from the demand of earlier minutes only: an autoscaler sees
the mean of the minute before.
"""

import math
from collections import deque
from collections.abc import Sequence

import numpy as np

from perfopt.autoscaling.world import EDGE, Replicas, SimulatedDemand, replicas_for
from perfopt.metrics.snapshot import Array

TOLERANCE = 0.1
STABILISATION_MINUTES = 5
DAY_MINUTES = 1440
YESTERDAY_MARGIN = 3
PHPA_HISTORY = 6
_SMOOTHING = 0.9  # of level, trend and season: what PHPA's examples use


def hpa(world: SimulatedDemand, target: float, floor: Replicas | None = None) -> Replicas:
    """Returns what an HPA with default behaviour wants.

    desired = ceil(demand / (target × capacity)); within a tolerance of 10 % of what is ready it stays. The
    highest desire of the last five minutes counts.

    Args:
        world: the demand.
        target: utilisation, 0 to 1.
        floor: fewest replicas by minute; one otherwise.
    """
    demand, each = world.demand.tolist(), target * world.capacity
    least = [1] * len(demand) if floor is None else np.maximum(floor, 1).tolist()
    desires: deque[int] = deque(maxlen=STABILISATION_MINUTES)
    counts: list[int] = []
    running = ready = 0
    for minute, fewest in enumerate(least):
        seen = demand[max(minute - 1, 0)]
        desired = max(math.ceil(seen / each - EDGE), 1)
        if not counts:
            running = ready = desired
        desires.append(running if abs(seen / (each * ready) - 1) <= TOLERANCE else desired)
        running = max(max(desires), fewest)
        counts.append(running)
        ready = min(counts[-world.startup_minutes - 1 :])
    return np.array(counts)


def yesterday(world: SimulatedDemand, target: float, margin: int = 0) -> Replicas:
    """Returns what yesterday's demand would need from now until a replica started now is ready.

    Args:
        world: the demand.
        target: utilisation, 0 to 1.
        margin: minutes before and after that count as well: no day is punctual.
    """
    demand, ahead = world.demand, world.startup_minutes + margin
    past = np.r_[np.zeros(DAY_MINUTES + margin), demand, np.zeros(ahead)][: demand.size + margin + ahead]
    highest = np.lib.stride_tricks.sliding_window_view(past, margin + ahead + 1).max(axis=1)
    return replicas_for(highest, target * world.capacity)


def hpa_with_yesterday(world: SimulatedDemand, target: float) -> Replicas:
    """Returns what an HPA wants whose floor is what yesterday's demand, give or take, needs at its target."""
    return hpa(world, target, yesterday(world, target, YESTERDAY_MARGIN))


def seasonal_naive(world: SimulatedDemand, target: float) -> Replicas:
    """Returns what yesterday's demand needs, and nothing else; today's mean so far on the first day."""
    demand = world.demand
    so_far = np.cumsum(demand) / np.arange(1, demand.size + 1)
    first = replicas_for(np.r_[so_far[:1], so_far[:-1]], target * world.capacity)
    plan = yesterday(world, target)
    plan[:DAY_MINUTES] = first[:DAY_MINUTES]
    return np.maximum(plan, 1)


def phpa_linear(world: SimulatedDemand, target: float) -> Replicas:
    """Returns what the Predictive Horizontal Pod Autoscaler wants with its linear model.

    A line through the last six replica counts that an HPA calculated, read one start-up ahead; the larger of
    that and the HPA's own counts (decision type maximum), stabilised over five minutes.
    """
    counts = _calculated(world, target)
    return _stabilised(np.maximum(counts, _lines(counts, world.startup_minutes)))


def phpa_holt_winters(world: SimulatedDemand, target: float) -> Replicas:
    """Returns what the Predictive Horizontal Pod Autoscaler wants with additive Holt-Winters, one step ahead.

    All three smoothing parameters are 0.9 as in its examples, and the season is a day.
    """
    counts = _calculated(world, target)
    return _stabilised(np.maximum(counts, _holt_winters(counts.tolist())))


def _calculated(world: SimulatedDemand, target: float) -> Replicas:
    seen = np.r_[world.demand[:1], world.demand[:-1]]
    return np.maximum(replicas_for(seen, target * world.capacity), 1)


def _lines(counts: Replicas, ahead: int) -> Replicas:
    """Reads the line through each six counts `ahead` steps after the last."""
    padded = np.r_[np.repeat(counts[:1], PHPA_HISTORY - 1), counts].astype(np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(padded, PHPA_HISTORY)
    at = np.arange(PHPA_HISTORY) - (PHPA_HISTORY - 1) / 2
    slope = windows @ at / (at @ at)
    return _ceiling(windows.mean(axis=1) + slope * (at[-1] + ahead))


def _holt_winters(counts: Sequence[int]) -> Replicas:
    level, trend = float(counts[0]), 0.0
    season = [0.0] * DAY_MINUTES
    levels: list[float] = []
    for minute, count in enumerate(counts):
        phase = minute % DAY_MINUTES
        before = level
        level = _SMOOTHING * (count - season[phase]) + (1 - _SMOOTHING) * (level + trend)
        trend = _SMOOTHING * (level - before) + (1 - _SMOOTHING) * trend
        season[phase] = _SMOOTHING * (count - level) + (1 - _SMOOTHING) * season[phase]
        levels.append(level + trend + season[(minute + 1) % DAY_MINUTES])
    return _ceiling(np.array(levels))


def _ceiling(values: Array) -> Replicas:
    return np.maximum(np.ceil(values - EDGE), 1).astype(np.int64)


def _stabilised(counts: Replicas) -> Replicas:
    padded = np.r_[np.repeat(counts[:1], STABILISATION_MINUTES - 1), counts]
    return np.lib.stride_tricks.sliding_window_view(padded, STABILISATION_MINUTES).max(axis=1)
