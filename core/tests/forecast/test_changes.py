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
    forecast = forecast_metric(values, grid(14 * DAY), timedelta(days=7), "cores", (0.05, 0.5))
    assert forecast.values.min() > 4


def test_a_service_that_is_dead_now_stays_dead():
    values = 5 + noise(14)
    values[-4 * DAY :] = 0.0
    forecast = forecast_metric(values, grid(14 * DAY), timedelta(hours=1), "cores", (0.5,))
    assert forecast.values.max() < 1  # it lived at 5


def test_a_service_that_idles_for_days_and_for_hours_is_not_dead():
    busy = np.repeat(np.isin(np.arange(14 * 4) % 16, [0, 2, 3, 5, 6, 8, 9, 10]), DAY // 4)
    values = np.where(busy, 8.0, 0.03) + 0.001 * noise(14)
    assert find_changes(values, grid(14 * DAY)).dead == ()


def test_nights_and_idle_services_are_not_dead():
    nights = np.where(np.arange(14 * DAY) % DAY < 140, 0.0, 3.0)
    idle = np.zeros(14 * DAY)
    idle[::100] = 1.0
    for values in (nights, idle, np.zeros(14 * DAY), np.full(14 * DAY, np.nan)):
        assert find_changes(values, grid(14 * DAY)).dead == ()


def wave(days, seed=1):
    return 2 + np.sin(np.arange(days * DAY) / DAY * 2 * np.pi) + noise(days, seed)


@pytest.mark.parametrize("days", [2, 3, 5, 10])
@pytest.mark.parametrize(("factor", "more"), [(1, 4), (3, 0), (0.3, 0)])
def test_after_a_level_shift_days_are_as_before_on_the_new_level(days, factor, more):
    values = wave(15)
    values[(14 - days) * DAY :] = values[(14 - days) * DAY :] * factor + more
    forecast = forecast_metric(
        values[: 14 * DAY], grid(14 * DAY), timedelta(days=1), "cores", (0.05, 0.5, 0.95)
    )
    low, median, high = forecast.values
    coming = values[14 * DAY :]
    assert np.abs(coming - median).mean() < 0.2 * factor
    assert ((low <= coming) & (coming <= high)).mean() > 0.8


def test_jobs_of_days_that_come_and_go_are_not_taken_for_good():
    busy = np.isin(np.arange(14), [3, 4, 7, 11, 12, 13])
    values = np.repeat(np.where(busy, 8.0, 0.1), DAY) + 0.1 * noise(14)
    low, high = forecast_metric(values, grid(14 * DAY), timedelta(days=7), "cores", (0.05, 0.95)).values
    assert low[-DAY:].max() < 1
    assert high[-DAY:].min() > 6


def test_a_shift_within_a_day_is_dated_to_the_hour():
    values = wave(14) + np.where(np.arange(14 * DAY) < 9 * DAY + 150, 0, 4)
    assert abs(find_changes(values, grid(14 * DAY)).shift.step - (9 * DAY + 150)) <= 12


@pytest.mark.parametrize(("since", "height"), [(0, 0), (6, 0), (0, 3), (0, 20)])
def test_a_leak_goes_on_whenever_it_began_and_whatever_the_day_is_like(since, height):
    days = np.arange(21 * DAY) / DAY
    values = 100 + 5 * np.maximum(days - since, 0) + height * np.sin(2 * np.pi * days) + noise(21)
    known = values[: 14 * DAY]
    assert find_changes(known, grid(14 * DAY)).leak.per_day == pytest.approx(5, rel=0.1)
    assert find_changes(known, grid(14 * DAY)).shift is None
    median = forecast_metric(known, grid(14 * DAY), timedelta(days=7), "MiB", (0.5,)).values[0]
    assert np.abs(values[14 * DAY :] - median).mean() < 3


def test_a_load_that_rose_by_fits_and_starts_for_days_is_no_leak():
    usual, steps = np.full(9 * DAY, 10.0), [10.3, 10.6, 13.2, 13.5, 16.1]
    values = np.concatenate([usual, np.repeat(steps, DAY)]) + noise(14)
    assert find_changes(values, grid(14 * DAY)).leak is None
    median = forecast_metric(values, grid(14 * DAY), timedelta(days=7), "cores", (0.5,)).values[0]
    assert median.max() < 17


def test_a_service_that_was_down_to_its_background_noise_was_dead():
    values = wave(14)
    values[3 * DAY : 6 * DAY] = 0.001 * np.abs(noise(3))
    assert [(one.begin, one.end) for one in find_changes(values, grid(14 * DAY)).dead] == [(3 * DAY, 6 * DAY)]
    forecast = forecast_metric(values, grid(14 * DAY), timedelta(days=7), "cores", (0.05,))
    assert forecast.values.min() > 0.5


@given(arrays(np.float64, st.integers(1, 3000), elements=st.sampled_from([0.0, 1.0, 2.0, np.nan])))
def test_any_history_can_be_searched_and_is_not_altered(values):
    kept = values.copy()
    find_changes(values, grid(values.size))
    left = relevant(values, grid(values.size))
    assert np.array_equal(values, kept, equal_nan=True)
    known = np.isfinite(left)
    assert np.array_equal(left[known], values[known])
