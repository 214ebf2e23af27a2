"""From the outcomes of strategies to the answer of an analysis."""

from datetime import timedelta

import msgspec
import pytest
from proposals import COST, MIB, RECKLESS, RESOURCE, RULES, STATE, Refusing, Wanting, analysed, info, steady

from perfopt.domain.enums import ServiceClass
from perfopt.domain.service_class import UNDER_PROVISIONING_PENALTIES as PENALTIES
from perfopt.engine.assembly import assemble
from perfopt.engine.messages import StrategyAnswers
from perfopt.engine.pipeline import run_strategy
from perfopt.plugin import Claim, Prior
from perfopt.testing import make_context


def test_ranks_go_by_money_and_by_risk():
    # The request is too small by half: staying breaches in every window, so raising it is worth its cost.
    tight = msgspec.structs.replace(
        STATE, containers=(msgspec.structs.replace(STATE.containers[0], cpu_request_cores=0.2),)
    )
    raised = Wanting(RESOURCE, quantities={"cpu_request_cores": 0.5}, prior=Prior(mean=0.9, strength=2.0))
    saving = Wanting(COST, quantities={"memory_request_bytes": 900 * MIB})
    first, second = analysed(saving, raised, snapshot=steady(state=tight)).recommendations
    assert (first.optimization_type, second.optimization_type) == (RESOURCE, COST)
    assert first.expected_value.saving < 0 < first.expected_value.risk
    assert second.expected_value.risk == 0
    assert first.expected_value.total == pytest.approx(
        first.expected_value.saving + first.expected_value.risk, abs=1e-3
    )


def test_a_breach_costs_a_critical_service_more():
    tight = msgspec.structs.replace(
        STATE, containers=(msgspec.structs.replace(STATE.containers[0], cpu_request_cores=0.2),)
    )
    snapshot = steady(state=tight)
    critical = type(snapshot)(
        msgspec.structs.replace(snapshot.workload, service_class=ServiceClass.CRITICAL),
        snapshot.grid,
        snapshot.containers,
    )
    raised = Wanting(RESOURCE, quantities={"cpu_request_cores": 0.5}, prior=Prior(mean=0.9, strength=2.0))
    usual, dear = (
        analysed(raised, snapshot=one).recommendations[0].expected_value for one in (snapshot, critical)
    )
    assert dear.risk == pytest.approx(
        usual.risk * PENALTIES[ServiceClass.CRITICAL] / PENALTIES[ServiceClass.STANDARD],
        rel=1e-3,
    )


def test_a_schedule_is_costed_by_the_hours_it_saves():
    snapshot = steady(cpu=0.0)
    entry = {
        "start": snapshot.grid.end.isoformat(),
        "end": (snapshot.grid.end + timedelta(days=7)).isoformat(),
        "min_replicas": 2,
    }
    nightly = Wanting(COST, state={"extra": {"schedule": [entry]}}, claim=Claim(saving_percent=50.0))
    result = analysed(nightly, snapshot=snapshot)
    assert result.recommendations[0].expected_improvement.cost_reduction_percent == 50.0
    assert result.plan.expected_improvement.cost_reduction_percent == 50.0


def test_the_result_survives_json_with_its_plan():
    result = analysed(
        Wanting(RESOURCE, quantities={"cpu_request_cores": 0.5}), Wanting(COST, state={"replicas": 3})
    )
    assert msgspec.json.decode(msgspec.json.encode(result), type=type(result)) == result


def test_every_abstention_names_its_strategy():
    (declined,) = [one for one in analysed(Refusing(RESOURCE)).declined if one.optimization_type is RESOURCE]
    assert declined.plugin == "resource/it"
    missing = [one for one in analysed(Refusing(RESOURCE)).declined if one.optimization_type is COST]
    assert [one.plugin for one in missing] == [None]


def test_a_strategy_judged_by_itself_is_shown_whatever_it_is_worth():
    context = make_context(steady())
    answers = StrategyAnswers((run_strategy(RECKLESS, context),))
    arguments = (context, (COST,), [info(RECKLESS)], answers, (), "None.", RULES)
    (made,) = assemble(*arguments, by_itself=True).recommendations
    assert made.expected_value.total < 0
    assert assemble(*arguments).recommendations == ()


def test_what_is_no_change_needed_is_said_whatever_its_record():
    tight = msgspec.structs.replace(
        STATE, containers=(msgspec.structs.replace(STATE.containers[0], cpu_request_cores=0.2),)
    )
    (made,) = analysed(Wanting(RESOURCE), snapshot=steady(state=tight)).recommendations
    assert made.no_change_needed
