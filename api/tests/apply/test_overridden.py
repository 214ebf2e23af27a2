"""What was applied and changed by somebody later is no longer in force."""

from datetime import UTC, datetime

import msgspec
import pytest
from apply_driver import change_of, order_of
from memory_cluster import MemoryCluster, unavailable

from perfopt_api.apply.overridden import AppliedWatch
from perfopt_api.apply.refusals import ClusterUnavailableError
from perfopt_api.store.apply_port import AppliedWorkload

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


class InForce:
    """Implements what the watch needs of the store."""

    def __init__(self, *changes, shows_noted=False):
        self.shows_noted = shows_noted
        self.changes = [
            AppliedWorkload(
                job_id=change.target.name,
                workload=change.target.key,
                order=msgspec.to_builtins(order_of(change)),
                state={},
            )
            for change in changes
        ]
        self.noted = {}

    async def in_force(self):
        return tuple(each for each in self.changes if self.shows_noted or each.job_id not in self.noted)

    async def note_overridden(self, applied, entry):
        self.noted[applied.job_id] = entry


@pytest.fixture
def cluster():
    return MemoryCluster()


async def applied(cluster, *names):
    changes = [change_of(cluster.add(name)) for name in names]
    for change in changes:
        await cluster.apply(change, force=True)
    return changes


async def test_only_what_somebody_changed_is_no_longer_in_force(cluster):
    kept, edited = await applied(cluster, "kept", "edited")
    store = InForce(kept, edited)
    watch = AppliedWatch(store, cluster, lambda: NOW)
    await watch.round()
    assert store.noted == {}
    cluster.edit(edited.target, "containers.app.cpu_request", "900m")
    await watch.round()
    assert set(store.noted) == {"edited"}
    entry = store.noted["edited"]
    assert (entry.code, entry.data) == ("overridden", {"containers.app.cpu_request": "900m"})
    assert "cpu_request is 900m" in entry.message


async def test_a_workload_that_is_gone_has_nothing_in_force(cluster):
    (change,) = await applied(cluster, "gone")
    del cluster.workloads[change.target.key]
    store = InForce(change)
    await AppliedWatch(store, cluster, lambda: NOW).round()
    assert store.noted["gone"].code == "workload_gone"


async def test_rounds_go_on_where_the_last_ended(cluster):
    changes = await applied(cluster, "a", "b", "c")
    for change in changes:
        cluster.edit(change.target, "containers.app.cpu_request", "900m")
    store = InForce(*changes, shows_noted=True)
    watch = AppliedWatch(store, cluster, lambda: NOW, per_round=2)
    await watch.round()
    assert set(store.noted) == {"a", "b"}
    await watch.round()
    assert set(store.noted) == {"a", "b", "c"}


async def test_a_cluster_that_is_away_changes_nothing(cluster):
    (change,) = await applied(cluster, "web")
    store = InForce(change)
    cluster.faults["read"] = [unavailable()]
    with pytest.raises(ClusterUnavailableError):
        await AppliedWatch(store, cluster, lambda: NOW).round()
    assert store.noted == {}
