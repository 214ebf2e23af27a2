import asyncio
import json
import shlex
import time

import msgspec
import pytest
from simulated_objects import DEPLOYMENTS, deployment

from perfopt_api.apply.cluster import AutoscalerChange, ContainerSize, WorkloadChange, WorkloadTarget
from perfopt_api.apply.kubernetes.cluster import own_namespace
from perfopt_api.apply.refusals import (
    ChangeRefusedError,
    ClusterUnavailableError,
    FieldConflictError,
    ResizeRefusedError,
    WorkloadGoneError,
)
from perfopt_api.simulated.kubernetes.faults import Fault

TARGET = WorkloadTarget(api_version="apps/v1", kind="Deployment", namespace="shop", name="checkout")
SMALLER = ContainerSize(cpu_request="50m", memory_request="96Mi")
HPA = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "checkout"},
    "spec": {
        "minReplicas": 2,
        "maxReplicas": 6,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "checkout"},
    },
}
HPAS = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers"


def change(**fields):
    return WorkloadChange(target=TARGET, **({"containers": {"app": SMALLER}} | fields))


async def until(condition, seconds=10.0):
    for _ in range(int(seconds / 0.05)):
        found = await condition()
        if found:
            return found
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come to hold")


async def test_view_has_sizes_owners_rollout_and_pods(shop):
    view = await shop.cluster.read(TARGET)
    assert view.fields["containers.app.cpu_request"] == "100m"
    assert view.field_managers["containers.app.cpu_request"] == ("kubectl",)
    assert (view.rollout.state, view.rollout.desired, view.rollout.available) == ("complete", 2, 2)
    assert [pod.ready for pod in view.pods] == [True, True]
    assert {pod.revision for pod in view.pods} == {view.rollout.revision}
    assert view.pods[0].actuated["app"].memory_limit == "256Mi"


async def test_missing_workload_is_gone(shop):
    with pytest.raises(WorkloadGoneError):
        await shop.cluster.read(msgspec.structs.replace(TARGET, name="other"))


async def test_apply_names_who_owns_a_field_and_changes_nothing(shop):
    with pytest.raises(FieldConflictError) as caught:
        await shop.cluster.apply(change())
    assert caught.value.managers == ("kubectl",)
    assert (await shop.cluster.read(TARGET)).generation == 1


async def test_forced_change_rolls_out_and_restore_gives_values_and_ownership_back(shop):
    snapshot = await shop.cluster.snapshot(change())
    await shop.cluster.apply(change(), force=True)
    view = await shop.cluster.read(TARGET)
    assert (view.fields["containers.app.cpu_request"], view.rollout.state) == ("50m", "progressing")
    assert view.field_managers["containers.app.cpu_request"] == ("perfopt",)

    async def rolled_out():
        return (await shop.cluster.read(TARGET)).rollout.state == "complete"

    await until(rolled_out)
    await shop.cluster.restore(snapshot)
    back = await shop.cluster.read(TARGET)
    assert {path: back.fields[path] for path in snapshot.fields} == snapshot.fields
    assert back.field_managers["containers.app.cpu_request"] == ("kubectl",)
    assert "perfopt" not in back.owners.managers


async def test_second_change_keeps_the_fields_of_the_first(shop):
    await shop.cluster.apply(change(), force=True)
    limits = change(containers={"app": ContainerSize(cpu_limit="300m")})
    await shop.cluster.apply(limits, force=True)
    fields = (await shop.cluster.read(TARGET)).fields
    assert (fields["containers.app.cpu_request"], fields["containers.app.cpu_limit"]) == ("50m", "300m")


async def test_removed_limit_and_variable_come_and_go(shop):
    removal = change(removed=("containers.app.cpu_limit",), env={"app": {"GOMAXPROCS": "2"}})
    snapshot = await shop.cluster.snapshot(removal)
    with pytest.raises(FieldConflictError):
        await shop.cluster.apply(removal)
    await shop.cluster.apply(removal, force=True)
    fields = (await shop.cluster.read(TARGET)).fields
    assert "containers.app.cpu_limit" not in fields
    assert fields["env.app.GOMAXPROCS"] == "2"
    await shop.cluster.restore(snapshot)
    fields = (await shop.cluster.read(TARGET)).fields
    assert fields["containers.app.cpu_limit"] == "500m"
    assert "env.app.GOMAXPROCS" not in fields


