"""Jobs: suspended, started, finished or failed."""

from collections.abc import Iterable

from perfopt_api.simulated.kubernetes.controllers.base import (
    Hub,
    Key,
    about,
    counted,
    is_active,
    is_ready,
    pod_from,
)
from perfopt_api.simulated.kubernetes.kinds import JOB, POD
from perfopt_api.simulated.kubernetes.status import Json, StatusError
from perfopt_api.simulated.kubernetes.storage import Change

_RETRY_SECONDS = 5.0


class JobController:
    """Reconciles one Job."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def keys(self, change: Change) -> Iterable[Key]:
        """Jobs, and those that own a pod."""
        return about(change, JOB, (POD,))

    def reconcile(self, namespace: str, name: str) -> float | None:
        """One round."""
        job = self._hub.store.get(JOB.key, namespace, name)
        if job is None or _has(job, "Complete") or _has(job, "Failed"):
            return None
        if job["spec"].get("suspend"):
            self._suspend(job)
            return None
        return self._run(job)

    def _suspend(self, job: Json) -> None:
        for pod in self._hub.owned(job, POD):
            if is_active(pod):
                self._hub.delete(POD, pod)
        suspended = self._condition("Suspended", "True", "JobSuspended", "Job suspended")
        conditions = [] if _has(job, "Suspended") else [suspended]
        status = {"conditions": [*_conditions(job), *conditions], "terminating": 0}
        self._hub.status(JOB, job, status | {"uncountedTerminatedPods": {}, "ready": 0})

    def _run(self, job: Json) -> float | None:
        pods = self._hub.owned(job, POD)
        done = [pod for pod in pods if pod.get("status", {}).get("phase") == "Succeeded"]
        active = [pod for pod in pods if is_active(pod)]
        failed = sum(pod.get("status", {}).get("phase") == "Failed" for pod in pods)
        spec = job["spec"]
        if failed > spec.get("backoffLimit", 6):
            self._fail(job, failed)
            return None
        try:
            for _ in range(min(spec["parallelism"], spec["completions"] - len(done)) - len(active)):
                active.append(self._hub.create(POD, pod_from(spec["template"], job)))
        except StatusError:
            return _RETRY_SECONDS
        return self._report(job, active, done)

    def _fail(self, job: Json, failed: int) -> None:
        text = "Job has reached the specified backoff limit"
        reached = self._condition("Failed", "True", "BackoffLimitExceeded", text)
        known = {key: value for key, value in job.get("status", {}).items() if key not in ("active", "ready")}
        status = known | {"failed": failed, "ready": 0, "conditions": [*_conditions(job), reached]}
        self._hub.status(JOB, job, status)

    def _report(self, job: Json, active: list[Json], done: list[Json]) -> float | None:
        conditions = _conditions(job)
        if _has(job, "Suspended"):
            resumed = self._condition("Suspended", "False", "JobResumed", "Job resumed")
            conditions = [resumed, *(c for c in conditions if c["type"] != "Suspended")]
        status: Json = {
            "startTime": job.get("status", {}).get("startTime", self._hub.stamp()),
            **counted(active=len(active)),
            "terminating": 0,
            "uncountedTerminatedPods": {},
            "ready": sum(map(is_ready, active)),
        }
        enough = len(done) >= job["spec"]["completions"]
        due = None
        if enough and any(c["type"] == "SuccessCriteriaMet" for c in conditions):
            text = "Reached expected number of succeeded pods"
            conditions.append(self._condition("Complete", "True", "CompletionsReached", text))
            status |= {"succeeded": len(done), "completionTime": self._hub.stamp()}
        elif enough:
            text = "Reached expected number of succeeded pods"
            conditions.append(self._condition("SuccessCriteriaMet", "True", "CompletionsReached", text))
            status["uncountedTerminatedPods"] = {"succeeded": [pod["metadata"]["uid"] for pod in done]}
            due = 0.05
        elif done:
            status["succeeded"] = len(done)
        self._hub.status(JOB, job, status | ({"conditions": conditions} if conditions else {}))
        return due

    def _condition(self, kind: str, status: str, reason: str, message: str) -> Json:
        now = self._hub.stamp()
        times = {"lastProbeTime": now, "lastTransitionTime": now}
        return {"type": kind, "status": status, **times, "reason": reason, "message": message}


def _conditions(job: Json) -> list[Json]:
    return list(job.get("status", {}).get("conditions", ()))


def _has(job: Json, kind: str) -> bool:
    return any(c["type"] == kind and c["status"] == "True" for c in _conditions(job))
