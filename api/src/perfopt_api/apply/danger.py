"""What in the status of pods and rollouts ends a change at once. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from perfopt_api.apply.cluster import PodView, WorkloadView
from perfopt_api.apply.state import ApplyState, PodBaseline
from perfopt_api.store.port import JobError

_BROKEN = frozenset(
    {
        "CrashLoopBackOff",
        "RunContainerError",
        "CreateContainerError",
        "CreateContainerConfigError",
        "StartError",
    }
)


def baseline_of(pod: PodView) -> PodBaseline:
    """Returns how a pod is before it is changed."""
    return PodBaseline(
        uid=pod.uid,
        oom_kills=pod.oom_kills,
        restarts=pod.restarts,
        ready=pod.ready,
        waiting=dict(pod.waiting),
    )


def unready(view: WorkloadView, state: ApplyState, now: datetime) -> dict[str, datetime]:
    """Returns since when each pod is not ready that was ready before the change."""
    return {
        pod.name: state.unready_since.get(pod.name, now)
        for pod in view.pods
        if (baseline := _known(state.baselines, pod)) is not None
        and baseline.ready
        and not pod.ready
        and not pod.deleting
    }


def danger_of(
    pods: Iterable[PodView], state: ApplyState, now: datetime, patience: timedelta
) -> JobError | None:
    """Returns why the changed pods must go back at once; None where they need not.

    Args:
        pods: that were changed.
        state: knows how they were before, and since when one is not ready.
        now: the present instant.
        patience: how long a pod may be not ready.
    """
    for pod in pods:
        job_error = _danger(pod, _known(state.baselines, pod) or PodBaseline(uid=pod.uid))
        if job_error is not None:
            return job_error
        since = state.unready_since.get(pod.name)
        if since is not None and now - since > patience:
            seconds = patience.total_seconds()
            return JobError(
                code="not_ready", message=f"The pod {pod.name} was not ready for more than {seconds:g} s."
            )
    return None


def _danger(pod: PodView, before: PodBaseline) -> JobError | None:
    if pod.oom_kills > before.oom_kills:
        return JobError(code="oom_killed", message=f"The pod {pod.name} was killed for lack of memory.")
    for container, reason in pod.waiting.items():
        if reason in _BROKEN and before.waiting.get(container) != reason:
            return JobError(
                code="crash_loop", message=f"The container {container} of {pod.name} waits: {reason}."
            )
    if pod.resize.state == "infeasible":
        return JobError(
            code="resize_infeasible",
            message=f"The node cannot give {pod.name} the size: {pod.resize.message}",
        )
    return None


def _known(baselines: Mapping[str, PodBaseline], pod: PodView) -> PodBaseline | None:
    baseline = baselines.get(pod.name)
    return baseline if baseline is not None and baseline.uid == pod.uid else None


def rollout_danger(view: WorkloadView) -> JobError | None:
    """Returns why a rollout must go back at once; None where it need not."""
    rollout = view.rollout
    if rollout.state == "deadline_exceeded":
        return JobError(code="progress_deadline_exceeded", message=rollout.message or "The rollout is stuck.")
    if rollout.state == "failing":
        return JobError(code="replica_failure", message=rollout.message or "New pods are refused.")
    if rollout.state == "paused":
        return JobError(code="rollout_paused", message="Somebody has paused the rollout.")
    return None
