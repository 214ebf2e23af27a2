from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import msgspec
import numpy as np
import pytest

from perfopt.config.loading import RulesConfig
from perfopt.domain.enums import Basis, DeclineCode, OptimizationType, ServiceClass
from perfopt.domain.record import StrategyRecord
from perfopt.domain.rules import ApplyConditions, FiredRule, TimeWindow
from perfopt.domain.service_class import UNDER_PROVISIONING_PENALTIES as PENALTIES
from perfopt.domain.workload import Container, HpaState, Slo, WorkloadState
from perfopt.engine.assembly import assemble
from perfopt.engine.messages import StrategyAnswers
from perfopt.engine.pipeline import run_strategy
from perfopt.engine.registry import StrategyInfo
from perfopt.plugin import SEPARATE_CONTAINERS, Claim, MergeHints, Prior, Proposal, decline
from perfopt.rules import RuleBook, RuleSources, default_book
from perfopt.testing import make_context, make_snapshot

RESOURCE, TUNING, SCALING, COST, LATENCY = (
    OptimizationType.RESOURCE_OPTIMIZATION,
    OptimizationType.PERFORMANCE_TUNING,
    OptimizationType.SCALING_OPTIMIZATION,
    OptimizationType.COST_OPTIMIZATION,
    OptimizationType.LATENCY_OPTIMIZATION,
)
MIB = 2**20
STATE = WorkloadState(
    containers=(
        Container(
            name="main",
            cpu_request_cores=1.0,
            memory_request_bytes=1024 * MIB,
            cpu_limit_cores=2.0,
            memory_limit_bytes=2048 * MIB,
        ),
    ),
    replicas=4,
)
RULES = default_book().rules_for(make_snapshot().workload)
SURE = Prior(mean=0.95, strength=50.0, source="a measurement")


HINTS = {
    RESOURCE: SEPARATE_CONTAINERS,
    TUNING: SEPARATE_CONTAINERS,
    SCALING: MergeHints(),
    COST: MergeHints(
        groups=(("schedule", "off_hours"), ("topology_spread_constraints",)),
        yields=("*.cpu_*", "*.memory_*", "basis"),
    ),
    LATENCY: MergeHints(
        holds=("replicas", "hpa.min_replicas", "hpa.max_replicas", "*.cpu_limit"), serves_objective=True
    ),
}


@dataclass
class Wanting:
    """Wants the same change of the state at all times."""

    optimization_type: OptimizationType
    name: str = "it"
    quantities: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    claim: Claim = field(default_factory=Claim)
    merge: MergeHints | None = None
    prior: Prior = SURE
    metrics: Sequence[str] = ()
    forecasts: Sequence[str] = ()

    def propose(self, context):
        current = context.snapshot.workload.state
        containers = tuple(msgspec.structs.replace(c, **self.quantities) for c in current.containers)
        target = msgspec.structs.replace(current, containers=containers, **self.state)
        return Proposal(
            optimization_type=self.optimization_type,
            target=target,
            description="Do it.",
            claim=self.claim,
            no_change_needed=target == current,
            merge=self.merge or HINTS[self.optimization_type],
        )


class Refusing(Wanting):
    def propose(self, context):
        return decline(self.optimization_type, DeclineCode.UNSTABLE, "It is not steady.")


def steady(cpu=0.4, memory=300 * MIB, *, state=STATE, slo=None, days=14, **service):
    steps = days * 288
    snapshot = make_snapshot(
        {"main": {"cpu_cores": np.full(steps, cpu), "memory_bytes": np.full(steps, float(memory))}},
        service={name: np.full(steps, value) for name, value in service.items()},
        state=state,
    )
    workload = msgspec.structs.replace(snapshot.workload, slo=slo)
    return replace(snapshot, workload=workload)


def plugin(strategy):
    return strategy.optimization_type.value.lower().removesuffix("_optimization")


