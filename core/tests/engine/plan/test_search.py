"""Which of the proposals make the plan."""

import re

import msgspec
import numpy as np
import pytest
from proposals import (
    COST,
    LATENCY,
    LIMITED,
    LOW,
    MIB,
    RECKLESS,
    RESOURCE,
    SCALING,
    SMALLER,
    STATE,
    SURE,
    TUNING,
    Wanting,
    analysed,
    by_type,
    codes,
    info,
    merged,
    steady,
)

from perfopt.config.loading import RulesConfig
from perfopt.domain.enums import DeclineCode, OptimizationType
from perfopt.domain.workload import HpaState, Slo
from perfopt.engine.assembly import assemble
from perfopt.engine.messages import StrategyAnswers
from perfopt.engine.pipeline import run_strategy
from perfopt.plugin import Claim, Prior
from perfopt.rules import RuleBook, RuleSources
from perfopt.testing import make_context, make_snapshot


def test_the_effect_together_is_replayed_and_not_added_up():
    # Each holds alone: 2 replicas with 0.8 cores of demand each, or a memory request of 350 MiB. Together
    # the memory above the least held grows with the load of a replica and does not fit any more.
    memory = np.tile([200.0, 300.0], 14 * 144) * MIB
    snapshot = make_snapshot(
        {"main": {"cpu_cores": np.full(memory.size, 0.4), "memory_bytes": memory}}, state=STATE
    )
    fewer = Wanting(COST, state={"replicas": 2})
    smaller = Wanting(RESOURCE, quantities={"memory_request_bytes": 350 * MIB})
    result = analysed(fewer, smaller, snapshot=snapshot)
    assert codes(result) in (
        {("replicas", "joint_violation", "cost/it")},
        {("main.memory_request", "joint_violation", "resource/it")},
    )
    assert {window.accurate for window in result.plan.evidence.windows} == {True}


def test_a_larger_request_is_left_out_where_more_replicas_are_enough():
    larger, more = Wanting(RESOURCE, quantities={"cpu_request_cores": 1.3}), Wanting(SCALING)
    more.state = {"replicas": 6}  # 0.73 cores each
    result = analysed(larger, more, snapshot=steady(cpu=1.1))
    assert (result.plan.recommended_state["cpu_request"], result.plan.recommended_state["replicas"]) == (
        "1",
        6,
    )
    assert codes(result) == {("main.cpu_request", "redundant", "resource/it")}
    assert "the capacity that scaling/it adds is enough" in result.plan.conflicts[0].reason
    assert {window.accurate for window in result.plan.evidence.windows} == {True}


def test_a_larger_request_stays_where_more_replicas_are_not_enough():
    larger = Wanting(RESOURCE, quantities={"cpu_request_cores": 1.5})
    more = Wanting(SCALING, state={"replicas": 5})  # 1.12 cores each
    state = analysed(larger, more, snapshot=steady(cpu=1.4)).plan.recommended_state
    assert (state["cpu_request"], state["replicas"]) == ("1500m", 5)


def test_memory_is_not_left_out_with_a_request_that_replicas_make_needless():
    larger = Wanting(RESOURCE, quantities={"cpu_request_cores": 1.3, "memory_request_bytes": 400 * MIB})
    more = Wanting(SCALING, state={"replicas": 6})
    state = analysed(larger, more, snapshot=steady(cpu=1.1)).plan.recommended_state
    assert state["memory_request"] == "400Mi"


def budgeted(over, *strategies):
    """Assembles strategies under a budget of 1.3 times the current cost that each of them keeps alone."""
    now = make_context(steady()).price_book.monthly_cost(STATE)
    config = RulesConfig(enable=("budget",), parameters={"budget": {"monthly": now * 1.3, "over": over}})
    rules = RuleBook(RuleSources.read(config)).rules_for(steady().workload)
    outcomes = [(one, run_strategy(one, make_context(steady()), rules)) for one in strategies]
    assert not any(outcome.conditions.requires_approval for _, outcome in outcomes)
    return merged(*outcomes, rules=rules)


LARGER = Wanting(RESOURCE, quantities={"cpu_request_cores": 1.25, "memory_request_bytes": 900 * MIB})


MORE = Wanting(SCALING, state={"replicas": 5})


