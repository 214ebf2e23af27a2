"""Where the forecast is not trusted, the minimum holds what past stretches as long as the validity needed."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from perfopt.plugin import TimeGrid
from perfopt_scaling.forecast import windows_need

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