def info(strategy):
    return StrategyInfo(
        plugin=plugin(strategy),
        name=strategy.name,
        version="1",
        optimization_type=strategy.optimization_type,
        metrics=(),
        forecasts=(),
        prior=strategy.prior,
    )


def analysed(*strategies, snapshot=None):
    context = make_context(snapshot or steady())
    infos = [info(strategy) for strategy in strategies]
    outcomes = tuple(run_strategy(strategy, context) for strategy in strategies)
    return assemble(context, tuple(OptimizationType), infos, StrategyAnswers(outcomes), (), "None.", RULES)


def by_type(result):
    return {made.optimization_type: made for made in result.recommendations}


def codes(result):
    return {(one.field, one.code, one.lost_by) for one in result.plan.conflicts}


def test_changes_of_different_fields_are_all_in_the_plan():
    smaller = Wanting(RESOURCE, quantities={"memory_request_bytes": 512 * MIB})
    limited = Wanting(TUNING, quantities={"cpu_limit_cores": 1.5})
    result = analysed(smaller, limited)
    assert result.plan.recommended_state["memory_request"] == "512Mi"
    assert result.plan.recommended_state["cpu_limit"] == "1500m"
    assert result.plan.conflicts == ()
    assert {kind: made.conflicts for kind, made in by_type(result).items()} == {RESOURCE: (), TUNING: ()}
    assert {step.optimization_type for step in result.plan.steps} == {RESOURCE, TUNING}
    made = by_type(result)[RESOURCE]
    assert made.recommended_state["cpu_limit"] == "2"  # its own change and nothing else


def test_a_single_recommendation_is_its_own_plan():
    result = analysed(Wanting(RESOURCE, quantities={"cpu_request_cores": 0.5}))
    (made,) = result.recommendations
    assert result.plan.recommended_state == made.recommended_state
    assert result.plan.evidence == made.evidence
    assert result.plan.expected_improvement == made.expected_improvement
    assert result.plan.steps[0].recommendation_id == made.recommendation_id
    assert result.plan.steps[0].changes == {"main.cpu_request": "500m"}


def test_there_is_no_plan_where_nothing_is_to_be_changed():
    assert analysed(Wanting(RESOURCE)).plan is None
    assert analysed(Refusing(RESOURCE)).plan is None


def test_the_objective_wins_over_what_lowers_the_same_field():
    slo = Slo(latency_ms=100.0)
    claim = Claim(latency_ms=80.0, latency_now_ms=140.0, latency_now_interval_ms=(120.0, 160.0))
    faster = Wanting(LATENCY, quantities={"cpu_limit_cores": 3.0}, claim=claim)
    leaner = Wanting(COST, quantities={"cpu_limit_cores": 1.0, "cpu_request_cores": 0.5})
    result = analysed(leaner, faster, snapshot=steady(slo=slo, latency_p99_ms=140.0))
    assert result.plan.recommended_state["cpu_limit"] == "3"
    assert codes(result) == {
        ("main.cpu_limit", "same_field", "cost/it"),
        ("main.cpu_request", "dependent_field", "cost/it"),
    }
    assert "objective of 100 ms" in result.plan.conflicts[0].reason
    assert COST not in by_type(result)
    (lost,) = [declined for declined in result.declined if declined.optimization_type is COST]
    assert lost.code is DeclineCode.CONFLICT
    assert "main.cpu_limit 1" in lost.reason
    assert result.plan.expected_improvement.latency_reduction_ms == 60.0


def test_an_objective_that_is_met_has_no_precedence():
    claim = Claim(latency_ms=80.0, latency_now_ms=85.0, latency_now_interval_ms=(80.0, 90.0))
    faster = Wanting(LATENCY, quantities={"cpu_request_cores": 1.9}, claim=claim)
    leaner = Wanting(RESOURCE, quantities={"cpu_request_cores": 0.5})
    result = analysed(faster, leaner, snapshot=steady(slo=Slo(latency_ms=100.0), latency_p99_ms=85.0))
    assert result.plan.recommended_state["cpu_request"] == "500m"


