"""Verification of a rescue: its pods get ready and stay so, as there was nothing to compare them with.

What their series show is told, and takes nothing back: before, nothing was served.
"""

from collections.abc import Sequence
from datetime import timedelta

from msgspec.structs import replace

from perfopt_api.apply.cluster import PodView
from perfopt_api.apply.context import ApplyTools, StepContext, look_at_pods
from perfopt_api.apply.danger import baseline_of
from perfopt_api.apply.judging import Passed, sight, watched
from perfopt_api.apply.moves import fail, note, stay
from perfopt_api.apply.state import ApplyState, Progress
from perfopt_api.apply.verifier import VerificationLook
from perfopt_api.store.port import JobError

_WAIT_SECONDS = 5.0


async def recover(tools: ApplyTools, context: StepContext, passed: Passed) -> Progress:
    """Waits until every pod is ready, then until none was restarted for as long as all pods are watched."""
    seen = await look_at_pods(tools, context)
    if seen.ends is not None:
        return seen.ends
    state, now = seen.state, context.now
    pods = [pod for pod in seen.view.pods if not pod.deleting]
    serving = bool(pods) and all(pod.ready for pod in pods)
    waited = now - (state.since or now)
    if not all(_ready_before(state, pod) for pod in pods):
        if serving:
            return _watch_from_now(tools, context, state, pods)
        if waited > timedelta(minutes=tools.settings.rollout_minutes):
            late = f"Not every pod was ready after {tools.settings.rollout_minutes:g} min."
            return fail(state, JobError(code="not_ready", message=late), now)
        return stay(state, _WAIT_SECONDS)
    restarted = [pod.name for pod in pods if pod.restarts > state.baselines[pod.name].restarts]
    if restarted:
        message = f"The pod {restarted[0]} was restarted since it was ready."
        return fail(state, JobError(code="crash_loop", message=message), now)
    if not serving or state.deadline is None or now < state.deadline:
        return stay(state, tools.look_seconds)
    series = await sight(tools, context, ())
    return passed(state, _recovered(pods, now - (state.observed_since or now), series))


def _ready_before(state: ApplyState, pod: PodView) -> bool:
    baseline = state.baselines.get(pod.name)
    return baseline is not None and baseline.uid == pod.uid and baseline.ready


def _watch_from_now(
    tools: ApplyTools, context: StepContext, state: ApplyState, pods: Sequence[PodView]
) -> Progress:
    now, horizon = context.now, watched(tools.settings, context.order, state)
    minutes = horizon.total_seconds() / 60
    message = f"{len(pods)} of {len(pods)} pods are ready; none may be restarted for {minutes:g} min."
    return stay(
        replace(state, baselines={pod.name: baseline_of(pod) for pod in pods}, unready_since={}),
        tools.look_seconds,
        note(now, state.step, "recovered", message),
        observed_since=now,
        deadline=now + horizon,
    )


def _recovered(pods: Sequence[PodView], ready_for: timedelta, series: VerificationLook) -> VerificationLook:
    minutes = ready_for.total_seconds() / 60
    reason = (
        f"No pod served before; {len(pods)} of {len(pods)} have been ready for {minutes:.0f} min without a"
        f" restart or an OOM kill. By their series, beside the days before: {series.reason}"
    )
    return replace(series, verdict="passed", reason=reason, metric=None)
