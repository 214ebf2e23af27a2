"""Custom kinds of workloads, found by their name alone."""

import pytest
from simulated_objects import sized

from perfopt_api.apply.cluster import ContainerSize, WorkloadChange, WorkloadTarget
from perfopt_api.apply.refusals import ChangeRefusedError, WorkloadGoneError

FITTED = WorkloadTarget(api_version="", kind="widget", namespace="shop", name="fitted")


def define(world, group, *, scale=True):
    """Creates the kind Widget in a group."""
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    path = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    names = {"plural": "widgets", "singular": "widget", "kind": "Widget"}
    spec = {
        "group": group,
        "scope": "Namespaced",
        "names": names,
        "versions": [version | {"subresources": {"scale": path} if scale else {}}],
    }
    head = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    world.create(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        head | {"metadata": {"name": f"widgets.{group}"}, "spec": spec},
    )
    world.settle(1)


def allow(world, group):
    """Adds to the role what `perfopt rbac --kind` adds."""
    path = "/apis/rbac.authorization.k8s.io/v1/clusterroles/perfopt-apply"
    more = {
        "apiGroups": [group],
        "resources": ["widgets", "widgets/scale"],
        "verbs": ["get", "patch", "watch"],
    }
    rules = [*world.get(path)["rules"], more]
    world.send("PATCH", path, {"rules": rules}, "application/merge-patch+json")


def create(world, group):
    template = sized(requests={"cpu": "1"})["spec"]["template"]
    head = {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "fitted"}}
    path = f"/apis/{group}/v1/namespaces/shop/widgets"
    world.create(path, head | {"spec": {"replicas": 2, "template": template}})
    return f"{path}/fitted"


async def test_a_kind_is_found_by_its_scale_subresource_and_changed(world):
    define(world, "example.com")
    allow(world, "example.com")
    path = create(world, "example.com")
    change = WorkloadChange(target=FITTED, containers={"app": ContainerSize(cpu_request="500m")})
    assert (await world.cluster.read(FITTED)).fields["containers.app.cpu_request"] == "1"
    snapshot = await world.cluster.snapshot(change)
    await world.cluster.apply(change, force=True)
    container = world.get(path)["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["requests"]["cpu"] == "500m"
    (line,) = world.cluster.commands(change)
    assert line.startswith("kubectl patch widget fitted --namespace shop --type json ")
    assert '"500m"' in line
    await world.cluster.restore(snapshot)
    container = world.get(path)["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["requests"]["cpu"] == "1"


async def test_a_role_without_the_kind_is_told_the_command_that_adds_it(world):
    define(world, "example.com")
    create(world, "example.com")
    rules = "/apis/rbac.authorization.k8s.io/v1/clusterroles/perfopt-apply"
    read = {"apiGroups": ["example.com"], "resources": ["widgets", "widgets/scale"], "verbs": ["get"]}
    world.send("PATCH", rules, {"rules": [*world.get(rules)["rules"], read]}, "application/merge-patch+json")
    change = WorkloadChange(target=FITTED, containers={"app": ContainerSize(cpu_request="500m")})
    found = {each.code: each for each in await world.cluster.preflight(change)}
    assert "perfopt rbac --kind widgets.example.com" in found["permission_missing"].remedy


async def test_a_kind_that_is_not_there_or_cannot_be_scaled_is_refused(world):
    with pytest.raises(WorkloadGoneError, match="no workload widget with a scale subresource"):
        await world.cluster.read(FITTED)
    define(world, "example.com", scale=False)
    with pytest.raises(WorkloadGoneError, match="no workload widget with a scale subresource"):
        await world.cluster.read(FITTED)


async def test_a_kind_of_two_groups_is_refused_with_both(world):
    define(world, "example.com")
    define(world, "example.org")
    with pytest.raises(ChangeRefusedError, match=r"kind widget: example\.com and example\.org"):
        await world.cluster.read(FITTED)
