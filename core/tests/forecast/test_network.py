from datetime import UTC, datetime, timedelta
from importlib import resources

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from perfopt.forecast import forecast_batch, forecast_metric
from perfopt.forecast.experts import LEVELS as OWN_LEVELS
from perfopt.forecast.folding import FoldedHistory, RobustScaling
from perfopt.forecast.interface import MIN_SAMPLES
from perfopt.forecast.model_file import fleet_network
from perfopt.metrics.snapshot import TimeGrid
from perfopt.plugin.array_file import read_card
from perfopt.plugin.calendar import weekend

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
HOUR = timedelta(hours=1)


def grid(size, step=300):
    return TimeGrid(MONDAY, timedelta(seconds=step), size)


def traffic(days, step=300, seed=1):
    time = np.arange(days * 86_400 // step) * step
    noise = np.random.default_rng(seed).gamma(50, 1 / 50, time.size)
    return (3 + np.sin(time / 86_400 * 2 * np.pi)) * noise


def ask(values, horizon=HOUR, levels=LEVELS, step=300, **options):
    return forecast_metric(values, grid(values.size, step), horizon, "1", levels, **options).values


# 23 known samples of 72: too few to forecast from
@example(days=3, step=3600, seed=5, levels=[0.5], missing=0.6)
@settings(max_examples=40, deadline=None)
@given(
    days=st.integers(3, 20),
    step=st.sampled_from([300, 900, 3600]),
    seed=st.integers(0, 2**32),
    levels=st.lists(st.floats(0.002, 0.998), min_size=1, max_size=9, unique=True),
    missing=st.floats(0, 0.6),
)
def test_quantiles_never_cross_and_are_finite_whatever_is_missing(days, step, seed, levels, missing):
    rng = np.random.default_rng(seed)
    values = np.cumsum(rng.standard_cauchy(days * 86_400 // step))
    values[rng.random(values.size) < missing] = np.nan
    forecast = forecast_metric(values, grid(values.size, step), timedelta(days=2), "1", sorted(levels))
    assert (forecast is None) == (np.isfinite(values).sum() < MIN_SAMPLES)
    if forecast is not None:
        assert np.isfinite(forecast.values).all()
        assert (np.diff(forecast.values, axis=0) >= 0).all()


@pytest.mark.parametrize("factor", [1e-6, 3.0, 1e9])
def test_a_series_in_another_unit_gets_the_same_forecast_in_that_unit(factor):
    values = traffic(10)
    assert ask(values * factor) == pytest.approx(factor * ask(values), rel=1e-4)


def test_a_series_that_stands_higher_gets_the_same_forecast_higher():
    values = traffic(10)
    assert ask(values + 100) == pytest.approx(100 + ask(values), abs=1e-3)


def test_the_last_hour_counts_for_the_next_and_hardly_for_next_week():
    usual, risen = traffic(10), traffic(10)
    risen[-24:] *= 1.5
    week = timedelta(days=7)
    moved = ask(risen, week)[3] / ask(usual, week)[3]
    assert moved[:6].mean() > 1.25
    assert abs(moved[-288:].mean() - 1) < 0.1


def test_a_leak_goes_on():
    rng = np.random.default_rng(4)
    values = 100 + np.arange(14 * 288) / 288 * 5 + rng.normal(0, 0.5, 14 * 288)
    made = ask(values, timedelta(days=3))
    assert made[3, -1] == pytest.approx(values[-1] + 15, abs=2)


def test_a_quiet_weekend_stays_quiet():
    days = np.arange(26 * 288) // 288 % 7
    values = np.where(days >= 5, 0.5, 2.0) + 0.01 * np.random.default_rng(2).standard_normal(26 * 288)
    median = ask(values, timedelta(days=3))[3]  # Saturday, Sunday, Monday
    assert np.median(median[:576]) < 0.8
    assert np.median(median[-288:]) > 1.5


def test_a_closed_market_is_forecast_closed_and_its_open_as_the_opens_before():
    minute = np.arange(11 * 1440)
    second = minute % 1440
    opened = (second >= 540) & (second < 1020) & (minute // 1440 % 7 < 5)
    burst = 1 + 9 * np.exp(-(second - 540) / 3)
    values = np.where(opened, burst * np.random.default_rng(3).gamma(20, 1 / 20, minute.size), 0.0)
    made = ask(values, timedelta(hours=12), step=60)  # from midnight
    assert made[:, 30:520].max() < 0.05
    assert 5 < made[3, 540] < 15
    assert made[3, 700] < 2


def test_a_week_of_minutes_is_the_day_of_minutes_and_goes_on_like_it():
    values = traffic(14, step=60)
    day, week = (ask(values, timedelta(days=days), step=60) for days in (1, 7))
    assert week.shape == (len(LEVELS), 7 * 1440)
    assert np.array_equal(week[:, :1440], day)
    assert (np.diff(week, axis=0) >= 0).all()
    # from one minute to the next the median moves no more than it does in the first day
    assert np.abs(np.diff(week[3, 1440:])).max() < 2 * np.abs(np.diff(day[3])).max()


def test_a_batch_is_what_each_series_gets_alone():
    series = [traffic(5, seed=1), traffic(5, seed=2), np.full(5 * 288, np.nan)]
    forecasts = forecast_batch(series, grid(5 * 288), HOUR, "1")
    assert forecasts[2] is None
    for one, values in zip(forecasts[:2], series[:2], strict=True):
        assert np.array_equal(one.values, forecast_metric(values, grid(5 * 288), HOUR, "1").values)


def test_the_network_reads_levels_that_it_was_not_trained_for_between_its_own():
    values = traffic(10)
    levels = (0.1, 0.17, 0.25)
    low, between, high = ask(values, levels=levels)
    assert (low < between).all()
    assert (between < high).all()


def test_the_packaged_network_names_its_command_and_data():
    card = read_card(resources.files("perfopt.forecast").joinpath("fleet.npz").read_bytes())
    assert card["command"].startswith("perfopt train --what forecast ")
    assert "--split tune" in card["command"]
    assert len(card["data"]) == 3


def test_the_packaged_network_is_whole():
    network = fleet_network()
    assert network.theta.shape[1] == len(OWN_LEVELS)
    assert (np.diff(network.theta, axis=1) > 0).all()
    assert all(np.isfinite(weights).all() and np.isfinite(bias).all() for weights, bias in network.layers)


def test_z_and_back_is_the_value():
    values = np.array([0.0, 1.0, 2.0, 7.0, 1e6])
    scaling = RobustScaling.of(values)
    assert scaling.centre == 2
    assert scaling.scale == pytest.approx((2 + 1 + 0 + 5 + 1e6 - 2) / 5)
    assert scaling.to_values(scaling.to_z(values)) == pytest.approx(values)


def test_histories_that_cannot_be_folded_say_so():
    rest = np.zeros(3 * 288, dtype=bool)
    assert FoldedHistory.fold(np.ones(3 * 288), rest, 300) is None  # constant
    assert FoldedHistory.fold(np.arange(300.0), rest[:300], 300) is None  # a day
    assert FoldedHistory.fold(np.arange(864.0), rest, 420) is None  # does not divide a day
    assert FoldedHistory.fold(np.full(864, np.nan), rest, 300) is None


def test_weekends_are_saturday_and_sunday():
    days = weekend(TimeGrid(MONDAY, timedelta(days=1), 7))
    assert days.tolist() == [False] * 5 + [True] * 2
