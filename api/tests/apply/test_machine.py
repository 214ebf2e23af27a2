"""The course of an apply job on a cluster in memory: the good one, and each way in which it goes back."""

from datetime import timedelta

import pytest
from apply_driver import NEW, OLD, ApplyRun, ScriptedVerifier, change_of, order_of, pod_sizes, sizes
from memory_cluster import MemoryCluster, not_in_place, refused, unavailable

from perfopt.domain.enums import OptimizationStatus
from perfopt_api.apply.cluster import Finding
from perfopt_api.apply.refusals import FieldConflictError, ReadRefusedError
from perfopt_api.policy.settings import PolicySettings

APPLIED, FAILED, ROLLED_BACK = (
    OptimizationStatus.APPLIED,
    OptimizationStatus.FAILED,
    OptimizationStatus.ROLLED_BACK,
)


async def test_a_good_change_goes_through_a_canary_to_all_pods(cluster, target):
    run = ApplyRun(cluster, order_of(change_of(target)))
    assert await run.finish() is APPLIED
    assert sizes(cluster, target) == NEW
    assert pod_sizes(cluster, target) == {("600m", "600m")}
    assert [
        code for code in run.codes if code in ("chosen", "resized", "running", "applied", "complete")
    ] == [
        "chosen",
        "resized",
        "running",
        "applied",
        "complete",
    ]
    assert [operation for operation, _ in cluster.writes] == ["resize", "apply"]


async def test_a_harmful_canary_goes_back_and_no_other_pod_was_touched(cluster, target):
    run = ApplyRun(cluster, order_of(change_of(target)), ScriptedVerifier(verdict="failed"))
    assert await run.finish() is ROLLED_BACK
    assert sizes(cluster, target) == OLD
    cluster.advance(60)
    assert pod_sizes(cluster, target) == {("1", "1")}
    assert [operation for operation, _ in cluster.writes] == ["resize", "resize"]
    assert run.now_at.failure.code == "verification_failed"


async def test_harm_after_the_rollout_restores_the_template(cluster, target):
    run = ApplyRun(cluster, order_of(change_of(target), mode="direct"), ScriptedVerifier(verdict="failed"))
    assert await run.finish() is ROLLED_BACK
    assert sizes(cluster, target) == OLD
    cluster.advance(60)
    assert pod_sizes(cluster, target) == {("1", "1")}


async def test_an_oom_kill_of_the_canary_goes_back_at_once(cluster, target):
    cluster.workloads[target.key].usage = {"app": 600 * 2**20}
    run = ApplyRun(cluster, order_of(change_of(target, memory_limit="500Mi", memory_request="500Mi")))
    begun = cluster.now
    assert await run.finish() is ROLLED_BACK
    assert run.now_at.failure.code == "oom_killed"
    assert cluster.now - begun < timedelta(minutes=2)
    assert all(pod.ready for pod in cluster.workloads[target.key].pods)


async def test_a_rollout_that_is_stuck_goes_back(cluster, target):
    cluster.workloads[target.key].stuck = True
    run = ApplyRun(cluster, order_of(change_of(target), mode="direct"))

    def unstick(_):
        if run.now_at.step == "rollback":
            cluster.workloads[target.key].stuck = False

    assert await run.finish(before_each=unstick) is ROLLED_BACK
    assert run.now_at.failure.code == "progress_deadline_exceeded"
    assert sizes(cluster, target) == OLD


async def test_a_pod_that_is_not_ready_too_long_goes_back(cluster, target):
    run = ApplyRun(cluster, order_of(change_of(target)), ScriptedVerifier(after=600))

    def break_canary(_):
        for name in run.now_at.canary if run.now_at.step == "observe" else ():
            pod = next(pod for pod in cluster.workloads[target.key].pods if pod.name == name)
            pod.ready = False

    assert await run.finish(before_each=break_canary) is ROLLED_BACK
    assert run.now_at.failure.code == "not_ready"


