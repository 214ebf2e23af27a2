"""Hours and kinds of days, and the schedule that follows from them."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from perfopt.plugin import TimeGrid
from perfopt.testing import make_context, make_snapshot
from perfopt_cost.hours import (
    HOURS,
    KINDS,
    HourCells,
    SchedulePeriod,
    cells_of,
    hours_ahead,
    periods,
    schedule,
    whole,
)

HOUR = timedelta(hours=1)


def context_of(days=14, validity=timedelta(days=7), end=datetime(2026, 3, 2, tzinfo=UTC)):  # a Monday
    snapshot = make_snapshot({"main": {"cpu_cores": np.full(round(days * 288), 0.5)}})
    grid = TimeGrid(end - snapshot.grid.size * snapshot.grid.step, snapshot.grid.step, snapshot.grid.size)
    snapshot = type(snapshot)(snapshot.workload, grid, snapshot.containers)
    return make_context(snapshot, validity)


def shape_of(hours, days, values, begin=0, reference=10.0):
    cells = HourCells(np.asarray(hours), np.asarray(days), None)
    return cells.shape(np.asarray(values, dtype=float), begin, reference)


def test_weekends_are_another_kind_of_day():
    context = context_of(days=7)
    cells = cells_of(context)
    assert cells.calendar is None
    assert cells.cell[0] == 0  # Monday 00:00
    assert cells.cell[4 * 288 + 287] == 23  # Friday 23:55
    assert cells.cell[5 * 288] == HOURS  # Saturday 00:00
    assert cells.cell[-1] == 2 * HOURS - 1
    assert np.unique(cells.day).size == 7


def week_of(count, kind=0):
    """Returns the hours of a week whose first days, so many, are of a kind and the rest of the other."""
    kinds = np.where(np.arange(7) < count, kind, 1 - kind)
    return (np.arange(HOURS) + HOURS * kinds[:, None]).ravel(), np.repeat(np.arange(7), HOURS)


def test_an_hour_needs_the_highest_of_its_days_and_of_the_hours_beside_it():
    hours, days = week_of(5)
    values = np.ones(hours.size)
    values[HOURS + 10] = 5.0  # one of five days
    values[0] = 2.0
    share = shape_of(hours, days, values)[0]
    assert share[[9, 10, 11]].tolist() == [0.5] * 3
    assert share[[23, 0, 1]].tolist() == [0.2] * 3
    assert share[[8, 12, 2]].tolist() == [0.1] * 3
    assert shape_of(hours, days, values, reference=4.0)[0].max() == 1.0
    assert (shape_of(hours, days, values, reference=0.0) == 1.0).all()


@pytest.mark.parametrize(("kind", "needed"), [(0, 3), (1, 2)])
def test_a_kind_of_day_is_known_after_some_days_of_it(kind, needed):
    for count, known in ((needed, True), (needed - 1, False)):
        hours, days = week_of(count, kind)
        share = shape_of(hours, days, np.ones(hours.size))
        assert (share[kind] == (0.1 if known else 1.0)).all()


def test_an_hour_that_one_day_lacks_makes_its_kind_unknown():
    hours, days = week_of(3)
    values = np.ones(hours.size)
    assert (shape_of(hours, days, values)[0] == 0.1).all()
    values[5] = np.nan
    assert (shape_of(hours, days, values)[0] == 1.0).all()


def test_no_hour_is_known_before_every_weekday_was_seen():
    hours, days = week_of(5)
    values = np.ones(hours.size)
    assert (shape_of(hours, days, values)[0] == 0.1).all()
    assert (shape_of(hours[:-HOURS], days[:-HOURS], values[:-HOURS]) == 1.0).all()


def test_without_a_schedule_one_period_holds_all_hours():
    (period,) = whole(context_of(validity=timedelta(hours=36)))
    assert period.cells.all()
    assert period.hours == 36


def test_the_busy_block_of_a_day_is_found():
    context = context_of()
    cells = cells_of(context)
    shape = np.full((KINDS, HOURS), 0.2)
    shape[0, 8:18] = 1.0
    found = periods(context, cells, shape)
    busy, quiet, *weekend = found
    assert np.flatnonzero(busy.cells).tolist() == list(range(8, 18))
    assert np.flatnonzero(quiet.cells).tolist() == [*range(8), *range(18, 24)]
    assert (busy.hours, quiet.hours) == (50, 70)  # five weekdays of the week ahead
    assert sum(period.hours for period in weekend) == 48
    assert sum(period.cells.sum() for period in found) == KINDS * HOURS


def test_a_kind_that_the_window_does_not_hold_has_no_period():
    context = context_of(validity=timedelta(days=2))  # Monday and Tuesday
    found = periods(context, cells_of(context), np.ones((KINDS, HOURS)))
    assert all(period.cells[:HOURS].any() for period in found)
    assert sum(period.hours for period in found) == 48


def test_hours_ahead_begin_with_the_one_under_way():
    context = context_of(validity=timedelta(hours=2), end=datetime(2026, 3, 2, 10, 30, tzinfo=UTC))
    assert hours_ahead(context, cells_of(context)).tolist() == [10, 11]
    long = context_of(validity=timedelta(minutes=90), end=datetime(2026, 3, 1, 23, 0, tzinfo=UTC))
    assert hours_ahead(long, cells_of(long)).tolist() == [HOURS + 23, 0]


def planned(context, busy, counts=(6, 2)):
    """The schedule of a service that needs more replicas in some hours of weekdays."""
    cells = np.zeros(KINDS * HOURS, dtype=bool)
    cells[busy] = True
    found = [SchedulePeriod(cells, 1.0), SchedulePeriod(~cells, 1.0)]
    entries = schedule(context, cells_of(context), found, counts)
    return [
        (
            (datetime.fromisoformat(entry["start"]) - context.now) / HOUR,
            (datetime.fromisoformat(entry["end"]) - context.now) / HOUR,
            entry["min_replicas"],
        )
        for entry in entries
    ]


def test_replicas_are_added_a_quarter_of_an_hour_before_they_are_needed():
    context = context_of(validity=timedelta(days=1))
    assert planned(context, slice(8, 18)) == [(0, 7.75, 2), (7.75, 18, 6), (18, 24, 2)]
    assert planned(context, slice(0, 0)) == [(0, 24, 2)]
    late = context_of(validity=timedelta(hours=4), end=datetime(2026, 3, 2, 7, 50, tzinfo=UTC))
    assert planned(late, slice(8, 18)) == [(0, 4, 6)]  # the lead is over already
