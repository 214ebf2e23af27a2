"""Whatever happens in whatever order, an apply job ends with the cluster in the matching state."""

import asyncio
from datetime import timedelta

import msgspec
import pytest
from apply_driver import ApplyRun, ScriptedVerifier, change_of, order_of
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_cluster import Killed, MemoryCluster, not_in_place, refused, unavailable

from perfopt.domain.enums import OptimizationStatus
from perfopt_api.apply.cluster import FIELD_MANAGER
from perfopt_api.apply.refusals import FieldConflictError
from perfopt_api.apply.upkeep import TransientUpkeep
from perfopt_api.policy.settings import PolicySettings
from perfopt_api.store.apply_port import AppliedWorkload, ApplyFacts

APPLIED, FAILED, ROLLED_BACK = (
    OptimizationStatus.APPLIED,
    OptimizationStatus.FAILED,
    OptimizationStatus.ROLLED_BACK,
)
OLD = {"containers.app.cpu_request": "1", "containers.app.memory_request": "1Gi"}
NEW = {"containers.app.cpu_request": "600m", "containers.app.memory_request": "700Mi"}
THEIRS = "1500m"


def fields_of(cluster, target):
    fields = cluster.workloads[target.key].fields
    return {path: fields.get(path) for path in OLD}


def check_matches(cluster, target, run, edited):
    """Asserts that fields and pods are what the job's status says."""
    cluster.faults, cluster.kill_at, cluster.resizing = {}, set(), "none"
    recover(cluster, target)
    cluster.advance(600)
    found = fields_of(cluster, target)
    wanted = NEW if run.status is APPLIED and not run.order_is_transient else OLD
    for path, value in found.items():
        theirs = edited.get(path)
        assert value == (theirs or wanted[path]), (run.status, path, value, run.codes)
        if run.status is not APPLIED and value == OLD[path]:
            assert FIELD_MANAGER not in cluster.workloads[target.key].managers[path]
    size = "600m" if run.status is APPLIED else edited.get("containers.app.cpu_request", "1")
    for pod in cluster.workloads[target.key].pods:
        if pod.name not in edited.get("pods", ()):
            assert pod.wanted["app"].cpu_request == size, (run.status, pod.name, run.codes)
            assert pod.actuated == pod.wanted


def new_run(*, mode="canary", durability="template", verdict="passed", staged=False):
    cluster = MemoryCluster()
    target = cluster.add()
    last = change_of(target, durability=durability)
    stages = (change_of(target, durability=durability, cpu_request="800m"), last) if staged else (last,)
    until = cluster.now + timedelta(hours=6)  # pods that never get ready hold a change back until then
    order = order_of(*stages, mode=mode, valid_until=until)
    run = ApplyRun(cluster, order, ScriptedVerifier(verdict=verdict))
    return cluster, target, run


@pytest.mark.parametrize("verdict", ["passed", "failed"])
@pytest.mark.parametrize(
    ("mode", "durability", "staged"),
    [
        ("canary", "template", False),
        ("direct", "template", False),
        ("canary", "transient", False),
        ("canary", "template", True),
    ],
)
async def test_killed_at_any_call_it_resumes_to_the_right_end(mode, durability, staged, verdict):
    cluster, _, run = new_run(mode=mode, durability=durability, verdict=verdict, staged=staged)
    expected = await run.finish()
    for number in range(1, cluster.calls + 1):
        cluster, target, run = new_run(mode=mode, durability=durability, verdict=verdict, staged=staged)
        cluster.kill_at = {number}
        assert await run.finish() is expected, number
        check_matches(cluster, target, run, {})


def fault(name, make):
    """Returns what makes the next call of a kind fail."""

    def happen(cluster, *_):
        cluster.faults.setdefault(name, []).append(make())

    return happen


def kill(cluster, *_):
    cluster.kill_at.add(cluster.calls + 1)


def refuse_in_place(cluster, _, run, __):
    cluster.faults.setdefault("resize", []).append(not_in_place(rollout=not run.order_is_transient))


def edit(cluster, target, _, edited):
    cluster.edit(target, "containers.app.cpu_request", THEIRS)
    edited["containers.app.cpu_request"] = THEIRS


def edit_memory(cluster, target, _, edited):
    cluster.edit(target, "containers.app.memory_request", "1500Mi", manager="helm")
    edited["containers.app.memory_request"] = "1500Mi"


def scale(cluster, target, *_):
    cluster.edit(target, "replicas", 7, manager="hpa")


def run_out_of_memory(cluster, target, *_):
    cluster.workloads[target.key].usage = {"app": 2 * 2**30}


def stick(cluster, target, *_):
    cluster.workloads[target.key].stuck = True


def recover(cluster, target, *_):
    cluster.workloads[target.key].usage = {}
    cluster.workloads[target.key].stuck = False


def conflicting():
    return FieldConflictError("Owned by helm.", managers=["helm"], fields=["containers.app.cpu_request"])


def edit_pod(cluster, target, _, edited):
    pod = cluster.workloads[target.key].pods[0]
    cluster.edit_pod(target, pod.name, "app", cpu_request=THEIRS, memory_request="1Gi")
    edited.setdefault("pods", set()).add(pod.name)


