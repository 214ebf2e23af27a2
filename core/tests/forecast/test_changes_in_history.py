from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from perfopt.forecast import find_changes, forecast_metric
from perfopt.forecast.changes import relevant
from perfopt.metrics.snapshot import TimeGrid

START = datetime(2026, 1, 5, tzinfo=UTC)
DAY = 288


def grid(size):
    return TimeGrid(START, timedelta(minutes=5), size)


def noise(days, seed=1):
    return np.random.default_rng(seed).normal(0, 0.1, days * DAY)


def test_a_level_shift_is_dated_and_measured():
    values = np.where(np.arange(14 * DAY) < 9 * DAY, 2.0, 6.0) + noise(14)
    shift = find_changes(values, grid(14 * DAY)).shift
    assert shift.at == START + timedelta(days=9)
    assert shift.step == 9 * DAY
    assert shift.before == pytest.approx(2, abs=0.05)
    assert shift.after == pytest.approx(6, abs=0.05)


@pytest.mark.parametrize("days", [4, 14])
def test_noise_and_seasons_are_no_shift(days):
    values = 2 + np.sin(np.arange(days * DAY) / DAY * 2 * np.pi) + noise(days)
    assert find_changes(values, grid(days * DAY)).shift is None


def test_a_leak_is_told_with_its_climb_and_resets():
    climb = np.arange(12 * DAY) % (4 * DAY) / DAY * 10
    found = find_changes(50 + climb + noise(12), grid(12 * DAY)).leak
    assert found.per_day == pytest.approx(10, rel=0.1)
    assert found.resets == 2


def test_a_daily_wave_is_no_leak():
    values = 50 + 10 * np.sin(np.arange(12 * DAY) / DAY * 2 * np.pi) + noise(12)
    assert find_changes(values, grid(12 * DAY)).leak is None


def test_a_dead_period_is_found_and_does_not_count():
    values = 5 + noise(14)
    values[3 * DAY : 6 * DAY] = 0.0
    found = find_changes(values, grid(14 * DAY)).dead
    assert [(stretch.begin, stretch.end) for stretch in found] == [(3 * DAY, 6 * DAY)]
    made = forecast_metric(values, grid(14 * DAY), timedelta(days=7), "cores", (0.05, 0.5))
    assert made.values.min() > 4


def test_a_service_that_is_dead_now_stays_dead():
    values = 5 + noise(14)
    values[-4 * DAY :] = 0.0
    made = forecast_metric(values, grid(14 * DAY), timedelta(hours=1), "cores", (0.5,))
    assert made.values.max() < 1  # it lived at 5


def test_nights_and_idle_services_are_not_dead():
    nights = np.where(np.arange(14 * DAY) % DAY < 140, 0.0, 3.0)
    idle = np.zeros(14 * DAY)
    idle[::100] = 1.0
    for values in (nights, idle, np.zeros(14 * DAY), np.full(14 * DAY, np.nan)):
        assert find_changes(values, grid(14 * DAY)).dead == ()


@given(arrays(np.float64, st.integers(1, 3000), elements=st.sampled_from([0.0, 1.0, 2.0, np.nan])))
def test_any_history_can_be_searched_and_is_not_altered(values):
    kept = values.copy()
    find_changes(values, grid(values.size))
    left = relevant(values, grid(values.size))
    assert np.array_equal(values, kept, equal_nan=True)
    known = np.isfinite(left)
    assert np.array_equal(left[known], values[known])
