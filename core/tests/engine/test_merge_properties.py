from dataclasses import replace
from itertools import permutations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from perfopt.domain.enums import OptimizationType
from perfopt.domain.fields import BASIS, all_fields, diff, with_fields
from perfopt.domain.floors import CPU_FLOOR_CORES, MEMORY_FLOOR_BYTES
from perfopt.domain.workload import Container, HpaState, Slo, WorkloadState
from perfopt.engine.plan.decide import decide
from perfopt.engine.plan.origins import PlanOrigin
from perfopt.engine.plan.scored import ScoredProposal, misses_objective
from perfopt.plugin import SEPARATE_CONTAINERS, Claim, MergeHints, Proposal
from perfopt.rules import default_book
from perfopt.testing import make_context, make_snapshot

MIB = 2**20
SLO = Slo(latency_ms=100.0)
RULES = default_book().rules_for(make_snapshot().workload)
CURRENT = WorkloadState(
    containers=(
        Container(
            name="main",
            cpu_request_cores=1.0,
            memory_request_bytes=900 * MIB,
            cpu_limit_cores=2.0,
            memory_limit_bytes=1800 * MIB,
        ),
        Container(name="proxy", cpu_request_cores=0.1, memory_request_bytes=64 * MIB),
    ),
    replicas=4,
    hpa=HpaState(min_replicas=2, max_replicas=8, target_cpu_utilization_percent=60),
)
PLAIN = msgspec.structs.replace(CURRENT, hpa=None)
# What the pods held lately; nothing may go below it where memory is changed at all.
CONTEXT = make_context(
    make_snapshot(
        {
            "main": {"cpu_cores": [0.3] * 288, "memory_bytes": [700.0 * MIB] * 288},
            "proxy": {"cpu_cores": [0.05] * 288, "memory_bytes": [40.0 * MIB] * 288},
        },
        state=CURRENT,
    )
)
WITH_SLO = replace(CONTEXT.snapshot, workload=msgspec.structs.replace(CONTEXT.snapshot.workload, slo=SLO))

HINTS = [
    MergeHints(),
    SEPARATE_CONTAINERS,
    MergeHints(holds=("*.cpu_request",)),
    MergeHints(yields=("*.cpu_*", "*.memory_*", "basis")),
    MergeHints(holds=("replicas", "hpa.m*_replicas", "*.cpu_limit"), serves_objective=True),
]

cores = st.integers(1, 4000).map(lambda millicores: millicores / 1000)
sizes = st.integers(1, 3000).map(lambda mebibytes: mebibytes * MIB)


@st.composite
def containers(draw, container):
    changed = {}
    for quantity, values in (("cpu", cores), ("memory", sizes)):
        if draw(st.booleans()):
            unit = "cores" if quantity == "cpu" else "bytes"
            request, limit = sorted((draw(values), draw(values)))
            changed[f"{quantity}_request_{unit}"] = request
            if getattr(container, f"{quantity}_limit_{unit}") is not None:
                changed[f"{quantity}_limit_{unit}"] = limit
    return msgspec.structs.replace(container, **changed)


@st.composite
def scored_proposals(draw, current, number):
    kind = draw(st.sampled_from(OptimizationType))
    target = msgspec.structs.replace(
        current, containers=tuple(draw(containers(container)) for container in current.containers)
    )
    if draw(st.booleans()):
        if current.hpa is None:
            target = msgspec.structs.replace(target, replicas=draw(st.integers(1, 9)))
        else:
            least, most = sorted((draw(st.integers(1, 9)), draw(st.integers(1, 9))))
            percent = draw(st.integers(20, 100))
            hpa = HpaState(min_replicas=least, max_replicas=most, target_cpu_utilization_percent=percent)
            target = msgspec.structs.replace(
                target, hpa=hpa, replicas=min(max(current.replicas, least), most)
            )
    if draw(st.booleans()):
        knobs = {"main": {"GOMAXPROCS": str(draw(st.integers(1, 4)))}}
        target = msgspec.structs.replace(target, extra={"knobs": knobs})
    claim = Claim(latency_ms=90.0, latency_now_ms=draw(st.sampled_from([80.0, 140.0])))
    hints = draw(st.sampled_from(HINTS))
    proposal = Proposal(optimization_type=kind, target=target, description="Do it.", claim=claim, merge=hints)
    return ScoredProposal(
        key=f"plugin{number}/it",
        proposal=proposal,
        confidence=draw(st.floats(0, 1)),
        utility=draw(st.floats(-100, 100)),
        current=all_fields(current),
        for_objective=misses_objective(proposal, WITH_SLO),
    )


