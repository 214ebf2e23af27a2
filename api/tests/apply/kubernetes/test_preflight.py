from dataclasses import replace

import pytest
from simulated_objects import DEPLOYMENTS, deployment

from perfopt_api.apply.cluster import AutoscalerChange, ContainerSize, WorkloadChange, WorkloadTarget

TARGET = WorkloadTarget(api_version="apps/v1", kind="Deployment", namespace="shop", name="checkout")
BIGGER = ContainerSize(cpu_request="400m", memory_request="200Mi")


def change(**fields):
    return WorkloadChange(target=TARGET, **({"containers": {"app": BIGGER}} | fields))


async def findings(world, wanted):
    return {each.code: each for each in await world.cluster.preflight(wanted)}


async def test_conflict_is_found_without_changing_anything(shop):
    found = await findings(shop, change())
    assert found["field_conflict"].blocking
    assert "kubectl" in found["field_conflict"].message
    assert (await shop.cluster.read(TARGET)).generation == 1


async def test_transient_change_that_fits_has_nothing_against_it(shop):
    assert not [f for f in (await findings(shop, change(durability="transient"))).values() if f.blocking]


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        (
            {"annotations": {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/checkout"}},
            "argo_cd_owned",
        ),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "shop"}}, "flux_owned"),
    ],
)
async def test_gitops_owner_blocks_the_template_and_not_the_pods(shop, metadata, code):
    shop.send("PATCH", f"{DEPLOYMENTS}/checkout", {"metadata": metadata}, "application/merge-patch+json")
    found = await findings(shop, change())
    assert found[code].blocking
    assert "transient" in found[code].remedy
    assert not (await findings(shop, change(durability="transient")))[code].blocking


async def test_increase_over_the_largest_node_does_not_fit(shop):
    huge = ContainerSize(cpu_request="20", cpu_limit="20")
    found = await findings(shop, change(containers={"app": huge}))
    assert "largest node" in found["node_capacity"].message
    small = ContainerSize(cpu_request="10m")
    assert "node_capacity" not in await findings(shop, change(containers={"app": small}))


async def test_quota_and_limit_range_are_counted_for_all_pods(shop):
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "team"},
        "spec": {"hard": {"requests.cpu": "700m"}},
    }
    limits = {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "containers"},
        "spec": {"limits": [{"type": "Container", "max": {"memory": "100Mi"}}]},
    }
    shop.create("/api/v1/namespaces/shop/resourcequotas", quota)
    shop.create("/api/v1/namespaces/shop/limitranges", limits)
    shop.settle(1)
    found = await findings(shop, change())
    assert "2 pods of the new size" in found["quota_exceeded"].message
    assert "at most 100Mi of memory" in found["limit_range"].message


async def test_class_that_changes_blocks_only_in_place(shop):
    container = {"name": "proxy", "resources": {"requests": {"cpu": "1", "memory": "64Mi"}}}
    container["resources"]["limits"] = container["resources"]["requests"]
    body = {"spec": {"template": {"spec": {"containers": [container]}}}}
    shop.send("PATCH", f"{DEPLOYMENTS}/checkout", body, "application/strategic-merge-patch+json")
    shop.settle()
    same = ContainerSize(cpu_request="500m", memory_request="256Mi")
    in_place = await findings(shop, change(containers={"app": same}, durability="transient"))
    assert in_place["qos_class"].blocking
    assert not (await findings(shop, change(containers={"app": same})))["qos_class"].blocking


async def test_replicas_belong_to_the_autoscaler(shop):
    hpa = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "checkout"},
        "spec": {
            "maxReplicas": 6,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "checkout"},
        },
    }
    shop.create("/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers", hpa)
    found = await findings(shop, change(containers={}, replicas=5))
    assert found["autoscaler_owned"].blocking
    scaled = change(containers={}, autoscaler=AutoscalerChange(min_replicas=2))
    assert "autoscaler_owned" not in await findings(shop, scaled)


def without_resize(cluster):
    """Takes pods/resize away, as before Kubernetes 1.33."""
    resources = cluster.api.resources
    at = next(at for at, each in enumerate(resources) if each.kind == "Pod")
    resources[at] = replace(resources[at], subresources=resources[at].subresources - {"resize"})


async def test_a_server_without_resize_blocks_what_only_a_resize_does(shop):
    shop.server.run(without_resize)
    transient = await findings(shop, change(durability="transient"))
    assert transient["resize_missing"].blocking
    assert "1.33" in transient["resize_missing"].message
    assert not (await findings(shop, change()))["resize_missing"].blocking
    assert "resize_missing" not in await findings(shop, change(containers={}, replicas=3))


@pytest.mark.parametrize(
    ("strategy", "warned"),
    [
        (None, False),
        ({"type": "Recreate"}, True),
        ({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}, True),
        ({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}, True),
        ({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": "100%"}}, True),
        ({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "0%", "maxUnavailable": 1}}, True),
        ({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}, False),
        ({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "99%"}}, False),
    ],
)
async def test_a_single_replica_without_surge_is_warned_of(world, strategy, warned):
    world.create(DEPLOYMENTS, deployment(replicas=1, **({"strategy": strategy} if strategy else {})))
    world.settle()
    found = await findings(world, change())
    assert ("single_replica" in found) is warned
    if warned:
        assert not found["single_replica"].blocking
        assert "maxSurge" in found["single_replica"].remedy
    assert "single_replica" not in await findings(world, change(durability="transient"))


async def test_a_resize_that_restarts_the_only_pod_is_warned_of(world):
    body = deployment(replicas=1)
    policy = [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]
    body["spec"]["template"]["spec"]["containers"][0]["resizePolicy"] = policy
    world.create(DEPLOYMENTS, body)
    world.settle()
    found = await findings(world, change(durability="transient"))
    assert "durability template" in found["single_replica"].remedy
    assert "single_replica" not in await findings(world, change())


async def test_whole_cpus_of_a_guaranteed_pod_are_named_before_a_resize(shop):
    whole = {"cpu": "1", "memory": "256Mi"}
    limits = {"requests": whole, "limits": whole}
    containers = [{"name": "app", "resources": limits}, {"name": "proxy", "resources": limits}]
    body = {"spec": {"template": {"spec": {"containers": containers}}}}
    shop.send("PATCH", f"{DEPLOYMENTS}/checkout", body, "application/strategic-merge-patch+json")
    shop.settle(10)
    two = ContainerSize(cpu_request="2", cpu_limit="2")
    found = await findings(shop, change(containers={"app": two}, durability="transient"))
    assert "static CPU manager" in found["static_cpu"].message
    assert not found["static_cpu"].blocking
    part = ContainerSize(cpu_request="1500m", cpu_limit="1500m")
    assert "static_cpu" not in await findings(shop, change(containers={"app": part}, durability="transient"))


async def test_missing_permission_is_named_with_the_remedy(shop):
    path = "/apis/rbac.authorization.k8s.io/v1/clusterroles/perfopt-apply"
    rules = [
        rule | {"verbs": [verb for verb in rule["verbs"] if verb != "patch"]}
        for rule in shop.get(path)["rules"]
    ]
    shop.send("PATCH", path, {"rules": rules}, "application/merge-patch+json")
    found = await findings(shop, change())
    assert "may not patch deployments" in found["permission_missing"].message
    assert "perfopt rbac" in found["permission_missing"].remedy
