"""The Jobs of a CronJob as runs, and when the next one is due."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from perfopt_api.apply.cluster import JobRun
from perfopt_api.apply.kubernetes.objects import Json, containers, dig, size_of

JOB_NAME = "job-name"
"""The label of a Job's pods with its name."""
MAX_RUNS = 20

_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


def runs_of(jobs: Iterable[Json], pods: Sequence[Json]) -> tuple[JobRun, ...]:
    """The runs of a CronJob, the newest first."""
    runs = [_run(job, [pod for pod in pods if _job_of(pod) == job["metadata"]["name"]]) for job in jobs]
    return tuple(sorted(runs, key=lambda run: run.created_at, reverse=True))


def next_run(obj: Json, now: datetime) -> datetime | None:
    """When a CronJob runs next, UTC; None where it is suspended or its schedule cannot be read."""
    spec = obj["spec"]
    if spec.get("suspend"):
        return None
    schedule = str(spec.get("schedule", ""))
    try:
        zone = ZoneInfo(spec.get("timeZone") or "UTC")
        return next(CronSim(_MACROS.get(schedule, schedule), now.astimezone(zone))).astimezone(UTC)
    except (CronSimError, StopIteration, KeyError, ValueError, OSError):
        return None


def _job_of(pod: Json) -> str:
    return str((pod["metadata"].get("labels") or {}).get(JOB_NAME, ""))


def _run(job: Json, pods: Sequence[Json]) -> JobRun:
    metadata, status = job["metadata"], job.get("status", {})
    failed = _condition(status, "Failed")
    done = _condition(status, "Complete")
    began, ended = status.get("startTime"), status.get("completionTime")
    whole = None
    if began and ended:
        whole = (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()
    spec = job["spec"]["template"]["spec"]
    return JobRun(
        name=metadata["name"],
        created_at=datetime.fromisoformat(metadata["creationTimestamp"]),
        sizes={container["name"]: size_of(container.get("resources")) for _, container in containers(spec)},
        state="succeeded" if done is not None else "failed" if failed is not None else "running",
        reason=str((failed or {}).get("message") or (failed or {}).get("reason") or ""),
        oom_kills=sum(_oom_kills(pod) for pod in pods),
        seconds=whole,
    )


def _condition(status: Json, kind: str) -> Json | None:
    conditions: list[Any] = status.get("conditions") or []
    return next((one for one in conditions if (one["type"], one["status"]) == (kind, "True")), None)


def _oom_kills(pod: Json) -> int:
    statuses: list[Any] = pod.get("status", {}).get("containerStatuses") or []
    return sum(
        dig(each, (state, "terminated", "reason")) == "OOMKilled"
        for each in statuses
        for state in ("state", "lastState")
    )
