"""A scaling recommendation is exported as manifests that Kubernetes and KEDA take."""

import json
from typing import Any

import pytest
import yaml
from kubernetes.client import ApiClient

from perfopt.domain.enums import OptimizationType
from perfopt_api.apply.export import export

BEHAVIOR = {
    "scaleUp": {
        "stabilizationWindowSeconds": 0,
        "selectPolicy": "Max",
        "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}],
    }
}
HPA = {"min_replicas": 2, "max_replicas": 9, "target_cpu_utilization_percent": 65, "behavior": BEHAVIOR}
SCALED: dict[str, Any] = {
    "apiVersion": "keda.sh/v1alpha1",
    "kind": "ScaledObject",
    "metadata": {"name": "x"},
    "spec": {
        "scaleTargetRef": {"name": "x"},
        "minReplicaCount": 2,
        "triggers": [
            {
                "type": "metrics-api",
                "metadata": {
                    "url": "http://perfopt/api/v1/optimization/scaling/order_gateway/demand?workload=a%2Fb",
                    "valueLocation": "replicas.needed",
                },
            },
            {"type": "cpu", "metadata": {"value": "65"}},
        ],
    },
}
SPAN = {"start": "2026-11-23T00:00:00+00:00", "end": "2026-11-30T00:00:00+00:00", "min_replicas": 3}


@pytest.fixture
def scaling(make, states):
    """Makes a scaling recommendation, with keys of the recommended state changed."""

    def changed(containers=None, **state):
        current, _ = states
        wanted = {**current, "hpa": HPA, "keda_scaled_object": SCALED, "schedule": [SPAN]} | state
        if containers is not None:
            wanted["containers"] = containers
        return make(optimization_type=OptimizationType.SCALING_OPTIMIZATION, recommended_state=wanted)

    return changed


def exported(made, base_url=None):
    return {artifact["kind"]: artifact for artifact in export(made, base_url)}


def test_the_hpa_is_one_that_the_kubernetes_client_reads(scaling):
    manifest = yaml.safe_load(exported(scaling())["hpa"]["content"])
    read = ApiClient().deserialize(json.dumps(manifest), "V2HorizontalPodAutoscaler", "application/json")
    assert read.api_version == "autoscaling/v2"
    assert (read.metadata.name, read.metadata.namespace) == ("order-gateway", "trading")
    assert (read.spec.min_replicas, read.spec.max_replicas) == (2, 9)
    assert read.spec.scale_target_ref.kind == "Deployment"
    assert read.spec.metrics[0].resource.target.average_utilization == 65
    assert read.spec.behavior.scale_up.policies[0].value == 4


def test_unchanged_resources_are_not_exported_and_changed_ones_are(scaling, states):
    assert set(exported(scaling())) == {"hpa", "keda_scaled_object", "replica_schedule"}
    _, wanted = states
    assert {"hpa", "strategic_merge_patch"} <= set(exported(scaling(wanted["containers"])))


def test_the_scaled_object_asks_the_configured_address(scaling):
    made = exported(scaling(), "https://perfopt.example/base/")["keda_scaled_object"]
    manifest = yaml.safe_load(made["content"])
    assert manifest["spec"]["triggers"][0]["metadata"]["url"] == (
        "https://perfopt.example/base/api/v1/optimization/scaling/order_gateway/demand?workload=a%2Fb"
    )
    assert manifest["spec"]["scaleTargetRef"]["name"] == "order-gateway"
    assert manifest["metadata"] == {"name": "order-gateway-perfopt", "namespace": "trading"}
    assert manifest["spec"]["triggers"][1] == SCALED["spec"]["triggers"][1]


def test_without_an_address_the_note_says_what_to_put_in(scaling):
    assert "base_url" in exported(scaling())["keda_scaled_object"]["note"]


def test_other_metrics_are_pointed_out(scaling):
    made = scaling(hpa={**HPA, "other_metrics": ["queue_length"]})
    assert "queue_length" in exported(made)["hpa"]["note"]


def test_the_schedule_holds_the_spans(scaling):
    made = exported(scaling())["replica_schedule"]
    assert yaml.safe_load(made["content"])["schedule"] == [SPAN]
    assert '"minReplicas": 3' in made["command"]
