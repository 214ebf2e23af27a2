import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt.domain.enums import DeclineCode, OptimizationType
from perfopt.plugin import Container, Declined, Proposal, decline
from perfopt.rules import SAFETY_RULES, apply_rules
from perfopt.testing import make_context, make_snapshot

MIB = 2**20


def context(memory=100 * MIB):
    values = np.full(14 * 288, float(memory))
    values[0] = 900 * MIB  # a peak of two weeks ago
    return make_context(make_snapshot({"main": {"cpu_cores": values * 0 + 0.1, "memory_bytes": values}}))


def propose(kind=OptimizationType.RESOURCE_OPTIMIZATION, **quantities):
    state = context().snapshot.workload.state
    container = Container(name="main", **quantities)
    target = msgspec.structs.replace(state, containers=(container,))
    return Proposal(optimization_type=kind, target=target, description="test")


def ruled(proposal, situation=None):
    return apply_rules(SAFETY_RULES, proposal, situation or context())


def test_a_proposal_within_the_rules_passes_untouched():
    proposal = propose(cpu_request_cores=0.2, memory_request_bytes=200 * MIB)
    result = ruled(proposal)
    assert (result.proposal, result.fired) == (proposal, ())


def test_too_little_is_raised_to_the_floor_and_said_so():
    result = ruled(propose(cpu_request_cores=0.001, memory_request_bytes=MIB), context(memory=1))
    (container,) = result.proposal.target.containers
    assert (container.cpu_request_cores, container.memory_request_bytes) == (0.01, 16 * MIB)
    assert result.fired == ("floor",)
    assert result.proposal.reasons[0].code == "rule_floor"


def test_memory_never_goes_under_the_last_day_but_may_go_under_older_peaks():
    result = ruled(propose(cpu_request_cores=0.2, memory_request_bytes=50 * MIB, memory_limit_bytes=60 * MIB))
    (container,) = result.proposal.target.containers
    assert (container.memory_request_bytes, container.memory_limit_bytes) == (100 * MIB, 100 * MIB)
    assert result.fired == ("recent_memory_peak",)
    assert "main 100Mi" in result.proposal.reasons[0].text


def test_a_type_that_leaves_resources_alone_is_left_alone():
    situation = context(memory=2048 * MIB)
    state = situation.snapshot.workload.state
    scaling = Proposal(
        optimization_type=OptimizationType.SCALING_OPTIMIZATION, target=state, description="more replicas"
    )
    assert ruled(scaling, situation).fired == ()
    resource = msgspec.structs.replace(scaling, optimization_type=OptimizationType.RESOURCE_OPTIMIZATION)
    assert ruled(resource, situation).fired == ("recent_memory_peak",)


def test_already_right_does_not_outlive_a_correction():
    situation = context(memory=2048 * MIB)
    state = situation.snapshot.workload.state
    proposal = Proposal(
        optimization_type=OptimizationType.RESOURCE_OPTIMIZATION,
        target=state,
        description="keep",
        already_right=True,
    )
    assert ruled(proposal, situation).proposal.already_right is False


def test_a_veto_ends_it():
    class Veto:
        name = "veto"

        def apply(self, proposal, context):
            return decline(proposal.optimization_type, DeclineCode.VETOED, "Not on a Friday.")

    result = apply_rules((Veto(), *SAFETY_RULES), propose(cpu_request_cores=0.001), context())
    assert isinstance(result, Declined)
    assert result.reason == "Not on a Friday."


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
        memory_limit_bytes=int(memory * extra),
    )
    result = ruled(proposal, context(memory=held))
    (container,) = result.proposal.target.containers
    assert container.cpu_request_cores >= max(cpu, 0.01)
    assert container.memory_request_bytes >= max(memory, 16 * MIB, held)
    assert container.cpu_limit_cores >= container.cpu_request_cores
    assert container.memory_limit_bytes >= container.memory_request_bytes
    assert ruled(result.proposal, context(memory=held)).fired == ()


@pytest.mark.parametrize("field", ["cpu_limit_cores", "memory_limit_bytes", "memory_request_bytes"])
def test_what_is_unset_stays_unset(field):
    result = ruled(propose(cpu_request_cores=0.001))
    assert getattr(result.proposal.target.containers[0], field) is None
