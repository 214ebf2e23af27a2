"""What the API shows of a workload, as the port's views. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from perfopt_api.apply.cluster import (
    JobRun,
    PodView,
    ResizeState,
    WorkloadTarget,
    WorkloadView,
)
from perfopt_api.apply.kubernetes.objects import (
    HPA_FIELDS,
    Json,
    all_managers,
    containers,
    dig,
    fields_of,
    managers_of,
    owned_path,
    size_of,
)
from perfopt_api.apply.kubernetes.runs import next_run
from perfopt_api.apply.related import DisruptionBudget, RolloutStatus, WorkloadOwners

_OWN_KINDS = ("Deployment", "StatefulSet", "DaemonSet", "CronJob")
_REVISION = "deployment.kubernetes.io/revision"
_HASHES = ("pod-template-hash", "controller-revision-hash", "rollouts-pod-template-hash")
_ARGO_TRACKING = "argocd.argoproj.io/tracking-id"
_ARGO_INSTANCE = "argocd.argoproj.io/instance"
_ARGO_MANAGERS = ("argocd-controller", "argocd-application-controller")
_FLUX = {"kustomize.toolkit.fluxcd.io": "Kustomization", "helm.toolkit.fluxcd.io": "HelmRelease"}
_FLUX_MANAGERS = {"kustomize-controller": "Kustomization", "helm-controller": "HelmRelease"}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """A workload with everything that was read beside it."""

    obj: Json
    pods: Sequence[Json] = ()
    autoscalers: Sequence[Json] = ()
    scaled_objects: Sequence[Json] = ()
    vertical: Sequence[Json] = ()
    budgets: Sequence[Json] = ()
    revisions: Sequence[Json] = field(default_factory=tuple)
    runs: tuple[JobRun, ...] = ()

    @property
    def autoscaler(self) -> Json | None:
        """The HorizontalPodAutoscaler that targets the workload."""
        return next((each for each in self.autoscalers if _targets(each, self.obj)), None)

    @property
    def scaled_object(self) -> Json | None:
        """The ScaledObject that targets the workload."""
        return next((each for each in self.scaled_objects if _targets(each, self.obj)), None)


def _targets(scaler: Json, obj: Json, reference: str = "scaleTargetRef") -> bool:
    given = scaler["spec"].get(reference, {})
    kind = given.get("kind", "Deployment")
    return (kind, given.get("name")) == (obj["kind"], obj["metadata"]["name"])


def view_of(target: WorkloadTarget, surroundings: Surroundings, read_at: datetime) -> WorkloadView:
    """The view of a workload."""
    obj, metadata = surroundings.obj, surroundings.obj["metadata"]
    fields = fields_of(obj)
    owners = {path: managers_of(obj, owned_path(path, obj)) for path in fields}
    hpa, keda = surroundings.autoscaler, surroundings.scaled_object
    if hpa is not None:
        for path, name in HPA_FIELDS.items():
            if name in hpa["spec"]:
                fields[path] = hpa["spec"][name]
                owners[path] = managers_of(hpa, ("f:spec", f"f:{name}"))
    if keda is not None:
        fields["keda"] = keda["spec"]
        owners["keda"] = all_managers(keda)
    return WorkloadView(
        target=target,
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        generation=metadata.get("generation", 0),
        fields=fields,
        field_managers={path: managers for path, managers in owners.items() if managers},
        owners=owners_of(surroundings),
        budgets=tuple(
            DisruptionBudget(
                name=budget["metadata"]["name"],
                disruptions_allowed=budget.get("status", {}).get("disruptionsAllowed", 0),
            )
            for budget in surroundings.budgets
        ),
        rollout=rollout_of(surroundings),
        pods=tuple(pod_view(pod) for pod in surroundings.pods if not _ended(pod)),
        runs=surroundings.runs,
        next_run_at=next_run(surroundings.obj, read_at) if target.runs else None,
        suspended=target.runs and bool(surroundings.obj["spec"].get("suspend")),
        read_at=read_at,
    )


def owners_of(surroundings: Surroundings) -> WorkloadOwners:
    """What else changes a workload."""
    vertical = next(
        (each for each in surroundings.vertical if _targets(each, surroundings.obj, "targetRef")), None
    )
    mode = dig(vertical, ("spec", "updatePolicy", "updateMode")) if vertical else None
    hpa, keda = surroundings.autoscaler, surroundings.scaled_object
    return WorkloadOwners(
        hpa=hpa["metadata"]["name"] if hpa else None,
        keda=keda["metadata"]["name"] if keda else None,
        vpa=vertical["metadata"]["name"] if vertical else None,
        vpa_mode=mode or ("Auto" if vertical else "Off"),
        argo_cd=argo_application(surroundings.obj),
        flux=flux_owner(surroundings.obj),
        managers=all_managers(surroundings.obj),
    )


def argo_application(obj: Json) -> str | None:
    """The Argo CD application that tracks an object, by its mark or by its field manager."""
    metadata = obj["metadata"]
    tracked = metadata.get("annotations", {}).get(_ARGO_TRACKING)
    if tracked:
        return str(tracked).partition(":")[0]
    instance = metadata.get("labels", {}).get(_ARGO_INSTANCE)
    if instance:
        return str(instance)
    managed = any(manager in _ARGO_MANAGERS for manager in all_managers(obj))
    if managed:
        return str(metadata.get("labels", {}).get("app.kubernetes.io/instance", metadata["name"]))
    return None


def flux_owner(obj: Json) -> str | None:
    """The Flux object that reconciles an object, `Kind/namespace/name`."""
    metadata = obj["metadata"]
    labels = metadata.get("labels", {})
    for prefix, kind in _FLUX.items():
        name = labels.get(f"{prefix}/name")
        if name:
            return f"{kind}/{labels.get(f'{prefix}/namespace', metadata['namespace'])}/{name}"
    for manager in all_managers(obj):
        if manager in _FLUX_MANAGERS:
            return f"{_FLUX_MANAGERS[manager]}/{metadata['namespace']}/{metadata['name']}"
    return None


# -- pods -------------------------------------------------------------------------------------------------


def _ended(pod: Json) -> bool:
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def pod_view(pod: Json) -> PodView:
    """A pod as its status shows it."""
    metadata, status = pod["metadata"], pod.get("status", {})
    statuses = [*status.get("containerStatuses", ()), *status.get("initContainerStatuses", ())]
    counted = {container["name"] for _, container in containers(pod["spec"])}
    running = [each for each in statuses if each["name"] in counted]
    ready = condition(status, "Ready")
    is_ready = ready.get("status") == "True"
    return PodView(
        name=metadata["name"],
        uid=metadata["uid"],
        node=pod["spec"].get("nodeName", ""),
        revision=revision_of(metadata),
        created_at=instant_of(metadata.get("creationTimestamp")),
        started_at=_started(running),
        ready=is_ready,
        ready_since=instant_of(ready.get("lastTransitionTime")) if is_ready else None,
        deleting="deletionTimestamp" in metadata,
        restarts=sum(each.get("restartCount", 0) for each in running),
        oom_kills=sum(_oom_kills(each) for each in running),
        waiting={e["name"]: str(w.get("reason", "")) for e in running if (w := dig(e, ("state", "waiting")))},
        wanted={c["name"]: size_of(c.get("resources")) for _, c in containers(pod["spec"])},
        actuated={each["name"]: size_of(each["resources"]) for each in running if "resources" in each},
        resize=resize_state(pod),
        restarting=_restarting(pod["spec"]),
        phase=status.get("phase", "Pending"),
    )


def revision_of(metadata: Json) -> str:
    """The revision of the template that a pod was made from."""
    labels = metadata.get("labels", {})
    return str(next((labels[name] for name in _HASHES if name in labels), ""))


def _started(statuses: Iterable[Json]) -> datetime | None:
    times = [dig(each, ("state", "running", "startedAt")) for each in statuses]
    known = [instant_of(text) for text in times if text]
    return min((time for time in known if time is not None), default=None)


def _oom_kills(status: Json) -> int:
    """OOM kills that a status shows: of the present state and of the last."""
    reasons = [dig(status, (state, "terminated", "reason")) for state in ("state", "lastState")]
    return sum(reason == "OOMKilled" for reason in reasons)


def _restarting(spec: Json) -> dict[str, tuple[str, ...]]:
    restarting = {}
    for _, container in containers(spec):
        names = tuple(
            policy["resourceName"]
            for policy in container.get("resizePolicy", ())
            if policy.get("restartPolicy") == "RestartContainer"
        )
        if names:
            restarting[container["name"]] = names
    return restarting


def resize_state(pod: Json) -> ResizeState:
    """Where a pod's resize stands. An admitted one that the kubelet has not seen yet is in progress."""
    status = pod.get("status", {})
    pending, progress = condition(status, "PodResizePending"), condition(status, "PodResizeInProgress")
    if pending.get("status") == "True":
        state = "infeasible" if pending.get("reason") == "Infeasible" else "deferred"
        return _resize(state, pending)
    if progress.get("status") == "True":
        return _resize("error" if progress.get("reason") == "Error" else "in_progress", progress)
    statuses = {each["name"]: each for each in status.get("containerStatuses", ())}
    behind = status.get("observedGeneration", 0) < pod["metadata"].get("generation", 0)
    for container in pod["spec"].get("containers", ()):
        runs = statuses.get(container["name"], {}).get("resources")
        if behind and runs is not None and size_of(runs) != size_of(container.get("resources")):
            return ResizeState(state="in_progress")
    return ResizeState()


