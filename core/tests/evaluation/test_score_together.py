"""Scores of states that several types make together, and of staying as it is."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from perfopt.domain.enums import OptimizationType
from perfopt.domain.fields import container_path
from perfopt.domain.workload import Container, Slo, WorkloadState
from perfopt.evaluation.score import score, score_staying, score_together
from perfopt.plugin.strategy import Claim, Proposal
from perfopt.testing import make_snapshot

MIB = 2**20
RESOURCE, TUNING, SCALING, COST, LATENCY = (
    OptimizationType.RESOURCE_OPTIMIZATION,
    OptimizationType.PERFORMANCE_TUNING,
    OptimizationType.SCALING_OPTIMIZATION,
    OptimizationType.COST_OPTIMIZATION,
    OptimizationType.LATENCY_OPTIMIZATION,
)
MAIN = Container(
    name="main",
    cpu_request_cores=0.5,
    memory_request_bytes=400 * MIB,
    cpu_limit_cores=1.0,
    memory_limit_bytes=800 * MIB,
)
CURRENT = WorkloadState(containers=(MAIN,), replicas=4)


def window(cpu=0.4, memory=300.0, *, slo=None, **service):
    """A hundred steps on 4 replicas of 0.5 cores and 400 MiB: constant cores and MiB of each."""
    metrics = {"cpu_cores": np.full(100, cpu), "memory_bytes": np.full(100, memory * MIB)}
    snapshot = make_snapshot({"main": metrics}, service=service, state=CURRENT)
    return replace(snapshot, workload=msgspec.structs.replace(snapshot.workload, slo=slo))


def state(replicas=4, extra=None, **quantities):
    containers = (msgspec.structs.replace(MAIN, **quantities),)
    return msgspec.structs.replace(CURRENT, containers=containers, replicas=replicas, extra=extra or {})


def proposal(kind, target=CURRENT, *, claim=None, no_change_needed=False):
    return Proposal(
        optimization_type=kind,
        target=target,
        description="Change it.",
        claim=claim or Claim(),
        no_change_needed=no_change_needed,
    )


def together(merged, used, *parts):
    return score_together(parts, merged, used)


def test_changes_of_two_types_must_both_hold_in_one_state():
    merged = state(cpu_request_cores=0.45, memory_request_bytes=310 * MIB)
    parts = proposal(TUNING, state(cpu_request_cores=0.45)), proposal(LATENCY, merged)
    good = together(merged, window(), *parts)
    assert (good.scored, good.accurate, good.cpu_safe, good.memory_safe) == (True, True, True, True)
    short = together(merged, window(cpu=0.46), *parts)
    assert (short.accurate, short.cpu_safe, short.memory_safe) == (False, False, True)


def test_what_no_part_sets_counts_where_resources_or_an_unchanged_cost_answer_for_the_whole():
    merged = state(cpu_request_cores=0.45)
    too_much = window(memory=500.0)  # above the request of 400 MiB, which nobody changes
    assert together(merged, too_much, proposal(TUNING, merged)).accurate
    assert not together(merged, too_much, proposal(RESOURCE, merged)).accurate
    assert together(merged, too_much, proposal(COST, merged)).accurate
    assert not together(merged, too_much, proposal(COST, merged, no_change_needed=True)).accurate
    assert together(merged, too_much, proposal(TUNING, merged, no_change_needed=True)).accurate


def test_quantities_that_are_named_count_although_nothing_changes_them():
    merged = state(cpu_limit_cores=2.0)
    used = window(memory=500.0)
    parts = (proposal(TUNING, merged),)
    assert score_together(parts, merged, used).accurate
    memory = container_path("main", "memory_request_bytes")
    assert not score_together(parts, merged, used, [memory]).accurate


def test_fewer_replicas_carry_the_load_of_those_that_go():
    used = window(cpu=0.3)  # 1.2 cores: 0.4 on each of 3, 0.6 on each of 2
    assert together(state(replicas=3), used, proposal(COST, state(replicas=3))).accurate
    overloaded = together(state(replicas=2), used, proposal(COST, state(replicas=2)))
    assert (overloaded.accurate, overloaded.cpu_safe) == (False, False)


def test_scaling_is_scored_in_total_beside_what_each_pod_needs():
    # One pod of 0.6 and three of 0.2: no pod's request holds, and all replicas together do.
    pods = np.vstack([np.full(100, 0.6), np.full((3, 100), 0.2)])
    uneven = make_snapshot({"main": {"cpu_cores": pods}}, state=CURRENT)
    merged = state(cpu_limit_cores=1.2)
    assert together(merged, uneven, proposal(SCALING, merged)).accurate
    less = state(replicas=2)
    found = together(less, uneven, proposal(SCALING, less))
    assert (found.accurate, found.cpu_safe) == (False, False)


def test_scaling_that_is_unsafe_in_total_fails_a_plan_whose_pods_are_safe():
    # Demand in total is above what the replicas request, though no single pod's quota changes.
    used = window(cpu=0.6)
    merged = state(memory_request_bytes=320 * MIB)
    alone = together(merged, used, proposal(TUNING, merged))
    assert (alone.accurate, alone.cpu_safe) == (True, None)
    scaled = together(merged, used, proposal(TUNING, merged), proposal(SCALING, merged))
    assert (scaled.accurate, scaled.cpu_safe, scaled.memory_safe) == (False, False, True)
    assert scaled.memory_waste is not None  # the wider of the two scores tells of waste


def test_a_window_that_measures_too_little_decides_nothing():
    nothing = make_snapshot({"main": {"cpu_cores": np.full(100, np.nan)}}, state=CURRENT)
    merged = state(cpu_request_cores=0.45)
    found = together(merged, nothing, proposal(RESOURCE, merged), proposal(SCALING, merged))
    assert (found.scored, found.accurate) == (False, False)
    assert "0% of its cpu samples" in found.reason
    unscored = together(merged, nothing, proposal(TUNING, merged))
    assert unscored.scored is False


def test_a_plan_that_changes_nothing_measurable_is_not_scored():
    knobs = state(extra={"knobs": {"main": {"GOMAXPROCS": "2"}}})
    found = together(knobs, window(), proposal(TUNING, knobs))
    assert found.scored is False
    assert found.reason == "the window measures nothing that is changed or claimed"


def latency(low, high, current=None):
    return Claim(latency_ms=50.0, latency_now_ms=current, latency_now_interval_ms=(low, high))


def test_every_claim_of_a_plan_must_be_met():
    used = window(latency_p99_ms=np.full(100, 100.0))
    merged = state(cpu_request_cores=0.45)
    right, wrong = latency(80.0, 120.0), latency(101.0, 120.0)
    both = together(merged, used, proposal(TUNING, merged), proposal(LATENCY, merged, claim=right))
    assert (both.accurate, both.claim_met, both.realised_latency_ms) == (True, True, 100.0)
    for parts in ((right, wrong), (wrong, right)):
        found = together(merged, used, *(proposal(LATENCY, merged, claim=claim) for claim in parts))
        assert (found.accurate, found.claim_met) == (False, False)


def test_a_claim_without_rules_is_scored_alone():
    used = window(latency_p99_ms=np.full(100, 100.0))
    knobs = state(extra={"knobs": {"main": {"GOMAXPROCS": "2"}}})
    found = together(knobs, used, proposal(LATENCY, knobs, claim=latency(80.0, 120.0)))
    assert (found.scored, found.accurate, found.claim_met) == (True, True, True)
    missed = together(knobs, used, proposal(LATENCY, knobs, claim=latency(80.0, 99.0)))
    assert (missed.scored, missed.accurate, missed.claim_met) == (True, False, False)


def test_a_plan_whose_claim_can_not_be_checked_is_not_scored():
    merged = state(cpu_request_cores=0.45)
    unknown = together(merged, window(), proposal(LATENCY, merged, claim=latency(80.0, 120.0)))
    assert unknown.scored is False
    assert unknown.reason == "latency is claimed and the window measures it in less than 50% of its steps"
    used = window(latency_p99_ms=np.full(100, 100.0))
    without = together(merged, used, proposal(LATENCY, merged, claim=Claim(latency_ms=50.0)))
    assert without.scored is False
    assert without.reason.startswith("latency is claimed without an interval for the unchanged state")


def schedule(used, replicas):
    entry = {
        "start": used.grid.start.isoformat(),
        "end": used.grid.end.isoformat(),
        "min_replicas": replicas,
    }
    return state(extra={"schedule": [entry]})


@pytest.mark.parametrize(("claimed", "kept"), [(60.0, True), (60.1, False)])
def test_a_saving_in_a_plan_is_held_against_the_replicas_of_the_plan(claimed, kept):
    night = window(cpu=0.0)
    merged = schedule(night, 2)  # half of the four that ran
    found = together(merged, night, proposal(COST, merged, claim=Claim(saving_percent=claimed)))
    assert (found.claim_met, found.accurate, found.realised_saving_percent) == (kept, kept, 50.0)


def test_a_saving_is_not_scored_where_the_replicas_are_unknown():
    unknown = msgspec.structs.replace(CURRENT, replicas=None)
    night = make_snapshot({"main": {"cpu_cores": np.zeros(100)}}, state=unknown)
    target = msgspec.structs.replace(unknown, extra=schedule(night, 2).extra)
    window_score = score(proposal(COST, target, claim=Claim(saving_percent=10.0)), night)
    assert window_score.scored is False
    assert window_score.reason == "a saving is claimed and how many replicas ran is not known"


def test_realised_figures_have_three_decimals():
    used = window(latency_p99_ms=np.full(100, 100.12345))
    window_score = score(proposal(LATENCY, claim=latency(80.0, 120.0, 100.0)), used)
    assert window_score.realised_latency_ms == 100.123
    night = window(cpu=0.0, replicas=np.full(100, 3.0))
    merged = schedule(night, 2)
    saved = score(proposal(COST, merged, claim=Claim(saving_percent=30.0)), night)
    assert saved.realised_saving_percent == 33.333


def test_latency_at_either_end_of_its_interval_is_inside():
    used = window(latency_p99_ms=np.full(100, 100.0))
    for low, high in ((100.0, 120.0), (80.0, 100.0)):
        assert score(proposal(LATENCY, claim=latency(low, high, 100.0)), used).claim_met


def test_the_width_of_an_interval_is_taken_of_the_prediction_where_one_is_stated():
    used = window(latency_p99_ms=np.full(100, 100.0))
    assert score(proposal(LATENCY, claim=latency(70.0, 125.0, 120.0)), used).claim_met
    assert not score(proposal(LATENCY, claim=latency(70.0, 125.0, 100.0)), used).claim_met
    assert not score(proposal(LATENCY, claim=latency(70.0, 125.0)), used).claim_met


def test_an_interval_alone_is_a_claim():
    used = window(latency_p99_ms=np.full(100, 100.0))
    claim = Claim(latency_now_interval_ms=(110.0, 130.0))
    window_score = score(proposal(LATENCY, claim=claim), used)
    assert (window_score.scored, window_score.claim_met) == (True, False)


def test_staying_would_have_done_where_the_current_values_hold_what_the_proposal_changes():
    change = proposal(TUNING, state(cpu_request_cores=0.9))
    assert score_staying(change, window(cpu=0.4)) is True
    assert score_staying(change, window(cpu=0.6)) is False
    # Memory is above its request, and the proposal doesn't answer for it.
    assert score_staying(change, window(cpu=0.4, memory=500.0)) is True
    whole = proposal(RESOURCE, state(cpu_request_cores=0.9))
    assert score_staying(whole, window(cpu=0.4, memory=500.0)) is False


def test_staying_is_scored_in_total_for_scaling():
    more = proposal(SCALING, state(replicas=6))
    assert score_staying(more, window(cpu=0.5)) is True
    assert score_staying(more, window(cpu=0.51)) is False


def test_staying_is_not_known_where_nothing_of_the_proposal_is_measured():
    knobs = proposal(TUNING, state(extra={"knobs": {"main": {"GOMAXPROCS": "2"}}}))
    assert score_staying(knobs, window()) is None
    unmeasured = make_snapshot({"main": {"memory_bytes": np.full(100, 300.0 * MIB)}}, state=CURRENT)
    assert score_staying(proposal(TUNING, state(cpu_request_cores=0.9)), unmeasured) is None
    sparse = make_snapshot({"main": {"cpu_cores": np.r_[0.4, np.full(99, np.nan)]}}, state=CURRENT)
    assert score_staying(proposal(TUNING, state(cpu_request_cores=0.9)), sparse) is None


def test_staying_must_meet_the_latency_objective_for_a_proposal_of_latency():
    objective = Slo(latency_ms=100.0, quantile=0.99)
    change = state(cpu_request_cores=0.9)
    slow, fast, exact = (
        window(slo=objective, latency_p99_ms=np.full(100, value)) for value in (101.0, 99.0, 100.0)
    )
    assert score_staying(proposal(LATENCY, change), slow) is False
    assert score_staying(proposal(LATENCY, change), fast) is True
    assert score_staying(proposal(LATENCY, change), exact) is True
    assert score_staying(proposal(TUNING, change), slow) is True  # no objective of a knob
    overloaded = window(cpu=0.6, slo=objective, latency_p99_ms=np.full(100, 99.0))
    assert score_staying(proposal(LATENCY, change), overloaded) is False
    assert score_staying(proposal(LATENCY, change), window(slo=objective)) is True
    knobs = proposal(LATENCY, state(extra={"knobs": {"main": {"GOMAXPROCS": "2"}}}))
    assert score_staying(knobs, fast) is True
    assert score_staying(knobs, window(latency_p99_ms=np.full(100, 101.0))) is None
