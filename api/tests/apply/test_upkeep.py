"""Transient changes stay in force: new pods get the size, others' sizes stay."""

import msgspec
import pytest
from apply_driver import change_of, order_of
from memory_cluster import MemoryCluster, unavailable

from perfopt_api.apply.upkeep import TransientUpkeep
from perfopt_api.store.apply_port import AppliedWorkload, ApplyFacts, Freeze


class InForce:
    """Implements what the upkeep reads of the store."""

    def __init__(self, *changes):
        self.changes = changes
        self.known = ApplyFacts()

    async def facts(self):
        return self.known

    async def in_force(self, *, durability):
        assert durability == "transient"
        return tuple(
            AppliedWorkload(
                job_id="job",
                workload=change.target.key,
                order=msgspec.to_builtins(order_of(change)),
                state={},
            )
            for change in self.changes
        )


def cpu_of(cluster, target):
    return [pod.wanted["app"].cpu_request for pod in cluster.workloads[target.key].pods]


async def test_new_pods_get_the_size_and_those_of_others_stay():
    cluster = MemoryCluster()
    target = cluster.add(replicas=3)
    cluster.edit_pod(target, cluster.workloads[target.key].pods[0].name, "app", cpu_request="3")
    upkeep = TransientUpkeep(InForce(change_of(target, durability="transient")), cluster)
    await upkeep.round()
    assert cpu_of(cluster, target) == ["3", "600m", "600m"]
    cluster.delete_pod(target, cluster.workloads[target.key].pods[1].name)
    assert cpu_of(cluster, target) == ["3", "600m", "1"]
    await upkeep.round()
    assert cpu_of(cluster, target) == ["3", "600m", "600m"]


async def test_no_pod_is_resized_while_its_namespace_is_frozen():
    cluster = MemoryCluster()
    target = cluster.add(replicas=2)
    store = InForce(change_of(target, durability="transient"))
    upkeep = TransientUpkeep(store, cluster)
    store.known = ApplyFacts(freezes=(Freeze(scope="*", reason="incident"),))
    await upkeep.round()
    store.known = ApplyFacts()
    cluster.frozen_namespaces["prod"] = "incident"
    await upkeep.round()
    assert cpu_of(cluster, target) == ["1", "1"]
    cluster.frozen_namespaces.clear()
    await upkeep.round()
    assert cpu_of(cluster, target) == ["600m", "600m"]


async def test_a_workload_that_is_gone_holds_up_no_other():
    cluster = MemoryCluster()
    gone, target = cluster.add("gone"), cluster.add()
    changes = [change_of(each, durability="transient") for each in (gone, target)]
    del cluster.workloads[gone.key]
    await TransientUpkeep(InForce(*changes), cluster).round()
    assert set(cpu_of(cluster, target)) == {"600m"}


async def test_a_cluster_that_is_away_is_tried_again_by_the_supervisor():
    cluster = MemoryCluster()
    target = cluster.add()
    cluster.faults["read"] = [unavailable()]
    with pytest.raises(type(unavailable())):
        await TransientUpkeep(InForce(change_of(target, durability="transient")), cluster).round()
