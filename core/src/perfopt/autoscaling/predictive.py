"""Replicas ahead of demand: as many as make the expected cost of violations and of spare capacity least.

For every minute the short-term forecast gives the probability that demand passes what r replicas carry. A
replica is added as long as the probability that it takes away is worth more than the replica: spare capacity
goes to the minutes where it buys most, instead of the same share everywhere. Replicas must be wanted a
start-up ahead, and are kept for five minutes around each need, as an HPA does by default. They are never
fewer than the last known minute would need, whatever the past lets expect.
"""

import numpy as np

from perfopt.autoscaling.world import FULL, ORACLE_UTILISATION, Replicas, SimulatedDemand, replicas_for
from perfopt.forecast.short_term import LEVELS, ShortTermForecasts, short_term_forecasts

LAG_MINUTES = 1  # demand is known when its minute is over
HOLD_MINUTES = 5
# Chances of any demand. Below the first one replica waits; below the second a violation weighs by the chance;
# above it a plan is made as for a minute that has demand: only those are scored.
MIN_CHANCE, UNLIKELY = 0.02, 0.3
# What a violated minute is worth, in minutes of all replicas that the mean demand needs.
VIOLATION_PENALTIES = {"critical": 50.0, "standard": 20.0, "batch": 10.0}


def forecast_demand(world: SimulatedDemand) -> ShortTermForecasts:
    """Returns what is expected of each sample of the demand when replicas for it must be asked for."""
    lead = -(-(LAG_MINUTES + world.startup_minutes) // world.step_minutes)
    samples = world.demand[:: world.step_minutes]
    return short_term_forecasts(samples, world.step_minutes, world.first_minute, lead)


def predictive(world: SimulatedDemand, price: float, forecasts: ShortTermForecasts | None = None) -> Replicas:
    """Returns the replicas wanted in each minute.

    Args:
        world: the demand; that of minute t is used from minute t + 1 on.
        price: what a violated minute is worth, in minutes of the replicas that the mean demand needs.
        forecasts: the forecasts of this world, where they are known already.
    """
    expected = forecast_demand(world) if forecasts is None else forecasts
    carries = FULL * world.capacity
    planned = _held(_needed(world, cheapest(expected, carries, price)), world.startup_minutes)
    seen = np.r_[np.zeros(LAG_MINUTES), world.demand][: world.demand.size]
    return np.maximum(planned, replicas_for(seen, carries))


def cheapest(expected: ShortTermForecasts, carries: float, price: float) -> Replicas:
    """Returns the replicas of least expected cost for each sample.

    Args:
        expected: the forecasts.
        carries: what one replica serves without a violation, in the unit of the demand.
        price: as in `predictive`.
    """
    replicas = np.maximum(replicas_for(expected.quantiles, carries), 1)
    usual = expected.scale / (ORACLE_UTILISATION * carries / FULL)
    likely = np.where(expected.chance < UNLIKELY, expected.chance, 1.0)
    cost = likely[:, None] * (1 - LEVELS)[None] * price + replicas / usual[:, None]
    best: Replicas = np.take_along_axis(replicas, cost.argmin(axis=1)[:, None], axis=1)[:, 0]
    return np.where(expected.chance >= MIN_CHANCE, best, 1)


def _needed(world: SimulatedDemand, replicas: Replicas) -> Replicas:
    """Returns the need by minute: once a sample is known in time, it is no longer guessed."""
    step = world.step_minutes
    by_minute = np.repeat(replicas, step)[: world.demand.size]
    within = np.arange(world.demand.size) % step
    known = np.maximum(replicas_for(world.demand, FULL * world.capacity), 1)
    return np.where(within >= LAG_MINUTES + world.startup_minutes, known, by_minute)


def _held(needed: Replicas, startup_minutes: int) -> Replicas:
    """Returns the highest need from now to a start-up ahead, and of the minutes just gone."""
    before = max(HOLD_MINUTES - startup_minutes - 1, 0)
    padded = np.concatenate([np.repeat(needed[:1], before), needed, np.repeat(needed[-1:], startup_minutes)])
    width = before + startup_minutes + 1
    held: Replicas = np.lib.stride_tricks.sliding_window_view(padded, width).max(axis=1)
    return held
