from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfopt.domain.enums import Basis, DeclineCode
from perfopt.domain.workload import Container, WorkloadState
from perfopt.engine.pipeline import run_strategy
from perfopt.evaluation.known import known_at
from perfopt.evaluation.resources import WindowScore
from perfopt.evaluation.rolling import backtest, origins, scored_window, window_after
from perfopt.metrics.snapshot import ImageChange
from perfopt.plugin import decline
from perfopt.testing import daily_usage, make_context, make_snapshot
from perfopt.testing.examples import PeakStrategy

WEEK = timedelta(days=7)
DAY = 288
GIB = 2**30


def of(cpu, **more):
    return make_snapshot({"main": {"cpu_cores": cpu, "memory_bytes": cpu * GIB}}, **more)


def replayed(snapshot):
    outcome = run_strategy(PeakStrategy(), make_context(snapshot))
    return outcome.evidence.windows


def test_two_weeks_give_five_windows_a_day_apart_of_a_week_each():
    windows = replayed(of(daily_usage(14)))
    assert len(windows) == 5
    assert all(window.scored_until - window.made_at == WEEK for window in windows)
    assert windows[-1].scored_until == make_snapshot().grid.end
    assert [b.made_at - a.made_at for a, b in pairwise(windows)] == [timedelta(days=1)] * 4


def test_a_history_that_begins_late_is_backtested_from_where_it_begins():
    cpu = daily_usage(14)
    cpu[: 3 * DAY] = np.nan
    assert len(replayed(of(cpu))) == 2


def test_a_history_too_short_for_a_window_has_no_evidence():
    assert replayed(of(daily_usage(7))) == ()


def test_many_origins_are_thinned_to_twelve_and_keep_the_newest_and_the_oldest():
    snapshot = of(daily_usage(60))
    found = origins(snapshot, WEEK)
    assert len(found) == 12
    assert found[-1] == snapshot.grid.size - 7 * DAY
    assert found[0] == 3 * DAY
    assert list(found) == sorted(set(found))


def test_a_rise_after_the_recommendation_makes_the_window_inaccurate():
    cpu = np.full(14 * DAY, 0.2)
    cpu[9 * DAY :] = 0.4  # 5 days of the week after day 7, so far more than 1 % of it
    windows = replayed(of(cpu))
    assert [window.outcome for window in windows] == ["inaccurate"] * 5
    assert not windows[-1].cpu_safe
    steady = replayed(of(np.full(14 * DAY, 0.2)))
    assert [window.outcome for window in steady] == ["accurate"] * 5
    assert steady[0].recommended["main"]["cpu_request"] == "220m"
    assert steady[0].cpu_waste == pytest.approx(0.1)


def test_a_window_with_too_few_samples_is_not_scored_and_says_so():
    cpu = daily_usage(14)
    cpu[10 * DAY :] = np.nan
    last = replayed(of(cpu))[-1]
    assert (last.outcome, last.accurate) == ("not_scored", None)
    assert "50%" in last.reason


def test_a_strategy_that_declines_is_shown_as_declined():
    snapshot = make_snapshot()
    declined = decline(PeakStrategy.optimization_type, DeclineCode.UNSTABLE, "It changed.")
    assert {window.outcome for window in backtest(lambda _: declined, snapshot, WEEK).windows} == {"declined"}


