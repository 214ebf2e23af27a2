from datetime import timedelta

import msgspec
import numpy as np
import pytest

from perfopt.domain.enums import OptimizationType
from perfopt.domain.workload import Container, HpaState, Slo, WorkloadState
from perfopt.evaluation.scaling import planned_replicas
from perfopt.evaluation.score import score
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
NOW = WorkloadState(
    containers=(
        Container(
            name="main",
            cpu_request_cores=0.5,
            memory_request_bytes=400 * MIB,
            cpu_limit_cores=1.0,
            memory_limit_bytes=800 * MIB,
        ),
    ),
    replicas=4,
)


def window(cpu=None, memory=None, *, state=NOW, slo=None, **service):
    metrics = {}
    if cpu is not None:
        metrics["cpu_cores"] = cpu
    if memory is not None:
        metrics["memory_bytes"] = memory
    snapshot = make_snapshot({"main": metrics}, service=service, state=state)
    if slo is not None:
        workload = msgspec.structs.replace(snapshot.workload, slo=slo)
        return type(snapshot)(workload, snapshot.grid, snapshot.containers, snapshot.service)
    return snapshot


def proposal(kind, *, claim=None, no_change_needed=False, extra=None, hpa=None, replicas=4, **quantities):
    container = msgspec.structs.replace(NOW.containers[0], **quantities)
    target = msgspec.structs.replace(
        NOW, containers=(container,), replicas=replicas, extra=extra or {}, hpa=hpa
    )
    return Proposal(
        optimization_type=kind,
        target=target,
        description="Change it.",
        claim=claim or Claim(),
        no_change_needed=no_change_needed,
    )


STEADY = np.full(100, 0.4)


def test_resources_are_scored_on_everything_they_set():
    result = score(proposal(RESOURCE), window(STEADY, np.full(100, 500.0 * MIB)))
    assert (result.cpu_safe, result.memory_safe, result.accurate) == (True, False, False)


@pytest.mark.parametrize("kind", [LATENCY, TUNING, COST])
def test_the_other_types_answer_only_for_what_they_change(kind):
    too_much_memory = window(STEADY, np.full(100, 500.0 * MIB))
    assert score(proposal(kind, cpu_request_cores=0.41), too_much_memory).accurate
    result = score(proposal(kind, cpu_request_cores=0.39), too_much_memory)
    assert (result.cpu_safe, result.memory_safe) == (False, None)


def test_a_changed_cpu_limit_must_hold_the_demand():
    assert score(proposal(TUNING, cpu_limit_cores=2.0), window(STEADY)).accurate
    assert not score(proposal(TUNING, cpu_limit_cores=0.39), window(STEADY)).accurate


def test_what_changes_nothing_measurable_and_claims_nothing_is_not_scored():
    knobs = proposal(TUNING, extra={"knobs": {"main": {"GOMAXPROCS": "2"}}})
    result = score(knobs, window(STEADY))
    assert not result.scored
    assert "changed or claimed" in result.reason
    assert not score(proposal(TUNING, memory_request_bytes=MIB), window(STEADY)).scored


def test_cost_that_leaves_all_as_it_is_recommends_the_state_as_it_is():
    assert score(proposal(COST, no_change_needed=True), window(STEADY, np.full(100, 300.0 * MIB))).accurate
    assert not score(proposal(COST, no_change_needed=True), window(np.full(100, 0.6))).accurate


def test_fewer_replicas_carry_the_same_cpu_and_the_memory_above_the_least_held():
    # 4 replicas with 0.4 cores each are 1.6 cores: 3 replicas carry 0.5334 each, 2 carry 0.8.
    memory = np.tile([200.0, 300.0], 50) * MIB  # on 2 replicas: 200 + 2 * 100
    used = window(STEADY, memory)
    assert not score(proposal(COST, replicas=2, cpu_request_cores=0.79), used).accurate
    fits = score(proposal(COST, replicas=2, cpu_request_cores=0.8, memory_request_bytes=400 * MIB), used)
    assert fits.accurate
    assert fits.memory_needed_bytes == 400 * MIB
    tight = proposal(COST, replicas=2, cpu_request_cores=0.8, memory_request_bytes=399 * MIB)
    assert score(tight, used).memory_safe is False


def test_more_replicas_relieve_the_cpu_of_each_and_leave_its_memory():
    # 0.6 cores on 4 replicas are above the request; on 5 they are 0.48.
    used = window(np.full(100, 0.6), np.full(100, 500.0 * MIB))
    result = score(proposal(LATENCY, replicas=5), used)
    assert (result.cpu_safe, result.memory_safe) == (True, None)
    assert not score(proposal(LATENCY, replicas=4, cpu_limit_cores=0.55), used).accurate


def test_recorded_replicas_count_and_not_those_of_the_last_step():
    replicas = np.r_[np.full(50, 2.0), np.full(50, 4.0)]
    used = window(STEADY, replicas=replicas)  # 0.8 cores in the first half, 1.6 in the second
    assert score(proposal(COST, replicas=3, cpu_request_cores=0.534), used).accurate
    assert not score(proposal(COST, replicas=3, cpu_request_cores=0.533), used).accurate


