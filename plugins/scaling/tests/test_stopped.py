"""When a service that is scaled to zero will not run."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from perfopt.plugin import TimeGrid
from perfopt_scaling.stopped import stopped_blocks

STEPS, A_DAY = 6, 48  # half-hours of five-minute steps


def grid_of(days, end=datetime(2026, 6, 1, tzinfo=UTC)):  # a Monday
    step = timedelta(minutes=5)
    return TimeGrid(end - days * timedelta(days=1), step, round(days * 288))


def office(grid):
    """Returns the steps outside of 08:00 to 18:00 on weekdays."""
    seconds = grid.epoch_seconds()
    hour, weekday = seconds % 86_400 // 3600, (seconds // 86_400 + 3) % 7
    return ~((weekday < 5) & (hour >= 8) & (hour < 18))


@pytest.mark.parametrize("days", range(14, 21))
def test_office_hours_are_known_on_each_day_of_analysis(days):
    grid = grid_of(14, datetime(2026, 3, days, tzinfo=UTC))
    found = stopped_blocks(office(grid), grid, STEPS, 7 * A_DAY)
    ahead = TimeGrid(grid.end, timedelta(minutes=30), 7 * A_DAY)
    np.testing.assert_array_equal(found, office(ahead))


def test_blocks_follow_the_time_of_day_of_an_analysis_within_a_block():
    grid = grid_of(14, datetime(2026, 6, 1, 10, 5, tzinfo=UTC))
    found = stopped_blocks(office(grid), grid, STEPS, A_DAY)
    # From 10:05: 15 whole blocks and the one in which it stops at 18:00, 28 without a replica to 07:35.
    assert found.tolist() == [False] * 16 + [True] * 27 + [False] * 5


@pytest.mark.parametrize("weeks", [2, 3])
@pytest.mark.parametrize("day", range(7))
def test_a_weekly_job_keeps_its_hour_and_stops_on_other_days(weeks, day):
    grid = grid_of(7 * weeks, datetime(2026, 6, 1 + day, tzinfo=UTC))
    seconds = grid.epoch_seconds()
    half_hour, weekday = seconds % 86_400 // 1800, (seconds // 86_400 + 3) % 7
    stopped = ~((half_hour == 4) & (weekday == 0))
    found = stopped_blocks(stopped, grid, STEPS, 7 * A_DAY).reshape(7, A_DAY)
    assert np.argwhere(~found).tolist() == [[(7 - day) % 7, 4]]


def test_one_run_in_two_weeks_keeps_its_weekday_open():
    grid = grid_of(14)
    stopped = np.ones(grid.size, bool)
    stopped[5] = False  # Monday 00:25, two weeks before
    found = stopped_blocks(stopped, grid, STEPS, 7 * A_DAY).reshape(7, A_DAY)
    assert np.argwhere(~found).tolist() == [[0, 0]]


def test_one_quiet_week_closes_no_weekday():
    grid = grid_of(9)  # one Monday, two Saturdays and Sundays
    stopped = np.ones(grid.size, bool)
    seconds = grid.epoch_seconds()
    weekday = (seconds // 86_400 + 3) % 7
    stopped[(weekday == 2) & (seconds % 86_400 < 1800)] = False
    found = stopped_blocks(stopped, grid, STEPS, 7 * A_DAY).reshape(7, A_DAY)
    assert not found[[0, 1, 2, 3, 4], 0].any()


@pytest.mark.parametrize(("days", "known"), [(2, False), (3, True)])
def test_three_weekdays_must_have_stopped(days, known):
    grid = grid_of(days, datetime(2026, 3, 7, tzinfo=UTC))  # a Saturday
    monday = slice(2 * A_DAY, 3 * A_DAY)
    found = stopped_blocks(np.ones(grid.size, bool), grid, STEPS, 3 * A_DAY)
    assert found[monday].all() == known
    assert not found[: 2 * A_DAY].any()  # no weekend was seen


def test_two_weekend_days_must_have_stopped():
    for end, known in ((datetime(2026, 3, 8, tzinfo=UTC), False), (datetime(2026, 3, 9, tzinfo=UTC), True)):
        grid = grid_of(5, end)
        found = stopped_blocks(np.ones(grid.size, bool), grid, STEPS, 7 * A_DAY).reshape(7, A_DAY)
        assert found[(7 - (end.day - 7)) % 7].all() == known  # the next Saturday


def test_a_first_part_of_a_block_is_left_out():
    grid = grid_of(14)
    stopped = np.ones(grid.size, bool)
    assert stopped_blocks(stopped[4:], grid, STEPS, 7 * A_DAY).all()


def test_a_quiet_weekend_says_nothing_of_the_block_before_on_weekdays():
    grid = grid_of(14)
    seconds = grid.epoch_seconds()
    half_hour, weekend = seconds % 86_400 // 1800, (seconds // 86_400 + 3) % 7 >= 5
    stopped = ~((half_hour == 20) & ~weekend)  # runs from 10:00 to 10:30 on weekdays
    found = stopped_blocks(stopped, grid, STEPS, 7 * A_DAY).reshape(7, A_DAY)
    assert not found[:5, 20].any()
    assert found[5:, 20].all()
    assert found[:, 19].all()
    assert found[:, 21].all()


def test_a_service_by_local_hours_is_not_stopped_when_it_starts_an_hour_earlier_or_later():
    # Clocks of North America change on Sunday, 1 November 2026: its hours begin an hour later in UTC.
    for end in (datetime(2026, 10, 30, tzinfo=UTC), datetime(2026, 11, 4, tzinfo=UTC)):
        grid = grid_of(14, end)
        ahead = TimeGrid(end, timedelta(minutes=30), 7 * A_DAY)
        found = stopped_blocks(new_york_office(grid), grid, STEPS, ahead.size)
        runs = ~new_york_office(ahead)
        assert not found[runs].any()
        assert found.mean() > 0.6


def new_york_office(grid):
    """Returns the steps outside of 08:00 to 18:00 on weekdays in New York."""
    summer = grid.epoch_seconds() < datetime(2026, 11, 1, 6, tzinfo=UTC).timestamp()
    local = grid.epoch_seconds() - np.where(summer, 4, 5) * 3600
    hour, weekday = local % 86_400 // 3600, (local // 86_400 + 3) % 7
    return ~((weekday < 5) & (hour >= 8) & (hour < 18))
