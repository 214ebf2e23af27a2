"""The short-term forecaster as a forecaster of series."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from perfopt.forecast.live_demand import ShortTermForecaster
from perfopt.plugin import ForecastRequest, TimeGrid

LEVELS = (0.05, 0.5, 0.95)
STEP = timedelta(minutes=5)
DAY = 288


def ask(values, steps=6, step=STEP):
    grid = TimeGrid(datetime(2026, 1, 5, tzinfo=UTC), step, values.size)
    ahead = TimeGrid(grid.end, step, steps)
    request = ForecastRequest(values, grid, ahead, LEVELS, float(np.nanmean(values)))
    return ShortTermForecaster().forecast(request)


def wave(days):
    steps = np.arange(days * DAY)
    noise = np.random.default_rng(1).lognormal(0, 0.05, steps.size)
    return (5 - 3 * np.cos(2 * np.pi * steps / DAY)) * noise


def test_the_next_half_hour_follows_the_day():
    values = wave(8)
    made = ask(values[: 7 * DAY + 96])
    coming = values[7 * DAY + 96 :][:6]
    assert made.quantiles.shape == (3, 6)
    assert made.quantiles[1] == pytest.approx(coming, rel=0.15)
    assert (made.quantiles[0] < made.quantiles[2]).all()


def test_a_gap_is_held_and_not_zero():
    values = wave(7)
    values[-6:] = np.nan
    assert ask(values).quantiles[0].min() > 1.0


def test_demand_that_may_not_be_there_has_zero_among_its_quantiles():
    values = np.zeros(8 * DAY)
    for day in range(0, 8, 2):
        values[day * DAY + 96 : day * DAY + 192] = 5.0
    made = ask(values[: 8 * DAY - DAY + 90], steps=12)
    assert made.quantiles[0, -1] == 0.0


def test_what_it_is_not_made_for_it_leaves_to_others():
    assert ask(wave(7), steps=13) is None
    assert ask(wave(1)) is None
    assert ask(-wave(7)) is None
    assert ask(wave(7), step=timedelta(seconds=30)) is None