def test_what_the_objective_was_computed_with_is_not_taken_away():
    claim = Claim(latency_ms=80.0, latency_now_ms=140.0)
    faster = Wanting(LATENCY, quantities={"cpu_limit_cores": 3.0}, claim=claim)
    fewer = Wanting(COST, state={"replicas": 2})
    result = analysed(faster, fewer, snapshot=steady(slo=Slo(latency_ms=100.0), latency_p99_ms=140.0))
    assert result.plan.recommended_state["replicas"] == 4
    assert ("replicas", "same_field", "cost/it") in codes(result)


def test_two_that_want_more_are_both_served_by_the_larger():
    claim = Claim(latency_ms=80.0, latency_now_ms=140.0)
    faster = Wanting(LATENCY, quantities={"cpu_limit_cores": 3.0}, claim=claim)
    safer = Wanting(RESOURCE, quantities={"cpu_limit_cores": 4.0})
    result = analysed(faster, safer, snapshot=steady(slo=Slo(latency_ms=100.0), latency_p99_ms=140.0))
    assert result.plan.recommended_state["cpu_limit"] == "4"
    made = by_type(result)
    assert made[LATENCY].recommended_state["cpu_limit"] == "4"
    assert "main.cpu_limit is 4 instead of 3" in made[LATENCY].description


def test_memory_that_must_rise_is_not_lowered_for_money():
    safer = Wanting(RESOURCE, quantities={"memory_request_bytes": 1500 * MIB}, prior=Prior())
    leaner = Wanting(COST, quantities={"memory_request_bytes": 400 * MIB})
    result = analysed(leaner, safer)
    assert result.plan.recommended_state["memory_request"] == "1500Mi"
    assert "OOM kill" in result.plan.conflicts[0].reason


def test_of_two_that_differ_in_money_the_surer_value_wins():
    big = Wanting(TUNING, quantities={"cpu_request_cores": 0.5}, prior=Prior(mean=0.3, strength=50))
    small = Wanting(RESOURCE, quantities={"cpu_request_cores": 0.6})
    result = analysed(big, small)
    assert result.plan.recommended_state["cpu_request"] == "600m"
    assert "has the higher expected utility" in result.plan.conflicts[0].reason
    sure = analysed(Wanting(TUNING, quantities={"cpu_request_cores": 0.5}), small)
    assert sure.plan.recommended_state["cpu_request"] == "500m"


def test_sizes_by_themselves_are_the_resource_types_to_say():
    size = Wanting(RESOURCE, quantities={"cpu_request_cores": 0.6})
    cheaper = Wanting(COST, quantities={"cpu_request_cores": 0.5})
    result = analysed(cheaper, size)
    assert result.plan.recommended_state["cpu_request"] == "600m"
    assert "resource/it sets requests and limits" in result.plan.conflicts[0].reason
    alone = analysed(cheaper)
    assert alone.plan.recommended_state["cpu_request"] == "500m"
    with_replicas = Wanting(COST, quantities={"cpu_request_cores": 0.5}, state={"replicas": 2})
    joint = analysed(with_replicas, size)
    assert joint.plan.recommended_state["cpu_request"] == "500m"


def test_a_spread_over_zones_stays_where_sizes_are_the_resource_types_to_say():
    zones = [{"topologyKey": "topology.kubernetes.io/zone", "maxSkew": 1}]
    size = Wanting(RESOURCE, quantities={"cpu_request_cores": 0.6})
    spread = Wanting(
        COST,
        quantities={"cpu_request_cores": 0.5},
        state={"extra": {"topology_spread_constraints": zones}},
    )
    state = analysed(spread, size).plan.recommended_state
    assert (state["cpu_request"], state["topology_spread_constraints"]) == ("600m", zones)


HPA = HpaState(min_replicas=2, max_replicas=10, target_cpu_utilization_percent=60)
SCALED = msgspec.structs.replace(STATE, hpa=HPA)


