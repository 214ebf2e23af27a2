from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from perfopt.errors import InvalidInputError
from perfopt.forecast import SessionCalendar, exchange_sessions, forecast_metric, forecast_series
from perfopt.metrics.snapshot import TimeGrid

HOUR = timedelta(hours=1)


def sessions(days):
    """Sessions from (day, open hour, close hour)."""
    found = {}
    for day, opened, close in days:
        midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
        found[day] = (midnight + opened * 3600, midnight + close * 3600)
    return SessionCalendar(found)


def test_days_without_session_are_closed_and_early_closes_from_then_on():
    calendar = sessions([(date(2026, 1, d), 14, 21) for d in (5, 6, 7)] + [(date(2026, 1, 9), 14, 18)])
    closed = calendar.closed(TimeGrid(datetime(2026, 1, 5, tzinfo=UTC), HOUR, 5 * 24)).reshape(5, 24)
    assert not closed[:3].any()
    assert closed[3].all()
    assert closed[4].tolist() == [False] * 18 + [True] * 6


def test_a_load_that_follows_an_exchange_is_planned_by_the_coming_opens_on_both_sides_of_a_change():
    calendar = sessions(
        [(date(2026, 3, d), 14, 21) for d in (*range(2, 7), *range(9, 14))]
        + [(date(2026, 3, d), 13, 20) for d in (*range(16, 21), *range(23, 28))]
    )
    for begin, days in ((date(2026, 3, 2), 12), (date(2026, 3, 9), 9)):  # before the change, and after it
        grid = TimeGrid(datetime(begin.year, begin.month, begin.day, tzinfo=UTC), HOUR, days * 24)
        ahead = TimeGrid(grid.end, HOUR, 5 * 24)
        values, coming = (np.where(trades(calendar, at), 9.0, 1.0) for at in (grid, ahead))
        made = forecast_series(
            values, grid, ahead.end - ahead.start, "1", (0.5,), names=("daily-profile",), calendar=calendar
        )
        assert made.quantile(0.5) == pytest.approx(coming, rel=0.01)


def trades(calendar, grid):
    """Tells in which steps a session is open."""
    seconds = grid.epoch_seconds()[:, None]
    begins, ends = np.array(list(calendar.sessions.values())).T
    return ((seconds >= begins) & (seconds < ends)).any(axis=1)


def test_a_holiday_is_forecast_quiet():
    days = [date(2026, 1, 1) + timedelta(days=n) for n in range(30)]
    holiday = date(2026, 1, 26)
    calendar = sessions([(day, 14, 21) for day in days if day.weekday() < 5 and day != holiday])
    grid = TimeGrid(datetime(2026, 1, 1, tzinfo=UTC), timedelta(minutes=5), 25 * 288)
    hour = np.arange(grid.size) % 288 // 12
    busy = ~calendar.closed(grid) & (hour >= 14) & (hour < 21)
    values = np.where(busy, np.random.default_rng(1).gamma(20, 1 / 20, grid.size) * 50, 1.0)
    ahead = timedelta(days=3)
    told = forecast_metric(values, grid, ahead, "1", (0.5,), calendar=calendar).values[0].reshape(3, 288)
    untold = forecast_metric(values, grid, ahead, "1", (0.5,)).values[0].reshape(3, 288)
    assert told[0].max() < 10  # Monday 26 January, in the history a session like all Mondays
    assert untold[0].max() > 30
    assert told[2].max() > 30


def test_new_york_keeps_its_holidays_half_days_and_clock():
    pytest.importorskip("exchange_calendars")
    calendar = exchange_sessions("XNYS", datetime(2025, 3, 3, tzinfo=UTC), datetime(2025, 12, 31, tzinfo=UTC))
    assert date(2025, 7, 4) not in calendar.sessions
    opened, close = calendar.sessions[date(2025, 11, 28)]  # the day after Thanksgiving
    assert close - opened == 3.5 * 3600
    before, after = calendar.sessions[date(2025, 3, 7)], calendar.sessions[date(2025, 3, 10)]
    assert before[0] % 86_400 - after[0] % 86_400 == 3600


def test_an_unknown_exchange_is_refused():
    pytest.importorskip("exchange_calendars")
    with pytest.raises(InvalidInputError, match="XXXX"):
        exchange_sessions("XXXX", datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 1, 2, tzinfo=UTC))
