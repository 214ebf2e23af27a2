from datetime import timedelta

import msgspec
import pytest

from perfopt.domain.enums import Basis, OptimizationType
from perfopt.domain.workload import Container, HpaState, WorkloadState
from perfopt.engine.small_changes import without_small_changes
from perfopt.plugin.strategy import Proposal

MIB = 2.0**20
WEEK = timedelta(days=7)
SET = {
    "cpu_request_cores": 1.0,
    "memory_request_bytes": 1000 * MIB,
    "cpu_limit_cores": 2.0,
    "memory_limit_bytes": 2000 * MIB,
}


def state(**quantities):
    return WorkloadState(containers=(Container(name="main", **SET | quantities),), replicas=2)


def settled(current=None, kind=OptimizationType.RESOURCE_OPTIMIZATION, **quantities):
    current = current or state()
    proposal = Proposal(
        optimization_type=kind, target=state(**quantities), description="Set sizes.", reasons=()
    )
    return without_small_changes(proposal, current, WEEK)


def sizes(proposal):
    container = proposal.target.containers[0]
    return {name: getattr(container, name) for name in SET if getattr(container, name) != SET[name]}


@pytest.mark.parametrize("name", SET)
def test_a_fall_of_a_tenth_stays(name):
    assert sizes(settled(**{name: 0.9 * SET[name]})) == {}


@pytest.mark.parametrize("name", SET)
def test_a_fall_of_more_than_a_tenth_is_recommended(name):
    wanted = {name: 0.899 * SET[name]}
    result = settled(**wanted)
    assert sizes(result) == wanted
    assert result.description == "Set sizes."
    assert result.reasons == ()


@pytest.mark.parametrize("name", ["cpu_request_cores", "memory_request_bytes", "memory_limit_bytes"])
def test_requests_and_memory_rise_by_the_least_amount(name):
    wanted = {name: 1.001 * SET[name]}
    assert sizes(settled(**wanted)) == wanted


def test_a_cpu_limit_rises_from_more_than_two_percent_on():
    assert sizes(settled(cpu_limit_cores=2.04)) == {}
    assert sizes(settled(cpu_limit_cores=2.041)) == {"cpu_limit_cores": 2.041}


def test_a_request_just_above_the_limit_becomes_the_limit():
    assert sizes(settled(cpu_request_cores=2.01, cpu_limit_cores=2.01)) == {"cpu_request_cores": 2.0}


def test_a_limit_that_falls_stays_above_a_request_that_does_not():
    wanted = {"memory_request_bytes": 950 * MIB, "memory_limit_bytes": 960 * MIB}
    assert sizes(settled(**wanted)) == {"memory_limit_bytes": 1000 * MIB}


def test_other_changes_of_the_proposal_stay_and_the_reason_says_what_does_not():
    result = settled(cpu_request_cores=0.5, memory_request_bytes=980 * MIB)
    assert sizes(result) == {"cpu_request_cores": 0.5}
    assert not result.no_change_needed
    assert result.description == (
        "Set main.cpu_request from 1 to 500m, for the next 7 days."
        " A small change is left out: main.memory_request 1000Mi stays."
    )
    (reason,) = result.reasons
    assert reason.code == "small_change"
    assert reason.data == {"main.memory_request": {"proposed": "980Mi", "kept": "1000Mi"}}
    assert "10 % or less" in reason.text
    assert "2 % or less" in reason.text


def test_a_proposal_of_small_changes_only_is_no_change():
    result = settled(cpu_request_cores=0.95, memory_request_bytes=980 * MIB)
    assert result.no_change_needed
    assert result.target == state()
    assert result.description.startswith("No change needed.")


def test_requests_assumed_from_limits_are_no_change_where_sizes_stay():
    current = msgspec.structs.replace(state(), basis=Basis.ASSUMED_FROM_LIMIT)
    result = settled(current, cpu_request_cores=0.95)
    assert result.target == current
    assert result.no_change_needed


def test_what_else_changes_makes_it_a_change():
    target = msgspec.structs.replace(
        state(cpu_request_cores=0.95), hpa=HpaState(min_replicas=2, max_replicas=4)
    )
    proposal = Proposal(
        optimization_type=OptimizationType.SCALING_OPTIMIZATION, target=target, description="Scale."
    )
    result = without_small_changes(proposal, state(), WEEK)
    assert sizes(result) == {}
    assert result.target.hpa == target.hpa
    assert not result.no_change_needed


def test_quantities_that_were_not_set_are_set():
    current = state(cpu_request_cores=None, cpu_limit_cores=None)
    assert sizes(settled(current, cpu_limit_cores=None)) == {"cpu_limit_cores": None}
    assert (
        without_small_changes(
            Proposal(
                optimization_type=OptimizationType.RESOURCE_OPTIMIZATION,
                target=state(),
                description="Set sizes.",
            ),
            current,
            WEEK,
        ).target
        == state()
    )


def test_steps_of_a_search_are_small_by_design():
    wanted = {"cpu_limit_cores": 1.95}
    assert sizes(settled(kind=OptimizationType.PERFORMANCE_TUNING, **wanted)) == wanted
