"""Running control: how many replicas to ask for now, by the policy that the backtest measures."""

from dataclasses import dataclass

import numpy as np

from perfopt.autoscaling.predictive import HOLD_MINUTES, LAG_MINUTES, cheapest
from perfopt.autoscaling.world import replicas_for
from perfopt.forecast.short_term import LEVELS, short_term_forecasts
from perfopt.metrics.snapshot import Array

LOW, MIDDLE, HIGH = 0.05, 0.5, 0.95
_HELD_MINUTES = 15
_DAY_MINUTES = 1440


@dataclass(frozen=True, slots=True)
class RunningNeed:
    """What is needed by the time that a replica which starts now is ready.

    Attributes:
        replicas: to ask for now: of the least expected cost from a few minutes ago until then, and no fewer
            than the last known step would need.
        expected, low, high: the demand then: its median, 5 % and 95 % quantiles, in its own unit.
        replicas_low, replicas_high: what `low` and `high` would need.
        lead_minutes: from the last known minute to then.
    """

    replicas: int
    expected: float
    low: float
    high: float
    replicas_low: int
    replicas_high: int
    lead_minutes: int


def need_now(
    known: Array, *, step_minutes: int, first_minute: int, ahead_minutes: int, carries: float, price: float
) -> RunningNeed:
    """Returns the need of now, as `predictive` has it in a world of minutes.

    Args:
        known: demand by step up to the last one known, without gaps, shape (steps,).
        step_minutes: length of a step; divides a day.
        first_minute: of the first step, since the epoch.
        ahead_minutes: from the end of the last known step until a replica that starts now is ready.
        carries: what one replica serves without a violation, in the unit of the demand.
        price: what a violated minute is worth, in minutes of the replicas that the mean demand needs.
    """
    lead = max(-(-(ahead_minutes + LAG_MINUTES) // step_minutes), 1)
    back = -(-max(HOLD_MINUTES - ahead_minutes - 1, 0) // step_minutes)
    demand = np.r_[known, np.full(lead, np.nan)]
    since = max(known.size - back, 0)
    expected = short_term_forecasts(demand, step_minutes, first_minute, lead, since=since)
    low, middle, high = (float(np.interp(at, LEVELS, expected.quantiles[-1])) for at in (LOW, MIDDLE, HIGH))
    least, most = (int(count) for count in np.maximum(replicas_for(np.array([low, high]), carries), 1))
    seen = int(replicas_for(known[-1:], carries)[0])
    return RunningNeed(
        replicas=max(int(cheapest(expected, carries, price).max()), seen),
        expected=middle,
        low=low,
        high=high,
        replicas_low=least,
        replicas_high=most,
        lead_minutes=lead * step_minutes,
    )


def without_gaps(values: Array, step_minutes: int) -> Array:
    """Returns a demand whose gaps are filled: a quarter of an hour is held, more is as a day before.

    What is missing of a service that runs was not measured; it is not that there was no demand.

    Args:
        values: demand by step, the first of them known, NaN where missing.
        step_minutes: length of a step.
    """
    steps = np.arange(values.size)
    missing = np.isnan(values)
    last = np.maximum.accumulate(np.where(missing, 0, steps))
    short = missing & ((steps - last) * step_minutes <= _HELD_MINUTES)
    filled: Array = np.where(short, values[last], values)
    a_day = _DAY_MINUTES // step_minutes
    for begin in range(0, values.size, a_day):
        today = filled[begin : begin + a_day]
        before = filled[begin - a_day : begin] if begin else np.full(a_day, np.nan)
        held = values[last[begin : begin + a_day]]
        fallback = np.where(np.isnan(before[: today.size]), held, before[: today.size])
        filled[begin : begin + a_day] = np.where(np.isnan(today), fallback, today)
    return filled
