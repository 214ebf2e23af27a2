"""The steps that change the cluster: the canary, then all pods by a rollout or in batches."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from msgspec.structs import replace

from perfopt.domain.period import format_instant
from perfopt_api.apply.canary import has_size, next_batch, resize_problem, restarts
from perfopt_api.apply.cluster import PodView, WorkloadView
from perfopt_api.apply.context import ApplyTools, StepContext, error_of, look_at_pods, takes_over
from perfopt_api.apply.danger import baseline_of, rollout_danger
from perfopt_api.apply.fields import applied_fields, differing, has_sizes
from perfopt_api.apply.holding import held_by_freeze
from perfopt_api.apply.judging import watched
from perfopt_api.apply.moves import fail, go, note, stay
from perfopt_api.apply.refusals import ResizeRefusedError
from perfopt_api.apply.runs import deadline_of, next_run_note
from perfopt_api.apply.state import ApplyState, Progress
from perfopt_api.store.port import JobError

_WAIT_SECONDS = 5.0
_AT_ONCE = 0.0

Then = Callable[[ApplyState], Progress]


async def canary(tools: ApplyTools, context: StepContext) -> Progress:
    """Resizes the canary; when it runs with the new size, the observation begins."""
    look = await look_at_pods(tools, context)
    if look.ends is not None:
        return look.ends
    now, names = context.now, context.state.canary
    gone = [name for name in names if (pod := look.view.pod(name)) is None or pod.deleting]
    if gone:
        return fail(look.state, _lost(gone[0]), now)

    def observing(state: ApplyState) -> Progress:
        entry = note(
            now, "canary", "running", "The canary runs with the new size, and is compared from now on."
        )
        deadline = now + timedelta(minutes=tools.settings.observe_minutes)
        return go(state, "observe", now, entry, observed_since=now, deadline=deadline)

    pods = [pod for pod in look.view.pods if pod.name in names]
    return await _resize(tools, context, look.state, pods, observing)


def _lost(name: str) -> JobError:
    return JobError(code="canary_lost", message=f"The pod {name} is gone; no other pod was changed.")


async def _resize(
    tools: ApplyTools, context: StepContext, state: ApplyState, pods: Sequence[PodView], then: Then
) -> Progress:
    """Asks one pod at a time for the change's sizes, and goes on when all of them run with these."""
    now, change = context.now, context.change
    for pod in pods:
        if has_sizes(pod.wanted, change.containers):
            continue
        held = await held_by_freeze(tools, context, state)
        if held is not None:
            return held
        if restarts(pod, change) and not await tools.cluster.evict_dry_run(change.target, pod.name):
            message = f"No disruption budget lets {pod.name} restart now."
            return _wait(tools, state, now, "disruption_budget", message)
        if pod.name != state.asking:
            return _intended(tools, context, state, pod)
        return await _ask_for_size(tools, context, state, pod)
    waiting = resize_problem(pods, change)
    return then(state) if waiting is None else _wait(tools, state, now, *waiting)


def _intended(tools: ApplyTools, context: StepContext, state: ApplyState, pod: PodView) -> Progress:
    """Stores and notes a resize before it is done: a worker that is killed after it leaves no gap."""
    commands = tools.cluster.commands(context.change, pod.name)
    entry = note(context.now, state.step, "resized", f"{pod.name} is asked to resize.", commands=commands)
    resized = tuple(dict.fromkeys((*state.resized, pod.name)))
    return stay(state, _AT_ONCE, entry, resized=resized, asking=pod.name)


async def _ask_for_size(tools: ApplyTools, context: StepContext, state: ApplyState, pod: PodView) -> Progress:
    now, change = context.now, context.change
    try:
        await tools.cluster.resize(change.target, pod.name, change.containers)
    except ResizeRefusedError as error:
        others = [name for name in state.resized if name != pod.name]
        if error.rollout and change.durability == "template" and not others:
            entry = note(now, "canary", error.code, f"{error.message} All pods are changed by a rollout.")
            return go(state, "rest", now, entry, canary=())
        return fail(state, error_of(error), now)
    return stay(state, _AT_ONCE, asking="")


