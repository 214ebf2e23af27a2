from datetime import timedelta

import numpy as np
import pytest

from perfopt.backtest import OURS, backtest_registry, make_plan, open_engine
from perfopt.backtest.walk import TYPE, walk_baselines, walk_engine
from perfopt.config.loading import Config, EngineConfig
from perfopt.domain.price import DEFAULT_PRICE_BOOK
from perfopt.domain.workload import Container, WorkloadState
from perfopt.evaluation.baselines import BASELINES
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.testing import daily_usage, make_snapshot

DAY, GIB = 288, 2**30


def recorded(cpu, **more):
    return make_snapshot({"main": {"cpu_cores": cpu, "memory_bytes": cpu * GIB, **more}})


def plan_of(snapshot, cuts="2"):
    return make_plan(snapshot.grid.end, history=timedelta(days=7), validity=timedelta(days=3), cuts=cuts)


def walked(snapshot, policies=tuple(BASELINES), cuts="2"):
    return walk_baselines(snapshot, plan_of(snapshot, cuts), policies, DEFAULT_PRICE_BOOK)


@pytest.fixture(scope="module")
def engine():
    config = Config(engine=EngineConfig(processes=1))
    with open_engine(backtest_registry(config), config) as opened:
        yield opened


def test_every_policy_recommends_at_every_cut_and_is_scored_on_the_window_after_it():
    snapshot = recorded(daily_usage(14))
    trials = walked(snapshot)
    assert [trial.policy for trial in trials] == [*BASELINES, *BASELINES]
    assert {trial.made_at for trial in trials} == set(plan_of(snapshot).cuts)
    assert all(trial.scored for trial in trials)


def test_a_change_after_the_cut_changes_the_score_and_not_the_recommendation():
    cpu = np.full(14 * DAY, 0.2)
    calm = walked(recorded(cpu), ("max",), cuts="1")[0]
    cpu[11 * DAY :] = 0.4
    grown = walked(recorded(cpu), ("max",), cuts="1")[0]
    assert (calm.outcome, grown.outcome) == ("accurate", "inaccurate")
    assert calm.cpu.recommended == grown.cpu.recommended == 0.2
    assert grown.cpu.needed == 0.4


def test_our_recommendation_does_not_depend_on_what_came_later_either(engine):
    keys = [info.key for info in engine.registry.of_types((TYPE,))]
    if not keys:
        pytest.skip("no plugin that sizes resources is installed")
    cpu = daily_usage(14)
    later = cpu.copy()
    later[11 * DAY :] = 3.0
    one, other = (
        walk_engine(recorded(c), plan_of(recorded(c), "1"), engine, DEFAULT_PRICE_BOOK)[0]
        for c in (cpu, later)
    )
    assert one.policy.startswith(OURS)
    assert one.cpu.recommended == other.cpu.recommended
    assert one.confidence == other.confidence
    assert (one.outcome, other.outcome) == ("accurate", "inaccurate")


def test_a_service_that_did_not_exist_yet_is_asked_nothing():
    cpu = daily_usage(14)
    cpu[: 9 * DAY] = np.nan
    trials = walked(recorded(cpu), ("max",), cuts="2")
    assert [trial.short_history for trial in trials] == [True]


def test_a_window_with_too_few_samples_is_not_scored():
    cpu = daily_usage(14)
    cpu[12 * DAY :] = np.nan
    trial = walked(recorded(cpu), ("max",), cuts="1")[0]
    assert (trial.outcome, trial.cpu) == ("not_scored", None)
    assert "50%" in trial.reason


def test_the_state_at_a_cut_is_the_one_recorded_before_it():
    cpu = np.full(14 * DAY, 0.2)
    requests = np.full(14 * DAY, 2.0)
    requests[11 * DAY :] = 0.5
    state = WorkloadState(
        containers=(Container(name="main", cpu_request_cores=0.5, memory_request_bytes=GIB),), replicas=1
    )
    metrics = {"cpu_cores": cpu, "memory_bytes": cpu * GIB, "cpu_request_cores": requests}
    snapshot = make_snapshot({"main": metrics}, state=state)
    trial = walk_baselines(snapshot, plan_of(snapshot, "1"), ("max",), DEFAULT_PRICE_BOOK)[0]
    book = DEFAULT_PRICE_BOOK
    before = 2.0 * book.cpu_core_hour + book.memory_gib_hour
    after = 0.2 * book.cpu_core_hour + 0.2 * book.memory_gib_hour
    assert trial.claimed_saving == pytest.approx(1 - after / before, rel=1e-6)
    assert trial.realised_saving == trial.claimed_saving


def test_what_was_short_is_taken_from_the_saving():
    cpu = np.full(14 * DAY, 0.2)
    cpu[11 * DAY :] = 0.7
    trial = walked(recorded(cpu), ("max",), cuts="1")[0]
    # one core and 1 GiB are requested twice over; half a core and half a GiB were short
    book = DEFAULT_PRICE_BOOK
    now = book.cpu_core_hour + book.memory_gib_hour
    assert trial.claimed_saving - trial.realised_saving == pytest.approx(
        0.5 * (book.cpu_core_hour + book.memory_gib_hour) / now, rel=1e-6
    )


def test_containers_are_short_each_by_itself():
    low, high = np.full(14 * DAY, 0.2), np.full(14 * DAY, 0.6)
    low[11 * DAY :], high[11 * DAY :] = 0.6, 0.2  # what one has too much does not help the other
    snapshot: WorkloadSnapshot = make_snapshot({"a": {"cpu_cores": low}, "b": {"cpu_cores": high}})
    trial = walk_baselines(snapshot, plan_of(snapshot, "1"), ("max",), DEFAULT_PRICE_BOOK)[0]
    assert trial.outcome == "inaccurate"
    assert trial.cpu.recommended == pytest.approx(trial.cpu.needed)
    assert trial.realised_saving < trial.claimed_saving