def test_a_request_alone_takes_the_autoscalers_target_along():
    result = analysed(Wanting(RESOURCE, quantities={"cpu_request_cores": 0.8}), snapshot=steady(state=SCALED))
    hpa = result.plan.recommended_state["hpa"]
    assert hpa["target_cpu_utilization_percent"] == 75  # 0.6 cores a replica, as before
    assert "hpa.target_cpu_utilization_percent" in result.plan.steps[0].changes
    (made,) = result.recommendations
    assert made.recommended_state["hpa"] == hpa  # applied alone it does not move replicas either
    assert "hpa_target_follows_request" in [reason.code for reason in made.reasons]


def test_a_target_is_never_set_above_the_request():
    result = analysed(
        Wanting(RESOURCE, quantities={"cpu_request_cores": 0.45}), snapshot=steady(state=SCALED)
    )
    assert result.plan.recommended_state["hpa"]["target_cpu_utilization_percent"] == 100


def test_request_and_target_set_together_win_over_a_request_alone():
    target = msgspec.structs.replace(HPA, target_cpu_utilization_percent=80)
    joint = Wanting(SCALING, quantities={"cpu_request_cores": 0.7}, state={"hpa": target}, prior=Prior())
    alone = Wanting(RESOURCE, quantities={"cpu_request_cores": 0.5, "memory_request_bytes": 512 * MIB})
    result = analysed(alone, joint, snapshot=steady(state=SCALED))
    state = result.plan.recommended_state
    assert (state["cpu_request"], state["hpa"]["target_cpu_utilization_percent"]) == ("700m", 80)
    assert state["memory_request"] == "512Mi"
    assert codes(result) == {("main.cpu_request", "same_field", "resource/it")}
    assert by_type(result)[RESOURCE].recommended_state["cpu_request"] == "700m"


def test_the_scaling_point_of_a_target_survives_another_request():
    target = msgspec.structs.replace(HPA, target_cpu_utilization_percent=50)
    scaler = Wanting(SCALING, state={"hpa": target})  # half a core a replica
    smaller = Wanting(RESOURCE, quantities={"cpu_request_cores": 0.8})
    result = analysed(scaler, smaller, snapshot=steady(state=SCALED))
    assert result.plan.recommended_state["hpa"]["target_cpu_utilization_percent"] == 62  # 0.496 of 0.8


def test_a_request_meant_for_more_replicas_grows_where_there_are_fewer():
    fewer = Wanting(COST, state={"replicas": 2})
    smaller = Wanting(RESOURCE, quantities={"cpu_request_cores": 0.45, "memory_request_bytes": 512 * MIB})
    result = analysed(fewer, smaller)
    assert result.plan.recommended_state["replicas"] == 2
    assert result.plan.recommended_state["cpu_request"] == "900m"
    assert {window.accurate for window in result.plan.evidence.windows} == {True}


def test_a_limit_below_the_request_another_needs_is_raised():
    claim = Claim(latency_ms=80.0, latency_now_ms=140.0)
    faster = Wanting(LATENCY, quantities={"cpu_request_cores": 1.8}, claim=claim)
    tuned = Wanting(TUNING, quantities={"cpu_limit_cores": 1.5})
    snapshot = steady(
        slo=Slo(latency_ms=100.0),
        latency_p99_ms=140.0,
        state=msgspec.structs.replace(
            STATE, containers=(msgspec.structs.replace(STATE.containers[0], cpu_limit_cores=None),)
        ),
    )
    result = analysed(faster, tuned, snapshot=snapshot)
    assert result.plan.recommended_state["cpu_limit"] == "1800m"


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


