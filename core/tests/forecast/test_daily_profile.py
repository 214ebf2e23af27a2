"""The shape of a day with the errors of past days: kinds of days, warm-up, calendars."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfopt.forecast.daily_profile import DailyProfileForecaster, margin
from perfopt.plugin import ForecastRequest, SessionCalendar, TimeGrid

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
STEP = timedelta(minutes=30)
PER_DAY = 48
LEVELS = (0.05, 0.5, 0.95, 0.99)


def ask(values, *, begin=MONDAY, days_ahead=7, calendar=None, step=STEP):
    grid = TimeGrid(begin, step, values.size)
    ahead = TimeGrid(grid.end, step, days_ahead * PER_DAY)
    scale = float(np.nanmean(values))
    return DailyProfileForecaster().forecast(ForecastRequest(values, grid, ahead, LEVELS, scale, calendar))


def week(levels):
    """Returns a week, beginning on Monday, with one level a weekday by day and 1 by night."""
    return np.concatenate([np.r_[np.ones(16), np.full(16, float(level)), np.ones(16)] for level in levels])


WEEKDAYS_ONLY = week([8, 8, 8, 8, 8, 1, 1])


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(1.0, 50.0), min_size=7, max_size=7), st.integers(2, 4))
def test_a_load_that_repeats_weekly_is_forecast_alike_on_every_day_of_analysis(levels, weeks):
    whole = np.tile(week(levels), weeks + 2)
    truth = np.tile(week(levels), 2)
    for day in range(7):
        made = ask(whole[day * PER_DAY : (day + 7 * weeks) * PER_DAY], begin=MONDAY + day * timedelta(days=1))
        coming = truth[day * PER_DAY : (day + 7) * PER_DAY]
        if max(levels) > 1.5 * min(levels):  # else days are alike, and the mean of them is what is expected
            assert made.expected == pytest.approx(coming, rel=0.35)
            assert made.quantiles[3].max() <= 1.7 * max(levels)


@pytest.mark.parametrize("day", range(7))
def test_quiet_weekends_are_forecast_exactly_whatever_the_day_of_analysis(day):
    history = np.tile(WEEKDAYS_ONLY, 4)[day * PER_DAY : (day + 14) * PER_DAY]
    made = ask(history, begin=MONDAY + timedelta(days=day))
    coming = np.tile(WEEKDAYS_ONLY, 2)[day * PER_DAY : (day + 7) * PER_DAY]
    assert made.quantiles == pytest.approx(np.tile(coming, (len(LEVELS), 1)), rel=1e-3)
    assert made.recent_exceedance == 0.0


@pytest.mark.parametrize("day", [0, 3])
@pytest.mark.parametrize(("weeks", "quiet"), [(2, 0), (2, 1), (3, 1), (4, 0), (4, 3)])
def test_one_quiet_week_neither_flattens_the_forecast_nor_widens_it(weeks, quiet, day):
    history = np.tile(WEEKDAYS_ONLY, weeks).reshape(weeks, -1)
    history[quiet] = 1.0
    coming = np.roll(WEEKDAYS_ONLY, -day * PER_DAY)
    made = ask(np.roll(history.ravel(), -day * PER_DAY), begin=MONDAY + timedelta(days=day))
    assert made.quantiles == pytest.approx(np.tile(coming, (len(LEVELS), 1)), rel=1e-3)


def test_growth_of_the_latest_days_hides_no_day_before_them():
    history = np.tile(week([8] * 7), 2)
    history[-2 * PER_DAY :] *= 3
    assert ask(history).recent_exceedance > 0.3


def test_what_is_quiet_for_longer_than_a_week_is_how_it_is_now():
    made = ask(np.r_[np.tile(WEEKDAYS_ONLY, 3), np.tile(WEEKDAYS_ONLY, 2) / 4])
    assert made.expected.max() < 0.5 * WEEKDAYS_ONLY.max()


@pytest.mark.parametrize("weeks", [2, 3, 5, 6])
def test_days_before_one_of_their_kind_was_known_are_no_evidence(weeks):
    made = ask(np.tile(np.roll(WEEKDAYS_ONLY, PER_DAY), weeks), begin=MONDAY - timedelta(days=1))
    assert made.quantiles.max() == pytest.approx(8.0, rel=1e-3)
    assert np.isnan(made.past).any()  # what could not be planned is no plan


def test_weekdays_apart_are_told_where_they_repeat():
    levels = [2, 4, 8, 16, 32, 1, 1]
    made = ask(np.tile(week(levels), 3))
    assert made.expected == pytest.approx(week(levels), rel=1e-3)


def test_days_alike_are_not_taken_apart():
    noise = np.random.default_rng(1).lognormal(0, 0.3, 21 * PER_DAY)
    made = ask(4 * noise)
    days = made.expected.reshape(7, PER_DAY).mean(axis=1)
    assert days.max() / days.min() < 1.001


def test_a_day_without_samples_closes_no_weekday():
    values = np.tile(WEEKDAYS_ONLY, 3)
    values[14 * PER_DAY : 15 * PER_DAY] = np.nan  # the last Monday
    made = ask(values)
    assert made.expected == pytest.approx(WEEKDAYS_ONLY, rel=1e-3)


def test_one_quiet_week_closes_no_weekday():
    values = np.tile(WEEKDAYS_ONLY, 4)
    values[14 * PER_DAY : 21 * PER_DAY] = 1.0
    made = ask(values)
    assert made.quantiles[3, 2 * PER_DAY + 24] >= 7.9  # Wednesday noon
    assert made.expected[2 * PER_DAY + 24] > 3.0


def test_a_calendar_says_which_days_are_closed():
    open_days = {MONDAY.date() + timedelta(days=n) for n in range(28) if n % 7 not in (2, 5, 6)}
    sessions = {}
    for day in open_days:
        begin = int(datetime(day.year, day.month, day.day, 8, tzinfo=UTC).timestamp())
        sessions[day] = (begin, begin + 8 * 3600)
    values = np.tile(week([8, 8, 1, 8, 8, 1, 1]), 2)[: 13 * PER_DAY]  # too short to tell weekdays apart
    told, plain = (ask(values, calendar=known) for known in (SessionCalendar(sessions), None))
    wednesday = 3 * PER_DAY + 24
    assert told.expected[wednesday] == pytest.approx(1.0, rel=1e-3)
    assert plain.expected[wednesday] > 3.0


def test_quantiles_are_those_of_past_errors():
    rng = np.random.default_rng(3)
    values = 5 * rng.lognormal(0, 0.2, 28 * PER_DAY)
    made = ask(values)
    spread = np.log(made.quantiles[2] / made.quantiles[0]).mean()
    assert spread == pytest.approx(0.2 * 2 * 1.645, rel=0.15)


def test_twice_the_load_is_twice_the_forecast():
    values = 5 * np.random.default_rng(3).lognormal(0, 0.2, 21 * PER_DAY)
    assert ask(2 * values).quantiles == pytest.approx(2 * ask(values).quantiles)


def test_what_it_can_not_forecast_it_leaves_to_others():
    assert ask(np.ones(PER_DAY)) is None  # less than two days
    assert ask(np.r_[-1.0, np.ones(3 * PER_DAY)]) is None
    assert ask(np.ones(200), step=timedelta(minutes=35)) is None


def test_margin_is_linear_between_errors():
    errors = np.array([0.0, 1.0, 3.0])
    assert [margin(errors, level) for level in (0.0, 0.25, 0.5, 0.75, 1.0)] == [0.0, 0.5, 1.0, 2.0, 3.0]


def test_recent_days_far_above_the_errors_before_are_an_exceedance():
    values = 5 * np.random.default_rng(3).lognormal(0, 0.02, 14 * PER_DAY)
    assert ask(values).recent_exceedance < 0.1
    values[-2 * PER_DAY :] *= 2
    assert ask(values).recent_exceedance > 0.9


def test_a_rise_on_the_first_weekend_is_no_weekend_that_ends():
    history = np.full(7 * PER_DAY, 1.0)
    history[-18:] = 4.0  # since Sunday 15:00
    assert ask(history).recent_exceedance > 0.15
    assert ask(np.tile(WEEKDAYS_ONLY, 1)).recent_exceedance == 0.0  # lower at the weekend is no rise


@pytest.mark.parametrize("weeks", [2, 4])
def test_a_half_day_lowers_no_afternoon_after_it(weeks):
    history = np.tile(WEEKDAYS_ONLY, weeks)
    history[-3 * PER_DAY + 24 : -2 * PER_DAY] = 1.0  # the last Friday from noon on
    made = ask(history)
    assert made.expected == pytest.approx(WEEKDAYS_ONLY, rel=1e-3)


def test_afternoons_that_are_often_quiet_are_how_it_is():
    history = np.tile(WEEKDAYS_ONLY, 4)
    for day in (1, 3, 8, 10, 15, 17, 22, 24):  # every other afternoon of a weekday
        history[day * PER_DAY + 24 : day * PER_DAY + 32] = 1.0 if day % 4 else 2.0
    assert ask(history).expected[2 * PER_DAY + 26] < 8.0