@given(day=st.integers(3, 7), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_altering_any_later_sample_leaves_the_recommendation_unchanged(day, seed):
    index = day * DAY
    cpu = daily_usage(14, seed=seed)
    altered = cpu.copy()
    altered[index:] = np.random.default_rng(seed).random(altered.size - index) * 100
    altered[index + 7 :: 9] = np.nan
    limits = np.where(np.arange(cpu.size) < index, 2.0, 3.0)

    def build(values, limit):
        series = {"cpu_cores": values, "memory_bytes": values * GIB, "cpu_limit_cores": limit}
        return make_snapshot({"main": series}, service={"replicas": np.round(values * 10)})

    one, other = known_at(build(cpu, limits), index), known_at(build(altered, limits * 0 + 2.0), index)
    assert one.workload == other.workload
    assert one.coverage == other.coverage
    made = [run_strategy(PeakStrategy(), make_context(snapshot)).proposal for snapshot in (one, other)]
    assert made[0] == made[1]


def test_a_replay_says_what_the_engine_would_have_said_that_day():
    snapshot = of(daily_usage(14))
    window = replayed(snapshot)[0]
    index = snapshot.grid.index(window.made_at)
    then = run_strategy(PeakStrategy(), make_context(known_at(snapshot, index))).proposal
    assert window.recommended == {c.name: c.to_map() for c in then.target.containers}


def test_the_state_known_then_is_the_last_recorded_before_then():
    steps = 10 * DAY
    request = np.where(np.arange(steps) < 5 * DAY, 0.5, 1.0)
    memory = np.full(steps, np.nan)
    memory[7 * DAY :] = GIB
    usage = daily_usage(10)
    snapshot = make_snapshot(
        {"main": {"cpu_cores": usage, "cpu_request_cores": request, "memory_request_bytes": memory}},
        service={"replicas": np.where(np.arange(steps) < 5 * DAY, 3.0, 5.0)},
    )
    state = known_at(snapshot, 5 * DAY).workload.state
    assert state.containers[0].cpu_request_cores == 0.5
    assert state.containers[0].memory_request_bytes is None  # recorded from day 7 on only
    assert state.containers[0].cpu_limit_cores == 2.0  # never recorded: as it is now
    assert state.replicas == 3
    assert known_at(snapshot, 8 * DAY).workload.state.replicas == 5


def test_requests_assumed_from_limits_follow_the_limits_of_the_time():
    usage = daily_usage(10)
    limit = np.where(np.arange(usage.size) < 5 * DAY, 4.0, 8.0)
    state = WorkloadState(
        containers=(Container(name="main", cpu_request_cores=8.0, cpu_limit_cores=8.0),),
        basis=Basis.ASSUMED_FROM_LIMIT,
    )
    snapshot = make_snapshot({"main": {"cpu_cores": usage, "cpu_limit_cores": limit}}, state=state)
    assert known_at(snapshot, 4 * DAY).workload.state.containers[0].cpu_request_cores == 4.0
    assert known_at(snapshot, 6 * DAY).workload.state.containers[0].cpu_request_cores == 8.0


def test_a_request_known_for_now_only_is_held_to_the_limit_of_the_time():
    usage = daily_usage(10)
    limit = np.where(np.arange(usage.size) < 5 * DAY, 1.0, 8.0)
    state = WorkloadState(containers=(Container(name="main", cpu_request_cores=4.0, cpu_limit_cores=8.0),))
    snapshot = make_snapshot({"main": {"cpu_cores": usage, "cpu_limit_cores": limit}}, state=state)
    assert known_at(snapshot, 4 * DAY).workload.state.containers[0].cpu_request_cores == 1.0
    assert known_at(snapshot, 6 * DAY).workload.state.containers[0].cpu_request_cores == 4.0


def test_the_image_known_then_is_not_a_later_one():
    snapshot = make_snapshot()
    state = snapshot.workload.state
    state = msgspec.structs.replace(
        state, containers=(msgspec.structs.replace(state.containers[0], image="app:3"),)
    )
    start = snapshot.grid.start
    snapshot = replace(
        snapshot,
        workload=msgspec.structs.replace(snapshot.workload, state=state),
        image_changes=(
            ImageChange("main", start + timedelta(days=2), "app:2"),
            ImageChange("main", start + timedelta(days=9), "app:3"),
        ),
    )
    images = [known_at(snapshot, day * DAY).workload.state.containers[0].image for day in (1, 5, 14)]
    assert images == [None, "app:2", "app:3"]


def test_a_declined_origin_says_when_and_why():
    snapshot = make_snapshot()
    reason = decline(PeakStrategy.optimization_type, DeclineCode.UNSTABLE, "It changed.")
    *_, last = backtest(lambda known: reason, snapshot, WEEK).windows
    assert (last.made_at, last.scored_until) == (snapshot.grid.end - WEEK, snapshot.grid.end)
    assert last.reason == "It changed."


def test_a_window_shows_all_that_was_scored():
    window = make_snapshot()
    score = WindowScore(
        scored=True,
        accurate=True,
        cpu_safe=True,
        memory_safe=False,
        cpu_waste=0.5,
        memory_waste=0.25,
        claim_met=True,
        realised_latency_ms=12.0,
        realised_saving_percent=7.0,
    )
    found = scored_window(score, window.workload.state, window)
    assert (found.outcome, found.accurate, found.cpu_safe, found.memory_safe) == (
        "accurate",
        True,
        True,
        False,
    )
    assert (found.cpu_waste, found.memory_waste, found.claim_kept) == (0.5, 0.25, True)
    assert (found.realised_latency_ms, found.realised_saving_percent) == (12.0, 7.0)
    unscored = scored_window(replace(score, scored=False, reason="thin"), window.workload.state, window)
    assert (unscored.outcome, unscored.accurate, unscored.reason) == ("not_scored", None, "thin")


def test_the_window_after_an_origin_has_the_state_known_at_it():
    cpu = daily_usage(14)
    requests = np.where(np.arange(cpu.size) < 10 * DAY, 2.0, 0.5)
    snapshot = make_snapshot({"main": {"cpu_cores": cpu, "cpu_request_cores": requests}})
    known = known_at(snapshot, 7 * DAY)
    window = window_after(snapshot, known, DAY)
    assert window.workload.state.containers[0].cpu_request_cores == 2.0
    assert (window.grid.start, window.grid.size) == (known.grid.end, DAY)


def test_as_many_origins_as_there_may_be_are_all_used():
    snapshot = of(daily_usage(21))  # 3 days of history, 7 of validity: 12 origins a day apart
    assert [b - a for a, b in pairwise(origins(snapshot, WEEK))] == [DAY] * 11