@st.composite
def origins(draw):
    """Proposals as they reach the merge: each has passed the rules by itself."""
    current = draw(st.sampled_from([CURRENT, PLAIN]))
    workload = msgspec.structs.replace(CONTEXT.snapshot.workload, state=current, slo=SLO)
    context = replace(CONTEXT, snapshot=replace(CONTEXT.snapshot, workload=workload))
    wanted = [draw(scored_proposals(current, number)) for number in range(draw(st.integers(1, 4)))]
    ruled = [replace(one, proposal=RULES.bounded(one.proposal, context).proposal) for one in wanted]
    return PlanOrigin(context, all_fields(current), tuple(ruled))


def keys(origin):
    return {scored.key for scored in origin.proposals}


@given(origins())
@settings(max_examples=60, deadline=None)
def test_the_order_of_plugins_does_not_matter(origin):
    first = decide(origin, keys(origin), RULES)
    for order in list(permutations(origin.proposals))[1:4]:
        other = decide(PlanOrigin(origin.context, origin.fields, order), keys(origin), RULES)
        assert other.state == first.state
        assert {(one.path, one.owner.key) for one in other.merged.rejected} == {
            (one.path, one.owner.key) for one in first.merged.rejected
        }


@given(origins())
@settings(max_examples=150, deadline=None)
def test_every_change_is_in_the_plan_or_rejected(origin):
    made = decide(origin, keys(origin), RULES)
    for scored in origin.proposals:
        rejected = {one.path for one in made.merged.rejected if one.owner is scored}
        owned = set(made.merged.owned_by(scored))
        for path in diff(origin.state, scored.proposal.target):
            assert path in rejected or path in owned or path == BASIS


@given(origins())
@settings(max_examples=150, deadline=None)
def test_the_merged_state_keeps_the_safety_bounds_and_could_run(origin):
    state = decide(origin, keys(origin), RULES).state
    peaks = {"main": 700 * MIB, "proxy": 40 * MIB}
    for container in state.containers:
        asked, allowed = container.cpu_request_cores, container.cpu_limit_cores
        assert asked >= CPU_FLOOR_CORES
        assert allowed is None or allowed >= asked
        held, most = container.memory_request_bytes, container.memory_limit_bytes
        assert held >= MEMORY_FLOOR_BYTES
        assert most is None or most >= held
        if held != origin.state.container(container.name).memory_request_bytes:
            assert held >= peaks[container.name]
    if state.hpa is not None:
        assert 1 <= state.hpa.min_replicas <= state.replicas <= state.hpa.max_replicas
        assert state.hpa.target_cpu_utilization_percent >= 1


@given(origins())
@settings(max_examples=150, deadline=None)
def test_nothing_goes_below_what_the_objective_needs(origin):
    state = all_fields(decide(origin, keys(origin), RULES).state)
    for scored in origin.proposals:
        if scored.for_objective:
            needed = diff(origin.state, scored.proposal.target)
            for path, value in needed.items():
                if path[0] == "container":
                    others = [one for one in origin.proposals if one.for_objective]
                    assert state[path] >= value or len(others) > 1


@given(origins())
@settings(max_examples=60, deadline=None)
def test_a_state_survives_being_taken_apart_and_put_together(origin):
    for scored in origin.proposals:
        target = scored.proposal.target
        assert with_fields(origin.state, diff(origin.state, target)) == target
