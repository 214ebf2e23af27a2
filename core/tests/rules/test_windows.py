from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt.domain.rules import TimeWindow
from perfopt.engine.sessions import sessions_of
from perfopt.plugin import Declined
from perfopt.rules.pack import DeferAction, WeeklyWindow
from perfopt.rules.windows import allowed

FRIDAY = datetime(2026, 3, 6, 15, tzinfo=UTC)  # the New York exchange trades from 14:30 to 21:00
OPEN = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@pytest.fixture(scope="module")
def sessions():
    found, warnings = sessions_of(["XNYS"], FRIDAY - timedelta(days=14), FRIDAY + timedelta(days=7))
    assert warnings == ()
    return found


def freeze(run, context, **parameters):
    return run({"enable": "market-hours", "parameters": {"market-hours": parameters}}, context=context)


def test_a_change_waits_for_the_close(run, situation, sessions):
    result = freeze(run, situation(now=FRIDAY, sessions=sessions))
    first = result.conditions.allowed_windows[0]
    assert first.start == datetime(2026, 3, 6, 21, 30, tzinfo=UTC)
    # the United States put their clocks forward on Sunday: Monday opens an hour earlier in UTC
    assert first.end == datetime(2026, 3, 9, 13, tzinfo=UTC)
    assert result.conditions.not_before(FRIDAY) == first.start
    (fired,) = result.rules
    assert (fired.rule, fired.action, fired.after) == ("market_hours", "defer", "2026-03-06T21:30:00Z")
    assert result.conditions.requires_approval is False


def test_the_margin_is_a_parameter(run, situation, sessions):
    result = freeze(run, situation(now=FRIDAY, sessions=sessions), after="3h")
    assert result.conditions.allowed_windows[0].start == datetime(2026, 3, 7, tzinfo=UTC)


def test_while_it_is_closed_a_change_may_be_made_at_once(run, situation, sessions):
    saturday = FRIDAY + timedelta(days=1)
    conditions = freeze(run, situation(now=saturday, sessions=sessions)).conditions
    assert conditions.not_before(saturday) is None
    assert conditions.allowed_windows[0].start == saturday


def test_without_its_sessions_somebody_has_to_agree(run, situation):
    result = freeze(run, situation(now=FRIDAY))
    assert result.conditions.requires_approval
    assert result.conditions.allowed_windows == ()


def test_an_unknown_exchange_is_a_warning():
    found, (warning,) = sessions_of(["XXXX"], FRIDAY, FRIDAY)
    assert found == {}
    assert warning.code == "sessions_unknown"
    assert "XXXX" in warning.message


def test_several_windows_hold_together_and_none_left_is_a_veto(pack, run, situation):
    body = """
    rules:
      - name: nights
        reason: Changes are made at night.
        actions:
          - defer: {windows: [{days: [mon, tue, wed, thu, fri], start: "22:00", end: "04:00"}]}
      - name: early
        reason: Changes are made on Tuesdays.
        actions:
          - defer: {windows: [{days: [tue], start: "00:00", end: "%s", timezone: %s}]}
    """
    context = situation()  # a Monday at midnight
    both = run({"packs": [pack(body % ("02:00", "UTC"), "some")]}, context=context)
    (window,) = both.conditions.allowed_windows
    tuesday = context.now + timedelta(days=1)
    assert (window.start, window.end) == (tuesday, tuesday + timedelta(hours=2))
    none = run({"packs": [pack(body % ("20:00", "Pacific/Auckland"), "none")]}, context=context)
    assert not isinstance(none, Declined)
    never = body.replace("[mon, tue, wed, thu, fri]", "[sat]") % ("02:00", "UTC")
    assert "No such time is left" in run({"packs": [pack(never, "never")]}, context=context).reason


def test_a_condition_may_ask_whether_the_market_is_open(pack, run, situation, sessions):
    body = """
    parameters:
      exchange: {type: text, default: XNYS, description: The exchange.}
    rules:
      - {name: a, reason: R., when: calendar.market_open, actions: [{veto: {}}]}
      - {name: b, reason: R., when: calendar.hours_to_open < 10.0, actions: [{require_approval: {}}]}
    """
    path = pack(body)
    assert isinstance(run({"packs": [path]}, context=situation(now=FRIDAY, sessions=sessions)), Declined)
    before = situation(now=FRIDAY - timedelta(hours=2), sessions=sessions)
    assert run({"packs": [path]}, context=before).conditions.requires_approval
    weekend = situation(now=FRIDAY + timedelta(days=1), sessions=sessions)
    assert not run({"packs": [path]}, context=weekend).conditions.requires_approval


@given(
    days=st.lists(st.sampled_from(DAYS), unique=True, min_size=1),
    start=st.integers(0, 1439),
    end=st.integers(0, 1439),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"]),
    length=st.integers(1, 20 * 24),
)
def test_windows_are_ordered_apart_and_within_the_time_asked_for(days, start, end, zone, length):
    clock = "{:02d}:{:02d}".format
    window = WeeklyWindow(
        days=tuple(days), start=clock(*divmod(start, 60)), end=clock(*divmod(end, 60)), timezone=zone
    )
    until = OPEN + timedelta(hours=length)
    found = allowed(DeferAction(windows=(window,)), {}, {}, OPEN, until)
    edges = [edge for one in found for edge in (one.start, one.end)]
    assert edges == sorted(set(edges))
    assert all(OPEN <= edge <= until for edge in edges)


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 9)), max_size=12), st.integers(1, 48))
def test_what_is_allowed_and_the_sessions_make_up_the_whole_time(spans, length):
    hour = timedelta(hours=1)
    sessions = tuple((OPEN + a * hour, OPEN + (a + b) * hour) for a, b in sorted(spans))
    until = OPEN + length * hour
    found = allowed(DeferAction(outside_sessions="X"), {}, {"X": sessions}, OPEN, until)
    if not sessions:
        assert found is None
        return
    for step in range(length):
        middle = OPEN + step * hour + hour / 2
        busy = any(opened <= middle < close for opened, close in sessions)
        assert busy is not any(window.start <= middle < window.end for window in found)
    assert all(isinstance(window, TimeWindow) for window in found)
