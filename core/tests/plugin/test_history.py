"""What counts as enough history, who ran, who throttled and who owns what."""

from dataclasses import replace
from datetime import timedelta

import msgspec
import numpy as np
import pytest

from perfopt.plugin import (
    Container,
    DeclineCode,
    HpaState,
    InsufficientHistory,
    OptimizationType,
    WorkloadState,
    check_history,
    decline,
    enough_since,
    replicas_owner,
    requests_owner,
    running_replicas,
    steps_with_samples,
    throttling,
    unseen_triggers,
    utilization_target,
    validity_steps,
)
from perfopt.testing import make_context, make_snapshot

DAY = 288


def context_of(days, validity=timedelta(days=7), running=None):
    snapshot = make_snapshot({"main": {"cpu_cores": np.full(round(days * DAY), 0.5)}})
    return make_context(replace(snapshot, running=running), validity)


def check(present, *, running=None, validity=timedelta(days=7), **options):
    context = context_of(len(present) / DAY, validity, running)
    return check_history(context, np.asarray(present), "main", "cpu_cores", **options)


@pytest.mark.parametrize(
    ("days", "validity", "enough"), [(3, 7, True), (2.99, 7, False), (6, 14, True), (5.99, 14, False)]
)
def test_three_sevenths_of_the_validity_are_enough(days, validity, enough):
    found = check(np.ones(round(days * DAY), bool), validity=timedelta(days=validity))
    assert found == 0 if enough else found.code is DeclineCode.SHORT_HISTORY


def test_history_counts_from_the_first_sample_to_the_end():
    present = np.arange(14 * DAY) >= 12 * DAY
    found = check(present)
    assert found == InsufficientHistory(
        DeclineCode.SHORT_HISTORY,
        "main has 48.0 h of cpu_cores; 72.0 h (3/7 of the validity) are needed.",
    )
    assert check(np.arange(14 * DAY) >= 11 * DAY) == 11 * DAY


def test_longer_history_that_a_strategy_asks_for_is_named():
    day = timedelta(days=1)
    assert check(np.ones(2 * DAY, bool), validity=day, least=2 * day) == 0
    found = check(np.ones(2 * DAY - 1, bool), validity=day, least=2 * day)
    assert found.reason == "main has 47.9 h of cpu_cores; 48.0 h are needed."


@pytest.mark.parametrize(("of_ten", "enough"), [(6, True), (5, False)])
def test_six_steps_in_ten_need_a_sample(of_ten, enough):
    found = check(np.arange(14 * DAY) % 10 < of_ten)
    assert found == 0 if enough else found.code is DeclineCode.LOW_COVERAGE
    if not enough:
        assert found.reason == "main has 50% of its samples of cpu_cores; 60% are needed."


def test_coverage_counts_over_the_steps_in_which_a_workload_ran():
    nightly = np.arange(14 * DAY) % DAY < 12  # an hour of each day
    assert check(nightly, running=nightly) == 0
    half = nightly & (np.arange(14 * DAY) % 2 == 0)
    assert check(half, running=nightly).code is DeclineCode.LOW_COVERAGE


def test_nothing_seen_is_no_data():
    found = check(np.zeros(14 * DAY, bool))
    assert (found.code, found.reason) == (DeclineCode.NO_DATA, "main has no cpu_cores.")
    assert check(np.zeros(0, bool)).code is DeclineCode.NO_DATA


def test_too_little_history_is_a_strategys_abstention():
    declined = check(np.zeros(14 * DAY, bool)).declined(OptimizationType.COST_OPTIMIZATION)
    assert declined == decline(
        OptimizationType.COST_OPTIMIZATION, DeclineCode.NO_DATA, "main has no cpu_cores."
    )


def test_the_validity_is_named_where_it_decides_what_is_needed():
    found = check(np.ones(DAY, bool), least=timedelta(days=3))
    assert found.reason == "main has 24.0 h of cpu_cores; 72.0 h (3/7 of the validity) are needed."


def test_a_part_of_history_is_enough_by_the_same_thresholds():
    context, present = context_of(14), np.ones(14 * DAY, bool)
    assert enough_since(context, present, 11 * DAY)
    assert not enough_since(context, present, 11 * DAY + 1)
    present[11 * DAY : 13 * DAY] = False
    assert not enough_since(context, present, 11 * DAY)


def test_validity_has_at_least_one_step():
    assert validity_steps(context_of(1, timedelta(minutes=11))) == 3
    assert validity_steps(context_of(1, timedelta(minutes=1))) == 1


