"""The exported manifests change the resources they name, and nothing else of the live object."""

import copy
from typing import Any

import msgspec
import pytest
import yaml

from perfopt.errors import ConflictError
from perfopt_api.apply.export import export

POD_SPEC: dict[str, Any] = {
    "serviceAccountName": "orders",
    "futureField": {"nested": [1, 2]},
    "initContainers": [{"name": "migrate", "image": "orders:1", "resources": {"requests": {"cpu": "1"}}}],
    "containers": [
        {
            "name": "app",
            "image": "orders:1",
            "env": [{"name": "MODE", "value": "live"}],
            "unknownToUs": True,
            "resources": {
                "requests": {"cpu": "500m", "memory": "1Gi", "example.com/fpga": "1"},
                "limits": {"cpu": "1", "memory": "2Gi", "example.com/fpga": "1"},
                "claims": [{"name": "gpu"}],
            },
        },
        {"name": "proxy", "image": "envoy:2", "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}},
        {"name": "logs", "image": "fluent:3", "resources": {"limits": {"memory": "64Mi"}}},
    ],
}


def live(kind="Deployment", pod_spec=POD_SPEC):
    template = {"template": {"metadata": {"labels": {"app": "orders"}}, "spec": copy.deepcopy(pod_spec)}}
    spec: dict[str, Any] = {"jobTemplate": {"spec": template}} if kind == "CronJob" else template
    if kind in ("Deployment", "StatefulSet"):
        spec = {"replicas": 3, "strategy": {"type": "Recreate"}, **spec}
    return {
        "apiVersion": "batch/v1" if kind == "CronJob" else "apps/v1",
        "kind": kind,
        "metadata": {"name": "order-gateway", "namespace": "trading", "annotations": {"owner": "desk-7"}},
        "spec": spec,
    }


def pod_spec_of(manifest):
    spec = manifest["spec"]
    return (
        spec["jobTemplate"]["spec"]["template"]["spec"] if "jobTemplate" in spec else spec["template"]["spec"]
    )


def artifacts(made):
    return {artifact["kind"]: artifact for artifact in export(made)}


def patch_of(made):
    return yaml.safe_load(artifacts(made)["strategic_merge_patch"]["content"])


def test_the_patch_changes_the_named_resources_only(make, strategic_merge):
    patched = strategic_merge(live(), patch_of(make()))

    expected = live()
    expected["spec"]["replicas"] = 4
    app, proxy, _ = pod_spec_of(expected)["containers"]
    app["resources"]["requests"] |= {"cpu": "300m", "memory": "800Mi"}
    app["resources"]["limits"] = {"memory": "1Gi", "example.com/fpga": "1"}  # the CPU limit is taken away
    proxy["resources"]["requests"]["cpu"] = "50m"
    assert patched == expected


def test_a_native_sidecar_is_patched_among_the_init_containers(make, strategic_merge):
    pod_spec = copy.deepcopy(POD_SPEC)
    sidecar = pod_spec["containers"].pop(1)
    pod_spec["initContainers"].append(sidecar | {"restartPolicy": "Always"})
    made = make()
    made = msgspec.structs.replace(made, current_state=made.current_state | {"sidecars": ["proxy"]})

    patched = pod_spec_of(strategic_merge(live(pod_spec=pod_spec), patch_of(made)))

    assert [container["name"] for container in patched["containers"]] == ["app", "logs"]
    assert patched["initContainers"][0] == POD_SPEC["initContainers"][0]
    assert patched["initContainers"][1]["resources"]["requests"] == {"cpu": "50m", "memory": "128Mi"}


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "CronJob"])
def test_every_kind_is_patched_where_its_pods_are_described(make, strategic_merge, kind):
    made = make(workload=f"prod-eu/trading/{kind.lower()}/order-gateway")
    patch = patch_of(made)
    original = live(kind)
    assert {key: patch[key] for key in ("apiVersion", "kind")} == {
        key: original[key] for key in ("apiVersion", "kind")
    }
    patched = strategic_merge(original, patch)
    assert pod_spec_of(patched)["containers"][0]["resources"]["requests"]["cpu"] == "300m"
    assert pod_spec_of(patched)["containers"][2] == POD_SPEC["containers"][2]
    assert patched.keys() == original.keys()
    assert patched["spec"].keys() == original["spec"].keys()  # replicas only where there are some
    assert artifacts(made)["strategic_merge_patch"]["command"].startswith(f"kubectl patch {kind.lower()} ")


