"""What has to hold before a change begins; where it does not, it waits or ends with nothing written."""

from datetime import timedelta

import pytest
from apply_driver import OLD, ApplyRun, ScriptedVerifier, change_of, order_of, pod_sizes, sizes

from perfopt.domain.enums import OptimizationStatus
from perfopt.errors import NoDataError
from perfopt_api.apply.cluster import (
    Finding,
)
from perfopt_api.apply.related import WorkloadOwners
from perfopt_api.apply.verifier import ErrorBudget
from perfopt_api.policy.settings import PolicySettings
from perfopt_api.store.apply_port import Freeze

APPLIED, FAILED, ROLLED_BACK = (
    OptimizationStatus.APPLIED,
    OptimizationStatus.FAILED,
    OptimizationStatus.ROLLED_BACK,
)


async def test_nothing_is_changed_where_the_workload_has_moved(cluster, target):
    order = order_of(change_of(target), expected={"containers.app.cpu_request": "500m"})
    run = ApplyRun(cluster, order)
    assert await run.finish() is FAILED
    assert run.now_at.failure.code == "state_moved"
    assert cluster.writes == []


async def test_nothing_is_changed_where_git_owns_the_template(cluster, target):
    cluster.workloads[target.key].owners = WorkloadOwners(argo_cd="shop")
    run = ApplyRun(cluster, order_of(change_of(target)))
    assert await run.finish() is FAILED
    assert run.now_at.failure.code == "argo_cd_owned"
    assert "export" in run.now_at.failure.remedy
    transient = ApplyRun(cluster, order_of(change_of(target, durability="transient")))
    assert await transient.finish() is APPLIED
    assert sizes(cluster, target) == OLD
    assert pod_sizes(cluster, target) == {("600m", "600m")}


async def test_what_preflight_finds_ends_it_before_any_write(cluster, target):
    cluster.findings = [Finding(code="quota_exceeded", message="The quota is 4 cores.")]
    run = ApplyRun(cluster, order_of(change_of(target)))
    assert await run.finish() is FAILED
    assert run.now_at.failure.code == "quota_exceeded"
    assert cluster.writes == []


async def test_memory_is_not_lowered_below_its_peak_nor_without_sight_of_it(cluster, target):
    for peaks in ({"app": 680 * 2**20}, {}):
        run = ApplyRun(cluster, order_of(change_of(target)))
        run.verifier.peaks = peaks
        assert await run.finish() is FAILED
        assert "gates.memory_peak" in run.now_at.failure.message
    run.verifier.peaks = {"app": 680 * 2**20 - 1}
    odd = ApplyRun(cluster, order_of(change_of(target)), run.verifier)
    await odd.finish()
    assert "used 680Mi at its peak; with the margin it needs 748Mi" in odd.now_at.failure.message
    run.verifier.peaks = {"app": 600 * 2**20}
    again = ApplyRun(cluster, order_of(change_of(target)), run.verifier)
    assert await again.finish() is APPLIED


async def test_memory_of_a_heap_is_not_lowered_alone(cluster, target):
    run = ApplyRun(cluster, order_of(change_of(target), heap_containers=("app",)))
    assert await run.finish() is FAILED
    assert "gates.heap" in run.now_at.failure.message


def budget(left):
    objective = "99 % of requests within 250 ms"
    return ErrorBudget(objective=objective, requests=1e6, bad=1e4 * (1 - left), left=left)


@pytest.mark.parametrize("left", [0.1, 0.7, None])
async def test_enough_error_budget_or_none_lets_a_change_begin(cluster, target, left):
    run = ApplyRun(cluster, order_of(change_of(target)))
    run.verifier.budget = None if left is None else budget(left)
    assert await run.finish() is APPLIED
    assert "deferred" not in run.codes


