"""Workloads that others change as well: KEDA, the VPA, Argo CD, Flux, Argo Rollouts."""

import pytest
from simulated_objects import DEPLOYMENTS

from perfopt_api.apply.cluster import AutoscalerChange, ContainerSize, WorkloadChange, WorkloadTarget
from perfopt_api.apply.refusals import ChangeRefusedError, FieldConflictError

TARGET = WorkloadTarget(api_version="apps/v1", kind="Deployment", namespace="shop", name="checkout")
SMALLER = ContainerSize(cpu_request="50m")
SCALED = "/apis/keda.sh/v1alpha1/namespaces/shop/scaledobjects"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
MERGE = "application/merge-patch+json"


def define(world, group, version, kind, plural):
    """Adds a custom kind whose spec is free."""
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "properties": {"spec": free, "status": free}}
    served = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": plural, "singular": kind.lower(), "kind": kind}
    spec = {"group": group, "scope": "Namespaced", "names": names, "versions": [served]}
    head = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    world.create(DEFINITIONS, head | {"metadata": {"name": f"{plural}.{group}"}, "spec": spec})
    world.settle(1)


@pytest.fixture
def keda(shop):
    """The shop with a ScaledObject of two to six replicas."""
    define(shop, "keda.sh", "v1alpha1", "ScaledObject", "scaledobjects")
    spec = {
        "scaleTargetRef": {"name": "checkout"},
        "minReplicaCount": 2,
        "maxReplicaCount": 6,
        "triggers": [{"type": "cpu", "metadata": {"value": "60"}}],
    }
    head = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": "checkout"}}
    shop.create(SCALED, head | {"spec": spec})
    return shop


def change(**fields):
    return WorkloadChange(target=TARGET, **fields)


async def codes(world, wanted):
    return {each.code: each for each in await world.cluster.preflight(wanted)}


async def test_scaled_object_is_changed_and_restored_whole(keda):
    before = keda.get(f"{SCALED}/checkout")["spec"]
    wanted = change(keda=before | {"minReplicaCount": 3})
    assert (await keda.cluster.read(TARGET)).owners.keda == "checkout"
    snapshot = await keda.cluster.snapshot(wanted)
    with pytest.raises(FieldConflictError, match="kubectl"):
        await keda.cluster.apply(wanted)
    assert keda.get(f"{SCALED}/checkout")["spec"] == before
    await keda.cluster.apply(wanted, force=True)
    assert (await keda.cluster.read(TARGET)).fields["keda"]["minReplicaCount"] == 3
    await keda.cluster.restore(snapshot)
    assert keda.get(f"{SCALED}/checkout")["spec"] == before


async def test_replicas_and_autoscaler_that_keda_writes_are_left_to_it(keda):
    found = await codes(keda, change(replicas=5))
    assert "ScaledObject checkout" in found["autoscaler_owned"].message
    through = change(autoscaler=AutoscalerChange(name="keda-hpa-checkout", min_replicas=3))
    assert (await codes(keda, through))["keda_owned"].blocking


async def test_without_a_scaled_object_there_is_none_to_change(shop):
    with pytest.raises(ChangeRefusedError, match="No ScaledObject targets Deployment checkout"):
        await shop.cluster.apply(change(keda={"minReplicaCount": 1}))


@pytest.mark.parametrize(
    ("mode", "blocks"), [("Recreate", True), ("Auto", True), ("Off", False), ("Initial", False)]
)
async def test_sizes_that_a_vertical_autoscaler_sets_are_left_to_it(shop, mode, blocks):
    define(shop, "autoscaling.k8s.io", "v1", "VerticalPodAutoscaler", "verticalpodautoscalers")
    head = {"apiVersion": "autoscaling.k8s.io/v1", "kind": "VerticalPodAutoscaler"}
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "checkout"}
    spec = {"targetRef": reference, "updatePolicy": {"updateMode": mode}}
    path = "/apis/autoscaling.k8s.io/v1/namespaces/shop/verticalpodautoscalers"
    shop.create(path, head | {"metadata": {"name": "checkout"}, "spec": spec})
    found = await codes(shop, change(containers={"app": SMALLER}))
    assert ("vpa_owned" in found) is blocks
    assert "vpa_owned" not in await codes(shop, change(replicas=3))


@pytest.mark.parametrize(
    ("metadata", "owner"),
    [
        (
            {"annotations": {"argocd.argoproj.io/tracking-id": "pay:apps/Deployment:shop/checkout"}},
            ("pay", None),
        ),
        ({"labels": {"argocd.argoproj.io/instance": "pay"}}, ("pay", None)),
        (
            {
                "labels": {
                    "kustomize.toolkit.fluxcd.io/name": "team",
                    "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
                }
            },
            (None, "Kustomization/flux-system/team"),
        ),
        (
            {
                "labels": {
                    "helm.toolkit.fluxcd.io/name": "team",
                    "helm.toolkit.fluxcd.io/namespace": "flux-system",
                }
            },
            (None, "HelmRelease/flux-system/team"),
        ),
    ],
)
async def test_owner_in_git_is_named_and_its_pods_may_still_be_resized(shop, metadata, owner):
    shop.send("PATCH", f"{DEPLOYMENTS}/checkout", {"metadata": metadata}, MERGE)
    view = await shop.cluster.read(TARGET)
    assert (view.owners.argo_cd, view.owners.flux) == owner
    direct = await codes(shop, change(containers={"app": SMALLER}))
    transient = change(containers={"app": SMALLER}, durability="transient")
    assert any(each.blocking for code, each in direct.items() if code in ("argo_cd_owned", "flux_owned"))
    assert not [each for each in (await codes(shop, transient)).values() if each.blocking]
    pod = view.pods[0].name
    await shop.cluster.resize(TARGET, pod, {"app": SMALLER})
    shop.settle(10)
    after = await shop.cluster.read(TARGET)
    assert after.pod(pod).actuated["app"].cpu_request == "50m"
    assert after.generation == view.generation