def delete_pod(cluster, target, *_):
    cluster.delete_pod(target, cluster.workloads[target.key].pods[0].name)


def harm(_, __, run, ___):
    run.verifier.verdict = "failed"


def wish(name):
    """Returns what asks for something."""

    def happen(_, __, run, ___):
        run.claim["wish"] = name

    return happen


def defer(cluster, *_):
    cluster.resizing = "deferred"


def wait(cluster, *_):
    cluster.advance(30)
    cluster.resizing = "none"


class OneInForce:
    """Implements what the upkeep reads of the store: one change."""

    def __init__(self, order):
        self.order = msgspec.json.decode(order)

    async def in_force(self, *, durability):
        return (AppliedWorkload(job_id="job", workload="w", order=self.order, state={}),)

    async def facts(self):
        return ApplyFacts()


COURSES = {
    "kill": kill,
    "kill_after_write": fault("any!", Killed),
    "unavailable": fault("any", unavailable),
    "timeout_after_write": fault("any!", unavailable),
    "refused": fault("apply", refused),
    "conflict": fault("apply", conflicting),
    "conflict_going_back": fault("restore", conflicting),
    "rollback_unavailable": fault("restore", unavailable),
    "out_of_memory": run_out_of_memory,
    "stuck_rollout": stick,
    "recover": recover,
    "edit_memory": edit_memory,
    "scale": scale,
    "not_in_place": refuse_in_place,
    "edit": edit,
    "edit_pod": edit_pod,
    "delete_pod": delete_pod,
    "harm": harm,
    "cancel": wish("cancel"),
    "rollback": wish("rollback"),
    "deferred": defer,
    "wait": wait,
}


@settings(max_examples=200, deadline=None)
@given(
    happened=st.dictionaries(st.integers(0, 60), st.sampled_from(sorted(COURSES)), max_size=8),
    mode=st.sampled_from(["canary", "direct"]),
    durability=st.sampled_from(["template", "transient"]),
    verdict=st.sampled_from(["passed", "failed", "inconclusive"]),
    staged=st.booleans(),
)
def test_any_course_ends_with_the_cluster_in_the_matching_state(happened, mode, durability, verdict, staged):
    cluster, target, run = new_run(mode=mode, durability=durability, verdict=verdict, staged=staged)
    edited = {}

    def happen(number):
        if number in happened:
            COURSES[happened[number]](cluster, target, run, edited)

    asyncio.run(run.finish(before_each=happen))
    assert run.status in (APPLIED, FAILED, ROLLED_BACK)
    if run.status is APPLIED and edited:
        return  # edited after the last look, or a pod that was not changed
    if run.status is APPLIED and run.order_is_transient:  # pods that came late are resized beside the job
        cluster.faults, cluster.kill_at = {}, set()
        asyncio.run(TransientUpkeep(OneInForce(run.order), cluster).round())
    check_matches(cluster, target, run, edited)


def need_more(cluster, target, *_):
    cluster.workloads[target.key].usage = {"app": 4 * 2**30}


RESCUE_COURSES = {
    name: happen
    for name, happen in COURSES.items()
    if not name.startswith("edit") and name not in ("recover", "out_of_memory", "delete_pod", "harm")
} | {"need_more": need_more}


@settings(max_examples=200, deadline=None)
@given(
    happened=st.dictionaries(st.integers(0, 40), st.sampled_from(sorted(RESCUE_COURSES)), max_size=6),
    durability=st.sampled_from(["template", "transient"]),
    staged=st.booleans(),
)
def test_any_course_of_a_rescue_ends_with_the_cluster_in_the_matching_state(happened, durability, staged):
    cluster = MemoryCluster()
    target = cluster.add()
    workload = cluster.workloads[target.key]
    workload.usage = {"app": 3 * 2**29}
    cluster.advance(1)  # every pod is killed
    limits = ("1200Mi", "2Gi") if staged else ("2Gi",)
    sizes = ({"cpu_request": "500m", "memory_request": limit, "memory_limit": limit} for limit in limits)
    stages = [change_of(target, durability=durability, **size) for size in sizes]
    order = order_of(*stages, valid_until=cluster.now + timedelta(hours=6))
    policy = PolicySettings(
        apply="auto", exchanges=(), take_over_from=("kubectl",), rollout_minutes=5, verify_minutes=5
    )
    run = ApplyRun(cluster, order, settings=policy)

    def happen(number):
        if number in happened:
            RESCUE_COURSES[happened[number]](cluster, target, run, {})

    asyncio.run(run.finish(before_each=happen))
    cluster.faults, cluster.kill_at, cluster.resizing, workload.stuck = {}, set(), "none", False
    cluster.advance(600)
    applied = run.status is APPLIED
    assert workload.fields["containers.app.cpu_request"] == "1"
    in_template = "2Gi" if applied and durability == "template" else "1Gi"
    assert workload.fields["containers.app.memory_limit"] == in_template, run.codes
    running = {pod.actuated["app"].memory_limit for pod in workload.pods}
    assert running == {"2Gi" if applied else "1Gi"}, (run.status, run.codes)
