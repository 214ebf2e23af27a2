"""What is printed of workloads that operators make and scale, and of metrics that are cut or half there."""

import json

import pytest
from field_analysis import PLAIN, RESOURCE, SCALING, results

pytestmark = [pytest.mark.prometheus, pytest.mark.timeout(300), pytest.mark.xdist_group("field")]


@pytest.fixture
def found(field_url, analyze):
    """Analyses a world; gives its results by service."""
    return lambda world, *types: results(analyze(field_url, world, types=",".join(types)))


def declined(result, kind):
    """Returns why a type has no recommendation."""
    (reason,) = [one["reason"] for one in result["declined"] if one["optimization_type"] == kind]
    return reason


def recommended(result, kind):
    """Returns the state that a type recommends."""
    (state,) = [
        one["recommended_state"] for one in result["recommendations"] if one["optimization_type"] == kind
    ]
    return state


def test_kinds_h_and_i_replicas_are_left_to_the_operators_that_set_them(found):
    by_name = found("operators", RESOURCE, SCALING)
    assert set(by_name) == {"hello-00001-deployment", "flink", "pg", "work", "roll"}
    knative = by_name["hello-00001-deployment"]
    assert "a second autoscaler" in declined(knative, SCALING)
    assert "Knative scales it" in json.dumps(knative["warnings"])
    assert "The operator of the kind Cluster" in declined(by_name["pg"], SCALING)
    assert recommended(by_name["pg"], RESOURCE)["replicas"] == 3
    target = recommended(by_name["roll"], SCALING)["keda_scaled_object"]["spec"]["scaleTargetRef"]
    assert (target["apiVersion"], target["kind"]) == ("argoproj.io/v1alpha1", "Rollout")


def test_kind_i_pods_of_another_template_are_not_the_deployment_s(found):
    flink = recommended(found("operators", RESOURCE)["flink"], RESOURCE)
    assert (flink["cpu_request"], flink["memory_request"], flink["replicas"]) == (*PLAIN, 1)


def test_kind_e_what_runs_to_completion_is_sized_by_when_it_ran(found):
    work = found("operators", RESOURCE, SCALING)["work"]
    assert 1200 <= int(recommended(work, RESOURCE)["cpu_request"].removesuffix("m")) < 1700
    assert declined(work, SCALING) == "A ScaledJob has no replicas to set."
    assert "low_coverage" not in {warning["code"] for warning in work["warnings"]}


def test_kind_c_autoscalers_that_cannot_be_hold_the_requests(found):
    for name, result in found("odd-autoscalers", RESOURCE, SCALING).items():
        state = recommended(result, RESOURCE)
        assert (state["cpu_request"], state["memory_request"]) == ("1", "1Gi"), name
        assert "autoscaler_unknown" in {warning["code"] for warning in result["warnings"]}, name
        assert "keda_scaled_object" not in json.dumps(result["recommendations"]), name


def test_kind_a_another_target_of_kube_state_metrics_job_declares_nothing(found):
    (result,) = found("one-job", RESOURCE).values()
    (recommendation,) = result["recommendations"]
    assert recommendation["current_state"]["cpu_request"] == "1"
    (warning,) = [one for one in result["warnings"] if one["code"] == "foreign_series"]
    assert "instance = '10.0.9.9:9003'" in warning["message"]


def test_kind_b_use_under_another_cluster_is_named_with_both_values(field_url, analyze):
    answer = analyze(field_url, "half-labelled")
    assert answer.exit_code == 1
    assert "use of its pods has cluster = 'prod', and kube-state-metrics has cluster = ''" in answer.output


def test_kind_j_metrics_that_are_not_let_through_are_named(found):
    by_name = found("cut-metrics", RESOURCE)
    for name, metric in (
        ("no-cpu", "container_cpu_usage_seconds_total"),
        ("no-memory", "container_memory_working_set_bytes"),
    ):
        (warning,) = [one for one in by_name[name]["warnings"] if one["code"] == "missing_metric"]
        assert metric in warning["message"], name
    assert "no series of kube_pod_owner names a pod of it" in declined(by_name["no-owner"], RESOURCE)
