"""Loads that follow the clocks of a zone: planned right before, on and after the day on which they change."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from perfopt.forecast import forecast_series
from perfopt.forecast.local_time import RULES, clocks
from perfopt.plugin import TimeGrid

STEP = timedelta(minutes=30)
WEEK = 7 * 48
LOW, HIGH = 0.3, 2.4


def office(zone, begin, size):
    """Returns a load from 09:30 to 16:00 on weekdays of a zone."""
    local = [(begin + number * STEP).astimezone(ZoneInfo(zone)) for number in range(size)]
    return np.array([HIGH if t.weekday() < 5 and 570 <= 60 * t.hour + t.minute < 960 else LOW for t in local])


def planned(zone, end, days):
    """Returns what 99 in 100 blocks stay below by the forecast, and what comes."""
    begin = end - timedelta(days=days)
    noise = np.random.default_rng(2).uniform(0.9, 1.1, days * 48)
    history = office(zone, begin, days * 48) * noise
    grid = TimeGrid(begin, STEP, history.size)
    levels = (0.05, 0.5, 0.95, 0.99)
    made = forecast_series(history, grid, timedelta(days=7), "1", levels, names=("daily-profile",))
    return made, office(zone, end, WEEK)


DAYS_AROUND = [datetime(2026, 10, 20, tzinfo=UTC) + timedelta(days=day) for day in (0, 5, 7, 10, 13, 15, 20)]


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Berlin", "Asia/Tokyo", "Australia/Sydney"])
@pytest.mark.parametrize("days", [14, 42])
def test_a_change_of_clocks_neither_misses_a_peak_nor_multiplies_it(zone, days):
    for end in (*DAYS_AROUND, datetime(2026, 3, 9, tzinfo=UTC), datetime(2026, 3, 31, tzinfo=UTC)):
        made, coming = planned(zone, end, days)
        assert (made.quantile(0.99) >= 0.95 * coming).all(), end
        assert made.quantile(0.99).max() <= 1.35 * HIGH, end
        assert made.quantile(0.99).mean() <= 1.35 * coming.mean(), end


@pytest.mark.parametrize("days", [4, 5, 6])
def test_a_short_history_that_ends_on_a_quiet_sunday_plans_weekdays_as_they_were(days):
    made, coming = planned("UTC", datetime(2026, 6, 8, tzinfo=UTC), days)
    assert (made.quantile(0.99) >= 0.95 * coming).all()


def test_a_load_whose_days_begin_at_other_times_is_planned_no_higher_than_its_peak():
    rng = np.random.default_rng(3)
    days = [
        np.roll(np.r_[np.full(18, LOW), np.full(16, HIGH), np.full(14, LOW)], rng.integers(-3, 4))
        for _ in range(21)
    ]
    grid = TimeGrid(datetime(2026, 6, 1, tzinfo=UTC), STEP, 21 * 48)
    made = forecast_series(
        np.concatenate(days), grid, timedelta(days=7), "1", (0.5, 0.99), names=("daily-profile",)
    )
    assert made.quantile(0.99).max() <= 1.1 * HIGH


@pytest.mark.parametrize(
    ("rule", "zone"),
    [
        ("Europe", "Europe/Berlin"),
        ("North America", "America/New_York"),
        ("Australia", "Australia/Sydney"),
        ("New Zealand", "Pacific/Auckland"),
    ],
)
def test_rules_change_clocks_when_zones_do(rule, zone):
    for year in range(2023, 2028):
        for at, summer in RULES[rule].changes(year):
            before, after = (
                datetime.fromtimestamp(at + seconds, UTC).astimezone(ZoneInfo(zone)).utcoffset()
                for seconds in (-1, 0)
            )
            assert after - before == timedelta(hours=1 if summer else -1)


def test_no_clock_changes_within_a_summer():
    grid = TimeGrid(datetime(2026, 6, 1, tzinfo=UTC), STEP, WEEK)
    (only,) = clocks(grid, TimeGrid(grid.end, STEP, WEEK))
    assert not only.changes


def test_an_hour_shown_twice_keeps_the_larger_value_and_a_skipped_one_is_unknown():
    for end, unknown in ((datetime(2026, 11, 2, tzinfo=UTC), 2), (datetime(2026, 3, 9, tzinfo=UTC), 2)):
        grid = TimeGrid(end - timedelta(days=3), STEP, 3 * 48)
        values = np.arange(144.0)
        (clock,) = [one for one in clocks(grid, TimeGrid(end, STEP, 48)) if one.past.any()]
        moved = clock.moved(values)
        assert np.isnan(moved).sum() == unknown
        assert moved[-30:] == pytest.approx(values[-30:])  # after the change
        assert np.nanmax(moved) == 143