@pytest.mark.parametrize(
    ("resizing", "code"), [("infeasible", "resize_infeasible"), ("deferred", "resize_deferred")]
)
async def test_a_resize_that_does_not_come_goes_back(cluster, target, resizing, code):
    cluster.resizing = resizing
    run = ApplyRun(cluster, order_of(change_of(target)))
    begun = cluster.now
    assert await run.finish() is ROLLED_BACK
    assert run.now_at.failure.code == code
    assert (cluster.now - begun < timedelta(minutes=1)) == (resizing == "infeasible")


async def test_what_cannot_be_resized_in_place_is_rolled_out(cluster, target):
    cluster.faults["resize"] = [not_in_place()]
    run = ApplyRun(cluster, order_of(change_of(target)))
    assert await run.finish() is APPLIED
    assert "resize_refused" in run.codes
    assert sizes(cluster, target) == NEW


async def test_a_refused_change_leaves_everything_as_it_was(cluster, target):
    cluster.faults["apply"] = [refused()]
    run = ApplyRun(cluster, order_of(change_of(target), mode="direct"))
    assert await run.finish() is FAILED
    assert run.now_at.failure.code == "change_refused"
    assert sizes(cluster, target) == OLD


async def test_a_conflict_is_found_before_anything_is_changed(cluster, target):
    cluster.workloads[target.key].managers["containers.app.cpu_request"] = ("helm",)
    run = ApplyRun(cluster, order_of(change_of(target)))
    assert await run.finish() is FAILED
    assert run.now_at.failure.code == "field_conflict"
    assert cluster.writes == []
    forced = ApplyRun(cluster, order_of(change_of(target), force=True))
    assert await forced.finish() is APPLIED


async def test_a_conflict_that_comes_later_names_the_manager_and_takes_the_canary_back(cluster, target):
    path = "containers.app.cpu_request"
    cluster.faults["apply"] = [FieldConflictError(f"helm owns {path}.", managers=["helm"], fields=[path])]
    run = ApplyRun(cluster, order_of(change_of(target)))
    assert await run.finish() is ROLLED_BACK
    assert "helm" in run.now_at.failure.message
    cluster.advance(60)
    assert pod_sizes(cluster, target) == {("1", "1")}


async def test_a_release_while_all_pods_are_compared_takes_it_back(cluster, target):
    run = ApplyRun(cluster, order_of(change_of(target), mode="direct"), ScriptedVerifier(after=300))

    def release(_):
        if run.now_at.step == "verify":
            cluster.edit(target, "env.app.VERSION", "2")

    assert await run.finish(before_each=release) is ROLLED_BACK
    assert run.now_at.failure.code == "released_meanwhile"
    assert sizes(cluster, target) == OLD
    assert cluster.workloads[target.key].fields["env.app.VERSION"] == "2"


async def test_a_manual_change_stops_it_and_is_left(cluster, target):
    run = ApplyRun(cluster, order_of(change_of(target)), ScriptedVerifier(after=300))

    def edit(_):
        if (
            run.now_at.step == "verify"
            and cluster.workloads[target.key].fields["containers.app.cpu_request"] != "2"
        ):
            cluster.edit(target, "containers.app.cpu_request", "2")

    assert await run.finish(before_each=edit) is FAILED
    assert run.now_at.failure.code == "manual_change"
    assert run.now_at.left_alone == ("containers.app.cpu_request",)
    assert sizes(cluster, target) == OLD | {"containers.app.cpu_request": "2"}


async def test_a_value_that_somebody_put_back_is_a_manual_change(cluster, target):
    run = ApplyRun(cluster, order_of(change_of(target)), ScriptedVerifier(after=300))

    def put_back(_):
        if run.now_at.step == "verify":
            cluster.edit(target, "containers.app.cpu_request", "1")

    assert await run.finish(before_each=put_back) is FAILED
    assert sizes(cluster, target) == OLD


async def test_a_manual_change_of_the_canary_is_left(cluster, target):
    run = ApplyRun(cluster, order_of(change_of(target)), ScriptedVerifier(after=300))

    def edit(_):
        if run.now_at.step == "observe":
            cluster.edit_pod(target, run.now_at.canary[0], "app", cpu_request="3", memory_request="1Gi")

    assert await run.finish(before_each=edit) is FAILED
    cluster.advance(60)
    assert pod_sizes(cluster, target) == {("1", "1"), ("3", "3")}