def _resize(state: Any, reported: Json) -> ResizeState:
    since = instant_of(reported.get("lastTransitionTime"))
    return ResizeState(state=state, message=reported.get("message", ""), since=since)


# -- rollout ----------------------------------------------------------------------------------------------


def condition(status: Json, kind: str) -> Json:
    """A condition; empty where there is none."""
    return next((each for each in status.get("conditions") or () if each.get("type") == kind), {})


def instant_of(text: str | None) -> datetime | None:
    """A time of the API."""
    return datetime.fromisoformat(text) if text else None


def rollout_of(surroundings: Surroundings) -> RolloutStatus:
    """Where the rollout of a workload's template stands."""
    obj = surroundings.obj
    counts = _counts(obj, surroundings)
    newest = _newest(surroundings)
    state, message = _state(obj, counts)
    return RolloutStatus(
        state=state,
        message=message,
        revision=newest[0],
        desired=counts["desired"],
        updated=counts["updated"],
        ready=counts["ready"],
        available=counts["available"],
        began_at=newest[1],
    )


def _counts(obj: Json, surroundings: Surroundings) -> dict[str, int]:
    status = obj.get("status", {})
    if obj["kind"] == "DaemonSet":
        names = ("desiredNumberScheduled", "updatedNumberScheduled", "numberReady", "numberAvailable")
        desired, updated, ready, available = (int(status.get(name, 0)) for name in names)
        return {
            "desired": desired,
            "updated": updated,
            "ready": ready,
            "available": available,
            "replicas": desired,
        }
    if obj["kind"] == "CronJob":
        return dict.fromkeys(("desired", "updated", "ready", "available", "replicas"), 0)
    desired = obj["spec"].get("replicas", 1)
    ready = status.get(
        "readyReplicas",
        sum(condition(p["status"], "Ready").get("status") == "True" for p in surroundings.pods),
    )
    return {
        "desired": desired,
        "updated": status.get("updatedReplicas", 0 if obj["kind"] in _OWN_KINDS else ready),
        "ready": ready,
        "available": status.get("availableReplicas", ready),
        "replicas": status.get("replicas", desired),
    }


