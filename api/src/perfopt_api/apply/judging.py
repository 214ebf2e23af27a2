"""The steps that watch: the canary beside the other pods, then all pods against the time before."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from perfopt.domain.enums import OptimizationStatus
from perfopt.errors import NoDataError, SourceError
from perfopt_api.apply.context import ApplyTools, StepContext, described, look_at_pods
from perfopt_api.apply.moves import end, fail, go, note, stay
from perfopt_api.apply.state import ApplyOrder, ApplyState, Progress
from perfopt_api.apply.verifier import VerificationLook
from perfopt_api.policy.settings import PolicySettings
from perfopt_api.store.port import JobError
from perfopt_api.telemetry import VERIFICATION_LOOKS

_MAX_LOOKS = 60

Passed = Callable[[ApplyState, VerificationLook], Progress]
Judge = Callable[[ApplyTools, StepContext, Passed], Awaitable[Progress]]


async def observe(tools: ApplyTools, context: StepContext) -> Progress:
    """Compares the canary with the other pods; also while it is held for an approval."""
    now = context.now

    def passed(state: ApplyState, look: VerificationLook) -> Progress:
        entry = note(now, state.step, "passed", look.reason, _figures(look))
        return go(state, "rest", now, entry, look=look)

    return await _judge(tools, context, context.state.canary, passed)


async def verify(tools: ApplyTools, context: StepContext, judge: Judge) -> Progress:
    """Has all pods judged; then the next stage follows, or the job is done."""
    now = context.now

    def passed(state: ApplyState, look: VerificationLook) -> Progress:
        entry = note(now, state.step, "passed", look.reason, _figures(look))
        if state.stage + 1 < len(context.order.stages):
            return go(
                state, "next_stage", now, entry, stage=state.stage + 1, look=look, template_written=False
            )
        done = replace(state, look=look)
        if context.order.git is not None:
            return go(done, "publish", now, entry)
        return end(done, OptimizationStatus.APPLIED, now, entry, verification=look.reason)

    judged = await judge(tools, context, passed)
    if judged.state.step not in ("publish", "ended") or judged.state.failure is not None:
        return judged
    done = replace(context, state=judged.state)
    closed = await tools.hooks.closed("post", described(done))
    if closed is None:
        return judged
    message = f"{closed.rule}: {closed.reason}"
    refused = fail(context.state, JobError(code="gate_closed", message=message), now, look=judged.state.look)
    return replace(refused, entries=(*judged.entries, *refused.entries))


async def compare_all(tools: ApplyTools, context: StepContext, passed: Passed) -> Progress:
    """Compares all pods with the time before."""
    return await _judge(tools, context, (), passed)


async def _judge(tools: ApplyTools, context: StepContext, pods: Sequence[str], passed: Passed) -> Progress:
    now = context.now
    seen = await look_at_pods(tools, context)
    if seen.ends is not None:
        return seen.ends
    state = seen.state
    rollback_reason = await tools.hooks.asks_for_rollback(described(context))
    if rollback_reason is not None:
        return fail(
            state,
            JobError(code="rollback_gate", message=f"{rollback_reason.rule}: {rollback_reason.reason}"),
            now,
        )
    for name in pods:
        pod, before = seen.view.pod(name), state.baselines.get(name)
        if pod is None or pod.deleting or (before is not None and before.uid != pod.uid):
            lost = f"The pod {name} is gone, and with it what was compared."
            return fail(state, JobError(code="canary_lost", message=lost), now)
    look = await sight(tools, context, pods)
    state = replace(state, looks=_thinned(state.looks, look))
    VERIFICATION_LOOKS.labels(state.step, look.verdict).inc()
    harm = _harm(look)
    if harm is not None:
        return fail(state, harm, now, look=look)
    approved = state.step == "held" and len(context.claim.approvals) > state.approvals_seen
    if look.verdict == "passed" or approved:
        return passed(state, look)
    if state.step == "held" or state.deadline is None or now < state.deadline:
        return stay(state, _pause(tools, context, pods), look=look)
    return _inconclusive(tools, context, state, look)


def _pause(tools: ApplyTools, context: StepContext, pods: Sequence[str]) -> float:
    """Returns the seconds to the next look: at least 1/120 of the horizon, as each look reads the series."""
    return max(tools.look_seconds, _horizon(tools, context, pods).total_seconds() / 120)


def _harm(look: VerificationLook) -> JobError | None:
    if not look.killed and look.verdict != "failed":
        return None
    return JobError(code="oom_killed" if look.killed else "verification_failed", message=look.reason)


async def harmed_meanwhile(tools: ApplyTools, context: StepContext, state: ApplyState) -> Progress | None:
    """Goes back where a canary that already passed does harm while the rest waits; None where it does not."""
    if not state.canary or state.observed_since is None:
        return None
    look = await sight(tools, context, state.canary)
    harm = _harm(look)
    return None if harm is None else fail(state, harm, context.now, look=look)


def _thinned(looks: Sequence[VerificationLook], look: VerificationLook) -> tuple[VerificationLook, ...]:
    """Returns the looks with one more; every second goes where they would be too many to store."""
    if not look.bounds:
        return tuple(looks)
    remaining = looks[len(looks) % 2 :: 2] if len(looks) >= _MAX_LOOKS else looks
    return (*remaining, replace(look, reason=""))


async def sight(tools: ApplyTools, context: StepContext, pods: Sequence[str]) -> VerificationLook:
    """Looks at the series of the canary, or of all pods without names; what can't be read is inconclusive."""
    since = context.state.observed_since
    assert since is not None, "observation begins when the pods have the change"
    try:
        horizon = _horizon(tools, context, pods)
        return await tools.verifier.look(context.change, pods, since, context.now, horizon=horizon)
    except (SourceError, NoDataError) as error:
        return VerificationLook(verdict="inconclusive", reason=f"There are no data: {error.message}")


def _inconclusive(
    tools: ApplyTools, context: StepContext, state: ApplyState, look: VerificationLook
) -> Progress:
    settings, now = tools.settings, context.now
    if state.extensions < settings.extensions:
        entry = note(now, state.step, "extended", f"It is inconclusive and goes on: {look.reason}")
        deadline = now + _horizon(tools, context, state.canary if state.step == "observe" else ())
        more = state.extensions + 1
        return stay(state, tools.look_seconds, entry, look=look, extensions=more, deadline=deadline)
    if settings.inconclusive == "hold" and state.step == "observe":
        entry = note(now, "observe", "held", f"It waits for an approval and is watched on: {look.reason}")
        return go(state, "held", now, entry, look=look, approvals_seen=len(context.claim.approvals))
    return fail(state, JobError(code="inconclusive", message=look.reason), now, look=look)


def _horizon(tools: ApplyTools, context: StepContext, pods: Sequence[str]) -> timedelta:
    """Returns how long a canary is observed for, or, without the names of pods, all pods are watched for."""
    if pods:
        return timedelta(minutes=tools.settings.observe_minutes)
    return watched(tools.settings, context.order, context.state)


def watched(settings: PolicySettings, order: ApplyOrder, state: ApplyState) -> timedelta:
    """Returns how long all pods are watched at most: as asked for, or longer where no canary was compared."""
    if order.verify_seconds is not None:
        return timedelta(seconds=order.verify_seconds)
    alone = not state.canary and not state.rescue
    return timedelta(minutes=settings.alone_minutes if alone else settings.verify_minutes)


def _figures(look: VerificationLook) -> dict[str, Any]:
    return {name: msgspec.to_builtins(bounds) for name, bounds in look.bounds.items()}
