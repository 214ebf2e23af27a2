"""Steps that watch: how long, what of the looks is kept, and what is done where nothing is known."""

from datetime import timedelta

import msgspec
import pytest
from apply_driver import ApplyRun, ScriptedVerifier, change_of, order_of

from perfopt.domain.enums import OptimizationStatus
from perfopt.errors import SourceUnavailableError
from perfopt_api.apply.verifier import HarmBounds
from perfopt_api.policy.settings import PolicySettings

APPLIED, ROLLED_BACK = OptimizationStatus.APPLIED, OptimizationStatus.ROLLED_BACK


async def test_no_data_is_no_pass(cluster, target):
    run = ApplyRun(cluster, order_of(change_of(target)), ScriptedVerifier(verdict="inconclusive"))
    begun = cluster.now
    assert await run.finish() is ROLLED_BACK
    assert run.now_at.failure.code == "inconclusive"
    assert "extended" in run.codes
    assert cluster.now - begun >= timedelta(minutes=60)  # 30 and 30 more


class PassingCanary(ScriptedVerifier):
    """Passes a canary, and never knows of all pods."""

    async def look(self, change, canary_pods, since, until, *, horizon):
        seen = await super().look(change, canary_pods, since, until, horizon=horizon)
        return seen if canary_pods else msgspec.structs.replace(seen, verdict="inconclusive")


class MeasuringVerifier(ScriptedVerifier):
    async def look(self, change, canary_pods, since, until, *, horizon):
        seen = await super().look(change, canary_pods, since, until, horizon=horizon)
        bounds = {"slow_requests": HarmBounds(estimate=1.1, lower=0.9, upper=1.3, margin=1.24)}
        return msgspec.structs.replace(seen, bounds=bounds)


async def test_looks_are_kept_from_the_first_to_the_last_and_are_bounded(cluster, target):
    run = ApplyRun(cluster, order_of(change_of(target)), MeasuringVerifier(after=3600.0))
    await run.finish()
    looks, last = run.now_at.looks, run.now_at.look
    assert run.verifier.looks > 60
    assert 30 <= len(looks) <= 60
    assert [look.at for look in looks] == sorted(look.at for look in looks)
    assert looks[-1].at == last.at
    assert looks[-1].bounds == last.bounds
    assert {look.reason for look in looks} == {""}


async def test_looks_without_data_are_not_kept(cluster, target):
    run = ApplyRun(cluster, order_of(change_of(target)))
    await run.finish()
    assert run.now_at.looks == ()


async def test_a_metric_source_that_is_away_is_no_pass_and_no_crash(cluster, target):
    verifier = ScriptedVerifier()
    verifier.errors = [SourceUnavailableError("Prometheus is down.")] * 100
    assert await ApplyRun(cluster, order_of(change_of(target)), verifier).finish() is APPLIED
    assert verifier.looks > 100


async def test_an_inconclusive_canary_is_held_for_an_approval_where_policy_says_so(cluster, target):
    settings = PolicySettings(
        apply="auto", exchanges=(), inconclusive="hold", extensions=0, take_over_from=("kubectl",)
    )
    run = ApplyRun(cluster, order_of(change_of(target)), ScriptedVerifier(verdict="inconclusive"), settings)
    with pytest.raises(AssertionError, match="held"):
        await run.finish(max_steps=400)
    run.claim["approvals"] = ("bob",)
    run.verifier.verdict = "passed"
    assert await run.finish() is APPLIED


async def test_a_held_canary_is_watched_on_and_goes_back_on_harm(cluster, target):
    settings = PolicySettings(
        apply="auto", exchanges=(), inconclusive="hold", extensions=0, take_over_from=("kubectl",)
    )
    run = ApplyRun(cluster, order_of(change_of(target)), ScriptedVerifier(verdict="inconclusive"), settings)
    with pytest.raises(AssertionError, match="held"):
        await run.finish(max_steps=400)
    run.verifier.verdict = "failed"
    assert await run.finish() is ROLLED_BACK


async def test_what_no_canary_preceded_is_watched_for_longer(cluster, target):
    lengths = {}
    for mode in ("canary", "direct"):
        run = ApplyRun(cluster, order_of(change_of(target), mode=mode), PassingCanary())
        assert await run.finish() is ROLLED_BACK
        assert run.now_at.failure.code == "inconclusive"
        lengths[mode] = run.now_at.deadline - run.now_at.observed_since
        assert run.verifier.horizons == {timedelta(minutes=60 if mode == "direct" else 30)}
    assert lengths == {"canary": timedelta(minutes=60), "direct": timedelta(minutes=120)}  # extended once


@pytest.mark.parametrize("mode", ["canary", "direct"])
async def test_the_time_to_watch_that_was_asked_for_is_the_horizon_of_the_test(cluster, target, mode):
    order = msgspec.structs.replace(order_of(change_of(target), mode=mode), verify_seconds=7200.0)
    run = ApplyRun(cluster, order, PassingCanary())
    assert await run.finish() is ROLLED_BACK
    assert run.verifier.horizons - {timedelta(minutes=30)} == {timedelta(hours=2)}
    assert run.now_at.deadline - run.now_at.observed_since == timedelta(hours=4)  # extended once
    assert run.verifier.looks < 600
