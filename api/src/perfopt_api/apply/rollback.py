"""Going back: pods first, then the fields that are still ours; retried for ever, and never forgotten."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from perfopt.domain.enums import OptimizationStatus
from perfopt.errors import PerfoptError
from perfopt_api.apply.cluster import Cluster, PodView, WorkloadChange, WorkloadView
from perfopt_api.apply.fields import foreign, original_sizes, ours, pods_taken_over, pods_to_take_back
from perfopt_api.apply.moves import end, note, stay
from perfopt_api.apply.order import change_of_fields
from perfopt_api.apply.refusals import ResizeRefusedError, WorkloadGoneError
from perfopt_api.apply.state import ApplyOrder, ApplyState, Progress
from perfopt_api.policy.settings import PolicySettings
from perfopt_api.store.port import JobError

_FIRST_BACKOFF = 1.0
_MAX_BACKOFF = 300.0
_LOOK_SECONDS = 5.0


def backoff_seconds(attempts: int) -> float:
    """Returns the wait after so many failed attempts in a row: 1 s, doubled up to five minutes."""
    return float(min(_FIRST_BACKOFF * 2 ** min(attempts - 1, 20), _MAX_BACKOFF))


async def roll_back(
    cluster: Cluster, order: ApplyOrder, state: ApplyState, settings: PolicySettings, now: datetime
) -> Progress:
    """Does what is left to do of going back; whatever stands against it, it is tried again later."""
    try:
        return await _back(cluster, order, state, settings, now)
    except WorkloadGoneError as error:
        gone = state.failure or JobError(code=error.code, message=error.message)
        entry = note(now, "rollback", error.code, f"{error.message} There is nothing to go back to.")
        return end(replace(state, failure=gone), OptimizationStatus.FAILED, now, entry)
    except PerfoptError as error:
        attempts = state.attempts + 1
        entry = note(now, "rollback", "rollback_failed", f"{error.explained} It is tried again.")
        noted = (entry,) if attempts == 1 or attempts % 10 == 0 else ()
        return stay(state, backoff_seconds(attempts), *noted, attempts=attempts)


async def _back(
    cluster: Cluster, order: ApplyOrder, state: ApplyState, settings: PolicySettings, now: datetime
) -> Progress:
    snapshot = state.snapshot
    if snapshot is None:
        return end(state, OptimizationStatus.FAILED, now)
    view = await cluster.read(snapshot.target)
    if view.uid != snapshot.uid:
        raise WorkloadGoneError("The workload was replaced by another of the same name.")
    left = tuple({*state.left_alone, *foreign(view, order, state), *pods_taken_over(view, order, state)})
    state = replace(state, left_alone=tuple(sorted(left)))
    pods, paths = pods_to_take_back(view, order, state), ours(view, order, state)
    if (paths or pods) and not state.restored:
        counts = _counted({"field": len(paths), "pod": len(pods)})
        before = {path: snapshot.fields.get(path) for path in paths}
        commands = _commands(cluster, order, state, before, pods)
        entry = note(now, "rollback", "restored", f"Set to what was before: {counts}.", before, commands)
        return stay(state, 0.0, entry, restored=True)  # stored and noted before it is done
    for pod in pods:
        try:
            await cluster.resize(view.target, pod.name, original_sizes(pod, order, state))
        except ResizeRefusedError:
            if not ours(view, order, state):  # else going back replaces the pod
                raise
    paths = ours(view, order, state)
    if paths:
        await cluster.restore(snapshot, only=paths)
    if paths or pods:
        return stay(state, _LOOK_SECONDS)
    return _settled(view, state, settings, now)


def _commands(
    cluster: Cluster, order: ApplyOrder, state: ApplyState, before: Mapping[str, Any], pods: Iterable[PodView]
) -> list[str]:
    target = order.whole.target
    fields = cluster.commands(change_of_fields(target, before)) if before else ()
    resizes = (
        cluster.commands(
            WorkloadChange(target=target, containers=original_sizes(pod, order, state)), pod.name
        )
        for pod in pods
    )
    return [*fields, *(line for lines in resizes for line in lines)]


def _counted(numbers: Mapping[str, int]) -> str:
    """Prints numbers of things, those of none left out: `2 fields, 1 pod`."""
    return ", ".join(f"{n} {name}{'' if n == 1 else 's'}" for name, n in numbers.items() if n)


def _settled(view: WorkloadView, state: ApplyState, settings: PolicySettings, now: datetime) -> Progress:
    """Ends once the old template runs again; one that does not in time is noted, as nothing is left to do."""
    late = state.since is not None and now - state.since > timedelta(minutes=settings.rollout_minutes)
    if view.rollout.state != "complete" and not late:
        return stay(state, _LOOK_SECONDS)
    changed = state.resized or state.written_paths or state.restored
    status = OptimizationStatus.ROLLED_BACK if changed and not state.manual else OptimizationStatus.FAILED
    message = "The workload is as it was before."
    if state.left_alone:
        message = f"What somebody else changed is left alone: {', '.join(state.left_alone)}."
    if view.rollout.state != "complete":
        message += f" Its rollout is not complete: {view.rollout.message or view.rollout.state}."
    return end(state, status, now, note(now, "rollback", "rolled_back", message))
