"""What every cluster behind the port does: the simulated API server, and the one in memory that tests use."""

from datetime import UTC, datetime

import pytest
from memory_cluster import MemoryCluster

from perfopt_api.apply.cluster import ContainerSize, WorkloadChange, WorkloadTarget
from perfopt_api.apply.refusals import FieldConflictError, WorkloadGoneError

TARGET = WorkloadTarget(api_version="apps/v1", kind="Deployment", namespace="shop", name="checkout")
SIZE = {
    "cpu_request": "100m",
    "cpu_limit": "500m",
    "memory_request": "128Mi",
    "memory_limit": "256Mi",
}
CPU, MEMORY = "containers.app.cpu_request", "containers.app.memory_request"


@pytest.fixture(params=["kubernetes", "memory"])
def either(request):
    """A cluster with a Deployment `checkout` of two pods, owned by kubectl; and how its time passes."""
    if request.param == "kubernetes":
        shop = request.getfixturevalue("shop")
        return shop.cluster, shop.settle
    cluster = MemoryCluster()
    cluster.add("checkout", namespace="shop", **(SIZE | {"replicas": 2}))
    return cluster, cluster.advance


def change(**fields):
    return WorkloadChange(
        target=TARGET, **({"containers": {"app": ContainerSize(cpu_request="50m")}} | fields)
    )


async def test_a_view_holds_fields_their_managers_and_pods(either):
    cluster, _ = either
    view = await cluster.read(TARGET)
    assert {name: view.fields[f"containers.app.{name}"] for name in SIZE} == SIZE
    assert view.fields["replicas"] == 2
    assert tuple(view.field_managers[CPU]) == ("kubectl",)
    assert view.rollout.state == "complete"
    assert [pod.actuated["app"].cpu_request for pod in view.pods] == ["100m", "100m"]
    assert view.read_at <= datetime.now(UTC)


async def test_a_workload_that_is_not_there_is_gone(either):
    cluster, _ = either
    missing = WorkloadTarget(api_version="apps/v1", kind="Deployment", namespace="shop", name="none")
    with pytest.raises(WorkloadGoneError):
        await cluster.read(missing)


async def test_fields_of_another_manager_are_refused_and_nothing_changes(either):
    cluster, settle = either
    before = await cluster.read(TARGET)
    with pytest.raises(FieldConflictError) as caught:
        await cluster.apply(change())
    assert list(caught.value.managers) == ["kubectl"]
    settle(3)
    after = await cluster.read(TARGET)
    assert (after.fields, after.generation) == (before.fields, before.generation)


async def test_a_value_that_is_there_already_is_no_conflict(either):
    cluster, _ = either
    before = await cluster.read(TARGET)
    await cluster.apply(change(containers={"app": ContainerSize(cpu_request="100m")}))
    assert (await cluster.read(TARGET)).fields == before.fields


async def test_force_takes_fields_over_and_rolls_out(either):
    cluster, settle = either
    before = await cluster.read(TARGET)
    await cluster.apply(change(), force=True)
    settle(60)
    view = await cluster.read(TARGET)
    assert view.fields[CPU] == "50m"
    assert "perfopt" in view.field_managers[CPU]
    assert tuple(view.field_managers[MEMORY]) == ("kubectl",)
    assert view.rollout.revision != before.rollout.revision
    assert [pod.actuated["app"].cpu_request for pod in view.pods] == ["50m", "50m"]


async def test_own_fields_are_changed_again_without_force(either):
    cluster, _ = either
    await cluster.apply(change(), force=True)
    await cluster.apply(change(containers={"app": ContainerSize(cpu_request="60m")}))
    assert (await cluster.read(TARGET)).fields[CPU] == "60m"


async def test_restore_gives_values_and_ownership_back(either):
    cluster, settle = either
    before = await cluster.read(TARGET)
    snapshot = await cluster.snapshot(change())
    await cluster.apply(change(), force=True)
    await cluster.restore(snapshot)
    settle(60)
    after = await cluster.read(TARGET)
    assert after.fields == before.fields
    assert tuple(after.field_managers[CPU]) == ("kubectl",)


async def test_a_resized_pod_has_the_size_later_and_the_others_do_not(either):
    cluster, settle = either
    view = await cluster.read(TARGET)
    first, second = (pod.name for pod in view.pods)
    await cluster.resize(TARGET, first, {"app": ContainerSize(cpu_request="50m")})
    assert (await cluster.read(TARGET)).pod(first).wanted["app"].cpu_request == "50m"
    settle(10)
    after = await cluster.read(TARGET)
    assert after.pod(first).actuated["app"].cpu_request == "50m"
    assert after.pod(first).resize.state == "none"
    assert after.pod(second).actuated["app"].cpu_request == "100m"
    assert (after.fields, after.generation) == (view.fields, view.generation)


async def test_a_pod_that_is_not_there_cannot_be_resized_or_evicted(either):
    cluster, _ = either
    with pytest.raises(WorkloadGoneError):
        await cluster.resize(TARGET, "none", {"app": ContainerSize(cpu_request="50m")})
    with pytest.raises(WorkloadGoneError):
        await cluster.evict_dry_run(TARGET, "none")


async def test_without_a_budget_pods_may_be_evicted_and_nothing_is_frozen(either):
    cluster, _ = either
    pod = (await cluster.read(TARGET)).pods[0].name
    assert await cluster.evict_dry_run(TARGET, pod)
    assert await cluster.frozen("shop") is None
    assert pod in [each.name for each in (await cluster.read(TARGET)).pods]
