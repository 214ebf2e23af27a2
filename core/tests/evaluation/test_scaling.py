from datetime import timedelta

import msgspec
import numpy as np
import pytest

from perfopt.domain.enums import OptimizationType
from perfopt.domain.workload import Container, HpaState, WorkloadState
from perfopt.evaluation.scaling import (
    ReplicaSimulation,
    planned_replicas,
    recorded_replicas,
    rescaled,
    score_scaling,
    spread_evenly,
)
from perfopt.plugin.strategy import Proposal
from perfopt.testing import make_snapshot

MIB = 2**20
MAIN = Container(name="main", cpu_request_cores=0.5, memory_request_bytes=400 * MIB)
CURRENT = WorkloadState(containers=(MAIN,), replicas=4)
NAN = float("nan")


def window(cpu=(0.4,) * 6, memory=None, *, state=CURRENT, **service):
    metrics = {"cpu_cores": np.asarray(cpu, float)}
    if memory is not None:
        metrics["memory_bytes"] = np.asarray(memory, float) * MIB
    return make_snapshot({"main": metrics}, service=service, state=state)


def target(**changes):
    return msgspec.structs.replace(CURRENT, **changes)


def scheduled(used, *entries):
    """Makes schedule entries of (first step, last step, replicas)."""
    at = used.grid.start
    return {
        "schedule": [
            {
                "start": (at + first * used.grid.step).isoformat(),
                "end": (at + last * used.grid.step).isoformat(),
                "min_replicas": replicas,
            }
            for first, last, replicas in entries
        ]
    }


def hpa(**fields):
    return HpaState(**{"min_replicas": 1, "max_replicas": 9, "target_cpu_utilization_percent": 80} | fields)


def test_recorded_replicas_are_carried_over_gaps():
    used = window(replicas=[NAN, 3.0, NAN, 5.0, NAN, NAN])
    assert recorded_replicas(used).tolist() == [4, 3, 3, 5, 5, 5]
    assert recorded_replicas(window(replicas=[3.0, NAN, NAN, NAN, NAN, 2.0])).tolist() == [3, 3, 3, 3, 3, 2]


def test_replicas_that_nobody_recorded_are_those_of_the_state():
    assert recorded_replicas(window()).tolist() == [4] * 6
    assert recorded_replicas(window(state=target(replicas=1))).tolist() == [1] * 6
    assert recorded_replicas(window(state=target(replicas=0))).tolist() == [1] * 6


def test_replicas_are_unknown_where_neither_state_nor_record_tell_them():
    unknown = target(replicas=None)
    assert recorded_replicas(window(state=unknown)) is None
    assert recorded_replicas(window(state=unknown, replicas=[NAN, 3.0, NAN, 5.0, NAN, NAN])) is None
    assert recorded_replicas(window(state=unknown, replicas=[1.0] * 6)).tolist() == [1] * 6


def test_a_target_that_leaves_scaling_alone_runs_what_ran():
    used = window(replicas=[3.0, 3.0, 5.0, 5.0, 4.0, 4.0])
    larger = target(containers=(msgspec.structs.replace(MAIN, cpu_request_cores=0.6),))
    assert planned_replicas(larger, used).tolist() == [3, 3, 5, 5, 4, 4]
    same = scheduled(used, (0, 6, 2))
    kept = window(state=target(extra=same), replicas=[3.0] * 6)
    assert planned_replicas(target(extra=same), kept).tolist() == [3] * 6
    assert planned_replicas(target(extra=scheduled(used, (0, 6, 5))), kept).tolist() == [5] * 6


