"""A CronJob is changed at once, and verified by its next run, whenever that comes."""

from datetime import timedelta

import pytest
from apply_driver import ApplyRun, change_of, order_of
from stepped_cluster import stepped_cluster

from perfopt.domain.enums import OptimizationStatus
from perfopt.domain.period import format_instant
from perfopt_api.apply.cluster import WorkloadTarget
from perfopt_api.policy.settings import PolicySettings
from perfopt_api.simulated.kubernetes.access import ADMIN
from perfopt_api.simulated.kubernetes.http import Request
from perfopt_api.simulated.kubernetes.workload import Profile

APPLIED, ROLLED_BACK = OptimizationStatus.APPLIED, OptimizationStatus.ROLLED_BACK
TARGET = WorkloadTarget(api_version="batch/v1", kind="CronJob", namespace="shop", name="report")
CRON_JOBS = "/apis/batch/v1/namespaces/shop/cronjobs"
MIB = 2**20
HOUR = 3600


@pytest.fixture
def cluster(tmp_path, service_account):
    with stepped_cluster(tmp_path, service_account, scrape=60) as stepped:
        yield stepped


def add(cluster, *, needed=100, schedule="30 * * * *", policy="Never", **spec):
    """A CronJob that runs every hour, and has run twice."""
    sizes = {"requests": {"cpu": "1", "memory": "256Mi"}, "limits": {"memory": "256Mi"}}
    container = {"name": "app", "image": "registry.example/report:1", "resources": sizes}
    pod = {"restartPolicy": policy, "containers": [container]}
    template = {"metadata": {"labels": {"app": "report"}}, "spec": pod}
    body = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "report"}}
    body["spec"] = {"schedule": schedule, "jobTemplate": {"spec": {"template": template}}} | spec

    def furnish(simulated):
        simulated.workloads.behave("shop", {"app": "report"}, Profile(memory_bytes=needed * MIB))
        simulated.create(CRON_JOBS, body)

    cluster.server.run(furnish)
    cluster.scrape = 600
    cluster.advance(2 * HOUR + 60)


def lowered(memory="200Mi", **fields):
    change = change_of(TARGET, cpu_request="500m", memory_request=memory, memory_limit=memory)
    return order_of(change, force=True, **fields)


def run_of(cluster, order, **settings):
    class Peaks:
        """Of memory, as a Prometheus has them of earlier runs."""

        async def memory_peaks(self, target):
            return {"app": 100 * MIB}

    policy = PolicySettings(apply="auto", exchanges=(), **settings)
    return ApplyRun(cluster, order, Peaks(), settings=policy)


async def limits(cluster):
    return (await cluster.read(TARGET)).fields["containers.app.memory_limit"]


async def test_the_next_run_verifies_it(cluster):
    add(cluster)
    due = (await cluster.read(TARGET)).next_run_at
    run = run_of(cluster, lowered())
    assert await run.finish() is APPLIED, run.now_at.failure
    complete = next(entry for entry in run.entries if entry.code == "complete")
    assert f"the next run is due {format_instant(due)}" in complete.message
    assert f"by {format_instant(due + timedelta(minutes=60))} at the latest" in complete.message
    assert due <= cluster.now <= due + timedelta(minutes=5)
    assert run.entries[-1].message.startswith("The run report-")
    assert "succeeded without an OOM kill in" in run.entries[-1].message
    assert await limits(cluster) == "200Mi"


@pytest.mark.parametrize("policy", ["Never", "OnFailure"])
async def test_a_run_that_is_killed_takes_it_back(cluster, policy):
    add(cluster, policy=policy)
    run = run_of(cluster, lowered())

    def grow(_):
        if run.now_at.step == "verify":
            profile = Profile(memory_bytes=220 * MIB)
            cluster.server.run(lambda one: one.workloads.behave("shop", {"app": "report"}, profile))

    assert await run.finish(before_each=grow) is ROLLED_BACK
    assert run.now_at.failure.code == "oom_killed"
    assert await limits(cluster) == "256Mi"


async def test_where_no_run_comes_it_is_inconclusive(cluster):
    add(cluster)
    run = run_of(cluster, lowered())

    def suspend(_):
        if run.now_at.step == "verify":
            request = Request.of(
                "PATCH",
                f"{CRON_JOBS}/report",
                {"Content-Type": "application/merge-patch+json"},
                {"spec": {"suspend": True}},
            )
            cluster.server.run(lambda one: one.api.handle(request, ADMIN))

    begun = cluster.now
    assert await run.finish(before_each=suspend) is ROLLED_BACK
    assert run.now_at.failure.code == "inconclusive"
    assert "No run came by" in run.now_at.failure.message
    assert "extended" in run.codes
    assert cluster.now - begun < timedelta(hours=10)
    assert await limits(cluster) == "256Mi"


async def test_a_suspended_one_waits(cluster):
    add(cluster, suspend=True)
    run = run_of(cluster, lowered())
    while (progress := await run.once()).release_until is None:
        assert progress.status is None
    assert run.now_at.waiting == "gates.suspended"


async def test_a_run_that_began_before_the_change_tells_nothing(cluster):
    add(cluster)
    before = await cluster.read(TARGET)
    assert [one.state for one in before.runs] == ["succeeded", "succeeded"]
    cluster.advance((before.next_run_at - cluster.now).total_seconds())
    assert len((await cluster.read(TARGET)).runs) == 3
    run = run_of(cluster, lowered())
    assert await run.finish() is APPLIED
    assert cluster.now > before.next_run_at + timedelta(minutes=55)