@pytest.mark.parametrize("owner", [{"hpa": {"max_replicas": 9}}, {"keda": "orders"}])
def test_replicas_that_an_autoscaler_owns_stay(make, states, owner):
    current, wanted = states
    made = make(current_state=current | owner, recommended_state=wanted | owner)
    assert "replicas" not in patch_of(made)["spec"]
    assert "replicaCount" not in yaml.safe_load(artifacts(made)["helm_values"]["content"])


def test_replicas_that_do_not_change_are_left_out(make, states):
    current, wanted = states
    assert (
        "replicas" not in patch_of(make(recommended_state=wanted | {"replicas": current["replicas"]}))["spec"]
    )


def test_what_was_never_known_is_left_alone(make, strategic_merge):
    state = {"containers": {"app": {"cpu_request": "500m"}}}
    wanted = {"containers": {"app": {"cpu_request": "300m"}}}
    patched = strategic_merge(live(), patch_of(make(current_state=state, recommended_state=wanted)))
    resources = pod_spec_of(patched)["containers"][0]["resources"]
    assert resources["requests"] == {"cpu": "300m", "memory": "1Gi", "example.com/fpga": "1"}
    assert resources["limits"] == POD_SPEC["containers"][0]["resources"]["limits"]


def test_the_kustomization_holds_the_same_patch(make):
    made = make()
    kustomization = yaml.safe_load(artifacts(made)["kustomize"]["content"])
    [entry] = kustomization["patches"]
    assert entry["target"] == {"kind": "Deployment", "name": "order-gateway", "namespace": "trading"}
    assert yaml.safe_load(entry["patch"]) == patch_of(made)


def test_helm_values_are_laid_out_as_helm_create_does(make, states):
    current, wanted = states
    values = yaml.safe_load(artifacts(make())["helm_values"]["content"])
    assert values["replicaCount"] == 4
    assert values["proxy"]["resources"]["requests"] == {"cpu": "50m", "memory": "128Mi"}
    for state in (current, wanted):
        del state["containers"]["proxy"]
    single = yaml.safe_load(
        artifacts(make(current_state=current, recommended_state=wanted))["helm_values"]["content"]
    )
    assert single["resources"]["limits"] == {"cpu": None, "memory": "1Gi"}


def test_a_series_of_a_file_gets_placeholders_that_are_named(make):
    exported = artifacts(make(workload="bitbrains-rnd/VM_392"))
    patch = yaml.safe_load(exported["strategic_merge_patch"]["content"])
    assert (patch["kind"], patch["metadata"]) == ("Deployment", {"name": "vm-392"})
    note = exported["strategic_merge_patch"]["note"]
    assert "'bitbrains-rnd/VM_392' is no Kubernetes name" in note
    assert "a Deployment is assumed" in note
    assert "no namespace" in note


def test_quantities_stay_text_in_yaml(make, states):
    _, wanted = states
    wanted["containers"]["app"]["cpu_request"] = "2"
    patch = patch_of(make(recommended_state=wanted))
    assert pod_spec_of(patch)["containers"][0]["resources"]["requests"]["cpu"] == "2"


@pytest.mark.parametrize("kind", ["pod", "job", "ReplicaSet", "strimzipodset", "workflow"])
def test_a_kind_that_cannot_be_patched_is_refused(make, kind):
    with pytest.raises(ConflictError, match=f"its kind is {kind}"):
        export(make(workload=f"trading/{kind}/order-gateway"))


def test_injected_sidecars_are_left_out_and_their_annotations_named(make):
    made = make()
    renamed = {
        name: getattr(made, name)
        | {
            "containers": {
                {"proxy": "istio-proxy"}.get(k, k): v for k, v in getattr(made, name)["containers"].items()
            }
        }
        for name in ("current_state", "recommended_state")
    }
    exported = artifacts(msgspec.structs.replace(made, **renamed))
    patch = exported["strategic_merge_patch"]
    containers = pod_spec_of(yaml.safe_load(patch["content"]))["containers"]
    assert "istio-proxy" not in {container["name"] for container in containers}
    assert "app" in {container["name"] for container in containers}
    assert "istio-proxy: sidecar.istio.io/proxyCPU" in patch["note"]
    gateway = {
        name: {"containers": {"istio-proxy": state["containers"]["app"]}} for name, state in renamed.items()
    }
    alone = artifacts(msgspec.structs.replace(made, **gateway))["strategic_merge_patch"]
    assert "istio-proxy" in alone["content"]  # nothing else is in the pod: it is the gateway's own


def test_a_recommendation_without_resources_is_refused(make):
    with pytest.raises(ConflictError, match="changes no resource"):
        export(make(recommended_state={"schedule": "off at night"}))
