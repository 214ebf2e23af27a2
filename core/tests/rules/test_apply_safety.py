import math
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfopt.domain.enums import OptimizationType
from perfopt.plugin import Container, Declined, HpaState, Proposal, WorkloadId
from perfopt.rules import default_book
from perfopt.testing import make_context, make_snapshot

MIB = 2**20


def context(memory=100 * MIB, namespace="", **state):
    values = np.full(14 * 288, float(memory))
    values[0] = 900 * MIB  # a peak of two weeks ago
    snapshot = make_snapshot({"main": {"cpu_cores": values * 0 + 0.1, "memory_bytes": values}})
    workload = msgspec.structs.replace(
        snapshot.workload,
        id=WorkloadId(name="web", namespace=namespace),
        state=msgspec.structs.replace(snapshot.workload.state, **state),
    )
    return make_context(replace(snapshot, workload=workload))


def propose(kind=OptimizationType.RESOURCE_OPTIMIZATION, **quantities):
    state = context().snapshot.workload.state
    container = Container(name="main", **quantities)
    target = msgspec.structs.replace(state, containers=(container,))
    return Proposal(optimization_type=kind, target=target, description="Do it.")


def ruled(proposal, situation=None):
    situation = situation or context()
    return default_book().rules_for(situation.snapshot.workload).apply(proposal, situation)


def names(result):
    return tuple(dict.fromkeys(fired.rule for fired in result.rules))


def test_a_proposal_within_the_rules_passes_untouched():
    proposal = propose(cpu_request_cores=0.2, memory_request_bytes=200 * MIB)
    result = ruled(proposal)
    assert (result.proposal, result.rules) == (proposal, ())


def test_too_little_is_raised_to_the_floor_and_said_so():
    result = ruled(propose(cpu_request_cores=0.001, memory_request_bytes=MIB), context(memory=1))
    (container,) = result.proposal.target.containers
    assert (container.cpu_request_cores, container.memory_request_bytes) == (0.01, 16 * MIB)
    assert names(result) == ("floor",)
    cpu, memory = result.rules
    assert (cpu.pack, cpu.container, cpu.field, cpu.before, cpu.after) == (
        "floors",
        "main",
        "cpu_request",
        "1m",
        "10m",
    )
    assert (memory.before, memory.after) == ("1Mi", "16Mi")
    assert result.proposal.reasons[0].code == "rule_floor"


def test_the_description_tells_what_rules_made_of_it():
    result = ruled(propose(cpu_request_cores=0.001, memory_request_bytes=200 * MIB))
    assert result.proposal.description == "Do it. Rules then hold main cpu request at 10m."


def test_memory_never_goes_under_the_last_day_but_may_go_under_older_peaks():
    result = ruled(propose(cpu_request_cores=0.2, memory_request_bytes=50 * MIB, memory_limit_bytes=60 * MIB))
    (container,) = result.proposal.target.containers
    assert (container.memory_request_bytes, container.memory_limit_bytes) == (100 * MIB, 120 * MIB)
    assert names(result) == ("recent_memory_peak", "memory_limit_headroom")
    assert "main memory_request 50Mi to 100Mi" in result.proposal.reasons[0].text


def test_a_type_that_leaves_resources_alone_is_left_alone():
    situation = context(memory=2048 * MIB)
    state = situation.snapshot.workload.state
    scaling = Proposal(
        optimization_type=OptimizationType.SCALING_OPTIMIZATION, target=state, description="more replicas"
    )
    assert ruled(scaling, situation).rules == ()
    resource = msgspec.structs.replace(scaling, optimization_type=OptimizationType.RESOURCE_OPTIMIZATION)
    assert names(ruled(resource, situation)) == ("recent_memory_peak", "memory_limit_headroom")


def test_no_change_needed_does_not_outlive_a_correction():
    situation = context(memory=2048 * MIB)
    state = situation.snapshot.workload.state
    proposal = Proposal(
        optimization_type=OptimizationType.RESOURCE_OPTIMIZATION,
        target=state,
        description="keep",
        no_change_needed=True,
    )
    assert ruled(proposal, situation).proposal.no_change_needed is False


def test_what_the_cluster_runs_on_is_left_alone():
    result = ruled(propose(cpu_request_cores=0.2), context(namespace="kube-system"))
    assert isinstance(result, Declined)
    assert "protected-namespaces/protected_namespace" in result.reason


def test_what_a_vertical_autoscaler_sets_is_left_to_it():
    smaller = propose(cpu_request_cores=0.2, memory_request_bytes=200 * MIB)
    assert isinstance(ruled(smaller, context(vpa_mode="Auto")), Declined)
    assert not isinstance(ruled(smaller, context(vpa_mode="Off")), Declined)


@pytest.mark.parametrize(("sets_autoscaler", "replicas"), [(False, 2), (True, 5)])
def test_replicas_stay_with_an_autoscaler_that_the_proposal_does_not_set(sets_autoscaler, replicas):
    situation = context(hpa=HpaState(max_replicas=6))
    state = situation.snapshot.workload.state
    hpa = HpaState(max_replicas=8) if sets_autoscaler else state.hpa
    proposal = Proposal(
        optimization_type=OptimizationType.SCALING_OPTIMIZATION,
        target=msgspec.structs.replace(state, replicas=5, hpa=hpa),
        description="more",
    )
    assert ruled(proposal, situation).proposal.target.replicas == replicas


@settings(max_examples=50)
@given(
    cpu=st.floats(0, 10),
    memory=st.integers(0, 2**40),
    extra=st.floats(1, 3),
    held=st.integers(0, 2**40),
)
def test_what_comes_out_keeps_the_rules_and_is_never_lower(cpu, memory, extra, held):
    proposal = propose(
        cpu_request_cores=cpu,
        cpu_limit_cores=cpu * extra,
        memory_request_bytes=memory,
        memory_limit_bytes=math.ceil(memory * extra),
    )
    result = ruled(proposal, context(memory=held))
    (container,) = result.proposal.target.containers
    assert container.cpu_request_cores >= max(cpu, 0.01)
    assert container.memory_request_bytes >= max(memory, 16 * MIB, held)
    assert container.cpu_limit_cores >= container.cpu_request_cores
    assert container.memory_limit_bytes >= container.memory_request_bytes
    assert ruled(result.proposal, context(memory=held)).rules == ()


@pytest.mark.parametrize("field", ["cpu_limit_cores", "memory_limit_bytes", "memory_request_bytes"])
def test_what_is_unset_stays_unset(field):
    result = ruled(propose(cpu_request_cores=0.001))
    assert getattr(result.proposal.target.containers[0], field) is None
