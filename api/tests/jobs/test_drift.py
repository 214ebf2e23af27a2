"""What is applied is watched between two analyses."""

from dataclasses import replace
from datetime import timedelta

import msgspec
import numpy as np
import pytest

from perfopt.domain.enums import OptimizationType
from perfopt.domain.workload import Container, WorkloadId, WorkloadState
from perfopt.errors import NoDataError
from perfopt.sources.base import FailedSnapshot
from perfopt.testing import make_snapshot
from perfopt_api.jobs.drift import DriftWatch, samples_of
from perfopt_api.store.apply_port import AppliedWorkload

MIB = 2**20


def snapshot(name, cpu=0.5, memory=500 * MIB, **more):
    container = Container(name="main", cpu_request_cores=1.0, memory_request_bytes=1000 * MIB)
    values = {"cpu_cores": [cpu] * 2, "memory_bytes": [memory] * 2, **more}
    made = make_snapshot({"main": values}, state=WorkloadState(containers=(container,)), name=name)
    identity = WorkloadId(namespace="shop", kind="Deployment", name=name)
    workload = msgspec.structs.replace(made.workload, id=identity)
    return workload, replace(made, workload=workload)


class Source:
    """Holds snapshots; an error in place of one fails that workload."""

    def __init__(self, **held):
        self.held = {name: (workload, found) for name, (workload, found) in held.items()}
        self.asked = []

    async def latest(self):
        return next(iter(self.held.values()))[1].grid.end

    async def inventory(self, _at):
        return tuple(workload for workload, _ in self.held.values())

    async def snapshots(self, workloads, start, end, _metrics):
        self.asked.append(([one.service_name for one in workloads], end - start))
        for workload in workloads:
            found = self.held[workload.service_name][1]
            yield found if not isinstance(found, Exception) else FailedSnapshot(workload, found)


class Applied:
    def __init__(self, *names):
        self.names = names

    async def in_force(self):
        return tuple(
            AppliedWorkload(job_id="job", workload=f"shop/deployment/{name}", order={}, state={})
            for name in self.names
        )


@pytest.fixture
def look():
    async def run(source, *applied):
        asked = []

        async def opened(_name):
            return source

        async def ask(request, key):
            asked.append((request, key))

        await DriftWatch(Applied(*applied), opened, ask, pause_seconds=60.0).round()
        return asked

    return run


async def test_a_workload_that_drifted_is_analysed_again_and_applied_as_policy_allows(look):
    source = Source(calm=snapshot("calm"), busy=snapshot("busy", cpu=1.2))
    ((request, key),) = await look(source, "calm", "busy")
    assert request.service_name == "shop/deployment/busy"
    assert request.optimization_types == (OptimizationType.RESOURCE_OPTIMIZATION,)
    assert request.auto_apply
    assert key.startswith("shop/deployment/busy/")
    assert source.asked[0][1] == timedelta(minutes=10)


async def test_workloads_without_an_applied_change_are_not_read(look):
    source = Source(busy=snapshot("busy", cpu=5.0))
    assert await look(source) == []
    assert source.asked == []
    assert await look(source, "other") == []
    assert source.asked[0][0] == []


async def test_a_workload_that_cannot_be_read_hides_no_other(look):
    workload, found = snapshot("busy", memory=990 * MIB)
    source = Source(busy=(workload, found), gone=(snapshot("gone")[0], NoDataError("nothing")))
    assert [request.service_name for request, _ in await look(source, "gone", "busy")] == [
        "shop/deployment/busy"
    ]


def test_the_last_sample_counts_and_a_kill_anywhere():
    _, found = snapshot(
        "svc", oom_kills=[1.0, 0.0], cpu_throttled_fraction=[0.9, 0.05], working=[1.0, np.nan]
    )
    sample = samples_of(found)["main"]
    assert (sample.cpu_cores, sample.memory_bytes) == (0.5, 500 * MIB)
    assert sample.oom_killed
    assert not sample.throttled
    assert samples_of(snapshot("svc", cpu_throttled_fraction=[0.0, 0.06])[1])["main"].throttled
