"""Whose value the plan takes where several proposals set a field."""

import msgspec
from proposals import (
    COST,
    HPA,
    LATENCY,
    MIB,
    RESOURCE,
    SCALED,
    SCALING,
    STATE,
    TUNING,
    Wanting,
    analysed,
    by_type,
    codes,
    steady,
)

from perfopt.domain.enums import DeclineCode
from perfopt.domain.workload import Slo
from perfopt.plugin import Claim, MergeHints, Prior


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
    recommendations = by_type(result)
    assert recommendations[LATENCY].recommended_state["cpu_limit"] == "4"
    assert "main.cpu_limit is 4 instead of 3" in recommendations[LATENCY].description


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
    hints = MergeHints(depends_on=("main.memory_limit",), computed_for={"main.memory_limit": 640.0 * MIB})
    again = Wanting(TUNING, state={"extra": knobs}, merge=hints)
    assert analysed(smaller, again).plan.recommended_state["knobs"] == knobs["knobs"]
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


def test_a_request_alone_takes_the_autoscalers_target_along():
    result = analysed(Wanting(RESOURCE, quantities={"cpu_request_cores": 0.8}), snapshot=steady(state=SCALED))
    hpa = result.plan.recommended_state["hpa"]
    assert hpa["target_cpu_utilization_percent"] == 75  # 0.6 cores a replica, as before
    assert "hpa.target_cpu_utilization_percent" in result.plan.steps[0].changes
    (recommendation,) = result.recommendations
    assert recommendation.recommended_state["hpa"] == hpa  # applied alone it does not move replicas either
    assert "hpa_target_follows_request" in [reason.code for reason in recommendation.reasons]


def test_a_target_is_never_set_above_the_request():
    result = analysed(
        Wanting(RESOURCE, quantities={"cpu_request_cores": 0.45}), snapshot=steady(state=SCALED)
    )
    assert result.plan.recommended_state["hpa"]["target_cpu_utilization_percent"] == 100


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


def test_kedas_object_says_what_the_autoscalers_settings_say():
    plan = msgspec.structs.replace(HPA, min_replicas=3)
    triggers = [{"type": "cpu", "metricType": "Utilization", "metadata": {"value": "60"}}]
    spec = {"minReplicaCount": 3, "maxReplicaCount": 10, "triggers": triggers}
    scaler = Wanting(SCALING, state={"hpa": plan, "extra": {"keda_scaled_object": {"spec": spec}}})
    larger = Wanting(RESOURCE, quantities={"cpu_request_cores": 1.2, "memory_request_bytes": 900 * MIB})
    state = analysed(scaler, larger, snapshot=steady(state=SCALED)).plan.recommended_state
    assert state["hpa"]["target_cpu_utilization_percent"] == 50
    assert state["keda_scaled_object"]["spec"]["triggers"][0]["metadata"]["value"] == "50"