def test_what_is_within_the_budget_by_parts_needs_approval_together():
    result = budgeted("approve", LARGER, MORE)
    assert result.plan.requires_approval
    assert "over_budget" in result.plan.rules_fired


def test_rules_that_refuse_the_whole_leave_a_plan_of_what_they_accept():
    result = budgeted("refuse", LARGER, MORE, LIMITED)
    assert result.warnings == ()
    assert result.plan.recommended_state["cpu_limit"] == "1500m"  # only one of the others is too much
    (made, _) = sorted(by_type(result), key=lambda kind: kind is TUNING)
    (lost,) = {RESOURCE, SCALING} - {made}
    reasons = [one.reason for one in result.plan.conflicts]
    assert {one.code for one in result.plan.conflicts} == {"refused_by_rules"}
    assert all("Rules refuse the plan with it" in one and "budget_refused" in one for one in reasons)
    (declined,) = [one for one in result.declined if one.optimization_type is lost]
    assert declined.code is DeclineCode.CONFLICT
    assert declined.plugin == next(one.lost_by for one in result.plan.conflicts)


def test_an_objective_stays_where_rules_refuse_the_whole():
    claim = Claim(latency_ms=80.0, latency_now_ms=140.0)
    snapshot = steady(slo=Slo(latency_ms=100.0), latency_p99_ms=140.0)
    faster = Wanting(LATENCY, quantities={"cpu_request_cores": 1.25}, claim=claim)
    context = make_context(snapshot)
    now = context.price_book.monthly_cost(STATE)
    config = RulesConfig(enable=("budget",), parameters={"budget": {"monthly": now * 1.3, "over": "refuse"}})
    rules = RuleBook(RuleSources.read(config)).rules_for(snapshot.workload)
    strategies = (MORE, faster)
    outcomes = StrategyAnswers(tuple(run_strategy(one, context, rules) for one in strategies))
    infos = [info(one) for one in strategies]
    result = assemble(context, tuple(OptimizationType), infos, outcomes, (), "None.", rules)
    assert by_type(result).keys() == {LATENCY}
    assert (result.plan.recommended_state["cpu_request"], result.plan.recommended_state["replicas"]) == (
        "1250m",
        4,
    )


def test_two_that_would_take_each_others_place_are_both_left_out():
    # Both set the same field: without one of them the other takes its place, and is violated as often.
    reckless = Wanting(COST, quantities={"cpu_request_cores": 0.3}, prior=Prior(mean=0.5, strength=1.0))
    second = Wanting(TUNING, quantities={"cpu_request_cores": 0.31}, prior=Prior(mean=0.5, strength=1.0))
    result = analysed(reckless, second)
    assert (result.plan, result.recommendations) == (None, ())
    assert {one.code for one in result.declined if one.plugin is not None} == {DeclineCode.NO_NET_BENEFIT}


def test_a_proposal_does_not_fall_with_another_of_a_lower_prior():
    good = Wanting(RESOURCE, quantities={"memory_request_bytes": 512 * MIB})
    result = analysed(good, RECKLESS, Wanting(TUNING, quantities={"cpu_request_cores": 0.31}, prior=LOW))
    assert by_type(result).keys() == {RESOURCE}
    assert result.plan.confidence_detail.prior == SURE.mean


def test_what_is_worth_less_than_staying_does_not_change_the_plan():
    result = analysed(RECKLESS, SMALLER)
    assert result.plan.recommended_state["cpu_request"] == "1"
    assert result.plan.recommended_state["memory_request"] == "512Mi"
    assert by_type(result).keys() == {RESOURCE}
    (lost,) = result.plan.conflicts
    assert (lost.field, lost.wanted, lost.kept) == ("main.cpu_request", "300m", "1")
    assert (lost.code, lost.lost_by, lost.won_by) == ("no_net_benefit", "cost/it", None)
    (declined,) = [one for one in result.declined if one.optimization_type is COST]
    assert declined.code is DeclineCode.NO_NET_BENEFIT
    assert "rejected: main.cpu_request 300m; Negative net value" in declined.reason
    worth, saving, risk = (float(number) for number in re.findall(r"[+-][0-9.]+(?= |,|\))", declined.reason))
    assert worth == pytest.approx(saving + risk, abs=0.02)
    assert saving > 0 > risk
    assert result.plan.evidence == by_type(result)[RESOURCE].evidence


