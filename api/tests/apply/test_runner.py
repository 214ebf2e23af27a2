"""Apply jobs in PostgreSQL, worked on by runners, on a cluster in memory."""

import asyncio
import contextlib
import time
from datetime import UTC, datetime

import msgspec
import pytest
from apply_driver import ScriptedVerifier, change_of, order_of
from memory_cluster import MemoryCluster
from sqlalchemy import select

from perfopt.domain.enums import OptimizationStatus, OptimizationType
from perfopt_api.apply import runner
from perfopt_api.apply.context import ApplyTools
from perfopt_api.apply.gates import Gates
from perfopt_api.apply.machine import ApplyMachine
from perfopt_api.apply.runner import ApplyRunner
from perfopt_api.apply.state import ApplyState
from perfopt_api.policy import history
from perfopt_api.policy.facts import PolicyClock
from perfopt_api.policy.settings import PolicySettings
from perfopt_api.store.applies import PostgresApplies
from perfopt_api.store.apply_port import NewApply
from perfopt_api.store.apply_requests import PostgresApplyRequests
from perfopt_api.store.apply_tables import applies
from perfopt_api.store.database import Database
from perfopt_api.store.tables import jobs
from perfopt_api.supervision import TaskSupervisor

OPEN = PolicySettings(
    take_over_from=("kubectl",),
    apply="auto",
    exchanges=(),
    settle_minutes=0,
    max_in_flight=1000,
    max_in_flight_namespace=1000,
    max_per_hour=1000,
    max_per_hour_namespace=1000,
    resize_seconds=3600,
)


class RealTimeCluster(MemoryCluster):
    """A cluster whose clock is the wall's."""

    @property
    def now(self):
        return datetime.now(UTC)

    @now.setter
    def now(self, _):
        pass


@pytest.fixture
def quick(monkeypatch):
    """Has jobs look and wait for hundredths of a second."""
    monkeypatch.setattr(history, "_SOON", history._SOON / 6)
    monkeypatch.setattr(runner, "_SOON", runner._SOON / 6)
    held = runner._HeldJob.wait

    async def wait(job, seconds):
        await held(job, min(seconds, 0.1))

    monkeypatch.setattr(runner._HeldJob, "wait", wait)


@pytest.fixture
def cluster():
    return RealTimeCluster(resize_seconds=0.02, rollout_seconds=0.02)


@pytest.fixture
def requests(database):
    return PostgresApplyRequests(database)


def new_runner(database, cluster, verifier, settings=OPEN, lease_seconds=5.0):
    store = PostgresApplies(database)
    gates = Gates(cluster, verifier, settings, store.facts, lambda now: PolicyClock(now=now))
    machine = ApplyMachine(ApplyTools(cluster, verifier, gates, settings, look_seconds=0.1))

    async def finished(_):
        pass

    return ApplyRunner(store, machine, finished, lease_seconds=lease_seconds, pause_seconds=0.1)


@contextlib.asynccontextmanager
async def running(*runners):
    async with TaskSupervisor(runners).running():
        yield
    for each in runners:
        await each.stop()


async def ordered(requests, target, number=0, **fields):
    order = order_of(change_of(target), **fields)
    new = NewApply(
        parent_job_id="parent",
        service_name=target.name,
        optimization_types=(OptimizationType.RESOURCE_OPTIMIZATION,),
        recommendation_ids=(f"opt_{target.name}_{number}",),
        order=msgspec.to_builtins(order),
        state=msgspec.to_builtins(ApplyState()),
        step="preflight",
        workload=target.key,
        namespace=target.namespace,
        requester="ann",
    )
    return (await requests.create_apply(new)).job.job_id


async def statuses(database):
    async with database.transaction() as connection:
        rows = (await connection.execute(select(jobs.c.job_id, jobs.c.status))).all()
    return {row.job_id: row.status for row in rows}


async def all_ended(database, within=120.0):
    deadline = time.monotonic() + within
    while True:
        found = await statuses(database)
        if OptimizationStatus.APPLYING not in found.values():
            return found
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.1)