async def test_a_workload_of_the_same_name_is_not_restored(cluster, target):
    run = ApplyRun(cluster, order_of(change_of(target)), ScriptedVerifier(after=300))

    def recreate(_):
        if run.now_at.step == "observe":
            cluster.recreate(target)

    assert await run.finish(before_each=recreate) is FAILED
    assert run.now_at.failure.code == "workload_replaced"


async def test_a_cluster_that_does_not_answer_is_asked_again(cluster, target):
    cluster.faults = {"any": [unavailable()] * 5, "apply!": [unavailable()], "resize!": [unavailable()]}
    run = ApplyRun(cluster, order_of(change_of(target)))
    assert await run.finish() is APPLIED
    assert [operation for operation, _ in cluster.writes].count("apply") == 1


async def test_what_may_not_be_read_ends_a_change_that_is_not_begun_only(cluster, target):
    cluster.faults["preflight"] = [ReadRefusedError("Not allowed.")]
    early = ApplyRun(cluster, order_of(change_of(target)))
    assert await early.finish() is FAILED
    assert not cluster.writes
    run = ApplyRun(cluster, order_of(change_of(target)), ScriptedVerifier(after=300))

    def refuse(_):
        if run.now_at.step == "observe" and "change_refused" not in run.codes:
            cluster.faults["read"] = [ReadRefusedError("Not allowed.")] * 4

    assert await run.finish(before_each=refuse) is APPLIED
    assert run.codes.count("change_refused") == 1
    assert sizes(cluster, target) == NEW


async def test_a_rollback_that_fails_is_tried_until_it_is_done(cluster, target):
    cluster.faults["restore"] = [refused(), unavailable()] * 20
    run = ApplyRun(cluster, order_of(change_of(target), mode="direct"), ScriptedVerifier(verdict="failed"))
    assert await run.finish() is ROLLED_BACK
    assert "rollback_failed" in run.codes
    assert sizes(cluster, target) == OLD


async def test_a_rollback_goes_on_whatever_comes_later(cluster, target):
    verifier = ScriptedVerifier(verdict="failed")
    run = ApplyRun(cluster, order_of(change_of(target), mode="direct"), verifier)

    def recover(_):
        if run.now_at.failure is not None:
            verifier.verdict = "passed"

    assert await run.finish(before_each=recover) is ROLLED_BACK


async def test_a_transient_change_is_taken_back_pod_by_pod(cluster, target):
    verifier = ScriptedVerifier()
    run = ApplyRun(cluster, order_of(change_of(target, durability="transient")), verifier)

    def turn(_):
        if run.now_at.step == "verify":
            verifier.verdict = "failed"

    assert await run.finish(before_each=turn) is ROLLED_BACK
    cluster.advance(60)
    assert pod_sizes(cluster, target) == {("1", "1")}


async def test_a_cancelled_job_ends_or_goes_back_by_how_far_it_is(cluster, target):
    run = ApplyRun(cluster, order_of(change_of(target)), wish="cancel", wished_by="bob", wish_reason="no")
    assert await run.finish() is FAILED
    assert run.now_at.failure.message == "bob asked to cancel it: no"
    run = ApplyRun(cluster, order_of(change_of(target)), ScriptedVerifier(after=300))

    def cancel(_):
        if run.now_at.step == "observe":
            run.claim["wish"] = "cancel"

    assert await run.finish(before_each=cancel) is ROLLED_BACK


async def test_an_applied_change_is_rolled_back_on_demand_and_only_what_is_still_ours(cluster, target):
    run = ApplyRun(cluster, order_of(change_of(target)))
    assert await run.finish() is APPLIED
    cluster.edit(target, "containers.app.memory_request", "900Mi")
    run.claim["wish"] = "rollback"
    assert await run.finish() is ROLLED_BACK
    assert sizes(cluster, target) == OLD | {"containers.app.memory_request": "900Mi"}