def test_the_plan_is_as_sure_as_all_its_parts_together():
    one = Wanting(
        RESOURCE, quantities={"memory_request_bytes": 512 * MIB}, prior=Prior(mean=0.9, strength=10)
    )
    two = Wanting(TUNING, quantities={"cpu_limit_cores": 1.5}, prior=Prior(mean=0.8, strength=5))
    detail = analysed(one, two).plan.confidence_detail
    assert detail.prior == pytest.approx(0.72)
    assert detail.prior_strength == 5


def test_the_confidence_of_a_plan_of_several_follows_what_plans_came_to():
    record = StrategyRecord(slope=1.0, intercept=-1.0, outcomes=40.0, accuracy=0.6, stated=0.9)
    outcomes = [(one, run_strategy(one, make_context(steady()))) for one in (SMALLER, LIMITED)]
    stated, mapped = (merged(*outcomes, record=one).plan for one in (None, record))
    sure = stated.expected_improvement.confidence
    assert mapped.expected_improvement.confidence == pytest.approx(record.recalibrated(sure), abs=1e-3)
    assert mapped.confidence_detail.before_record == sure
    assert mapped.confidence_detail.recorded_outcomes == 40.0
    alone = merged(outcomes[0], record=record).plan  # a plan of one is its recommendation
    assert alone.confidence_detail.before_record is None


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


def test_what_adds_capacity_is_applied_before_what_takes_it_away():
    more = Wanting(LATENCY, quantities={"cpu_request_cores": 1.5})
    less = Wanting(RESOURCE, quantities={"memory_request_bytes": 400 * MIB})
    knobs = Wanting(TUNING, state={"extra": {"knobs": {"main": {"GOMAXPROCS": "2"}}}})
    steps = analysed(less, knobs, more).plan.steps
    assert [step.optimization_type for step in steps] == [LATENCY, TUNING, RESOURCE]
    assert steps[1].changes == {"knobs.main.GOMAXPROCS": "2"}
    assert all(step.reason for step in steps)


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


def test_knobs_computed_for_other_limits_wait_for_these_to_be_in_force():
    smaller = Wanting(
        RESOURCE, quantities={"memory_request_bytes": 512 * MIB, "memory_limit_bytes": 640 * MIB}
    )
    knobs = {
        "knobs": {"main": {"gomemlimit": 1843}},
        "knob_settings": {"main": {"env": {"GOMEMLIMIT": "1843MiB"}}},
    }
    result = analysed(smaller, Wanting(TUNING, state={"extra": knobs}))
    assert "knobs" not in result.plan.recommended_state
    (lost,) = [declined for declined in result.declined if declined.optimization_type is TUNING]
    assert lost.code is DeclineCode.CONFLICT
    assert "analyse again once that is applied" in lost.reason
    requests_only = Wanting(RESOURCE, quantities={"memory_request_bytes": 512 * MIB})
    kept = analysed(requests_only, Wanting(TUNING, state={"extra": knobs}))
    assert kept.plan.recommended_state["knobs"] == knobs["knobs"]
    assert kept.plan.recommended_state["knob_settings"] == knobs["knob_settings"]


def test_a_plan_of_replicas_rests_on_the_request_that_each_will_have():
    plan = msgspec.structs.replace(HPA, min_replicas=3, max_replicas=6)
    scaler = Wanting(SCALING, state={"hpa": plan}, merge=MergeHints(holds=("*.cpu_request",)))
    smaller = Wanting(RESOURCE, quantities={"cpu_request_cores": 0.5}, prior=Prior(mean=0.2, strength=50))
    result = analysed(smaller, scaler, snapshot=steady(state=SCALED))
    assert result.plan.recommended_state["cpu_request"] == "1"
    assert ("main.cpu_request", "same_field", "resource/it") in codes(result)