def test_a_request_changes_replicas_only_under_an_autoscaler_on_cpu():
    larger = (msgspec.structs.replace(MAIN, cpu_request_cores=1.0),)
    on_cpu = target(hpa=hpa())
    ran = window(cpu=(0.8,) * 6, state=on_cpu)  # 3.2 cores on four replicas
    assert planned_replicas(on_cpu, ran).tolist() == [4] * 6
    assert planned_replicas(msgspec.structs.replace(on_cpu, containers=larger), ran).tolist() == [4] * 6
    less = window(cpu=(0.4,) * 6, state=on_cpu)  # 1.6 cores: two replicas of 1.0 at 80 %
    assert (
        planned_replicas(msgspec.structs.replace(on_cpu, containers=larger), less).tolist()
        == [4, 4] + [2] * 4
    )
    on_memory = target(hpa=hpa(target_cpu_utilization_percent=None))
    memory = window(state=on_memory)
    assert planned_replicas(msgspec.structs.replace(on_memory, containers=larger), memory).tolist() == [4] * 6


def test_a_target_without_replicas_is_unknown_and_one_with_few_runs_at_least_one():
    used = window()
    assert planned_replicas(target(replicas=None), used) is None
    assert planned_replicas(target(replicas=0), used).tolist() == [1] * 6
    low = target(replicas=3, extra=scheduled(used, (0, 2, 0), (2, 4, 1)))
    assert planned_replicas(low, used).tolist() == [1, 1, 1, 1, 3, 3]


def test_unknown_replicas_leave_the_plan_unknown():
    used = window(state=target(replicas=None))
    assert planned_replicas(target(replicas=3), used) is None


def test_the_highest_of_overlapping_entries_of_a_schedule_holds():
    used = window()
    assert planned_replicas(target(extra=scheduled(used, (1, 5, 2), (2, 4, 6))), used).tolist() == [
        4, 2, 6, 6, 2, 4,
    ]  # fmt: skip


def test_keda_runs_what_ran_and_at_least_the_schedule():
    used = window(replicas=[3.0, 3.0, 5.0, 5.0, 4.0, 4.0])
    wanted = target(keda="orders", extra=scheduled(used, (0, 4, 4)))
    assert planned_replicas(wanted, used).tolist() == [4, 4, 5, 5, 4, 4]


@pytest.mark.parametrize(("low", "high", "planned"), [(6, 9, 6), (1, 3, 3), (1, 9, 4), (0, 9, 4)])
def test_an_autoscaler_without_cpu_runs_what_ran_within_its_bounds(low, high, planned):
    bounds = hpa(min_replicas=low, max_replicas=high, target_cpu_utilization_percent=None)
    assert planned_replicas(target(hpa=bounds), window()).tolist() == [planned] * 6
    without_request = (msgspec.structs.replace(MAIN, cpu_request_cores=None),)
    on_cpu = target(hpa=hpa(min_replicas=low, max_replicas=high), containers=without_request)
    assert planned_replicas(on_cpu, window()).tolist() == [planned] * 6


def test_an_autoscaler_never_runs_less_than_one():
    idle = hpa(min_replicas=0, target_cpu_utilization_percent=None)
    used = window(state=target(replicas=1))
    assert planned_replicas(msgspec.structs.replace(target(replicas=1), hpa=idle), used).tolist() == [1] * 6
    on_cpu = msgspec.structs.replace(target(replicas=1), hpa=hpa(min_replicas=0))
    night = window(cpu=(0.0,) * 6, state=target(replicas=1))
    assert planned_replicas(on_cpu, night).tolist() == [1] * 6


def test_a_schedule_is_the_floor_of_an_autoscaler():
    used = window(cpu=(0.1,) * 6)  # 0.4 cores in all: one replica of 0.5 at 80 %
    wanted = target(hpa=hpa(), extra=scheduled(used, (2, 4, 5)))
    assert planned_replicas(wanted, used).tolist() == [4, 4, 5, 5, 1, 1]
    unbound = target(hpa=hpa(max_replicas=3), extra=scheduled(used, (2, 4, 5)))
    assert planned_replicas(unbound, used).tolist() == [3, 3, 3, 3, 1, 1]


