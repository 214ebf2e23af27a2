import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from perfopt.forecast.short_term import LEVELS, short_term_forecasts

DAY = 288


def busy_by_day(days=4, seed=1):
    steps = np.arange(days * DAY)
    shape = 2 - np.cos(2 * np.pi * steps / DAY)
    return shape * np.random.default_rng(seed).lognormal(0, 0.1, steps.size)


# the end of a day was in what the first steps of the next were forecast from, before it was known
@example(cut=DAY - 1, lead=2, factor=0.0)
@example(cut=2 * DAY - 2, lead=3, factor=100.0)
@given(cut=st.integers(1, 4 * DAY - 1), lead=st.integers(1, 3), factor=st.sampled_from([0.0, 3.0, 100.0]))
@settings(max_examples=15, deadline=None)
def test_what_comes_later_changes_nothing_before(cut, lead, factor):
    values = busy_by_day()
    altered = values.copy()
    altered[cut:] *= factor
    first, second = short_term_forecasts(values, 5, 0, lead), short_term_forecasts(altered, 5, 0, lead)
    until = cut + lead  # the step at the cut is known `lead` steps later
    np.testing.assert_array_equal(first.quantiles[:until], second.quantiles[:until])
    np.testing.assert_array_equal(first.chance[:until], second.chance[:until])
    np.testing.assert_array_equal(first.scale[:until], second.scale[:until])


def test_quantiles_cover_their_share_and_do_not_cross():
    values = busy_by_day(days=8)
    forecasts = short_term_forecasts(values, 5, 0, 1)
    assert (np.diff(forecasts.quantiles, axis=1) >= 0).all()
    later = slice(3 * DAY, None)
    at_90 = forecasts.quantiles[later, np.argmin(abs(LEVELS - 0.9))]
    assert np.mean(values[later] <= at_90) == pytest.approx(0.9, abs=0.03)


def test_an_open_is_foreseen_from_earlier_days():
    values = np.zeros(5 * DAY)
    for day in range(5):
        values[day * DAY + 96 : day * DAY + 192] = 1.0
        values[day * DAY + 96] = 10.0
    forecasts = short_term_forecasts(values, 5, 0, 1)
    opening = 4 * DAY + 96
    middle = forecasts.quantiles[opening, np.argmin(abs(LEVELS - 0.5))]
    assert middle > 5.0
    assert forecasts.chance[opening] > 0.5
    assert forecasts.chance[opening - 12] < 0.05


def weekdays(days):
    """Returns demand by day on weekdays, in steps of five minutes."""
    values = np.zeros(days * DAY)
    for day in range(days):
        if day % 7 < 5:
            values[day * DAY + 96 : day * DAY + 192] = 1.0
    return values


def test_a_weekday_that_never_had_demand_in_two_weeks_is_taken_to_stay_closed():
    chance = short_term_forecasts(weekdays(22), 5, 0, 1).chance
    assert chance[12 * DAY + 100] > 0.0  # the second Saturday: quiet once is no rule
    assert chance[19 * DAY + 100] == 0.0
    assert chance[18 * DAY + 100] > 0.9


def test_one_quiet_week_closes_no_weekday():
    values = weekdays(22)
    values[7 * DAY : 14 * DAY] = 0.0
    chance = short_term_forecasts(values, 5, 0, 1).chance
    assert all(chance[day * DAY + 100] > 0.5 for day in range(14, 19))


def test_a_closed_day_that_has_demand_is_open():
    values = weekdays(22)
    values[19 * DAY + 96 : 19 * DAY + 192] = 1.0
    chance = short_term_forecasts(values, 5, 0, 1).chance
    assert chance[19 * DAY + 95] == 0.0
    assert chance[19 * DAY + 100 : 19 * DAY + 190].min() > 0.5
