"""Values of several proposals that are made to fit each other."""

import msgspec
import pytest

from perfopt.domain.fields import HPA_CPU, HPA_MAX, HPA_MEMORY, HPA_MIN, REPLICAS, container_path
from perfopt.domain.workload import Container, HpaState, WorkloadState
from perfopt.engine.plan.coherence import fit_alone, fit_together
from perfopt.engine.plan.reconcile import MergedFields
from perfopt.engine.plan.scored import FOR_OBJECTIVE

MIB = 2**20
CPU, CPU_LIMIT = container_path("main", "cpu_request_cores"), container_path("main", "cpu_limit_cores")
MEMORY, MEMORY_LIMIT = (
    container_path("main", name) for name in ("memory_request_bytes", "memory_limit_bytes")
)
KEDA = ("extra", "keda_scaled_object")


def state(*, replicas=4, extra=None, **hpa):
    main = Container(
        name="main", cpu_request_cores=1.0, memory_request_bytes=1000 * MIB, memory_limit_bytes=2000 * MIB
    )
    return WorkloadState(
        containers=(main,), replicas=replicas, hpa=HpaState(**hpa) if hpa else None, extra=extra or {}
    )


def fit(current, values):
    return fit_alone(current, values)


def codes(result):
    return {path: reason.code for path, reason in result.reasons.items()}


def test_values_that_fit_already_are_left_as_they_are():
    current = state(min_replicas=2, max_replicas=6, target_cpu_utilization_percent=60)
    result = fit(current, {MEMORY: 500 * MIB, REPLICAS: 3})
    assert result.reasons == {}
    assert (result.state.replicas, result.state.hpa) == (3, current.hpa)
    assert result.state.containers[0].memory_request_bytes == 500 * MIB


def test_a_reason_names_the_field_and_its_two_values():
    current = state(min_replicas=2, max_replicas=6, target_cpu_utilization_percent=60)
    assert fit(current, {CPU: 0.8}).reasons[HPA_CPU].text == (
        "hpa.target_cpu_utilization_percent is 75 instead of 60: so the cpu at which a replica is added stays"
        " when the request changes."
    )
    raised = fit(current, {MEMORY: 3000 * MIB}).reasons[MEMORY_LIMIT]
    assert raised.code == "limit_follows_request"
    assert raised.text == (
        "main.memory_limit is 3000Mi instead of 2000Mi: a limit can't be below its request."
    )


@pytest.mark.parametrize(("request_cores", "limit_moves"), [(2.0, False), (2.001, True)])
def test_a_limit_equal_to_its_request_stays(request_cores, limit_moves):
    result = fit(state(), {CPU: request_cores, CPU_LIMIT: 2.0})
    assert codes(result) == ({CPU_LIMIT: "limit_follows_request"} if limit_moves else {})


@pytest.mark.parametrize(
    ("before", "request_cores", "after"),
    [
        (60, 0.5, 100),  # 120 % would let pods live on what they did not reserve
        (120, 0.5, 120),  # which it did before: no further
        (60, 2.0, 30),
        (1, 2.0, 1),
        (60, 0.7, 85),
    ],
)
def test_a_cpu_target_follows_the_request(before, request_cores, after):
    current = state(min_replicas=1, max_replicas=6, target_cpu_utilization_percent=before)
    assert fit(current, {CPU: request_cores}).state.hpa.target_cpu_utilization_percent == after


def test_a_memory_target_follows_the_memory_request_alone():
    current = state(max_replicas=6, target_cpu_utilization_percent=60, target_memory_utilization_percent=50)
    result = fit(current, {MEMORY: 2000 * MIB})
    assert codes(result) == {HPA_MEMORY: "hpa_target_follows_request"}
    assert result.state.hpa.target_memory_utilization_percent == 25


def test_a_target_set_with_its_request_is_taken_as_it_is():
    current = state(max_replicas=6, target_cpu_utilization_percent=60)
    assert fit(current, {CPU: 0.5, HPA_CPU: 70}).state.hpa.target_cpu_utilization_percent == 70


def test_a_maximum_below_the_minimum_follows_it():
    current = state(min_replicas=2, max_replicas=4)
    result = fit(current, {HPA_MIN: 6})
    assert (result.state.hpa.max_replicas, result.state.replicas) == (6, 6)
    assert codes(result) == {HPA_MAX: "hpa_max_follows_min", REPLICAS: "replicas_within_hpa"}
    assert "replicas is 6 instead of 4" in result.reasons[REPLICAS].text
    assert codes(fit(state(min_replicas=2, max_replicas=4), {HPA_MIN: 4})) == {}


