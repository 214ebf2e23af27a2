"""Exports hold what autoscaling/v2 and keda.sh/v1alpha1 document: no other fields, their types and bounds."""

from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from perfopt.domain.enums import OptimizationType
from perfopt.plugin import Container, Workload, WorkloadId, WorkloadState
from perfopt.testing import daily_usage, make_context, make_snapshot
from perfopt_api.apply.export import export
from perfopt_scaling.strategy import ScalingStrategy


@pytest.fixture(scope="module")
def manifests(make):
    """What is exported of a real recommendation, by kind of artifact."""
    state = WorkloadState(containers=(Container(name="app", cpu_request_cores=1.0),), replicas=10)
    snapshot = make_snapshot({"app": {"cpu_cores": daily_usage()}}, state=state)
    identity = WorkloadId(name="order-gateway", namespace="trading", kind="Deployment")
    snapshot = type(snapshot)(
        workload=Workload(id=identity, service_name="order_gateway", state=state),
        grid=snapshot.grid,
        containers=snapshot.containers,
    )
    proposal = ScalingStrategy().propose(make_context(snapshot, strategy=ScalingStrategy()))
    made = make(
        optimization_type=OptimizationType.SCALING_OPTIMIZATION,
        current_state=state.to_map(),
        recommended_state=proposal.target.to_map(),
        reasons=proposal.reasons,
    )
    return {one["kind"]: yaml.safe_load(one["content"]) for one in export(made, "https://perfopt.ops:8443")}


def check_behavior(behavior):
    assert behavior.keys() <= {"scaleUp", "scaleDown"}
    for rules in behavior.values():
        assert rules.keys() <= {"stabilizationWindowSeconds", "selectPolicy", "policies"}
        assert 0 <= rules["stabilizationWindowSeconds"] <= 3600
        assert rules["selectPolicy"] in {"Max", "Min", "Disabled"}
        for policy in rules["policies"]:
            assert policy.keys() == {"type", "value", "periodSeconds"}
            assert policy["type"] in {"Pods", "Percent"}
            assert policy["value"] > 0
            assert 0 < policy["periodSeconds"] <= 1800


def test_the_hpa_is_an_autoscaling_v2_one(manifests):
    hpa = manifests["hpa"]
    assert (hpa["apiVersion"], hpa["kind"]) == ("autoscaling/v2", "HorizontalPodAutoscaler")
    spec = hpa["spec"]
    assert spec.keys() <= {"scaleTargetRef", "minReplicas", "maxReplicas", "metrics", "behavior"}
    assert spec["scaleTargetRef"].keys() == {"apiVersion", "kind", "name"}
    assert 1 <= spec["minReplicas"] <= spec["maxReplicas"]
    [metric] = spec["metrics"]
    assert metric["type"] == "Resource"
    assert metric["resource"]["name"] == "cpu"
    assert metric["resource"]["target"].keys() == {"type", "averageUtilization"}
    assert isinstance(metric["resource"]["target"]["averageUtilization"], int)
    check_behavior(spec["behavior"])


def test_the_scaled_object_is_a_v1alpha1_one(manifests):
    scaled = manifests["keda_scaled_object"]
    assert (scaled["apiVersion"], scaled["kind"]) == ("keda.sh/v1alpha1", "ScaledObject")
    assert scaled["metadata"] == {"name": "order-gateway-perfopt", "namespace": "trading"}
    spec = scaled["spec"]
    known = {
        "scaleTargetRef",
        "pollingInterval",
        "minReplicaCount",
        "maxReplicaCount",
        "advanced",
        "triggers",
    }
    assert spec.keys() == known
    assert spec["advanced"].keys() == {"horizontalPodAutoscalerConfig"}
    assert spec["advanced"]["horizontalPodAutoscalerConfig"].keys() == {"behavior"}
    check_behavior(spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"])
    for field in ("pollingInterval", "minReplicaCount", "maxReplicaCount"):
        assert isinstance(spec[field], int)
    for trigger in spec["triggers"]:
        assert trigger.keys() <= {"type", "metadata", "metricType", "name", "authenticationRef"}
        assert all(isinstance(value, str) for value in trigger["metadata"].values())  # KEDA refuses numbers


def test_the_triggers_are_our_endpoint_and_cpu(manifests):
    asked, cpu = manifests["keda_scaled_object"]["spec"]["triggers"]
    assert (asked["type"], asked["metricType"]) == ("metrics-api", "AverageValue")
    assert asked["metadata"].keys() == {"url", "format", "valueLocation", "targetValue"}
    assert asked["metadata"]["format"] in {"json", "xml", "yaml", "prometheus"}
    assert float(asked["metadata"]["targetValue"]) == 1
    url = urlsplit(asked["metadata"]["url"])
    assert (url.scheme, url.netloc) == ("https", "perfopt.ops:8443")
    assert url.path == "/api/v1/optimization/scaling/order_gateway/demand"
    assert parse_qs(url.query) == {"workload": ["trading/deployment/order-gateway"]}
    assert (cpu["type"], cpu["metricType"], cpu["metadata"].keys()) == ("cpu", "Utilization", {"value"})
