import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfopt.autoscaling import SimulatedDemand, measure, predictive
from perfopt.autoscaling.baselines import (
    hpa,
    hpa_with_yesterday,
    phpa_holt_winters,
    phpa_linear,
    seasonal_naive,
    yesterday,
)

DAY = 1440


def world(demand, capacity=1.0, **settings):
    return SimulatedDemand(np.array(demand, dtype=float), capacity, **({"warmup_minutes": 0} | settings))


def test_replicas_serve_a_start_up_after_they_are_wanted_and_go_at_once():
    wanted = np.array([2, 5, 5, 5, 5, 1, 4, 4])
    assert world(np.ones(8)).ready(wanted).tolist() == [2, 2, 2, 5, 5, 1, 1, 1]


def test_violations_and_cost_by_hand():
    # ready 2 carries 1.8 at 90 %; the oracle holds ceil(demand / 0.7): 3, 3, 1, and 0 where there is none
    found = measure(world([1.8, 1.9, 0.5, 0.0]), np.array([2, 2, 2, 2]))
    assert found.violated == pytest.approx(1 / 3)
    assert found.cost == pytest.approx(6 / 7)
    assert found.whole_cost == pytest.approx(8 / 7)
    assert found.starts_per_hour == 0


def test_the_warm_up_and_minutes_without_demand_are_not_scored():
    assert measure(world([5.0, 5.0, 0.0], warmup_minutes=2), np.array([1, 1, 1])) is None


def test_eight_replicas_carry_the_mean():
    assert SimulatedDemand.of_eight(np.array([4.0, 12.0])).capacity == 1.0


def test_hpa_reacts_a_minute_late_and_keeps_the_highest_of_five_minutes():
    # at 50 %, 4 asks for 8 and 2 for 4; while only four are ready, 2 is on target and the eight stay wanted
    wanted = hpa(world([2, 4, 2, 2, 2, 2, 2, 2, 2, 2, 2]), 0.5)
    assert wanted.tolist() == [4, 4, 8, 8, 8, 8, 8, 8, 8, 4, 4]


def test_hpa_stays_within_its_tolerance():
    assert hpa(world([5.0, 5.4, 5.4, 5.4]), 0.5).tolist() == [10, 10, 10, 10]
    assert hpa(world([5.0, 5.6, 5.6, 5.6]), 0.5).tolist() == [10, 10, 12, 12]


def test_yesterday_is_needed_from_a_start_up_ahead():
    demand = np.zeros(2 * DAY)
    demand[100] = 3.0
    floor = yesterday(world(demand), 0.5)
    assert np.flatnonzero(floor).tolist() == [DAY + 98, DAY + 99, DAY + 100]
    assert floor.max() == 6
    wider = yesterday(world(demand), 0.5, 3)
    assert np.flatnonzero(wider).tolist() == list(range(DAY + 95, DAY + 104))
    both = hpa_with_yesterday(world(demand), 0.5)
    assert both[DAY + 94 : DAY + 105].tolist() == [1, 6, 6, 6, 6, 6, 6, 6, 6, 6, 1]


def test_seasonal_naive_repeats_yesterday():
    demand = np.r_[np.full(DAY, 1.0), np.full(DAY, 9.0)]
    wanted = seasonal_naive(world(demand), 0.5)
    assert wanted[10] == 2
    assert wanted[DAY : 2 * DAY - 2].tolist() == [2] * (DAY - 2)


def test_phpa_reads_the_line_through_six_counts_one_start_up_ahead():
    # counts 1, 1, 2, 3, 4, 5, 6, ...: at minute 6 the line through 1..6 is 8 two minutes ahead
    wanted = phpa_linear(world([0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5]), 0.5)
    assert wanted[6] == 8
    flat = phpa_linear(world([2.0] * 12), 0.5)
    assert set(flat.tolist()) == {4}


def test_phpa_holt_winters_by_hand():
    # counts 2, 2, 4 from season 0: level 1.8+.2=2, trend 0; then level 2; then level .9*4+.1*2=3.8,
    # trend .9*1.8=1.62, so 5.42 is next
    wanted = phpa_holt_winters(world([1.0, 1.0, 2.0, 2.0]), 0.5)
    assert wanted[3] >= 6
    assert set(phpa_holt_winters(world([1.0] * 6), 0.5).tolist()) == {2}


@given(cut=st.integers(10, 3 * DAY - 10), step=st.sampled_from([1, 5]), price=st.sampled_from([5.0, 50.0]))
@settings(max_examples=8, deadline=None)
def test_plans_do_not_change_when_the_future_does(cut, step, price):
    minutes = np.arange(3 * DAY)
    noise = np.random.default_rng(3).lognormal(0, 0.2, minutes.size // step)
    demand = (2 + np.sin(2 * np.pi * minutes / DAY)) * np.repeat(noise, step)
    altered = demand.copy()
    cut -= cut % step
    altered[cut:] *= 7
    for policy in (
        lambda w: predictive(w, price),
        lambda w: hpa_with_yesterday(w, 0.6),
        lambda w: phpa_linear(w, 0.6),
        lambda w: phpa_holt_winters(w, 0.6),
        lambda w: seasonal_naive(w, 0.6),
    ):
        before, after = (policy(SimulatedDemand(d, 0.3, step_minutes=step)) for d in (demand, altered))
        np.testing.assert_array_equal(before[: cut + 1], after[: cut + 1])


def test_predictive_is_safer_than_hpa_at_no_more_cost():
    minutes = np.arange(8 * DAY)
    opened = np.where((minutes % DAY >= 540) & (minutes % DAY < 1020), 1.0, 0.0)
    burst = 0.3 + opened * (1 + 4 * np.exp(-(minutes % DAY - 540) / 30.0))
    demand = burst * np.random.default_rng(5).lognormal(0, 0.1, minutes.size)
    one = SimulatedDemand.of_eight(demand)
    reactive, ahead = measure(one, hpa(one, 0.6)), measure(one, predictive(one, 100.0))
    assert ahead.cost <= reactive.cost
    assert ahead.violated <= 0.75 * reactive.violated


def test_quiet_hours_hold_one_replica():
    minutes = np.arange(5 * DAY)
    demand = np.where((minutes % DAY >= 540) & (minutes % DAY < 1020), 5.0, 0.0)
    wanted = predictive(SimulatedDemand(demand, 1.0), 20.0)
    night = wanted[4 * DAY + 60 : 4 * DAY + 480]
    assert set(night.tolist()) == {1}
