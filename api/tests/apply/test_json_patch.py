"""Patches of Argo Rollouts: what they name changes, and a wrong position changes nothing."""

import copy

import pytest
import yaml

from perfopt.domain.enums import OptimizationType
from perfopt_api.apply.export import export
from perfopt_api.apply.target import UnsupportedKindError
from perfopt_api.simulated.kubernetes.patches import json_patch
from perfopt_api.simulated.kubernetes.status import StatusError

CONTAINERS = [
    {
        "name": "app",
        "image": "orders:1",
        "env": [{"name": "MODE", "value": "live"}],
        "resources": {
            "requests": {"cpu": "500m", "memory": "1Gi", "example.com/fpga": "1"},
            "limits": {"cpu": "1", "memory": "2Gi", "example.com/fpga": "1"},
        },
    },
    {"name": "proxy", "image": "envoy:2", "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}},
]


def live(containers=CONTAINERS):
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": "order-gateway", "namespace": "trading"},
        "spec": {"replicas": 3, "template": {"spec": {"containers": copy.deepcopy(containers)}}},
    }


@pytest.fixture
def exported(make):
    def artifacts(kind="rollout", **changes):
        made = make(workload=f"trading/{kind}/order-gateway", **changes)
        return {artifact["kind"]: artifact for artifact in export(made)}

    return artifacts


def patched(artifact, obj):
    return json_patch(obj, yaml.safe_load(artifact["content"]))


def test_the_patch_of_a_rollout_changes_the_named_quantities_only(exported):
    artifact = exported()["json_patch"]
    expected = live()
    expected["spec"]["replicas"] = 4
    app, proxy = expected["spec"]["template"]["spec"]["containers"]
    app["resources"]["requests"] |= {"cpu": "300m", "memory": "800Mi"}
    app["resources"]["limits"] = {"memory": "1Gi", "example.com/fpga": "1"}
    proxy["resources"]["requests"]["cpu"] = "50m"
    assert patched(artifact, live()) == expected
    assert artifact["command"] == (
        "kubectl patch rollout order-gateway --namespace trading --type json"
        " --patch-file order-gateway-resources.patch.yaml"
    )


def test_containers_in_another_order_are_not_changed(exported):
    with pytest.raises(StatusError, match="rejected"):
        patched(exported()["json_patch"], live(containers=CONTAINERS[::-1]))


def test_requests_that_are_not_there_are_added_as_a_whole(exported, states):
    current, wanted = states
    current["containers"]["proxy"] = {"memory_limit": "256Mi"}
    current["containers"]["app"] = {}
    wanted["containers"]["proxy"] = {"cpu_request": "50m", "memory_limit": "256Mi"}
    containers = [
        {"name": "app", "image": "orders:1"},
        {"name": "proxy", "resources": {"limits": {"memory": "256Mi"}}},
    ]
    artifact = exported(current_state=current, recommended_state=wanted)["json_patch"]
    app, proxy = patched(artifact, live(containers=containers))["spec"]["template"]["spec"]["containers"]
    assert app["resources"] == {"requests": {"cpu": "300m", "memory": "800Mi"}, "limits": {"memory": "1Gi"}}
    assert proxy["resources"] == {"limits": {"memory": "256Mi"}, "requests": {"cpu": "50m"}}


def test_the_kustomization_selects_the_object_and_holds_the_same_patch(exported):
    artifacts = exported()
    [patch] = yaml.safe_load(artifacts["kustomize"]["content"])["patches"]
    assert (patch["target"]["kind"], patch["target"]["name"]) == ("Rollout", "order-gateway")
    assert patch["patch"] == artifacts["json_patch"]["content"]


def test_an_autoscaler_names_the_rollout(make, states):
    current, wanted = states
    made = make(
        workload="trading/rollout/order-gateway",
        optimization_type=OptimizationType.SCALING_OPTIMIZATION,
        current_state=current,
        recommended_state=wanted | {"hpa": {"max_replicas": 5}},
    )
    reference = yaml.safe_load(export(made)[0]["content"])["spec"]["scaleTargetRef"]
    assert reference == {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "order-gateway"}


def test_an_unknown_kind_is_left_to_what_asks_the_cluster(exported):
    with pytest.raises(UnsupportedKindError, match="which is not known") as refused:
        exported("widget")
    assert "canary or direct" in refused.value.remedy


def test_knobs_of_a_rollout_are_set_by_hand(exported, states):
    current, wanted = states
    settings = {"app": {"env": {"GOMAXPROCS": "2"}, "args": ["-x", "1"]}}
    artifact = exported(current_state=current, recommended_state=wanted | {"knob_settings": settings})
    assert artifact["knobs_by_hand"]["content"] == (
        "- Set in container app: args -x 1, GOMAXPROCS=2 in its environment.\n"
    )
    assert "knobs_patch" not in artifact
