"""What of a proposal is taken together, what it stands for, and what it adds."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from perfopt.domain.enums import OptimizationType
from perfopt.domain.fields import (
    HPA_CPU,
    HPA_MAX,
    HPA_MIN,
    REPLICAS,
    SCHEDULE,
    all_fields,
    container_path,
)
from perfopt.domain.workload import Container, HpaState, Slo, WorkloadState
from perfopt.engine.plan.scored import (
    BY_UTILITY,
    FOR_OBJECTIVE,
    JOINT,
    MEMORY_SAFETY,
    YIELDS,
    ScoredProposal,
    additions,
    misses_objective,
)
from perfopt.plugin import SEPARATE_CONTAINERS, Claim, MergeHints, Proposal
from perfopt.testing import make_snapshot

MIB = 2**20
MAIN = Container(
    name="main", cpu_request_cores=1.0, memory_request_bytes=1000 * MIB, memory_limit_bytes=2000 * MIB
)
SIDE = msgspec.structs.replace(MAIN, name="side")
HPA = HpaState(min_replicas=2, max_replicas=8, target_cpu_utilization_percent=60)
STATE = WorkloadState(containers=(MAIN, SIDE), replicas=4, hpa=HPA)


def path(quantity, name="main"):
    return container_path(name, quantity)


def target(*, main=None, side=None, hpa=None, **fields):
    containers = (
        msgspec.structs.replace(MAIN, **main or {}),
        msgspec.structs.replace(SIDE, **side or {}),
    )
    hpa = msgspec.structs.replace(HPA, **hpa) if hpa else HPA
    return msgspec.structs.replace(STATE, containers=containers, hpa=hpa, **fields)


def scored(state, merge=None, *, for_objective=False, claim=None):
    proposal = Proposal(
        optimization_type=OptimizationType.RESOURCE_OPTIMIZATION,
        target=state,
        description="Do it.",
        merge=merge or MergeHints(),
        claim=claim or Claim(),
    )
    return ScoredProposal(
        key="it",
        proposal=proposal,
        confidence=0.9,
        utility=1.0,
        current=all_fields(STATE),
        for_objective=for_objective,
    )


def ranks(state, merge=None, **options):
    return [group.rank for group in scored(state, merge, **options).groups]


@pytest.mark.parametrize(
    ("state", "rank"),
    [
        (target(main={"memory_request_bytes": 1001 * MIB}), MEMORY_SAFETY),
        (target(main={"memory_request_bytes": 1000 * MIB - 1}), BY_UTILITY),
        (target(main={"memory_request_bytes": 900 * MIB, "memory_limit_bytes": 2100 * MIB}), MEMORY_SAFETY),
        (target(main={"memory_limit_bytes": None}), BY_UTILITY),
        (target(main={"memory_request_bytes": 1100 * MIB}, replicas=3), BY_UTILITY),
        (target(main={"cpu_request_cores": 0.5}, hpa={"target_cpu_utilization_percent": 80}), JOINT),
        (target(main={"cpu_request_cores": 0.5}, hpa={"target_memory_utilization_percent": 80}), JOINT),
        (target(main={"cpu_limit_cores": 0.5}, hpa={"target_cpu_utilization_percent": 80}), BY_UTILITY),
        (target(main={"cpu_request_cores": 0.5}, hpa={"max_replicas": 9}), BY_UTILITY),
    ],
)
def test_what_a_group_of_fields_stands_for(state, rank):
    assert ranks(state) == [rank]
    assert ranks(state, for_objective=True) == [FOR_OBJECTIVE]


def test_sizes_yield_only_where_all_of_a_group_does():
    yields = MergeHints(yields=("*.cpu_*",))
    assert ranks(target(main={"cpu_request_cores": 0.5}), yields) == [YIELDS]
    assert ranks(target(main={"cpu_request_cores": 0.5}, replicas=3), yields) == [BY_UTILITY]


def test_containers_are_taken_apart_and_other_groups_together():
    both = target(main={"cpu_request_cores": 0.5, "memory_request_bytes": 900 * MIB})
    both = msgspec.structs.replace(
        both, containers=(both.containers[0], msgspec.structs.replace(SIDE, cpu_request_cores=0.3))
    )
    together = [set(group.values) for group in scored(both).groups]
    assert together == [
        {path("cpu_request_cores"), path("memory_request_bytes"), path("cpu_request_cores", "side")}
    ]
    assert len(scored(both, SEPARATE_CONTAINERS).groups) > 1
    hints = MergeHints(groups=(("replicas", "hpa.*"),))
    state = target(main={"cpu_request_cores": 0.5}, hpa={"min_replicas": 3}, replicas=5)
    by_hint = [set(group.values) for group in scored(state, hints).groups]
    assert sorted(by_hint, key=len) == [{path("cpu_request_cores")}, {REPLICAS, HPA_MIN}]


def test_a_proposal_holds_what_it_was_computed_with():
    hints = MergeHints(holds=("replicas", "*.cpu_request"))
    (group,) = scored(target(main={"memory_limit_bytes": 3000 * MIB}), hints).groups
    assert group.holds == {
        REPLICAS: 4,
        path("cpu_request_cores"): 1.0,
        path("cpu_request_cores", "side"): 1.0,
    }
    less = msgspec.structs.replace(hints, enough={"main.cpu_request": 0.4})
    (smaller,) = scored(target(main={"memory_limit_bytes": 3000 * MIB}), less).groups
    assert smaller.holds == group.holds | {path("cpu_request_cores"): 0.4}
    served = msgspec.structs.replace(hints, serves_objective=True)
    state = target(main={"memory_limit_bytes": 3000 * MIB})
    assert scored(state, served).groups[0].holds == {}
    assert scored(state, served, for_objective=True).groups[0].holds == group.holds


@pytest.mark.parametrize(
    ("state", "cpu_only", "replicas"),
    [
        (target(main={"cpu_request_cores": 1.5}), True, False),
        (target(main={"cpu_request_cores": 0.5}), False, False),
        (target(main={"cpu_limit_cores": 1.5}), False, False),
        (target(main={"cpu_request_cores": 1.5, "memory_request_bytes": 900 * MIB}), False, False),
        (target(main={"cpu_request_cores": 1.5}, replicas=5), False, True),
        (target(replicas=5), False, True),
        (target(replicas=3), False, False),
        (target(hpa={"target_cpu_utilization_percent": 50}), False, True),
        (target(), False, False),
    ],
)
def test_whether_a_proposal_adds_cpu_alone_or_replicas(state, cpu_only, replicas):
    made = scored(state)
    assert (made.raises_cpu_only, made.adds_replicas) == (cpu_only, replicas)
    assert made.changes_something is (state != STATE)
    assert not scored(state, for_objective=True).raises_cpu_only


@pytest.mark.parametrize(
    ("state", "added"),
    [
        (target(hpa={"target_cpu_utilization_percent": 59}), [HPA_CPU]),
        (target(hpa={"target_cpu_utilization_percent": 61}), []),
        (target(hpa={"min_replicas": 3, "max_replicas": 7}), [HPA_MIN]),
        (target(hpa={"max_replicas": 9}), [HPA_MAX]),
        (target(main={"memory_limit_bytes": None}), [path("memory_limit_bytes")]),
        (target(main={"cpu_limit_cores": 1.0}), []),  # a limit where there was none
        (target(replicas=None), [REPLICAS]),
        (target(extra={"node_type": "large"}), []),
    ],
)
def test_what_gives_a_workload_more(state, added):
    assert additions(all_fields(STATE), all_fields(state)) == added


def schedule(*replicas):
    return [{"start": "a", "end": "b", "min_replicas": number} for number in replicas]


@pytest.mark.parametrize(
    ("fields", "more"),
    [
        ({"extra": {"schedule": schedule(1, 3)}}, True),  # two are the least without one
        ({"extra": {"schedule": schedule(2, 1)}}, False),
        ({"extra": {"schedule": []}}, False),
        ({"extra": {"schedule": "nightly"}}, False),
        ({"extra": {"schedule": schedule(3)}, "hpa": {"min_replicas": 3}}, False),
    ],
)
def test_a_schedule_adds_what_it_asks_for_above_the_minimum(fields, more):
    assert (SCHEDULE in additions(all_fields(STATE), all_fields(target(**fields)))) is more


def test_a_schedule_without_an_autoscaler_is_compared_with_the_replicas():
    fixed = msgspec.structs.replace(STATE, hpa=None)
    for number, more in ((4, False), (5, True)):
        planned = msgspec.structs.replace(fixed, extra={"schedule": schedule(number)})
        assert (SCHEDULE in additions(all_fields(fixed), all_fields(planned))) is more
    one = msgspec.structs.replace(fixed, replicas=None, extra={"schedule": schedule(1)})
    unset = msgspec.structs.replace(fixed, replicas=None)
    assert additions(all_fields(unset), all_fields(one)) == [SCHEDULE]


def missed(*, claim=None, latency=None, slo=True, serves=True):
    snapshot = make_snapshot(
        {"main": {"cpu_cores": np.ones(100)}},
        service={} if latency is None else {"latency_p99_ms": np.asarray(latency)},
        state=STATE,
    )
    objective = Slo(latency_ms=100.0, quantile=0.99) if slo else None
    snapshot = replace(snapshot, workload=msgspec.structs.replace(snapshot.workload, slo=objective))
    proposal = scored(STATE, MergeHints(serves_objective=serves), claim=claim).proposal
    return misses_objective(proposal, snapshot)


@pytest.mark.parametrize(
    ("claim", "misses"),
    [
        (Claim(latency_now_ms=101.0), True),
        (Claim(latency_now_ms=100.0), False),
        (Claim(latency_now_ms=90.0, latency_now_interval_ms=(80.0, 101.0)), True),
        (Claim(latency_now_ms=101.0, latency_now_interval_ms=(80.0, 100.0)), False),
    ],
)
def test_an_objective_is_missed_where_the_upper_end_of_now_is_above_it(claim, misses):
    assert missed(claim=claim) is misses
    assert not missed(claim=claim, slo=False)
    assert not missed(claim=claim, serves=False)


@pytest.mark.parametrize(("slow_steps", "misses"), [(0, False), (1, False), (2, True)])
def test_an_objective_is_missed_in_more_steps_than_its_quantile_leaves(slow_steps, misses):
    latency = np.where(np.arange(100) < slow_steps, 150.0, 50.0)
    assert missed(latency=latency) is misses