def test_kedas_object_says_what_the_autoscalers_settings_say():
    plan = msgspec.structs.replace(HPA, min_replicas=3)
    triggers = [{"type": "cpu", "metricType": "Utilization", "metadata": {"value": "60"}}]
    spec = {"minReplicaCount": 3, "maxReplicaCount": 10, "triggers": triggers}
    scaler = Wanting(SCALING, state={"hpa": plan, "extra": {"keda_scaled_object": {"spec": spec}}})
    larger = Wanting(RESOURCE, quantities={"cpu_request_cores": 1.2, "memory_request_bytes": 1000 * MIB})
    state = analysed(scaler, larger, snapshot=steady(state=SCALED)).plan.recommended_state
    assert state["hpa"]["target_cpu_utilization_percent"] == 50
    assert state["keda_scaled_object"]["spec"]["triggers"][0]["metadata"]["value"] == "50"


def test_a_plan_is_not_held_to_what_was_promised_of_changes_it_does_not_make():
    snapshot = steady(cpu=0.1, replicas=4.0)
    fewer = Wanting(
        COST,
        quantities={"cpu_request_cores": 0.9},
        state={"replicas": 2},
        claim=Claim(saving_percent=50.0),
        prior=Prior(mean=0.2, strength=50),
    )
    smaller = Wanting(RESOURCE, quantities={"cpu_request_cores": 0.2})
    result = analysed(fewer, smaller, snapshot=snapshot)
    assert result.plan.recommended_state["replicas"] == 4
    assert {window.outcome for window in result.plan.evidence.windows} == {"accurate"}
    assert {window.claim_kept for window in result.plan.evidence.windows} == {None}


def test_who_is_not_in_the_plan_does_not_make_it_less_sure():
    assumed = msgspec.structs.replace(STATE, basis=Basis.ASSUMED_FROM_LIMIT)
    declaring = Wanting(
        RESOURCE,
        quantities={"cpu_request_cores": 0.6},
        state={"basis": Basis.DECLARED},
        prior=Prior(mean=0.5, strength=50),
    )
    cheaper = Wanting(TUNING, quantities={"cpu_request_cores": 0.5})
    result = analysed(declaring, cheaper, snapshot=steady(state=assumed))
    (made,) = result.recommendations
    assert made.optimization_type is TUNING
    assert result.plan.confidence_detail == made.confidence_detail


def windows(*hours):
    start = make_context(steady()).now
    return tuple(
        TimeWindow(start=start + timedelta(hours=a), end=start + timedelta(hours=b)) for a, b in hours
    )


def asked(strategy, rules=(), **conditions):
    """Returns what a strategy says, with what rules left on it."""
    fired = tuple(
        FiredRule(pack="mine", version="1.0.0", rule=name, action="annotate", reason="R.") for name in rules
    )
    outcome = run_strategy(strategy, make_context(steady()))
    return msgspec.structs.replace(outcome, conditions=ApplyConditions(**conditions), rules=fired)


SMALLER = Wanting(RESOURCE, quantities={"memory_request_bytes": 512 * MIB})
LIMITED = Wanting(TUNING, quantities={"cpu_limit_cores": 1.5})


def merged(*made, rules=RULES, record=None):
    """Assembles outcomes that rules have left their marks on already."""
    infos = [info(strategy) for strategy, _ in made]
    outcomes = StrategyAnswers(tuple(outcome for _, outcome in made))
    context = make_context(steady())
    return assemble(context, tuple(OptimizationType), infos, outcomes, (), "None.", rules, record)


def test_a_plan_needs_all_that_any_part_of_it_needs():
    result = merged(
        (
            SMALLER,
            asked(SMALLER, ["a", "b"], requires_approval=True, allowed_windows=windows((2, 8), (20, 30))),
        ),
        (LIMITED, asked(LIMITED, ["b", "c"], allowed_windows=windows((4, 22)), annotations={"team": "risk"})),
    )
    plan = result.plan
    assert plan.requires_approval
    assert plan.allowed_windows == windows((4, 8), (20, 22))
    assert plan.not_before == plan.allowed_windows[0].start
    assert plan.annotations == {"team": "risk"}
    assert set(plan.rules_fired) == {"a", "b", "c"}
    assert len(plan.rules) == 3  # the one that fired on both is told once


