"""auto_apply from the request to the change, through PostgreSQL and NATS, on a cluster in memory."""

import msgspec
import pytest
from apply_driver import ScriptedVerifier
from memory_cluster import MemoryCluster

from perfopt.domain.enums import OptimizationStatus
from perfopt.domain.request import PerformanceAnalysisRequest
from perfopt_api.apply import runner
from perfopt_api.jobs.applying import Applying
from perfopt_api.policy.settings import PolicySettings
from perfopt_api.store.apply_requests import PostgresApplyRequests

POLICY = PolicySettings(apply="auto", exchanges=(), settle_minutes=0, take_over_from=("kubectl",))


class WallClockCluster(MemoryCluster):
    """A cluster whose clock is the wall's."""

    @property
    def now(self):
        return runner.utc_now()

    @now.setter
    def now(self, _):
        pass


@pytest.fixture
def cluster(monkeypatch):
    held = runner._HeldJob.wait

    async def wait(job, seconds):
        await held(job, min(seconds, 0.1))

    monkeypatch.setattr(runner._HeldJob, "wait", wait)
    cluster = WallClockCluster(resize_seconds=0.05, rollout_seconds=0.05)
    cluster.add("vm-1", cpu_request="500m", memory_request="1Gi")
    return cluster


@pytest.fixture
def analysed(recommendation, result):
    """Answers every request with one recommendation of a confidence."""

    def of(confidence):
        containers = {"containers": {"app": {"cpu_request": "300m", "memory_request": "1Gi"}}}
        made = recommendation(replicas=None, **containers)
        current = made.current_state | {
            "containers": {"app": {"cpu_request": "500m", "memory_request": "1Gi"}}
        }
        claim = msgspec.structs.replace(made.expected_improvement, confidence=confidence)
        valid = runner.utc_now().replace(year=2100)
        made = msgspec.structs.replace(
            made, current_state=current, expected_improvement=claim, valid_until=valid
        )

        async def analyse(_):
            return result(made)

        return analyse

    return of


async def children(api, parent):
    jobs = (await api.store.list_jobs()).items
    return [job for job in jobs if job.parent_job_id == parent]


async def test_what_policy_allows_is_applied_and_verified(
    api, settings, worker, cluster, analysed, eventually
):
    applying = Applying(cluster, ScriptedVerifier(after=0.2), POLICY)
    job = (await api.store.create_job(PerformanceAnalysisRequest(service_name="vm-1", auto_apply=True))).job
    await api.queue.enqueue(job.job_id)
    async with worker(settings, analysed(0.9), applying=applying):

        async def applied():
            found = await children(api, job.job_id)
            return found and found[0].status is OptimizationStatus.APPLIED

        await eventually(applied, within=60.0)
    [target] = [workload.target for workload in cluster.workloads.values()]
    assert cluster.workloads[target.key].fields["containers.app.cpu_request"] == "300m"
    analysis = await api.store.get_job(job.job_id)
    assert analysis.status is OptimizationStatus.RECOMMENDATIONS_READY
    assert [made.applied for made in analysis.recommendations] == [True]
    assert analysis.warnings == ()


async def test_what_policy_denies_is_named_with_its_rule_and_not_applied(
    api, settings, worker, cluster, analysed, eventually
):
    applying = Applying(cluster, ScriptedVerifier(after=0.2), POLICY)
    job = (await api.store.create_job(PerformanceAnalysisRequest(service_name="vm-1", auto_apply=True))).job
    await api.queue.enqueue(job.job_id)
    async with worker(settings, analysed(0.5), applying=applying):

        async def ready():
            return (await api.store.get_job(job.job_id)).status is OptimizationStatus.RECOMMENDATIONS_READY

        await eventually(ready, within=30.0)
    [warning] = (await api.store.get_job(job.job_id)).warnings
    assert warning.code == "not_applied"
    assert "policy.confidence_floor" in warning.message
    assert await children(api, job.job_id) == []
    assert cluster.writes == []


async def test_an_analysis_whose_worker_was_lost_before_it_was_applied_is_applied_once(
    api, settings, worker, cluster, analysed, eventually
):
    job = (await api.store.create_job(PerformanceAnalysisRequest(service_name="vm-1", auto_apply=True))).job
    await api.queue.enqueue(job.job_id)
    async with worker(settings, analysed(0.9)):  # as if it had been lost: it applies nothing

        async def ready():
            return (await api.store.get_job(job.job_id)).status is OptimizationStatus.RECOMMENDATIONS_READY

        await eventually(ready, within=30.0)
    applying = Applying(cluster, ScriptedVerifier(after=0.2), POLICY)
    requests = PostgresApplyRequests(api.backends.database)
    assert await requests.unapplied_analyses() == (job.job_id,)
    sweep = applying.auto_sweep(api.backends, settings)
    await sweep.round()
    await sweep.round()
    assert await requests.unapplied_analyses() == ()
    assert len(await children(api, job.job_id)) == 1