def _wait(tools: ApplyTools, state: ApplyState, now: datetime, code: str, message: str) -> Progress:
    if now - (state.since or now) > timedelta(seconds=tools.settings.resize_seconds):
        return fail(state, JobError(code=code, message=message), now)
    return stay(state, _WAIT_SECONDS)


async def rest(tools: ApplyTools, context: StepContext) -> Progress:
    """Changes all pods: the template by one rollout, or, for a transient change, the pods in batches."""
    look = await look_at_pods(tools, context)
    if look.ends is not None:
        return look.ends
    if not look.state.template_written and applied_fields(context.change):
        return await _write(tools, context, look.state, look.view)
    if context.change.durability == "transient" and context.change.containers:
        return await _next_pods(tools, context, look.state, look.view)
    if look.state.rescue:
        await tools.cluster.replace_broken(context.change.target)
    return _rolled_out(tools, context, look.state, look.view)


async def _write(tools: ApplyTools, context: StepContext, state: ApplyState, view: WorkloadView) -> Progress:
    now, change, fields = context.now, context.change, applied_fields(context.change)
    if differing(view, fields):
        held = await held_by_freeze(tools, context, state)
        if held is not None:
            return held
        await tools.cluster.apply(change, force=takes_over(tools, context, view))
    entry = note(now, "rest", "applied", "The workload was changed.", fields, tools.cluster.commands(change))
    paths = tuple(dict.fromkeys((*state.written_paths, *fields)))
    written = go(state, "rest", now, entry, template_written=True, written_paths=paths)
    return replace(written, wait=timedelta(seconds=1))


def _rolled_out(tools: ApplyTools, context: StepContext, state: ApplyState, view: WorkloadView) -> Progress:
    now = context.now
    stuck = rollout_danger(view)
    if stuck is not None:
        return fail(state, stuck, now)
    if view.rollout.state == "complete":
        return _watching(tools, context, state, view)
    if now - (state.since or now) > timedelta(minutes=tools.settings.rollout_minutes):
        late = f"The rollout was not complete after {tools.settings.rollout_minutes:g} min."
        return fail(state, JobError(code="rollout_timeout", message=late), now)
    return stay(state, _WAIT_SECONDS)


def _watching(tools: ApplyTools, context: StepContext, state: ApplyState, view: WorkloadView) -> Progress:
    now, change = context.now, context.change
    horizon = watched(tools.settings, context.order, state)
    message = "All pods run with the change, and are watched from now on."
    if change.target.runs:
        horizon = deadline_of(tools, context, view, state)
        until = format_instant(now + horizon)
        message = f"Its next run verifies the change, by {until} at the latest: {next_run_note(view)}."
    elif not state.canary and not state.rescue:
        message += (
            " None is left to compare them with: they are compared with the time before, which takes longer"
            f" ({horizon.total_seconds() / 60:g} min at most) and shows less."
        )
    entry = note(now, "rest", "complete", message)
    return go(
        state,
        "verify",
        now,
        entry,
        observed_since=now,
        deadline=now + horizon,
        extensions=0,
        baselines={pod.name: baseline_of(pod) for pod in view.pods},
        revision=view.rollout.revision,
        unready_since={},
    )


async def _next_pods(
    tools: ApplyTools, context: StepContext, state: ApplyState, view: WorkloadView
) -> Progress:
    now, change = context.now, context.change
    batch = next_batch(view, change, tools.settings)
    if not batch:
        return _watching(tools, context, state, view)
    new = {pod.name: baseline_of(pod) for pod in batch if pod.name not in state.baselines}
    state = replace(state, baselines=state.baselines | new)
    running = sum(has_size(pod, change) for pod in view.pods)
    entry = note(now, "rest", "batch", f"{running} of {len(view.pods)} pods run with the new size.")
    return await _resize(tools, context, state, batch, lambda resized: go(resized, "rest", now, entry))
