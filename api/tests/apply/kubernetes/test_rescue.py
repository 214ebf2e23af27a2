"""A workload of which no pod serves, brought back by more memory."""

import pytest
from apply_driver import ApplyRun, change_of, order_of
from simulated_objects import DEPLOYMENTS, deployment
from stepped_cluster import stepped_cluster

from perfopt.domain.enums import OptimizationStatus
from perfopt_api.apply.cluster import WorkloadTarget
from perfopt_api.policy.settings import PolicySettings
from perfopt_api.simulated.kubernetes.workload import Profile

APPLIED, ROLLED_BACK = OptimizationStatus.APPLIED, OptimizationStatus.ROLLED_BACK
MIB = 2**20
STATEFUL_SETS = DEPLOYMENTS.replace("deployments", "statefulsets")
SCRAPE = 15


def target(kind):
    return WorkloadTarget(api_version="apps/v1", kind=kind, namespace="shop", name="checkout")


@pytest.fixture
def cluster(tmp_path, service_account):
    with stepped_cluster(tmp_path, service_account, scrape=SCRAPE) as stepped:
        yield stepped


def out_of_memory(cluster, *, kind="Deployment", replicas=1, needed=300):
    """A workload with a limit of 256Mi that needs more, and is killed for it again and again."""
    body = deployment(replicas=replicas) | {"kind": kind}
    where = DEPLOYMENTS
    if kind == "StatefulSet":
        where, body["spec"] = STATEFUL_SETS, body["spec"] | {"serviceName": "checkout"}
    profile = Profile(memory_bytes=needed * MIB, requests_per_second=lambda _: 200.0, cpu_seconds=0.0005)

    def furnish(simulated):
        simulated.workloads.behave("shop", {"app": "checkout"}, profile)
        simulated.create(where, body)

    cluster.server.run(furnish)
    cluster.advance(200)


def raised(kind="Deployment", *limits, **fields):
    stages = (
        change_of(target(kind), cpu_request="50m", memory_request="200Mi", memory_limit=limit)
        for limit in limits or ("512Mi",)
    )
    return order_of(*stages, force=True, verify_seconds=600, **fields)


def closed(**fields):
    """A policy whose window is not now."""
    return PolicySettings(apply="auto", exchanges=(), windows=("mon 00:00-00:01",), **fields)


def rescue(cluster, order, **settings):
    verifier = cluster.verifier(step_seconds=30, past_days=0.04)
    return ApplyRun(cluster, order, verifier, settings=closed(**{"rescue_anytime": True} | settings))


def messages(run, code):
    return [entry.message for entry in run.entries if entry.code == code]


@pytest.mark.parametrize(
    ("kind", "replicas", "durability"),
    [
        ("Deployment", 1, "template"),
        ("Deployment", 3, "template"),
        ("Deployment", 3, "transient"),
        ("StatefulSet", 3, "template"),
    ],
)
async def test_more_memory_brings_back_pods_that_are_all_down(cluster, kind, replicas, durability):
    out_of_memory(cluster, kind=kind, replicas=replicas)
    change = change_of(
        target(kind), durability=durability, cpu_request="50m", memory_request="200Mi", memory_limit="512Mi"
    )
    run = rescue(cluster, order_of(change, force=True, verify_seconds=600))
    assert await run.finish() is APPLIED, run.now_at.failure
    view = await cluster.read(target(kind))
    assert len(view.pods) == replicas
    assert {(pod.ready, pod.actuated["app"].memory_limit) for pod in view.pods} == {(True, "512Mi")}
    assert view.fields["containers.app.cpu_request"] == "100m"  # decreases never rescue
    (risk,) = messages(run, "rescue")
    there = 1 if kind == "StatefulSet" else replicas  # the next pod is made once the first is ready
    assert f"No pod serves, of {there}" in risk
    assert "policy.rescue_anytime passes over policy.windows." in risk
    assert "Not applied, as it does not raise: containers.app.cpu_request." in risk
    (reason,) = messages(run, "passed")[-1:]
    assert f"{replicas} of {replicas} have been ready for 10 min without a restart or an OOM kill" in reason


async def test_a_rescue_waits_for_the_window_where_policy_does_not_allow_it(cluster):
    out_of_memory(cluster)
    run = rescue(cluster, raised(), rescue_anytime=False)
    while (progress := await run.once()).release_until is None:
        assert progress.status is None
    assert run.now_at.waiting == "policy.windows"


async def test_a_rescue_that_does_not_help_goes_back(cluster):
    out_of_memory(cluster, needed=900)
    run = rescue(cluster, raised(), rollout_minutes=5)
    assert await run.finish() is ROLLED_BACK
    assert run.now_at.failure.code == "oom_killed"
    fields = (await cluster.read(target("Deployment"))).fields
    assert fields["containers.app.memory_limit"] == "256Mi"


async def test_a_step_up_that_is_not_enough_is_followed_by_the_next(cluster):
    out_of_memory(cluster, needed=700)
    run = rescue(cluster, raised("Deployment", "512Mi", "1Gi"))
    assert await run.finish() is APPLIED, run.now_at.failure
    assert "It is raised further." in messages(run, "oom_killed")[0]
    assert {pod.actuated["app"].memory_limit for pod in (await cluster.read(target("Deployment"))).pods} == {
        "1Gi"
    }


async def test_pods_killed_again_within_the_time_go_back(cluster):
    out_of_memory(cluster)
    run = rescue(cluster, raised(), rollout_minutes=5)

    def leak(_):
        if run.now_at.step == "verify":
            profile = Profile(memory_bytes=600 * MIB)
            cluster.server.run(lambda one: one.workloads.behave("shop", {"app": "checkout"}, profile))

    assert await run.finish(before_each=leak) is ROLLED_BACK
    assert run.now_at.failure.code in ("oom_killed", "crash_loop")


async def test_what_lowers_rescues_nothing(cluster):
    out_of_memory(cluster)
    change = change_of(target("Deployment"), cpu_request="50m", memory_request="100Mi")
    run = rescue(cluster, order_of(change, force=True))
    while (progress := await run.once()).release_until is None:
        assert progress.status is None
    assert run.now_at.waiting == "policy.windows"