async def test_pod_is_resized_in_place_and_the_template_left_alone(shop):
    pod = (await shop.cluster.read(TARGET)).pods[0]
    await shop.cluster.resize(TARGET, pod.name, {"app": SMALLER})

    async def resized():
        found = (await shop.cluster.read(TARGET)).pod(pod.name)
        return found.resize.state == "none" and found.actuated["app"].cpu_request == "50m"

    await until(resized)
    view = await shop.cluster.read(TARGET)
    assert (view.generation, view.fields["containers.app.cpu_request"]) == (1, "100m")
    assert view.pod(pod.name).restarts == 0


@pytest.mark.parametrize(
    ("size", "rollout"),
    [
        (ContainerSize(cpu_request="20", cpu_limit="20"), False),
        (ContainerSize(cpu_request="500m", memory_request="256Mi"), None),
    ],
)
async def test_refused_resize_says_whether_new_pods_could_have_it(shop, size, rollout):
    pod = (await shop.cluster.read(TARGET)).pods[0]
    if rollout is None:
        await shop.cluster.resize(TARGET, pod.name, {"app": size})
        return
    with pytest.raises(ResizeRefusedError) as caught:
        await shop.cluster.resize(TARGET, pod.name, {"app": size})
    assert caught.value.rollout is rollout


async def test_autoscaler_and_request_change_together(shop):
    shop.create(HPAS, HPA)
    shop.settle()
    both = change(autoscaler=AutoscalerChange(min_replicas=3, max_replicas=9))
    snapshot = await shop.cluster.snapshot(both)
    await shop.cluster.apply(both, force=True)
    view = await shop.cluster.read(TARGET)
    assert (view.fields["hpa.min_replicas"], view.fields["containers.app.cpu_request"]) == (3, "50m")
    assert view.owners.hpa == "checkout"
    await shop.cluster.restore(snapshot)
    assert (await shop.cluster.read(TARGET)).fields["hpa.min_replicas"] == 2


async def test_change_that_the_autoscaler_refuses_leaves_the_template_alone(shop):
    shop.create(HPAS, HPA)
    bad = change(autoscaler=AutoscalerChange(min_replicas=9, max_replicas=3))
    with pytest.raises(ChangeRefusedError, match="greater than or equal to `minReplicas`"):
        await shop.cluster.apply(bad, force=True)
    assert (await shop.cluster.read(TARGET)).generation == 1


SELECTORS = [
    {"matchLabels": {"app": "checkout"}},
    {"matchExpressions": [{"key": "app", "operator": "In", "values": ["checkout", "cart"]}]},
    {"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["batch"]}]},
    {"matchExpressions": [{"key": "app", "operator": "Exists"}]},
    {"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]},
    {},
]


@pytest.mark.parametrize("selector", SELECTORS, ids=str)
async def test_eviction_dry_run_follows_the_budget(shop, selector):
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "checkout"},
        "spec": {"minAvailable": 2, "selector": selector},
    }
    pod = (await shop.cluster.read(TARGET)).pods[0].name
    assert await shop.cluster.evict_dry_run(TARGET, pod)
    shop.create("/apis/policy/v1/namespaces/shop/poddisruptionbudgets", budget)
    shop.settle(1)
    assert not await shop.cluster.evict_dry_run(TARGET, pod)
    (seen,) = (await shop.cluster.read(TARGET)).budgets
    assert (seen.name, seen.disruptions_allowed) == ("checkout", 0)