def test_scaling_holds_when_the_replicas_together_hold_the_total_demand():
    pods = np.vstack([np.full(100, 0.6), np.full(100, 0.2)])  # 0.8 cores in total, one pod above 0.5
    used = window(pods, replicas=np.full(100, 2.0))
    assert score(proposal(SCALING, replicas=2), used).accurate
    assert not score(proposal(SCALING, replicas=1), used).accurate


def test_scaling_that_changes_requests_is_scored_per_pod_too():
    pods = np.vstack([np.full(100, 0.6), np.full(100, 0.2)])
    used = window(pods, replicas=np.full(100, 2.0))
    assert not score(proposal(SCALING, replicas=2, cpu_request_cores=0.59), used).accurate
    assert score(proposal(SCALING, replicas=3, cpu_request_cores=0.4), used).accurate


def test_an_autoscaler_follows_the_demand_a_step_behind():
    # Use of a replica 0.4 and then 0.8, on 4 recorded replicas: totals 1.6 and 3.2 cores.
    demand = np.r_[np.full(50, 0.4), np.full(50, 0.8)]
    target = proposal(
        SCALING, hpa=HpaState(min_replicas=2, max_replicas=7, target_cpu_utilization_percent=80)
    ).target
    planned = planned_replicas(target, window(demand))
    assert planned[0] == 4  # as it ran
    assert planned[1] == 4  # 1.6 / (0.8 * 0.5) = 4
    assert planned[50] == 4  # has not seen the rise yet
    assert planned[51] == 7  # 3.2 / 0.4 = 8, and 7 are allowed


def test_a_schedule_sets_the_replicas_without_an_autoscaler():
    used = window(STEADY)
    start = used.grid.start
    entry = {
        "start": start.isoformat(),
        "end": (start + timedelta(minutes=250)).isoformat(),
        "min_replicas": 2,
    }
    planned = planned_replicas(proposal(COST, extra={"schedule": [entry]}).target, used)
    assert planned.tolist() == [2.0] * 50 + [4.0] * 50


def test_a_schedules_saving_may_miss_the_claim_by_ten_points():
    night = window(np.zeros(100))
    start = night.grid.start
    entry = {"start": start.isoformat(), "end": night.grid.end.isoformat(), "min_replicas": 2}

    def claiming(percent):
        made = proposal(COST, extra={"schedule": [entry]}, claim=Claim(saving_percent=percent))
        return score(made, night)

    assert claiming(60.0).claim_met  # half of the replica-hours
    assert claiming(60.0).realised_saving_percent == 50.0
    missed = claiming(60.1)
    assert (missed.claim_met, missed.accurate) == (False, False)


def latency_claim(low, high, now=None):
    return Claim(latency_ms=50.0, latency_now_ms=now, latency_now_interval_ms=(low, high))


def test_a_latency_claim_is_kept_inside_the_interval_of_the_unchanged_state():
    used = window(latency_p99_ms=np.full(100, 100.0))
    inside = score(proposal(LATENCY, claim=latency_claim(80.0, 120.0, 100.0)), used)
    assert (inside.scored, inside.accurate, inside.claim_met) == (True, True, True)
    assert inside.realised_latency_ms == 100.0
    assert not score(proposal(LATENCY, claim=latency_claim(101.0, 120.0, 110.0)), used).claim_met


def test_an_interval_wider_than_a_quarter_to_either_side_keeps_no_claim():
    used = window(latency_p99_ms=np.full(100, 100.0))
    assert score(proposal(LATENCY, claim=latency_claim(75.0, 125.0, 100.0)), used).claim_met
    assert not score(proposal(LATENCY, claim=latency_claim(74.0, 125.0, 100.0)), used).claim_met
    assert not score(proposal(LATENCY, claim=latency_claim(70.0, 130.0)), used).claim_met


def test_the_objectives_quantile_is_looked_at():
    used = window(
        latency_p99_ms=np.full(100, 300.0),
        latency_p50_ms=np.full(100, 100.0),
        slo=Slo(latency_ms=150.0, quantile=0.5),
    )
    assert score(proposal(LATENCY, claim=latency_claim(80.0, 120.0)), used).claim_met


def test_a_claim_that_cannot_be_checked_leaves_the_window_unscored():
    no_data = score(proposal(LATENCY, claim=latency_claim(80.0, 120.0)), window(STEADY))
    assert not no_data.scored
    assert "less than 50%" in no_data.reason
    no_interval = score(
        proposal(LATENCY, claim=Claim(latency_ms=50.0)), window(latency_p99_ms=np.full(100, 100.0))
    )
    assert not no_interval.scored


def test_rules_and_claim_must_both_hold():
    used = window(STEADY, latency_p99_ms=np.full(100, 100.0))
    claim = latency_claim(80.0, 120.0)
    assert score(proposal(LATENCY, cpu_request_cores=0.4, claim=claim), used).accurate
    unsafe = score(proposal(LATENCY, cpu_request_cores=0.3, claim=claim), used)
    assert (unsafe.accurate, unsafe.claim_met, unsafe.cpu_safe) == (False, True, False)
