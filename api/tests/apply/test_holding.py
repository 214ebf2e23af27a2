"""A freeze that comes after a change began holds it before its next write; going back goes on."""

from datetime import timedelta

import msgspec
import pytest
from apply_driver import NEW, OLD, ApplyRun, ScriptedVerifier, change_of, order_of, pod_sizes, sizes

from perfopt.domain.enums import OptimizationStatus
from perfopt_api.store.apply_port import ApplyFacts, Freeze

APPLIED, ROLLED_BACK = OptimizationStatus.APPLIED, OptimizationStatus.ROLLED_BACK


def by_api(run):
    run.facts = ApplyFacts(freezes=(Freeze(scope="*", reason="incident"),))


def by_cluster(run):
    run.cluster.frozen_namespaces["prod"] = "incident"


def lift(run):
    run.facts = ApplyFacts()
    run.cluster.frozen_namespaces.clear()


class FrozenAt:
    """Freezes as soon as a job comes to a step, for some hours."""

    def __init__(self, run, freeze, step, *, writes=0, hours=3.0):
        self.run, self.freeze, self.step, self.hours = run, freeze, step, hours
        self.after = writes
        self.begun = None
        self.writes = None

    def __call__(self, _):
        run = self.run
        due = run.now_at.step == self.step and len(run.cluster.writes) >= self.after
        if self.begun is None and due:
            self.begun, self.writes = run.cluster.now, list(run.cluster.writes)
            self.freeze(run)
        if self.begun is not None and run.cluster.now - self.begun >= timedelta(hours=self.hours):
            lift(run)
        elif self.begun is not None:
            assert run.cluster.writes == self.writes


@pytest.mark.parametrize("freeze", [by_api, by_cluster])
@pytest.mark.parametrize(("step", "writes"), [("canary", 0), ("rest", 1)])
async def test_no_write_is_made_while_frozen_and_the_change_goes_on_afterwards(
    cluster, target, freeze, step, writes
):
    run = ApplyRun(cluster, order_of(change_of(target)))
    frozen = FrozenAt(run, freeze, step, writes=writes)
    assert await run.finish(before_each=frozen) is APPLIED
    assert len(frozen.writes) == writes
    assert run.codes.count("deferred") == run.codes.count("resumed") == 1
    assert sizes(cluster, target) == NEW


@pytest.mark.parametrize("writes", [1, 2])
async def test_pods_of_a_transient_change_that_are_left_wait_for_the_end_of_a_freeze(cluster, target, writes):
    run = ApplyRun(cluster, order_of(change_of(target, durability="transient")))
    assert await run.finish(before_each=FrozenAt(run, by_api, "rest", writes=writes)) is APPLIED
    assert pod_sizes(cluster, target) == {("600m", "600m")}


async def test_a_frozen_change_is_taken_back_where_somebody_asks(cluster, target):
    run = ApplyRun(cluster, order_of(change_of(target)))
    frozen = FrozenAt(run, by_cluster, "rest")

    def ask(number):
        if frozen.begun is None:
            frozen(number)
        elif cluster.now - frozen.begun > timedelta(minutes=5):
            run.claim["wish"] = "rollback"

    assert await run.finish(before_each=ask) is ROLLED_BACK
    assert sizes(cluster, target) == OLD
    assert pod_sizes(cluster, target) == {("1", "1")}


class LaterHarm(ScriptedVerifier):
    """Passes, and shows harm ten minutes later."""

    async def look(self, change, canary_pods, since, until, *, horizon):
        seen = await super().look(change, canary_pods, since, until, horizon=horizon)
        harmful = until - since > timedelta(minutes=10)
        return msgspec.structs.replace(seen, verdict="failed", reason="Slow.") if harmful else seen


async def test_a_canary_that_does_harm_while_the_rest_is_frozen_goes_back(cluster, target):
    run = ApplyRun(cluster, order_of(change_of(target)), LaterHarm())
    frozen = FrozenAt(run, by_api, "rest")

    def freeze(number):
        if frozen.begun is None:
            frozen(number)

    assert await run.finish(before_each=freeze) is ROLLED_BACK
    assert run.now_at.failure.code == "verification_failed"
    assert sizes(cluster, target) == OLD
