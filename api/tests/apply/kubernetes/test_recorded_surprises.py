"""What a real Kubernetes 1.36 API was seen to do that a client may not expect, one test each."""

import asyncio

import pytest
from simulated_objects import DEPLOYMENTS, deployment

from perfopt.config.kubernetes import KubernetesConfig
from perfopt_api.apply.cluster import ContainerSize, WorkloadChange, WorkloadTarget
from perfopt_api.apply.kubernetes import access
from perfopt_api.apply.kubernetes.client import ApiError, KubernetesRequests
from perfopt_api.apply.kubernetes.views import Surroundings, resize_state, rollout_of
from perfopt_api.apply.refusals import ChangeRefusedError, ClusterUnavailableError
from perfopt_api.simulated.kubernetes.faults import Fault

TARGET = WorkloadTarget(api_version="apps/v1", kind="Deployment", namespace="shop", name="checkout")
CHECKOUT = f"{DEPLOYMENTS}/checkout"
MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"


def change(**size):
    return WorkloadChange(target=TARGET, containers={"app": ContainerSize(**size)})


async def test_an_annotation_raises_the_generation_and_is_no_rollout(shop):
    before = await shop.cluster.read(TARGET)
    shop.send("PATCH", CHECKOUT, {"metadata": {"annotations": {"team": "pay"}}}, MERGE)
    shop.settle()
    after = await shop.cluster.read(TARGET)
    assert after.generation > before.generation
    assert (after.fields, after.rollout.revision) == (before.fields, before.rollout.revision)
    assert after.rollout.state == "complete"


async def test_another_spelling_of_a_quantity_is_no_change(shop):
    await shop.cluster.apply(
        change(cpu_request="250m", memory_request="512Mi", memory_limit="1Gi"), force=True
    )
    shop.settle(10)
    before = await shop.cluster.read(TARGET)
    await shop.cluster.apply(change(cpu_request="0.25", memory_request="0.5Gi", memory_limit="1Gi"))
    after = await shop.cluster.read(TARGET)
    assert (after.resource_version, after.generation) == (before.resource_version, before.generation)


def test_right_after_a_change_the_status_is_the_old_complete_one():
    done = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}
    counters = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 2)
    obj = deployment()
    obj["metadata"]["generation"] = 2
    for seen, state in ((1, "progressing"), (2, "complete")):
        obj["status"] = counters | {"observedGeneration": seen, "conditions": [done]}
        assert rollout_of(Surroundings(obj)).state == state


async def test_a_deployment_over_quota_is_accepted_and_says_so_in_its_condition(shop):
    hard = {"requests.memory": "300Mi"}
    head = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"}}
    shop.create("/api/v1/namespaces/shop/resourcequotas", head | {"spec": {"hard": hard}})
    shop.settle(2)
    await shop.cluster.apply(change(cpu_request="400m"), force=True)
    shop.settle(10)
    rollout = (await shop.cluster.read(TARGET)).rollout
    assert rollout.state == "failing"
    assert "failed quota: team" in rollout.message


async def test_counters_of_zero_are_left_out(shop):
    shop.send("PATCH", CHECKOUT, {"spec": {"replicas": 0}}, MERGE)
    shop.settle(10)
    view = await shop.cluster.read(TARGET)
    assert (view.fields["replicas"], view.rollout.ready, view.pods) == (0, 0, ())
    assert view.rollout.state == "complete"


async def test_a_paused_deployment_is_neither_complete_nor_failed(shop):
    shop.send("PATCH", CHECKOUT, {"spec": {"paused": True}}, MERGE)
    await shop.cluster.apply(change(cpu_request="50m"), force=True)
    shop.settle(3)
    assert (await shop.cluster.read(TARGET)).rollout.state == "paused"


async def test_a_deadline_flips_the_condition_and_rolls_nothing_back(world):
    labels = {"behaviour": "never-ready"}
    world.create(DEPLOYMENTS, deployment(progressDeadlineSeconds=5))
    world.settle(5)
    body = {"spec": {"template": {"metadata": {"labels": labels}}}}
    world.send("PATCH", CHECKOUT, body, STRATEGIC)
    world.settle(20)
    view = await world.cluster.read(TARGET)
    assert view.rollout.state == "deadline_exceeded"
    assert "timed out progressing" in view.rollout.message
    assert sum(pod.ready for pod in view.pods) >= 2


async def test_a_bad_quantity_is_500_on_apply_and_is_not_sent_again(shop):
    sent = []

    def count(request):
        sent.append(request.method)
        return False

    shop.server.faults.add(Fault("status", about=count))
    with pytest.raises(ChangeRefusedError, match="HTTP 500"):
        await shop.cluster.apply(change(cpu_request="1xyz"), force=True)
    assert sent.count("PATCH") == 1


async def test_two_budgets_on_a_pod_are_500_and_forbid_its_eviction(shop):
    pod = (await shop.cluster.read(TARGET)).pods[0].name
    for name in ("one", "two"):
        spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "checkout"}}}
        head = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name}}
        shop.create("/apis/policy/v1/namespaces/shop/poddisruptionbudgets", head | {"spec": spec})
    shop.settle(1)
    assert not await shop.cluster.evict_dry_run(TARGET, pod)
    assert shop.get(f"/api/v1/namespaces/shop/pods/{pod}")["metadata"]["name"] == pod


