"""Where the forecast is not trusted, the minimum holds what past stretches as long as the validity needed."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from perfopt.plugin import Forecast, TimeGrid
from perfopt_scaling.forecast import DemandForecast, windows_need

DAY = 288
STEP = timedelta(minutes=5)


def need(cores, share, days=7):
    grid = TimeGrid(datetime(2026, 1, 1, tzinfo=UTC), STEP, cores.size)
    return windows_need(cores, grid, timedelta(days=days), share)


def test_a_burst_in_one_stretch_of_several_is_held_by_the_whole_of_them():
    cores = np.ones(14 * DAY)
    cores[:100] = 9.0  # more than a hundredth of the first week, and of no other
    assert need(cores, 1.0) == 9.0
    assert need(cores, 0.8) == 1.0


def test_less_than_a_hundredth_of_a_stretch_may_be_missed():
    cores = np.ones(7 * DAY)
    cores[100:110] = 9.0
    assert need(cores, 1.0) == 1.0


@pytest.mark.parametrize("days", [2, 7, 30])
def test_gaps_and_histories_shorter_than_the_validity_are_understood(days):
    cores = np.full(7 * DAY, 2.0)
    cores[: 6 * DAY] = np.nan
    assert need(cores, 0.95, days) == 2.0


def test_bursts_without_a_pattern_are_held_without_a_schedule(bench):
    rng = np.random.default_rng(2)
    total = np.ones(14 * DAY)
    for start in rng.integers(0, total.size - 40, 30):
        total[start : start + 20] = rng.uniform(5, 20)
    proposal = bench.ask(total=total)
    assert "schedule" not in proposal.target.extra
    weeks = [np.quantile(total[k * DAY :][: 7 * DAY], 0.99) for k in range(8)]
    assert proposal.target.hpa.min_replicas >= max(weeks) / 0.95


def test_stretches_end_a_day_apart_and_the_oldest_is_whole():
    cores = np.ones(9 * DAY)
    cores[:DAY] = 9.0  # in the oldest of three stretches of a week
    assert need(cores, 1.0) == 9.0
    assert need(cores, 0.5) == 1.0
    assert need(cores[1:], 1.0) == 1.0  # the stretch that ends two days before the end is not whole


def test_a_validity_of_one_step_is_the_need_of_each_days_last_step():
    cores = np.ones(3 * DAY)
    cores[[DAY - 1, 2 * DAY - 1]] = (5.0, 3.0)
    grid = TimeGrid(datetime(2026, 1, 1, tzinfo=UTC), STEP, cores.size)
    assert windows_need(cores, grid, STEP, 1.0) == 5.0
    assert windows_need(cores, grid, timedelta(minutes=1), 0.5) == 3.0


LEVELS = (0.5, 0.98)


def forecast(expected, high, *, past=None, exceedance=None, cores=(1.0, 3.0)):
    """A forecast of blocks of half an hour beside a history of 2 cores on average, in steps of 5 minutes."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    made = Forecast(
        unit="cores",
        grid=TimeGrid(start, timedelta(minutes=30), len(expected)),
        levels=LEVELS,
        values=np.array([expected, high], dtype=float),
        past=None if past is None else np.array(past, dtype=float),
        recent_exceedance=exceedance,
    )
    return DemandForecast.of(made, np.array([*cores, np.nan]), TimeGrid(start, STEP, 3))


def test_width_is_the_largest_ratio_to_what_is_expected():
    found = forecast([1.0, 2.0], [2.0, 3.0])
    assert found.offset == pytest.approx(0.1)  # a twentieth of the mean
    assert found.width(0.98) == pytest.approx(2.1 / 1.1)
    idle = forecast([0.0], [0.2])
    assert idle.width(0.98) == pytest.approx(3.0)  # 0.3 to 0.1: small beside the mean is alike


@pytest.mark.parametrize(
    ("high", "exceedance", "trusted"),
    [(3.2, 0.15, True), (3.21, 0.15, False), (3.2, 0.151, False), (3.2, None, True)],
)
def test_a_forecast_is_trusted_that_is_narrow_and_was_right_lately(high, exceedance, trusted):
    assert forecast([1.0], [high], exceedance=exceedance).trusted is trusted


def test_what_a_plan_would_have_held_is_zero_before_there_was_a_past():
    found = forecast([1.0], [2.0], past=[[1.0, np.nan], [4.0, 6.0]])
    assert (found.steps, found.block) == (6, timedelta(minutes=30))
    assert found.planned_past(0.98, 14).tolist() == [0.0] * 2 + [4.0] * 6 + [6.0] * 6
    assert found.planned_past(0.98, 3).tolist() == [6.0] * 3
    assert found.planned_past(0.5, 12).tolist() == [1.0] * 6 + [0.0] * 6
    assert forecast([1.0], [2.0]).planned_past(0.98, 3).tolist() == [0.0] * 3
