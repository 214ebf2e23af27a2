from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from perfopt.forecast import DEFAULT_LEVELS, forecast_metric, weighted_quantiles
from perfopt.metrics.snapshot import TimeGrid

START = datetime(2026, 1, 5, tzinfo=UTC)
STEP = timedelta(minutes=5)
DAY = 288
WEEK = timedelta(days=7)


def grid(size, step=STEP):
    return TimeGrid(START, step, size)


def daily(days, noise=0.05, seed=1):
    hours = np.arange(days * DAY) / DAY * 2 * np.pi
    return 2 + np.sin(hours) + noise * np.random.default_rng(seed).standard_normal(days * DAY)


def pinball(values, forecast):
    errors = values - forecast.values
    tau = np.asarray(forecast.levels)[:, None]
    return np.maximum(tau * errors, (tau - 1) * errors).mean()


def test_a_daily_shape_is_forecast_far_better_than_by_its_distribution():
    series = daily(21)
    forecast = forecast_metric(series[: 14 * DAY], grid(14 * DAY), WEEK, "cores")
    flat = np.quantile(series[: 14 * DAY], DEFAULT_LEVELS)[:, None]
    errors = series[14 * DAY :] - flat
    tau = np.asarray(DEFAULT_LEVELS)[:, None]
    assert pinball(series[14 * DAY :], forecast) < 0.2 * np.maximum(tau * errors, (tau - 1) * errors).mean()


def test_the_forecast_starts_where_the_history_ends_and_covers_the_horizon():
    forecast = forecast_metric(daily(14), grid(14 * DAY), timedelta(hours=6, minutes=1), "cores")
    assert forecast.grid.start == START + timedelta(days=14)
    assert forecast.grid.size == 73
    assert forecast.values.shape == (len(DEFAULT_LEVELS), 73)
    assert forecast.unit == "cores"


def test_levels_cover_about_their_share_of_the_future():
    series = daily(21, noise=0.3)
    forecast = forecast_metric(series[: 14 * DAY], grid(14 * DAY), WEEK, "cores")
    covered = (series[14 * DAY :] <= forecast.values).mean(axis=1)
    assert covered == pytest.approx(DEFAULT_LEVELS, abs=0.05)


def test_a_weekend_that_is_quiet_stays_quiet():
    days = np.arange(28 * DAY) // DAY % 7
    series = np.where(days >= 5, 0.5, 2.0) + 0.01 * np.random.default_rng(2).standard_normal(28 * DAY)
    forecast = forecast_metric(series, grid(28 * DAY), WEEK, "cores")
    median = forecast.values[forecast.levels.index(0.5)]
    assert np.median(median[5 * DAY :]) < np.median(median[: 5 * DAY]) - 1


def test_a_series_without_a_daily_shape_is_forecast_about_as_well_as_by_its_distribution():
    noise = np.random.default_rng(3).exponential(size=15 * DAY)
    forecast = forecast_metric(noise[: 14 * DAY], grid(14 * DAY), timedelta(days=1), "cores")
    errors = noise[14 * DAY :] - np.quantile(noise, DEFAULT_LEVELS)[:, None]
    tau = np.asarray(DEFAULT_LEVELS)[:, None]
    assert pinball(noise[14 * DAY :], forecast) < 1.02 * np.maximum(tau * errors, (tau - 1) * errors).mean()


def test_recent_days_count_more():
    series = np.r_[np.full(10 * DAY, 1.0), np.full(10 * DAY, 5.0)]
    forecast = forecast_metric(series, grid(20 * DAY), timedelta(days=1), "cores")
    assert forecast.values[forecast.levels.index(0.5)].min() == 5


def test_a_constant_series_is_forecast_as_that_constant():
    forecast = forecast_metric(np.full(7 * DAY, 0.25), grid(7 * DAY), WEEK, "cores")
    assert np.unique(forecast.values) == pytest.approx([0.25])


def test_a_gap_of_days_is_bridged():
    series = daily(14)
    series[4 * DAY : 7 * DAY] = np.nan
    forecast = forecast_metric(series, grid(14 * DAY), WEEK, "cores")
    assert np.isfinite(forecast.values).all()


def test_half_a_day_is_forecast_by_its_distribution():
    forecast = forecast_metric(np.arange(144.0), grid(144), timedelta(hours=6), "cores", levels=(0.5,))
    assert np.unique(forecast.values) == pytest.approx([71.0])


def test_too_little_data_gives_no_forecast():
    few = np.full(14 * DAY, np.nan)
    few[:23] = 1.0
    assert forecast_metric(few, grid(14 * DAY), WEEK, "cores") is None
    assert forecast_metric(np.empty(0), grid(0), WEEK, "cores") is None
    assert forecast_metric(daily(7), grid(7 * DAY), timedelta(0), "cores") is None


def test_steps_of_a_day_are_forecast_too():
    forecast = forecast_metric(np.arange(30.0), grid(30, timedelta(days=1)), WEEK, "cores")
    assert forecast.values.shape == (len(DEFAULT_LEVELS), 7)


series = arrays(
    np.float64,
    st.integers(1, 1500),
    elements=st.one_of(st.floats(0, 1e6), st.just(np.nan), st.just(0.0)),
    fill=st.floats(0, 10),
)


@given(series, st.sampled_from([60, 300, 420, 3600]))
def test_any_series_gets_finite_quantiles_that_do_not_cross_or_nothing(values, seconds):
    step = timedelta(seconds=seconds)
    first = datetime.fromtimestamp(START.timestamp() // seconds * seconds, UTC)
    kept = values.copy()
    forecast = forecast_metric(values, TimeGrid(first, step, values.size), timedelta(days=1), "cores")
    assert np.array_equal(values, kept, equal_nan=True)
    if forecast is not None:
        assert np.isfinite(forecast.values).all()
        assert (np.diff(forecast.values, axis=0) >= 0).all()
        assert (forecast.values >= 0).all()


@given(arrays(np.float64, (3, 20), elements=st.floats(-5, 5)), st.floats(0.01, 0.99))
def test_equal_weights_give_the_inverse_of_the_empirical_distribution(values, level):
    found = weighted_quantiles(values, np.ones(20), (level,))[0]
    assert found == pytest.approx(np.quantile(values, level, axis=1, method="inverted_cdf"))


def test_weights_and_absent_values_are_counted():
    values = np.array([[3.0, 1.0, np.nan, 2.0]])
    weights = np.array([1.0, 8.0, 100.0, 1.0])
    assert weighted_quantiles(values, weights, (0.5, 0.85, 0.95))[:, 0] == pytest.approx([1, 2, 3])
    assert np.isnan(weighted_quantiles(np.array([[np.nan]]), np.ones(1), (0.5,))).all()