def test_a_step_has_a_sample_where_any_pod_has_one():
    values = np.array([[1.0, np.nan, np.nan], [np.nan, 2.0, np.inf]])
    assert steps_with_samples(values).tolist() == [True, True, False]
    assert steps_with_samples(values[0]).tolist() == [True, False, False]


def replicas_of(service=None, containers=None, replicas=4):
    containers = containers or {"main": {"cpu_cores": np.ones(5)}}
    state = WorkloadState(containers=(Container(name="main"),), replicas=replicas)
    return running_replicas(make_snapshot(containers, service=service, state=state)).tolist()


def test_recorded_replicas_hold_over_gaps_and_stated_ones_before():
    recorded = [np.nan, 2.0, np.nan, 3.0, np.nan]
    assert replicas_of({"replicas": recorded}) == [4, 2, 2, 3, 3]


def test_one_replica_stands_for_none():
    assert replicas_of({"replicas": [0.0, 2.0, 0.0, np.nan, 1.0]}) == [1, 2, 1, 1, 1]
    assert replicas_of(replicas=0) == [1] * 5
    assert replicas_of(replicas=None) == [1] * 5


def test_pods_seen_stand_for_replicas_that_nobody_recorded():
    pods = {"main": {"cpu_cores": np.array([[1, 1, np.nan, 1, np.nan], [1, np.nan, np.nan, 1, 1]])}}
    assert replicas_of(containers=pods) == [2, 1, 1, 2, 1]
    assert replicas_of({"replicas": [np.nan] * 5}, pods) == [2, 1, 1, 2, 1]
    assert replicas_of({"replicas": [3.0] * 5}, pods) == [3] * 5
    gap = {"main": {"cpu_cores": np.array([[1, np.nan, 1], [1, np.nan, np.nan]])}}
    assert replicas_of(containers=gap) == [2, 2, 1]  # a gap is no change
    assert replicas_of() == [4] * 5


@pytest.mark.parametrize(("throttled", "considerable"), [(10, True), (9, False)])
def test_throttling_counts_steps_of_the_hottest_pod(throttled, considerable):
    hot = np.where(np.arange(1000) < throttled, 0.06, 0.05)
    snapshot = make_snapshot({"main": {"cpu_throttled_fraction": np.stack([np.zeros(1000), hot])}})
    found = throttling(snapshot, "main")
    assert (found.share, found.considerable) == (throttled / 1000, considerable)
    assert throttling(snapshot, "main", throttled).share == 0


def test_throttling_that_is_not_measured_is_not_known():
    nan = make_snapshot({"main": {"cpu_throttled_fraction": np.full(9, np.nan)}})
    assert throttling(nan, "main") is None
    assert throttling(make_snapshot(), "main") is None


def test_throttled_share_is_of_measured_steps_and_fractions_stay_within_one():
    values = [0.5, np.nan, 1.7, np.nan]
    found = throttling(make_snapshot({"main": {"cpu_throttled_fraction": values}}), "main")
    assert found.share == 1.0
    np.testing.assert_equal(found.fractions, [0.5, np.nan, 1.0, np.nan])


def state(**fields):
    return WorkloadState(containers=(Container(name="main"),), replicas=2, **fields)


def test_vertical_autoscalers_own_requests_in_every_mode_but_off():
    assert requests_owner(state()) is None
    assert requests_owner(state(vpa_mode="Off")) is None
    for mode in ("Auto", "Recreate", "Initial"):
        assert requests_owner(state(vpa_mode=mode)) == f"VerticalPodAutoscaler in mode {mode}"


def test_horizontal_autoscalers_own_replicas():
    hpa = HpaState(min_replicas=1, max_replicas=3, target_cpu_utilization_percent=70)
    assert replicas_owner(state()) is None
    assert replicas_owner(state(hpa=hpa)) == "HorizontalPodAutoscaler"
    assert replicas_owner(state(keda="queue")) == "KEDA ScaledObject queue"
    assert utilization_target(state(hpa=hpa), "cpu") == 70
    assert utilization_target(state(hpa=hpa), "memory") is None
    assert utilization_target(state(), "cpu") is None


def test_triggers_beside_utilization_are_named_once():
    workload = make_snapshot(state=state()).workload
    assert unseen_triggers(workload) == ()
    hpa = HpaState(min_replicas=1, max_replicas=3, other_metrics=("lag", "unknown"))
    scaled = msgspec.structs.replace(workload, state=state(hpa=hpa), unknown_autoscalers=("unknown", "api"))
    assert unseen_triggers(scaled) == ("lag", "unknown", "api")
