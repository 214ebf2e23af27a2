"""What the API serves in a minute is what the policy of the backtest wanted in that minute."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfopt.autoscaling import SimulatedDemand, predictive
from perfopt.autoscaling.live import need_now, without_gaps
from perfopt.autoscaling.world import FULL

DAY = 1440


@pytest.fixture(scope="module")
def demand():
    minutes = np.arange(4 * DAY)
    shape = 2 - np.cos(2 * np.pi * minutes / DAY)
    return shape * np.random.default_rng(3).lognormal(0, 0.1, minutes.size)


@pytest.mark.parametrize("minute", [2 * DAY + 500, 3 * DAY - 1, 3 * DAY, 3 * DAY + 1, 4 * DAY - 5])
@pytest.mark.parametrize("startup", [1, 2, 7])
def test_the_need_of_a_minute_is_that_of_the_policy(demand, minute, startup):
    world = SimulatedDemand(demand, 0.5, first_minute=777, startup_minutes=startup)
    need = need_now(
        demand[:minute],
        step_minutes=1,
        first_minute=777,
        ahead_minutes=startup,
        carries=FULL * world.capacity,
        price=20.0,
    )
    assert need.replicas == predictive(world, 20.0)[minute]
    assert need.low <= need.expected <= need.high
    assert need.replicas_low <= need.replicas_high
    assert need.lead_minutes == startup + 1


def test_a_burst_of_the_last_minutes_is_answered(demand):
    known = demand[: 3 * DAY].copy()
    calm = need_now(known, step_minutes=1, first_minute=0, ahead_minutes=2, carries=0.5, price=20.0)
    known[-3:] *= 4
    burst = need_now(known, step_minutes=1, first_minute=0, ahead_minutes=2, carries=0.5, price=20.0)
    assert burst.replicas >= 1.5 * calm.replicas


def test_a_short_gap_is_held_and_a_long_one_is_as_the_day_before():
    values = np.arange(2.0 * DAY)
    values[100:110] = np.nan
    values[DAY + 200 : DAY + 300] = np.nan
    found = without_gaps(values, 1)
    assert found[100:110].tolist() == [99.0] * 10
    assert found[DAY + 214] == DAY + 199
    assert found[DAY + 215 : DAY + 300].tolist() == list(range(215, 300))


@given(
    gaps=st.lists(st.tuples(st.integers(1, 600), st.integers(1, 700)), max_size=4),
    step=st.sampled_from([5, 15]),
)
@settings(max_examples=40, deadline=None)
def test_no_gap_is_left_and_what_was_measured_stays(gaps, step):
    values = np.random.default_rng(0).lognormal(0, 1, 700)
    for begin, end in gaps:
        values[begin:end] = np.nan
    found = without_gaps(values, step)
    known = np.isfinite(values)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[known], values[known])