@pytest.mark.parametrize(
    ("demand", "planned"),
    [
        (1.76, 4),  # 4.4 replicas wanted: at the end of the tolerance of 10 %
        (1.77, 5),
        (1.44, 4),  # 3.6 wanted
        (1.43, 4),  # 3.575 wanted, rounded up
        (1.19, 3),
    ],
)
def test_an_autoscaler_moves_beyond_a_tenth_of_what_runs(demand, planned):
    used = window(cpu=(demand / 4,) * 6)
    # a step of five minutes later, and down after another: the window of five minutes that is the default
    first = [4, planned] if planned >= 4 else [4, 4]
    assert planned_replicas(target(hpa=hpa()), used).tolist() == first + [planned] * 4


def test_the_tolerance_is_of_the_replicas_that_run():
    # 8 replicas wanted, then 7.3 (within a tenth of 8) and 7.1 (not).
    demand = np.array([3.2, 2.92, 2.84, 2.84, 8.4, 8.4]) / 4
    assert planned_replicas(target(hpa=hpa()), window(cpu=demand)).tolist() == [4, 8, 8, 8, 8, 9]


def test_fewer_replicas_each_carry_more():
    used = window(cpu=(0.4, 0.2), memory=(300.0, 200.0))
    moved = rescaled(used, np.array([2.0, 4.0])).containers["main"]
    assert moved["cpu_cores"].values.tolist() == [[0.8, 0.2]]
    assert (moved["memory_bytes"].values / MIB).tolist() == [[400.0, 200.0]]  # 200 + 2 * 100
    assert moved["cpu_cores"].pods == moved["memory_bytes"].pods == ("",)


def test_more_replicas_relieve_the_cpu_and_not_the_memory():
    used = window(cpu=(0.4, 0.2), memory=(300.0, 200.0))
    moved = rescaled(used, np.array([8.0, 8.0])).containers["main"]
    assert moved["cpu_cores"].values.tolist() == [[0.2, 0.1]]
    assert (moved["memory_bytes"].values / MIB).tolist() == [[300.0, 200.0]]


def test_what_is_not_load_is_not_rescaled():
    used = make_snapshot({"main": {"cpu_cores": [0.4, 0.4], "restarts": [1.0, 2.0]}}, state=CURRENT)
    assert rescaled(used, np.array([2.0, 2.0])).containers["main"]["restarts"].values.tolist() == [[1.0, 2.0]]
    assert rescaled(used, np.array([4.0, 4.0])) is used
    unknown = window(state=target(replicas=None))
    assert rescaled(unknown, np.full(6, 2.0)) is unknown
    empty = window(cpu=(0.4,) * 2, memory=(NAN, NAN))
    assert np.isnan(rescaled(empty, np.array([2.0, 2.0])).containers["main"]["memory_bytes"].values).all()


def test_total_demand_is_spread_evenly_over_the_replicas_planned():
    pods = np.array([[0.6, 0.6, NAN], [0.2, NAN, NAN]])
    used = make_snapshot({"main": {"cpu_cores": pods, "restarts": pods}}, state=CURRENT)
    even = spread_evenly(used, np.array([2.0, 2.0, 2.0])).containers["main"]
    assert even["cpu_cores"].pods == ("",)
    assert even["cpu_cores"].values[0, :2].tolist() == [0.4, 0.3]
    assert np.isnan(even["cpu_cores"].values[0, 2])
    assert even["restarts"].values.shape == (2, 3)
    # The one nameless row of a file source is the use of each replica.
    assert (
        spread_evenly(window(), np.full(6, 2.0)).containers["main"]["cpu_cores"].values[0].tolist()
        == [0.8] * 6
    )


def proposal(state):
    return Proposal(optimization_type=OptimizationType.SCALING_OPTIMIZATION, target=state, description="")


def resized(replicas, **quantities):
    return target(replicas=replicas, containers=(msgspec.structs.replace(MAIN, **quantities),))