def test_an_answer_to_a_resize_has_the_new_spec_and_the_old_status():
    old, new = ({"requests": {"cpu": cpu}} for cpu in ("100m", "50m"))
    pod = {"metadata": {"generation": 2}, "spec": {"containers": [{"name": "app", "resources": new}]}}
    for seen, runs, state in ((1, old, "in_progress"), (2, new, "none")):
        pod["status"] = {
            "observedGeneration": seen,
            "containerStatuses": [{"name": "app", "resources": runs}],
        }
        assert resize_state(pod).state == state


@pytest.mark.parametrize(
    ("kind", "reason", "state"),
    [
        ("PodResizePending", "Infeasible", "infeasible"),
        ("PodResizePending", "Deferred", "deferred"),
        ("PodResizeInProgress", "Error", "error"),
        ("PodResizeInProgress", "", "in_progress"),
    ],
)
def test_a_resize_that_waits_says_so_in_a_condition(kind, reason, state):
    found = {"type": kind, "status": "True", "reason": reason, "message": "why"}
    pod = {"metadata": {}, "spec": {}, "status": {"conditions": [found]}}
    assert (resize_state(pod).state, resize_state(pod).message) == (state, "why")


async def test_a_missing_api_is_a_plain_text_404_and_means_none(shop):
    requests = shop.cluster.requests
    assert await requests.items(access.LIST_SCALED_OBJECTS, "shop", optional=True) == []
    assert (await shop.cluster.read(TARGET)).owners.keda is None


async def test_items_of_a_built_in_list_have_no_kind(shop):
    pods = await shop.cluster.requests.items(access.LIST_PODS, "shop")
    assert pods
    assert all("kind" not in pod for pod in pods)
    assert len((await shop.cluster.read(TARGET)).pods) == len(pods)


async def test_a_list_whose_next_page_expired_begins_again(shop, tmp_path):
    path = shop.server.kubeconfig(tmp_path / "paged")
    paged = KubernetesRequests(KubernetesConfig(kubeconfig=str(path), page_size=1, retries=0))
    shop.server.faults.add(Fault("status", about=lambda r: "continue" in r.query, status=410))
    pods = await paged.items(access.LIST_PODS, "shop")
    assert len({pod["metadata"]["name"] for pod in pods}) == len(pods) == 2
    shop.server.faults.add(Fault("status", about=lambda r: "continue" in r.query, status=410, times=99))
    with pytest.raises(ApiError) as caught:
        await paged.items(access.LIST_PODS, "shop")
    assert caught.value.code == 410
    paged.close()


async def test_a_stale_version_and_an_owned_field_are_two_kinds_of_409(shop):
    stale = shop.get(CHECKOUT)
    shop.send("PATCH", CHECKOUT, {"metadata": {"labels": {"tier": "front"}}}, MERGE)
    refused = shop.send("PUT", CHECKOUT, stale)
    assert (refused["code"], refused["reason"], "causes" in refused["details"]) == (409, "Conflict", False)
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 9}}
    call = access.WorkloadKind("apps", "v1", "deployments", "Deployment").call("patch")
    with pytest.raises(ApiError) as caught:
        await shop.cluster.requests.patch(call, "shop", "checkout", "apply", body)
    assert caught.value.has_cause("FieldManagerConflict")


async def test_a_bad_token_is_refused_with_the_remedy(shop, tmp_path):
    path = shop.server.kubeconfig(tmp_path / "bad", "no-such-token")
    bad = KubernetesRequests(KubernetesConfig(kubeconfig=str(path), retries=0))
    with pytest.raises((ApiError, ClusterUnavailableError)) as caught:
        await bad.items(access.LIST_PODS, "shop")
    assert getattr(caught.value, "code", 401) == 401
    bad.close()


async def test_pods_that_have_ended_are_no_pods_of_the_workload(shop):
    name = (await shop.cluster.read(TARGET)).pods[0].name
    path = f"/api/v1/namespaces/shop/pods/{name}/status"
    shop.send("PATCH", path, {"status": {"phase": "Failed"}}, MERGE)
    assert name not in [pod.name for pod in (await shop.cluster.read(TARGET)).pods]


async def test_a_watch_is_opened_again_when_its_version_is_gone(shop):
    views = shop.cluster.watch(TARGET)
    await asyncio.wait_for(anext(views), 10)
    shop.server.run(lambda cluster: cluster.store.expire())
    shop.server.faults.add(Fault("cut_watch", times=2))
    shop.send("PATCH", CHECKOUT, {"spec": {"replicas": 3}}, MERGE)
    while (await asyncio.wait_for(anext(views), 10)).fields["replicas"] != 3:
        pass
    await views.aclose()


@pytest.mark.parametrize("observed", [None, "6d8f7c9b", "3", 3])
def test_a_custom_kind_is_complete_by_what_its_controller_reports(observed):
    status = {"replicas": 2, "readyReplicas": 2} | (
        {} if observed is None else {"observedGeneration": observed}
    )
    metadata = {"name": "fitted", "generation": 3}
    obj = {"kind": "Widget", "metadata": metadata, "spec": {"replicas": 2}, "status": status}
    assert rollout_of(Surroundings(obj)).state == "complete"
    assert rollout_of(Surroundings(obj | {"status": status | {"readyReplicas": 1}})).state == "progressing"
    late = obj | {"status": status | {"observedGeneration": "2"}}
    assert rollout_of(Surroundings(late)).state == "progressing"
    unseen = obj | {"kind": "Deployment", "status": {"replicas": 2, "readyReplicas": 2, "updatedReplicas": 2}}
    assert rollout_of(Surroundings(unseen)).state == "progressing"