def test_who_is_not_in_the_plan_asks_nothing_of_it():
    bolder = Wanting(COST, quantities={"memory_request_bytes": 400 * MIB})
    result = merged((SMALLER, asked(SMALLER)), (bolder, asked(bolder, ["a"], requires_approval=True)))
    assert not result.plan.requires_approval
    assert result.plan.rules == ()


def test_parts_whose_windows_never_meet_make_no_plan_and_keep_their_own():
    result = merged(
        (SMALLER, asked(SMALLER, allowed_windows=windows((2, 8)))),
        (LIMITED, asked(LIMITED, allowed_windows=windows((9, 12)))),
    )
    assert result.plan is None
    assert [warning.code for warning in result.warnings] == ["plan_has_no_window"]
    assert by_type(result)[RESOURCE].allowed_windows == windows((2, 8))


def budgeted(over, *strategies):
    """Assembles strategies under a budget of 1.3 times the current cost that each of them keeps alone."""
    now = make_context(steady()).price_book.monthly_cost(STATE)
    config = RulesConfig(enable=("budget",), parameters={"budget": {"monthly": now * 1.3, "over": over}})
    rules = RuleBook(RuleSources.read(config)).rules_for(steady().workload)
    outcomes = [(one, run_strategy(one, make_context(steady()), rules)) for one in strategies]
    assert not any(outcome.conditions.requires_approval for _, outcome in outcomes)
    return merged(*outcomes, rules=rules)


LARGER = Wanting(RESOURCE, quantities={"cpu_request_cores": 1.25, "memory_request_bytes": 1000 * MIB})
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


def test_every_abstention_names_its_strategy():
    (declined,) = [one for one in analysed(Refusing(RESOURCE)).declined if one.optimization_type is RESOURCE]
    assert declined.plugin == "resource/it"
    missing = [one for one in analysed(Refusing(RESOURCE)).declined if one.optimization_type is COST]
    assert [one.plugin for one in missing] == [None]


# Violated at each origin, where staying is not: by far more than it saves.
LOW = Prior(mean=0.5, strength=1.0)
RECKLESS = Wanting(COST, quantities={"cpu_request_cores": 0.3}, prior=LOW)


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
    assert "risk of under-provisioning -" in declined.reason
    assert result.plan.evidence == by_type(result)[RESOURCE].evidence


def test_where_nothing_is_worth_its_change_there_is_no_plan():
    result = analysed(RECKLESS)
    assert (result.plan, result.recommendations) == (None, ())
    assert [one.code for one in result.declined if one.optimization_type is COST] == [
        DeclineCode.NO_NET_BENEFIT
    ]


def test_a_strategy_judged_by_itself_is_shown_whatever_it_is_worth():
    context = make_context(steady())
    answers = StrategyAnswers((run_strategy(RECKLESS, context),))
    arguments = (context, (COST,), [info(RECKLESS)], answers, (), "None.", RULES)
    (made,) = assemble(*arguments, by_itself=True).recommendations
    assert made.expected_value.total < 0
    assert assemble(*arguments).recommendations == ()


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


def test_what_is_no_change_needed_is_said_whatever_its_record():
    tight = msgspec.structs.replace(
        STATE, containers=(msgspec.structs.replace(STATE.containers[0], cpu_request_cores=0.2),)
    )
    (made,) = analysed(Wanting(RESOURCE), snapshot=steady(state=tight)).recommendations
    assert made.no_change_needed


def test_why_a_step_stands_where_it_does_fits_the_steps_there_are():
    (alone,) = analysed(SMALLER).plan.steps
    assert alone.reason == "The only step."
    larger = {"cpu_request_cores": 1.5, "memory_request_bytes": 1200 * MIB}
    more = (Wanting(LATENCY, quantities=larger), Wanting(SCALING, state={"replicas": 6}))
    assert {step.reason for step in analysed(*more).plan.steps} == {
        "Adds capacity, which is safe at any time."
    }
