"""CronJobs: a Job whenever the schedule says so, and only the newest that have ended are kept."""

import copy
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from perfopt_api.simulated.kubernetes.clock import seconds
from perfopt_api.simulated.kubernetes.controllers.base import Hub, Key, about, condition, owner_reference
from perfopt_api.simulated.kubernetes.kinds import CRON_JOB, JOB
from perfopt_api.simulated.kubernetes.status import Json
from perfopt_api.simulated.kubernetes.storage import Change

_HISTORY = {"Complete": ("successfulJobsHistoryLimit", 3), "Failed": ("failedJobsHistoryLimit", 1)}


class CronJobController:
    """Reconciles one CronJob."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def keys(self, change: Change) -> Iterable[Key]:
        """CronJobs, and those that own a Job."""
        return about(change, CRON_JOB, (JOB,))

    def reconcile(self, namespace: str, name: str) -> float | None:
        """One round."""
        cron_job = self._hub.store.get(CRON_JOB.key, namespace, name)
        if cron_job is None or "deletionTimestamp" in cron_job["metadata"]:
            return None
        jobs = self._hub.owned(cron_job, JOB)
        self._forget(cron_job, jobs)
        status = dict(cron_job.get("status", {}))
        due = None if cron_job["spec"].get("suspend") else self._due(cron_job, status)
        while due is not None and due <= self._hub.now:
            if cron_job["spec"].get("concurrencyPolicy") != "Forbid" or not any(map(_runs, jobs)):
                jobs = [*jobs, self._hub.create(JOB, _job(cron_job, due))]
            status["lastScheduleTime"] = _stamp(due)
            due = self._due(cron_job, status)
        self._report(cron_job, jobs, status)
        return None if due is None else due - self._hub.now

    def _due(self, cron_job: Json, status: Json) -> float | None:
        spec, last = cron_job["spec"], status.get("lastScheduleTime")
        after = datetime.fromtimestamp(seconds(last or cron_job["metadata"]["creationTimestamp"]), UTC)
        try:
            zone = ZoneInfo(spec.get("timeZone") or "UTC")
            return next(CronSim(spec["schedule"], after.astimezone(zone))).timestamp()
        except (CronSimError, StopIteration, KeyError, ValueError):
            return None

    def _report(self, cron_job: Json, jobs: list[Json], status: Json) -> None:
        running = [job for job in jobs if _runs(job)]
        status.pop("active", None)
        if running:
            status["active"] = [_reference(job) for job in running]
        ended = [
            job["status"]["completionTime"] for job in jobs if job.get("status", {}).get("completionTime")
        ]
        if ended:
            status["lastSuccessfulTime"] = max([*ended, status.get("lastSuccessfulTime", "")])
        if status != cron_job.get("status", {}):
            self._hub.status(CRON_JOB, cron_job, status)

    def _forget(self, cron_job: Json, jobs: list[Json]) -> None:
        for kind, (limit, default) in _HISTORY.items():
            ended = sorted(
                (job for job in jobs if condition(job, kind) is not None),
                key=lambda job: str(job["metadata"]["creationTimestamp"]),
            )
            kept = int(cron_job["spec"].get(limit, default))
            for job in ended[: max(len(ended) - kept, 0)]:
                self._hub.delete(JOB, job)
                jobs.remove(job)


def _runs(job: Json) -> bool:
    return condition(job, "Complete") is None and condition(job, "Failed") is None


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _reference(job: Json) -> dict[str, Any]:
    metadata = job["metadata"]
    names = ("name", "namespace", "uid", "resourceVersion")
    return {"apiVersion": "batch/v1", "kind": "Job"} | {name: metadata[name] for name in names}


def _job(cron_job: Json, due: float) -> Json:
    template, metadata = cron_job["spec"]["jobTemplate"], cron_job["metadata"]
    own = {
        "name": f"{metadata['name']}-{int(due) // 60}",
        "namespace": metadata["namespace"],
        "ownerReferences": [owner_reference(cron_job)],
        "annotations": {"batch.kubernetes.io/cronjob-scheduled-timestamp": _stamp(due)},
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": copy.deepcopy(template.get("metadata", {})) | own,
        "spec": copy.deepcopy(template["spec"]),
    }