def _state(obj: Json, counts: dict[str, int]) -> tuple[Any, str]:
    status = obj.get("status", {})
    failed, progress = condition(status, "ReplicaFailure"), condition(status, "Progressing")
    if obj["spec"].get("paused"):
        return "paused", "The workload is paused"
    if obj["kind"] == "CronJob":
        return "complete", ""
    if not _seen(obj):
        return "progressing", "The controller has not seen the newest generation yet"
    if failed.get("status") == "True":
        return "failing", failed.get("message", "")
    if progress.get("reason") == "ProgressDeadlineExceeded":
        return "deadline_exceeded", progress.get("message", "")
    desired = counts["desired"]
    due = desired - _kept_back(obj)
    full = counts["ready"] >= desired and counts["available"] >= desired and counts["replicas"] <= desired
    if counts["updated"] >= due and full:
        return "complete", progress.get("message", "")
    return (
        "progressing",
        f"{counts['updated']} of {desired} pods are of the newest template, {counts['ready']} ready",
    )


def _seen(obj: Json) -> bool:
    """Whether the controller has seen the newest generation; one of a custom kind may not report it."""
    observed = str(obj.get("status", {}).get("observedGeneration", ""))
    if obj["kind"] not in _OWN_KINDS and not observed.isdecimal():  # Argo Rollouts once wrote a hash
        return True
    return int(observed or 0) >= int(obj["metadata"].get("generation", 0))


def _kept_back(obj: Json) -> int:
    """Pods that a partition leaves at the old revision."""
    partition = dig(obj, ("spec", "updateStrategy", "rollingUpdate", "partition")) or 0
    return min(int(partition), int(obj["spec"].get("replicas", 0))) if obj["kind"] == "StatefulSet" else 0


def _newest(surroundings: Surroundings) -> tuple[str, datetime | None]:
    """The newest revision of the template, and when it was made."""
    obj = surroundings.obj
    if obj["kind"] == "Deployment":
        number = obj["metadata"].get("annotations", {}).get(_REVISION)
        for each in surroundings.revisions:
            if each["metadata"].get("annotations", {}).get(_REVISION) == number:
                return revision_of(each["metadata"]), instant_of(each["metadata"].get("creationTimestamp"))
        return "", None
    if obj["kind"] == "StatefulSet":
        name = str(obj.get("status", {}).get("updateRevision", ""))
        revision = next((each for each in surroundings.revisions if each["metadata"]["name"] == name), None)
        return name, instant_of(revision["metadata"]["creationTimestamp"]) if revision else None
    if surroundings.revisions:
        last = max(surroundings.revisions, key=lambda each: int(each.get("revision", 0)))
        return revision_of(last["metadata"]), instant_of(last["metadata"].get("creationTimestamp"))
    return str(obj.get("status", {}).get("currentPodHash", "")), None