def test_what_a_proposal_would_add_is_over_what_the_plan_has_without_it():
    alone, beside = analysed(RECKLESS), analysed(RECKLESS, SMALLER, LIMITED)
    (of_one,), (of_more,) = (
        [one.reason for one in result.declined if one.optimization_type is COST] for result in (alone, beside)
    )
    worth = [float(re.search(r"worth ([+-][0-9.]+)", reason)[1]) for reason in (of_one, of_more)]
    assert worth[0] < -100
    assert worth[1] == pytest.approx(worth[0], rel=0.1)  # not what the plan and the proposal come to together


def test_where_nothing_is_worth_its_change_there_is_no_plan():
    result = analysed(RECKLESS)
    assert (result.plan, result.recommendations) == (None, ())
    assert [one.code for one in result.declined if one.optimization_type is COST] == [
        DeclineCode.NO_NET_BENEFIT
    ]


AUTOSCALED = {"hpa": HpaState(max_replicas=8, target_cpu_utilization_percent=60)}


@pytest.mark.parametrize(
    "change",
    [
        Wanting(RESOURCE, quantities={"cpu_request_cores": 1.5}),
        Wanting(RESOURCE, quantities={"memory_request_bytes": 1536 * MIB}),
        Wanting(COST, state={"replicas": 6}),
        Wanting(LATENCY, quantities={"cpu_request_cores": 0.3, "cpu_limit_cores": 3.0}),
        Wanting(SCALING, state={"hpa": msgspec.structs.replace(AUTOSCALED["hpa"], min_replicas=3)}),
    ],
)
def test_what_adds_capacity_stays_whatever_it_costs(change):
    change.prior = Prior(mean=0.5, strength=1.0)
    state = msgspec.structs.replace(STATE, **(AUTOSCALED if "hpa" in change.state else {}))
    result = analysed(change, snapshot=steady(state=state))
    assert [made.optimization_type for made in result.recommendations] == [change.optimization_type]
    assert result.plan is not None


def test_the_strategy_named_as_enough_is_the_one_that_adds_replicas():
    larger = Wanting(RESOURCE, quantities={"cpu_request_cores": 1.3})
    more = Wanting(SCALING, state={"replicas": 6})
    cheaper = Wanting(TUNING, quantities={"memory_request_bytes": 600 * MIB})  # of the highest utility
    result = analysed(larger, more, cheaper, snapshot=steady(cpu=1.1))
    (conflict,) = result.plan.conflicts
    assert (conflict.code, conflict.lost_by, conflict.won_by) == ("redundant", "resource/it", "scaling/it")


def test_a_value_is_not_given_up_to_a_cheaper_one_that_is_as_accurate():
    # Without the first, the second would set the field and save more: who sets it is decided before.
    surer = Wanting(RESOURCE, quantities={"cpu_request_cores": 0.6})
    cheaper = Wanting(COST, quantities={"cpu_request_cores": 0.45}, prior=Prior(mean=0.9, strength=50))
    result = analysed(surer, cheaper)
    assert result.plan.recommended_state["cpu_request"] == "600m"
    assert by_type(result).keys() == {RESOURCE}


def test_a_value_is_given_up_where_it_is_violated_and_another_is_not():
    # The first says it is sure and is violated in each window; the second sets the same field and is not.
    small = Wanting(RESOURCE, quantities={"cpu_request_cores": 0.35}, prior=Prior(mean=0.99, strength=500.0))
    enough = Wanting(COST, quantities={"cpu_request_cores": 0.5})
    result = analysed(small, enough)
    assert result.plan.recommended_state["cpu_request"] == "500m"
    assert {window.accurate for window in result.plan.evidence.windows} == {True}


def test_proposals_of_unknown_cost_are_decided_by_their_key_alone():
    unknown = msgspec.structs.replace(STATE.containers[0], memory_request_bytes=None)
    state = msgspec.structs.replace(STATE, containers=(unknown,))
    one = Wanting(TUNING, quantities={"cpu_limit_cores": 1.5})
    other = Wanting(LATENCY, quantities={"cpu_limit_cores": 1.6})
    for pair in ((one, other), (other, one)):
        result = analysed(*pair, snapshot=steady(state=state))
        assert result.plan.recommended_state["cpu_limit"] == "1600m"  # latency/it before tuning/it