async def test_namespace_annotation_or_config_map_freezes(shop):
    assert await shop.cluster.frozen("shop") is None
    data = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "perfopt-freeze"},
        "data": {"_all": "year end"},
    }
    shop.create("/api/v1/namespaces/perfopt/configmaps", data)
    assert await shop.cluster.frozen("shop") == "year end"
    note = {"metadata": {"annotations": {"perfopt.io/freeze": "migration"}}}
    shop.send("PATCH", "/api/v1/namespaces/shop", note, "application/merge-patch+json")
    assert await shop.cluster.frozen("shop") == "migration"


async def test_watch_of_a_workload_at_rest_ends_at_once(shop):
    """To end it must not wait for the next event: the worker's loop would stand still until then."""
    views = shop.cluster.watch(TARGET)
    await anext(views)
    await asyncio.sleep(0.5)  # both watches wait for events
    began = time.monotonic()
    await views.aclose()
    assert time.monotonic() - began < 1


async def test_watch_gives_each_change_and_survives_expiry_and_cuts(shop):
    views = shop.cluster.watch(TARGET)
    first = await asyncio.wait_for(anext(views), 10)
    shop.server.run(lambda cluster: cluster.store.expire())
    shop.server.faults.add(Fault("cut_watch", seconds=0.0, times=2))
    await shop.cluster.apply(change(), force=True)
    while True:
        view = await asyncio.wait_for(anext(views), 10)
        if view.fields["containers.app.cpu_request"] == "50m":
            break
    assert view.generation > first.generation
    await views.aclose()


async def test_busy_server_is_asked_again_and_a_lost_answer_is_unknown(shop):
    shop.server.faults.add(Fault("status", status=429, retry_after=0))
    assert (await shop.cluster.read(TARGET)).uid
    shop.server.faults.add(Fault("drop_after", about=lambda request: request.method == "PATCH"))
    with pytest.raises(ClusterUnavailableError):
        await shop.cluster.apply(change(), force=True)


async def test_stateful_set_that_is_stuck_is_repaired_on_the_way_back(world):
    labels = {"app": "ledger"}
    container = {
        "name": "app",
        "image": "registry.example/app:1",
        "resources": {"limits": {"memory": "64Mi"}},
    }
    body = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "ledger"},
        "spec": {
            "replicas": 2,
            "serviceName": "ledger",
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
    world.create("/apis/apps/v1/namespaces/shop/statefulsets", body)
    world.settle(8)
    target = msgspec.structs.replace(TARGET, kind="StatefulSet", name="ledger")
    small = ContainerSize(memory_limit="16Mi", memory_request="16Mi")
    lethal = WorkloadChange(target=target, containers={"app": small})
    snapshot = await world.cluster.snapshot(lethal)
    await world.cluster.apply(lethal, force=True)

    async def killed():
        return any(pod.oom_kills for pod in (await world.cluster.read(target)).pods)

    await until(killed)
    await world.cluster.restore(snapshot)

    async def whole():
        view = await world.cluster.read(target)
        return view.rollout.state == "complete" and all(pod.ready for pod in view.pods)

    await until(whole)


async def test_custom_kind_is_scaled_and_sized_without_touching_its_other_containers(world):
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    spec = {
        "type": "object",
        "properties": {"replicas": {"type": "integer"}, "selector": free, "template": free},
    }
    status = {
        "type": "object",
        "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}},
    }
    scale = {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    version = {
        "name": "v1alpha1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": status}}},
        "subresources": {"status": {}, "scale": scale},
    }
    names = {"plural": "rollouts", "singular": "rollout", "kind": "Rollout"}
    world.create(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "rollouts.argoproj.io"},
            "spec": {"group": "argoproj.io", "scope": "Namespaced", "names": names, "versions": [version]},
        },
    )
    world.settle(1)
    containers = [{"name": "proxy", "image": "p"}, {"name": "app", "image": "a", "resources": {}}]
    template = {"metadata": {"labels": {"app": "pricing"}}, "spec": {"containers": containers}}
    body = {"replicas": 2, "selector": {"matchLabels": {"app": "pricing"}}, "template": template}
    head = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "pricing"}}
    path = "/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts"
    world.create(path, head | {"spec": body})
    target = WorkloadTarget(
        api_version="argoproj.io/v1alpha1", kind="Rollout", namespace="shop", name="pricing"
    )
    wanted = WorkloadChange(target=target, containers={"app": SMALLER}, replicas=3)
    with pytest.raises(FieldConflictError):
        await world.cluster.apply(wanted)
    await world.cluster.apply(wanted, force=True)
    found = world.get(f"{path}/pricing")["spec"]
    assert found["replicas"] == 3
    assert [c["name"] for c in found["template"]["spec"]["containers"]] == ["proxy", "app"]
    assert found["template"]["spec"]["containers"][1]["resources"]["requests"]["cpu"] == "50m"
    await world.cluster.read(target)
    by_hand = WorkloadChange(target=target, containers={"app": ContainerSize(cpu_request="70m")}, replicas=4)
    patch, scaling = world.cluster.commands(by_hand)
    containers = patched(world, patch)["spec"]["template"]["spec"]["containers"]
    assert [c.get("resources", {}).get("requests", {}).get("cpu") for c in containers] == [None, "70m"]
    assert scaling == "kubectl scale rollout.argoproj.io pricing --namespace shop --replicas 4"


