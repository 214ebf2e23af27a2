"""Verification of a CronJob by its next run: what has no pods between its runs has no series to compare."""

from collections.abc import Iterable
from datetime import timedelta

from perfopt.domain.period import format_instant
from perfopt_api.apply.cluster import JobRun, WorkloadChange, WorkloadView
from perfopt_api.apply.context import ApplyTools, StepContext, look_at_pods
from perfopt_api.apply.fields import has_sizes
from perfopt_api.apply.judging import Passed, watched
from perfopt_api.apply.moves import fail, note, stay
from perfopt_api.apply.state import ApplyState, Progress
from perfopt_api.apply.verifier import VerificationLook
from perfopt_api.store.port import JobError

_LOOK_SECONDS = 60.0
_SLOWER = 1.5  # times the longest run before: so much longer is no pass
_MIN_BEFORE = 2  # runs before the change, without which a longer one shows nothing


async def judge_runs(tools: ApplyTools, context: StepContext, passed: Passed) -> Progress:
    """Waits for a run with the change: one that succeeds passes, one that fails or is killed goes back."""
    seen = await look_at_pods(tools, context)
    if seen.ends is not None:
        return seen.ends
    state, now = seen.state, context.now
    runs, before = _split(seen.view, context.change, state)
    harm = _harm(runs, before)
    if harm is not None:
        return fail(state, harm, now)
    done = [run for run in runs if run.state == "succeeded"]
    good = next((run for run in done if not _slower(run, before)), None)
    if good is not None:
        look = VerificationLook(
            verdict="passed", reason=_passed(good, before), method="before_and_after", at=now
        )
        return passed(state, look)
    if state.deadline is None or now < state.deadline:
        return stay(state, _LOOK_SECONDS)
    return _inconclusive(tools, context, state, seen.view, done or runs)


def deadline_of(tools: ApplyTools, context: StepContext, view: WorkloadView, state: ApplyState) -> timedelta:
    """Returns how long a run is waited for: until the next is due, and as long as all pods are watched."""
    due = view.next_run_at
    until = timedelta() if due is None else max(due - context.now, timedelta())
    return until + watched(tools.settings, context.order, state)


def next_run_note(view: WorkloadView) -> str:
    """Returns when the next run is due, as a phrase."""
    if view.next_run_at is None:
        return "when the next run is due is not known"
    return f"the next run is due {format_instant(view.next_run_at)}"


def _split(
    view: WorkloadView, change: WorkloadChange, state: ApplyState
) -> tuple[tuple[JobRun, ...], tuple[JobRun, ...]]:
    """Returns the runs with the change, and those from before it, the newest first."""
    assert state.snapshot is not None, "there is one before the first write"
    taken, since = state.snapshot.taken_at.replace(microsecond=0), state.observed_since
    changed = tuple(
        run
        for run in view.runs
        if run.created_at >= (taken if change.containers else since or taken)
        and has_sizes(run.sizes, change.containers)
    )
    return changed, tuple(run for run in view.runs if run.created_at < taken)


def _harm(runs: Iterable[JobRun], before: tuple[JobRun, ...]) -> JobError | None:
    last = next((run for run in before if run.state != "running"), None)
    for run in runs:
        if run.oom_kills and not (last is not None and last.oom_kills):
            return JobError(code="oom_killed", message=f"The run {run.name} was killed for lack of memory.")
        if run.state == "failed" and not (last is not None and last.state == "failed"):
            return JobError(code="run_failed", message=f"The run {run.name} failed: {run.reason}")
    return None


def _longest(before: Iterable[JobRun]) -> tuple[float, int]:
    known = [run.seconds for run in before if run.state == "succeeded" and run.seconds is not None]
    return max(known, default=0.0), len(known)


def _slower(run: JobRun, before: Iterable[JobRun]) -> bool:
    longest, known = _longest(before)
    return run.seconds is not None and known >= _MIN_BEFORE and run.seconds > _SLOWER * max(longest, 1.0)


def _passed(run: JobRun, before: Iterable[JobRun]) -> str:
    return f"The run {run.name} succeeded without an OOM kill{_time(run, before)}."


def _time(run: JobRun, before: Iterable[JobRun]) -> str:
    longest, known = _longest(before)
    if run.seconds is None:
        return ""
    earlier = f"; the longest of {known} before took {longest:.0f} s" if known else ""
    return f" in {run.seconds:.0f} s{earlier}"


def _inconclusive(
    tools: ApplyTools, context: StepContext, state: ApplyState, view: WorkloadView, runs: Iterable[JobRun]
) -> Progress:
    now = context.now
    newest = next(iter(runs), None)
    if newest is None:
        reason = f"No run came by {format_instant(now)}; {next_run_note(view)}."
    elif newest.state == "succeeded":
        _, before = _split(view, context.change, state)
        reason = f"The run {newest.name} succeeded{_time(newest, before)}, which is longer than accepted."
    else:
        reason = f"The run {newest.name} is {newest.state} at {format_instant(now)}."
    if state.extensions >= tools.settings.extensions:
        return fail(state, JobError(code="inconclusive", message=reason), now)
    deadline = now + deadline_of(tools, context, view, state)
    message = f"It is inconclusive and goes on until {format_instant(deadline)}: {reason}"
    entry = note(now, state.step, "extended", message)
    return stay(state, _LOOK_SECONDS, entry, extensions=state.extensions + 1, deadline=deadline)