@pytest.mark.parametrize("spent", [budget(0.09), budget(-1.0), NoDataError("The latency is not known.")])
async def test_a_change_waits_while_the_error_budget_is_used_up_or_not_known(cluster, target, spent):
    run = ApplyRun(cluster, order_of(change_of(target)))
    run.verifier.budget = spent

    def recover(_):
        if run.waits and run.verifier.budget is spent:
            assert run.now_at.waiting == "policy.error_budget_left"
            run.verifier.budget = budget(0.5)

    assert await run.finish(before_each=recover) is APPLIED
    assert len(run.waits) == 1


async def test_nothing_begins_without_sight(cluster, target):
    run = ApplyRun(cluster, order_of(change_of(target)))
    run.verifier.missing = ["http_requests_total"]

    def appear(_):
        if len(run.waits) > 3:
            run.verifier.missing = []

    assert await run.finish(before_each=appear) is APPLIED
    assert run.codes.count("deferred") == 1
    assert len(run.waits) == 4


async def test_a_freeze_holds_back_new_changes_and_lets_rollbacks_go_on(cluster, target):
    run = ApplyRun(cluster, order_of(change_of(target)), ScriptedVerifier(verdict="failed"))

    def freeze(_):
        if run.now_at.step == "observe":
            run.facts = type(run.facts)(freezes=(Freeze(scope="*", reason="incident"),))

    assert await run.finish(before_each=freeze) is ROLLED_BACK
    frozen = ApplyRun(cluster, order_of(change_of(target)), facts=run.facts)
    with pytest.raises(AssertionError, match="not ended"):
        await frozen.finish(max_steps=50)


async def test_an_outdated_recommendation_is_not_applied_after_waiting(cluster, target):
    until = cluster.now + timedelta(hours=1)
    run = ApplyRun(cluster, order_of(change_of(target), valid_until=until))
    cluster.frozen_namespaces["prod"] = "month end"
    assert await run.finish() is FAILED
    assert run.now_at.failure.code == "expired"


async def test_what_waits_for_long_is_asked_again_as_policy_may_have_changed(cluster, target):
    day = f"{cluster.now + timedelta(days=3):%a}".lower()
    settings = PolicySettings(
        apply="auto", exchanges=(), take_over_from=("kubectl",), windows=(f"{day} 10:00-11:00",)
    )
    run = ApplyRun(cluster, order_of(change_of(target)), settings=settings)
    while (progress := await run.once()).release_until is None:
        assert progress.status is None
    assert progress.release_until - cluster.now == timedelta(minutes=15)
    assert "deferred" in run.codes


async def test_a_rescue_waits_for_no_window_and_no_readiness(cluster, target):
    workload = cluster.workloads[target.key]
    workload.usage = {"app": 1200 * 2**20}
    cluster.advance(1)
    settings = PolicySettings(
        apply="auto",
        exchanges=(),
        windows=("mon 10:00-11:00",),
        rescue_anytime=True,
        take_over_from=("kubectl",),
    )
    order = order_of(change_of(target, cpu_request="1", memory_request="2Gi", memory_limit="2Gi"))
    run = ApplyRun(cluster, order, settings=settings)
    run.verifier.missing = ["every series"]  # pods that are down show none
    assert await run.finish() is APPLIED
    assert all(pod.ready for pod in workload.pods)


@pytest.mark.parametrize(
    ("throttled", "down", "begins"),
    [(0.8, 4, True), (0.8, 3, False), (0.79, 4, False), (NoDataError("None."), 4, False)],
)
async def test_pods_starved_of_cpu_are_rescued_by_more(cluster, target, throttled, down, begins):
    for pod in cluster.workloads[target.key].pods[:down]:
        pod.ready = False
    order = order_of(change_of(target, cpu_request="2", memory_request="1Gi"))
    run = ApplyRun(cluster, order)
    run.verifier.throttled_share = throttled
    while run.now_at.step != "dry_run" and not run.waits:
        progress = await run.once()
        run.waits += [] if progress.release_until is None else [progress.release_until]
    assert run.now_at.rescue is begins
    assert run.now_at.waiting == ("" if begins else "gates.pods_not_ready")