async def test_a_large_step_is_made_in_stages_each_verified(cluster, target):
    stages = [change_of(target, cpu_request=cpu, memory_request="1Gi") for cpu in ("500m", "300m")]
    run = ApplyRun(cluster, order_of(*stages))
    assert await run.finish() is APPLIED
    assert run.codes.count("chosen") == 2
    assert sizes(cluster, target)["containers.app.cpu_request"] == "300m"


async def test_harm_in_a_later_stage_goes_back_to_before_the_first(cluster, target):
    stages = [change_of(target, cpu_request=cpu, memory_request="1Gi") for cpu in ("500m", "300m")]
    verifier = ScriptedVerifier()
    run = ApplyRun(cluster, order_of(*stages), verifier)

    def turn(_):
        if run.now_at.stage == 1 and run.now_at.step in ("observe", "verify"):
            verifier.verdict = "failed"

    assert await run.finish(before_each=turn) is ROLLED_BACK
    assert sizes(cluster, target) == OLD
    cluster.advance(60)
    assert pod_sizes(cluster, target) == {("1", "1")}


async def test_a_single_replica_is_changed_without_a_canary_and_verified(cluster):
    target = cluster.add("solo", replicas=1)
    run = ApplyRun(cluster, order_of(change_of(target)))
    assert await run.finish() is APPLIED
    assert "skipped" in run.codes
    assert run.verifier.horizons == {timedelta(minutes=60)}
    complete = next(entry for entry in run.entries if entry.code == "complete")
    assert "compared with the time before, which takes longer (60 min at most)" in complete.message


@pytest.mark.parametrize(
    ("allowed", "automatic", "ends"),
    [
        ("on_request", False, APPLIED),
        ("on_request", True, FAILED),
        ("always", True, APPLIED),
        ("never", False, FAILED),
    ],
)
async def test_policy_says_whether_the_only_pod_may_end(cluster, allowed, automatic, ends):
    target = cluster.add("solo", replicas=1)
    cluster.findings = [Finding(code="single_replica", message="Down.", blocking=False, remedy="Surge.")]
    settings = PolicySettings(
        apply="auto", exchanges=(), take_over_from=("kubectl",), restart_single_replica=allowed
    )
    run = ApplyRun(cluster, order_of(change_of(target), automatic=automatic), settings=settings)
    assert await run.finish() is ends
    if ends is FAILED:
        failure = run.now_at.failure
        assert failure.message == f"policy.restart_single_replica is {allowed}: Down."
        assert (failure.code, failure.remedy) == ("denied_by_policy", "Surge.")
        assert not cluster.writes
    else:
        assert "single_replica" in run.codes


@pytest.mark.parametrize(
    ("take_over_from", "ends"),
    [((), FAILED), (("helm",), FAILED), (("kubectl",), FAILED), (("helm", "kubectl"), APPLIED)],
)
async def test_fields_are_taken_over_from_the_managers_that_policy_names(
    cluster, target, take_over_from, ends
):
    managers = cluster.workloads[target.key].managers
    managers |= {"containers.app.cpu_request": ("helm",), "containers.app.memory_request": ("kubectl",)}
    settings = PolicySettings(apply="auto", exchanges=(), take_over_from=take_over_from)
    run = ApplyRun(cluster, order_of(change_of(target)), settings=settings)
    assert await run.finish() is ends
    assert not cluster.writes or ends is APPLIED
    assert sizes(cluster, target) == (NEW if ends is APPLIED else OLD)


@pytest.mark.parametrize("durability", ["template", "transient"])
@pytest.mark.parametrize("verdict", ["passed", "failed"])
async def test_a_worker_that_is_killed_at_any_call_leaves_no_gap_in_the_timeline(durability, verdict):
    async def codes(kill):
        cluster = MemoryCluster()
        change = change_of(cluster.add(), durability=durability)
        cluster.kill_at = kill
        run = ApplyRun(cluster, order_of(change), ScriptedVerifier(verdict=verdict))
        await run.finish()
        return run.codes, cluster.calls

    whole, calls = await codes(set())
    assert "resized" in whole
    for call in range(1, calls + 1):
        assert (await codes({call}))[0] == whole, call
