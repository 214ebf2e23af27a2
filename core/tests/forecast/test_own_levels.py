from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from perfopt.forecast.members import FleetForecaster
from perfopt.forecast.own_levels import at_levels, own_levels
from perfopt.forecast.rolling import past_quantiles
from perfopt.metrics.snapshot import TimeGrid
from perfopt.plugin.forecasting import ForecastRequest

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
PROBITS = np.array([-1.645, -0.674, 0.0, 0.674, 1.645])
MINUTES = timedelta(minutes=5)


def request(values, ahead=12, levels=LEVELS):
    grid = TimeGrid(datetime(2026, 3, 2, tzinfo=UTC), MINUTES, values.size)
    return ForecastRequest(values, grid, TimeGrid(grid.end, MINUTES, ahead), levels, 1.0)


def noise(days=6, spread=1.0, seed=1):
    return 10 + spread * np.random.default_rng(seed).standard_normal(round(days * 288))


def normal(spread):
    """A forecaster that states a normal distribution around 10."""

    def forecast(asked):
        return np.repeat((10 + spread * PROBITS)[:, None], asked.ahead.size, axis=1)

    return forecast


def test_levels_widen_where_outcomes_were_more_spread_than_stated():
    wanted = own_levels(normal(0.5), request(noise()))
    assert wanted[0] < 1.4 * PROBITS[0]
    assert wanted[-1] > 1.4 * PROBITS[-1]
    calm = own_levels(normal(2.0), request(noise()))
    assert PROBITS[0] * 0.7 < calm[0] < 0


def test_levels_stay_about_where_they_were_right():
    assert own_levels(normal(1.0), request(noise())) == pytest.approx(PROBITS, abs=0.3)


def test_a_longer_horizon_or_a_short_history_is_left_alone():
    assert own_levels(normal(1.0), request(noise(), ahead=13)) is None
    assert own_levels(normal(1.0), request(noise(days=3.2))) is None


def test_a_forecaster_is_asked_only_with_what_was_known():
    asked = []

    def forecast(one):
        asked.append(one)
        return normal(1.0)(one)

    whole = request(noise())
    own_levels(forecast, whole)
    assert len(asked) == 24
    assert all(one.ahead.end <= whole.grid.end and one.values.size == one.grid.size for one in asked)


def test_quantiles_are_read_at_other_levels():
    made = at_levels((10 + PROBITS)[:, None], LEVELS, 2 * PROBITS)
    assert made[:, 0] == pytest.approx(10 + 2 * PROBITS, abs=0.01)


def test_the_hour_ahead_covers_its_share_on_a_series_noisier_than_the_fleet():
    levels = (0.1, 0.5, 0.9)
    covered = []
    for seed in range(6):
        values = np.abs(noise(days=7, spread=3.0, seed=seed))
        asked = request(values[:-12], levels=levels)
        made = np.sort(FleetForecaster().forecast(asked).quantiles, axis=0)
        covered += [*((values[-12:] >= made[0]) & (values[-12:] <= made[2]))]
    assert 0.68 <= np.mean(covered) <= 0.92


def test_losses_on_the_past_are_those_of_the_forecaster_without_its_own_calibration():
    asked = request(noise(days=7))
    forecaster = FleetForecaster()
    past, stated = past_quantiles(forecaster, asked), past_quantiles(forecaster.uncalibrated, asked)
    assert np.array_equal(past, stated, equal_nan=True)
    plain = forecaster.uncalibrated.forecast(asked).quantiles
    assert not np.array_equal(plain, forecaster.forecast(asked).quantiles)


def test_what_came_later_changes_no_forecast():
    values = noise(days=7)
    asked = request(values)
    again = replace(asked, values=values.copy())
    first, second = (FleetForecaster().forecast(one).quantiles for one in (asked, again))
    assert (first == second).all()