@pytest.mark.parametrize(("wanted", "there"), [(1, 2), (2, 2), (4, 4), (5, 4), (0, 0)])
def test_replicas_stay_within_the_autoscalers_bounds_unless_scaled_to_zero(wanted, there):
    result = fit(state(replicas=3, min_replicas=2, max_replicas=4), {REPLICAS: wanted})
    assert result.state.replicas == there
    assert (REPLICAS in result.reasons) is (wanted != there)


@pytest.mark.parametrize(("replicas", "lowest", "moved"), [(5, 5, True), (2, 2, False), (1, 2, False)])
def test_the_minimum_rises_to_what_the_objective_needs(replicas, lowest, moved):
    current = state(replicas=3, min_replicas=2, max_replicas=8)
    merged = MergedFields(values={REPLICAS: replicas}, ranks={REPLICAS: FOR_OBJECTIVE})
    result = fit_together(current, merged)
    assert result.state.hpa.min_replicas == lowest
    assert (codes(result).get(HPA_MIN) == "hpa_min_for_objective") is moved


def scaled(*triggers, **spec):
    return {KEDA: {"kind": "ScaledObject", "spec": {"paused": True, "triggers": list(triggers), **spec}}}


def trigger(kind, value="60", metric="Utilization"):
    return {"type": kind, "metricType": metric, "metadata": {"value": value, "name": kind}}


def test_kedas_object_has_the_autoscalers_bounds_and_targets():
    current = state(
        min_replicas=2,
        max_replicas=6,
        target_cpu_utilization_percent=60,
        target_memory_utilization_percent=70,
    )
    given = scaled(trigger("cpu"), trigger("memory"), trigger("cpu", "3", "AverageValue"), trigger("kafka"))
    given[KEDA]["spec"]["triggers"].append({"metricType": "Utilization"})
    made = fit(current, given | {CPU: 2.0}).state.extra["keda_scaled_object"]
    assert made["kind"] == "ScaledObject"
    assert made["spec"]["paused"]
    assert (made["spec"]["minReplicaCount"], made["spec"]["maxReplicaCount"]) == (2, 6)
    assert made["spec"]["triggers"] == [
        trigger("cpu", "30"),
        trigger("memory", "70"),
        trigger("cpu", "3", "AverageValue"),
        trigger("kafka"),
        {"metricType": "Utilization"},
    ]


def test_a_trigger_without_metadata_gets_the_autoscalers_target():
    current = state(max_replicas=6, target_cpu_utilization_percent=60)
    made = fit(current, scaled({"type": "cpu", "metricType": "Utilization"})).state
    (only,) = made.extra["keda_scaled_object"]["spec"]["triggers"]
    assert only["metadata"] == {"value": "60"}


@pytest.mark.parametrize("given", ["text", {"spec": "text"}, {}])
def test_an_object_of_another_shape_is_left_alone(given):
    current = state(max_replicas=6, target_cpu_utilization_percent=60)
    assert fit(current, {KEDA: given}).state.extra["keda_scaled_object"] == given


def test_without_an_autoscaler_nothing_bounds_replicas():
    given = scaled(trigger("cpu"))
    result = fit(state(), {REPLICAS: 50, CPU: 0.5} | given)
    assert (result.state.replicas, result.reasons) == (50, {})
    assert result.state.extra["keda_scaled_object"] == given[KEDA]


def test_what_the_values_do_not_name_stays():
    current = msgspec.structs.replace(state(), vpa_mode="Off")
    assert fit(current, {}).state == current


def test_a_target_alone_is_a_share_of_the_requests_in_force():
    current = state(min_replicas=2, max_replicas=6, target_cpu_utilization_percent=60)
    planned = msgspec.structs.replace(current, containers=(Container(name="main", cpu_request_cores=0.5),))
    result = fit_alone(current, {HPA_CPU: 90}, planned)
    assert result.state.hpa.target_cpu_utilization_percent == 45  # of 1 core, as 90 % of half a core
    assert codes(result) == {HPA_CPU: "hpa_target_follows_request"}
    assert fit_alone(current, {HPA_CPU: 90}, current).state.hpa.target_cpu_utilization_percent == 90
    assert fit_alone(current, {HPA_CPU: 90, CPU: 0.5}, planned).reasons == {}