@pytest.mark.usefixtures("quick")
async def test_a_job_is_applied_with_its_course_in_the_timeline(database, requests, cluster):
    target = cluster.add()
    job_id = await ordered(requests, target)
    async with running(new_runner(database, cluster, ScriptedVerifier(after=0.2))):
        assert await all_ended(database) == {job_id: "APPLIED"}
    codes = [entry.code for entry in await requests.timeline(job_id)]
    assert codes == [
        "passed",
        "taken",
        "passed",
        "passed",
        "chosen",
        "resized",
        "running",
        "passed",
        "applied",
        "complete",
        "passed",
    ]
    assert any(entry.commands for entry in await requests.timeline(job_id))


@pytest.mark.usefixtures("quick")
async def test_a_message_has_a_job_that_is_worked_on_hear_at_once_what_was_asked(database, requests, cluster):
    job_id = await ordered(requests, cluster.add())
    worker = new_runner(database, cluster, ScriptedVerifier(after=1000), lease_seconds=600.0)
    async with running(worker):
        deadline = time.monotonic() + 30
        while not cluster.writes:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        await requests.restore("prod", principal="bob", reason="pager")
        worker.wake("another")
        worker.wake(job_id)  # by the renewal of its lease it would hear after 200 s
        assert (await all_ended(database, within=30.0))[job_id] == "ROLLED_BACK"


@pytest.mark.usefixtures("quick")
async def test_a_stopped_worker_s_job_is_taken_to_its_end_by_another(database, requests, cluster):
    target = cluster.add()
    job_id = await ordered(requests, target)
    async with running(new_runner(database, cluster, ScriptedVerifier(after=1000))):
        deadline = time.monotonic() + 30
        while not cluster.writes:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
    assert (await statuses(database))[job_id] == "APPLYING"
    async with running(new_runner(database, cluster, ScriptedVerifier(after=0.2))):
        assert (await all_ended(database))[job_id] == "APPLIED"
    assert [operation for operation, _ in cluster.writes] == ["resize", "apply"]


@pytest.mark.usefixtures("quick")
async def test_a_rollback_that_is_asked_for_reaches_a_job_that_is_worked_on(database, requests, cluster):
    target = cluster.add()
    job_id = await ordered(requests, target)
    async with running(new_runner(database, cluster, ScriptedVerifier(after=1000), lease_seconds=1.0)):
        deadline = time.monotonic() + 30
        while not cluster.writes:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        await requests.ask(job_id, "rollback", principal="bob", reason="pager")
        assert (await all_ended(database))[job_id] == "ROLLED_BACK"
        await asyncio.sleep(0)
    assert {pod.wanted["app"].cpu_request for pod in cluster.workloads[target.key].pods} == {"1"}


@pytest.mark.usefixtures("quick")
async def test_two_workers_change_200_workloads_under_caps_and_none_twice(database, database_url, cluster):
    requests = PostgresApplyRequests(database)
    targets = [cluster.add(f"api-{number}", replicas=2) for number in range(200)]
    for target in targets:
        await ordered(requests, target)
    again = await ordered(requests, targets[0], number=1)  # a second change of the same workload
    settings = msgspec.structs.replace(OPEN, max_in_flight=20, cooldown_minutes=0, ramp_minutes=0)
    second = Database(database_url)
    pair = [
        new_runner(one, cluster, ScriptedVerifier(after=0.1), settings, 30.0) for one in (database, second)
    ]
    try:
        async with running(*pair):
            found = await all_ended(database, within=400.0)
    finally:
        await second.close()
    assert sorted(found.values()).count("APPLIED") >= 200
    assert found[again] in ("APPLIED", "FAILED")
    changed = [change.target.name for operation, change in cluster.writes if operation == "apply"]
    assert sorted(changed) == sorted(target.name for target in targets)
    async with database.transaction() as connection:
        rows = (await connection.execute(select(applies.c.started_at, applies.c.ended_at))).all()
    instants = [(row.started_at, 1) for row in rows if row.started_at] + [
        (row.ended_at, -1) for row in rows if row.started_at
    ]
    at_once = peak = 0
    for _, step in sorted(instants, key=lambda pair: (pair[0], pair[1])):
        at_once += step
        peak = max(peak, at_once)
    assert peak <= 20
