from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from perfopt.forecast.decomposition import decompose
from perfopt.metrics.snapshot import TimeGrid

pytest.importorskip("statsmodels")
MONDAY = datetime(2026, 1, 5, tzinfo=UTC)


def history(days, step=300):
    grid = TimeGrid(MONDAY, timedelta(seconds=step), days * 86_400 // step)
    return np.arange(grid.size) * step / 86_400, grid


def test_a_climb_with_days_is_taken_apart():
    time, grid = history(14)
    noise = np.random.default_rng(1).normal(0, 0.1, time.size)
    parts = decompose(10 + 0.5 * time + 2 * np.sin(2 * np.pi * time) + noise, grid)
    assert parts.grid.start == MONDAY
    assert parts.trend.shape == parts.season.shape == parts.remainder.shape == (14 * 24,)
    assert parts.trend_per_day == pytest.approx(0.5, rel=0.05)
    assert parts.day.argmax() in (5, 6)
    assert np.ptp(parts.day) == pytest.approx(4, rel=0.1)
    assert parts.season_strength > 0.95
    assert parts.trend_strength > 0.95


def test_parts_add_up_to_the_hourly_means_and_gaps_are_bridged():
    time, grid = history(5)
    values = 5 + np.sin(2 * np.pi * time)
    values[600:650] = np.nan
    parts = decompose(values, grid)
    whole = parts.trend + parts.season + parts.remainder
    means = values.reshape(-1, 12)
    known = np.isfinite(means).all(axis=1)
    assert whole[known] == pytest.approx(means[known].mean(axis=1))
    assert np.isfinite(whole).all()


def test_noise_has_no_season_and_a_constant_neither():
    time, grid = history(14)
    noise = decompose(np.random.default_rng(2).normal(10, 1, time.size), grid)
    assert noise.season_strength < 0.6
    constant = decompose(np.full(time.size, 3.0), grid)
    assert (constant.season_strength, constant.trend_strength, constant.trend_per_day) == (0.0, 0.0, 0.0)
    assert (constant.trend == 3).all()


def test_a_shift_is_dated_on_the_grid_of_the_history():
    time, grid = history(14)
    values = np.where(time < 7, 1.0, 3.0) + 0.01 * np.random.default_rng(3).normal(size=time.size)
    parts = decompose(values, grid)
    assert abs(parts.changes.shift.at - MONDAY - timedelta(days=7)) < timedelta(hours=2)
    assert parts.at(288) == MONDAY + timedelta(days=1)


def test_too_short_too_gapped_or_too_coarse_histories_are_left_alone():
    time, grid = history(14)
    values = 1 + np.sin(time)
    assert decompose(values[: 3 * 288], TimeGrid(MONDAY, grid.step, 3 * 288)) is not None
    assert decompose(values[: 3 * 288 - 1], TimeGrid(MONDAY, grid.step, 3 * 288 - 1)) is None
    gapped = np.where(np.arange(values.size) // 12 % 2, values, np.nan)
    assert decompose(gapped, grid) is None
    assert decompose(np.full(values.size, np.nan), grid) is None
    coarse = TimeGrid(MONDAY, timedelta(hours=2), 14 * 12)
    assert decompose(values[:168], coarse) is None