def patched(world, line):
    """Does what a kubectl patch does, as an administrator; returns the object."""
    words = shlex.split(line)
    assert words[:2] == ["kubectl", "patch"]
    given = dict(zip(words[4::2], words[5::2], strict=True))
    assert given["--namespace"] == "shop"
    plural = {
        "deployment": "apis/apps/v1/namespaces/shop/deployments",
        "horizontalpodautoscaler": "apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers",
        "pod": "api/v1/namespaces/shop/pods",
        "rollout.argoproj.io": "apis/argoproj.io/v1alpha1/namespaces/shop/rollouts",
    }[words[2]]
    path = "/".join(["", plural, words[3], *([given["--subresource"]] if "--subresource" in given else [])])
    kind = {"strategic": "strategic-merge-patch", "json": "json-patch", "merge": "merge-patch"}
    answer = world.send(
        "PATCH", path, json.loads(given["--patch"]), f"application/{kind[given['--type']]}+json"
    )
    assert answer["kind"] != "Status", answer
    return answer


async def test_commands_do_the_same_by_hand(shop):
    view = await shop.cluster.read(TARGET)
    (line,) = shop.cluster.commands(change())
    spec = patched(shop, line)["spec"]["template"]["spec"]
    assert spec["containers"][0]["resources"]["requests"] == {"cpu": "50m", "memory": "96Mi"}
    (resize,) = shop.cluster.commands(change(), pod=view.pods[0].name)
    assert patched(shop, resize)["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "50m"


async def test_commands_name_sidecars_and_autoscalers_as_they_are(world):
    body = deployment()
    sidecar = body["spec"]["template"]["spec"]["containers"].pop() | {"restartPolicy": "Always"}
    body["spec"]["template"]["spec"]["initContainers"] = [sidecar]
    world.create(DEPLOYMENTS, body)
    world.create(HPAS, HPA | {"metadata": {"name": "by-load"}})
    world.settle()
    await world.cluster.read(TARGET)
    sizes = {"proxy": ContainerSize(cpu_request="20m")}
    both = WorkloadChange(target=TARGET, containers=sizes, autoscaler=AutoscalerChange(min_replicas=3))
    workload, scaler = world.cluster.commands(both)
    spec = patched(world, workload)["spec"]["template"]["spec"]
    assert [one["name"] for one in spec["containers"]] == ["app"]
    assert spec["initContainers"][0]["resources"]["requests"] == {"cpu": "20m"}
    assert patched(world, scaler)["spec"]["minReplicas"] == 3


def test_own_namespace_is_that_of_the_service_account(tmp_path):
    file = tmp_path / "namespace"
    file.write_text("optimisation\n")
    assert own_namespace(file) == "optimisation"
    assert own_namespace(tmp_path / "none") == "perfopt"
