"""A change without a service: its file holds all that another process needs to go on."""

import asyncio
from datetime import UTC, datetime

import msgspec
import pytest
from apply_driver import ScriptedVerifier, change_of, order_of
from memory_cluster import MemoryCluster

from perfopt.domain.enums import OptimizationStatus
from perfopt.errors import InvalidInputError
from perfopt.testing import make_recommendation
from perfopt_api.apply.filestore import FileApplies, FileJob
from perfopt_api.apply.order import new_apply
from perfopt_api.jobs.applying import Applying
from perfopt_api.policy.settings import PolicySettings

SETTINGS = PolicySettings(
    apply="manual", exchanges=(), settle_minutes=0, ramp_minutes=0, take_over_from=("kubectl",)
)


class LiveCluster(MemoryCluster):
    """A cluster in memory in which resizes and rollouts are done at once; it runs with the clock."""

    def __init__(self):
        super().__init__(resize_seconds=0.01, rollout_seconds=0.05)

    async def read(self, target):
        self.advance((datetime.now(UTC) - self.now).total_seconds())
        return await super().read(target)


class OnlyCanaries(ScriptedVerifier):
    """Passes canaries, and never a whole workload."""

    async def look(self, change, canary_pods, since, until, *, horizon):
        looked = await super().look(change, canary_pods, since, until, horizon=horizon)
        return looked if canary_pods else msgspec.structs.replace(looked, verdict="inconclusive")


@pytest.fixture
def cluster():
    return LiveCluster()


@pytest.fixture
def target(cluster):
    return cluster.add()


@pytest.fixture
def begin(tmp_path, target):
    """Writes the file of a new job."""

    def write(show=lambda _: None):
        order = order_of(change_of(target))
        new = new_apply(order, make_recommendation(), "", requester="ann", reason="test")
        job = FileJob(job_id="job", new=new, created_at=datetime.now(UTC), step=new.step, state=new.state)
        return FileApplies(tmp_path / "state", job, show)

    return write


async def work(cluster, store, verifier=None, until=lambda: False):
    """Works on the job until it has ended, or as a process that is then killed."""
    verifier = verifier or ScriptedVerifier(after=0.0)
    ended = asyncio.Event()

    async def finished(_):
        ended.set()

    runner = Applying(cluster, verifier, SETTINGS, look_seconds=0.05).runner_on(store, finished)
    async with asyncio.timeout(30):
        while not ended.is_set() and not until():
            await runner.round()
            await asyncio.sleep(0.02)
    await runner.stop()


def cpu_of(cluster, target):
    return cluster.workloads[target.key].fields["containers.app.cpu_request"]


async def test_a_change_is_applied_and_shown_step_by_step(cluster, target, begin):
    shown = []
    store = begin(shown.append)
    await work(cluster, store)
    assert store.job.status is OptimizationStatus.APPLIED, store.job.error
    assert cpu_of(cluster, target) == "600m"
    assert [entry.code for entry in shown] == [entry.code for entry in store.job.entries]
    assert store.job.started_at is not None


async def test_another_process_goes_on_from_the_file(cluster, target, begin, tmp_path):
    store = begin()
    never = ScriptedVerifier(after=1e9)
    await work(cluster, store, never, until=lambda: store.job.step == "observe")
    again = FileApplies.read(tmp_path / "state", lambda _: None)
    assert again.job.step == "observe"
    assert again.job.snapshot["fields"] == store.job.snapshot["fields"]
    await work(cluster, again)
    assert again.job.status is OptimizationStatus.APPLIED
    assert cpu_of(cluster, target) == "600m"
    assert FileApplies.read(tmp_path / "state", lambda _: None).job.status is OptimizationStatus.APPLIED


async def test_it_is_taken_back_on_request(cluster, target, begin):
    store = begin()
    asked = False

    def ask():
        nonlocal asked
        if store.job.step == "verify" and not asked:
            asked = True
            store.ask("rollback")
        return False

    await work(cluster, store, OnlyCanaries(after=0.0), until=ask)
    assert store.job.status is OptimizationStatus.ROLLED_BACK
    assert store.job.error.code == "rollback_requested"
    assert cpu_of(cluster, target) == "1"


async def test_a_rollback_that_comes_with_the_last_step_is_not_lost(cluster, tmp_path, begin, monkeypatch):
    store = begin()
    finish = store.finish_apply

    async def asked_meanwhile(claim, end, *given, **further):
        if end.status is OptimizationStatus.APPLIED:
            store.ask("rollback")
        return await finish(claim, end, *given, **further)

    monkeypatch.setattr(store, "finish_apply", asked_meanwhile)
    await work(cluster, store, ScriptedVerifier(after=0.0))
    assert store.job.status is OptimizationStatus.ROLLED_BACK


def test_a_file_that_is_none_is_named(tmp_path):
    path = tmp_path / "state"
    for text in (None, "{}", "no json"):
        if text is not None:
            path.write_text(text)
        with pytest.raises(InvalidInputError, match="is no state of a change"):
            FileApplies.read(path, lambda _: None)