def test_total_and_each_pod_must_hold():
    pods = np.vstack([np.full(100, 0.6), np.full((3, 100), 0.2)])
    used = make_snapshot({"main": {"cpu_cores": pods}}, state=CURRENT)
    both = score_scaling(proposal(resized(4, cpu_request_cores=0.7)), used)
    assert (both.accurate, both.cpu_safe) == (True, True)
    pod = score_scaling(proposal(resized(4, cpu_request_cores=0.55)), used)
    assert (pod.accurate, pod.cpu_safe) == (False, False)
    # On more replicas the hottest pod holds, and in total they do not: demand is 1.2 of 1.0 cores.
    total = score_scaling(proposal(resized(1, cpu_request_cores=0.7)), used)
    assert (total.accurate, total.cpu_safe) == (False, False)


def test_scaling_that_changes_memory_only_is_safe_of_cpu_by_its_total():
    used = window(cpu=np.full(100, 0.4), memory=np.full(100, 300.0))
    enough = score_scaling(proposal(resized(4, memory_request_bytes=320 * MIB)), used)
    assert (enough.accurate, enough.cpu_safe, enough.memory_safe) == (True, True, True)
    busy = window(cpu=np.full(100, 0.6), memory=np.full(100, 300.0))
    short = score_scaling(proposal(resized(4, memory_request_bytes=320 * MIB)), busy)
    assert (short.accurate, short.cpu_safe, short.memory_safe) == (False, False, True)


def test_the_plan_that_is_given_is_the_one_scored():
    used = window(cpu=np.full(100, 0.4))
    assert score_scaling(proposal(target(replicas=4)), used).accurate
    assert not score_scaling(proposal(target(replicas=4)), used, np.full(100, 3.0)).accurate


def test_scaling_is_not_scored_where_replicas_or_samples_are_unknown():
    unknown = window(state=target(replicas=None))
    score = score_scaling(proposal(target(replicas=3)), unknown)
    assert (score.scored, score.reason) == (False, "how many replicas ran is not known")
    sparse = window(cpu=np.full(100, 0.4), memory=np.r_[300.0, np.full(99, NAN)])
    changed = score_scaling(proposal(resized(4, memory_request_bytes=320 * MIB)), sparse)
    assert changed.scored is False


def test_a_schedule_counts_from_its_start():
    used = window()
    begin = used.grid.start + timedelta(minutes=10)
    entry = {"start": begin.isoformat(), "end": used.grid.end.isoformat(), "min_replicas": 2}
    assert planned_replicas(target(extra={"schedule": [entry]}), used).tolist() == [4, 4, 2, 2, 2, 2]


def test_a_simulation_tells_targets_apart_by_all_that_moves_replicas():
    used = window(cpu=(0.4,) * 6)
    cpu = {"type": "cpu", "metadata": {"value": "40"}}
    targets = [
        target(replicas=2),
        target(hpa=hpa()),
        target(hpa=hpa(min_replicas=6)),
        target(replicas=2, extra=scheduled(used, (2, 4, 5))),
        target(extra={"keda_scaled_object": {"spec": {"triggers": [cpu]}}}),
        target(extra={"keda_scaled_object": {"spec": {"triggers": [cpu], "maxReplicaCount": 3}}}),
    ]
    simulation = ReplicaSimulation(used)
    for _ in range(2):
        for one in targets:
            assert simulation.planned(one).tolist() == planned_replicas(one, used).tolist()
    assert len({tuple(simulation.planned(one).tolist()) for one in targets}) == len(targets)
    assert simulation.planned(targets[0]) is simulation.planned(targets[0])


def test_an_hpa_decides_over_a_scaled_object_beside_it():
    used = window(cpu=(0.1,) * 6, state=msgspec.structs.replace(CURRENT, hpa=hpa()))
    beside = target(hpa=hpa(), extra={"keda_scaled_object": {"spec": {}}})
    assert planned_replicas(beside, used).tolist() == [4] * 6
