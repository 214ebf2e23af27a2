"""The kubelet: what a node reports of its pods. The containers it starts, resizes and ends never run."""

import copy
import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from perfopt.domain.quantity import parse_quantity
from perfopt_api.simulated.kubernetes import admission
from perfopt_api.simulated.kubernetes.clock import seconds
from perfopt_api.simulated.kubernetes.controllers.base import Hub, Key, condition
from perfopt_api.simulated.kubernetes.controllers.scheduler import free
from perfopt_api.simulated.kubernetes.kinds import NODE, POD
from perfopt_api.simulated.kubernetes.status import Json
from perfopt_api.simulated.kubernetes.storage import Change

_BEHAVIOUR = "behaviour"
_PENDING, _PROGRESS = "PodResizePending", "PodResizeInProgress"
_TRACKED = ("cpu", "memory")


class MemoryUse(Protocol):
    """What a container needs, for the OOM killer."""

    def memory_bytes(self, pod: Json, container: str) -> float:
        """Working set in bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Delays:
    """How long things take, in seconds.

    Attributes:
        start: from being bound to running containers.
        ready: from running to Ready.
        resize: from admission of a resize to its end.
        retry: between looks at a resize that was deferred.
        crash: between restarts of a container that is killed.
        double: whether that doubles with each restart, up to five minutes.
        run: how long a container of a Job runs.
        stop: from deletion to removal.
        check: between looks at memory use.
    """

    start: float = 0.05
    ready: float = 1.0
    resize: float = 3.0
    retry: float = 5.0
    crash: float = 10.0
    double: bool = True
    run: float = 0.8
    stop: float = 0.05
    check: float = 1.0


class Kubelet:
    """Runs one pod; a label `behaviour` makes it never-ready, resize-infeasible or resize-deferred."""

    def __init__(self, hub: Hub, memory: MemoryUse, delays: Delays | None = None) -> None:
        self._hub, self._memory = hub, memory
        self.delays = delays or Delays()
        self._due: dict[str, float] = {}  # by uid: when a resize ends
        self._addresses = 0

    def keys(self, change: Change) -> Iterable[Key]:
        """Pods on a node."""
        bound = change.kind == POD.key and change.after is not None and change.after["spec"].get("nodeName")
        return [change.name] if bound else []

    def reconcile(self, namespace: str, name: str) -> float | None:
        """One look at a pod."""
        pod = self._hub.store.get(POD.key, namespace, name)
        if pod is None or not _bound(pod):
            return None
        metadata = pod["metadata"]
        if "deletionTimestamp" in metadata:
            return self._stop(pod)
        status = pod["status"]
        if status.get("phase") in ("Succeeded", "Failed"):
            return None
        if "startTime" not in status:
            return self._start(pod)
        new = copy.deepcopy(status)
        waits = [self._crashes(pod, new), self._resize(pod, new), self._readiness(pod, new)]
        self._observe(pod, new)
        if new != status:
            self._hub.status(POD, pod, new, manager="kubelet")
        known = [wait for wait in waits if wait is not None]
        return min(known) if known else None

    # -- beginning and end -------------------------------------------------------------------------------

    def _stop(self, pod: Json) -> float | None:
        metadata = pod["metadata"]
        if metadata.get("deletionGracePeriodSeconds"):
            ended = metadata | {"deletionGracePeriodSeconds": 0, "deletionTimestamp": self._hub.stamp()}
            self._hub.store.put(POD.key, pod | {"metadata": ended})
            return self.delays.stop
        self._due.pop(metadata["uid"], None)
        self._hub.store.remove(POD.key, metadata["namespace"], metadata["name"])
        return None

    def _start(self, pod: Json) -> float:
        self._addresses += 1
        address = f"10.244.{self._addresses // 250 % 250}.{self._addresses % 250 + 1}"
        node = self._hub.store.get(NODE.key, "", pod["spec"]["nodeName"]) or {"status": {}}
        host = next((a["address"] for a in node["status"].get("addresses", ())), "192.0.2.10")
        now = self._hub.stamp()
        status = copy.deepcopy(pod["status"]) | {
            "phase": "Running",
            "hostIP": host,
            "hostIPs": [{"ip": host}],
            "podIP": address,
            "podIPs": [{"ip": address}],
            "startTime": now,
            "containerStatuses": [self._container(c, now) for c in pod["spec"]["containers"]],
        }
        if pod["spec"].get("initContainers"):
            init = [self._init(c, now) for c in pod["spec"]["initContainers"]]
            status["initContainerStatuses"] = init
        for kind in ("PodReadyToStartContainers", "Initialized"):
            _set(status, kind, "True", now)
        self._crashes(pod, status)
        self._set_ready(pod, status, ready=False)
        self._observe(pod, status)
        self._hub.status(POD, pod, status, manager="kubelet")
        wait = self.delays.ready if pod["spec"]["restartPolicy"] == "Always" else self.delays.run
        return max(seconds(now) + wait - self._hub.now, 0.01)

    def _container(self, container: Json, now: str) -> Json:
        resources = container.get("resources", {})
        image = container["image"]
        digest = hashlib.sha256(image.encode()).hexdigest()
        status: Json = {
            "name": container["name"],
            "state": {"running": {"startedAt": now}},
            "lastState": {},
            "ready": False,
            "restartCount": 0,
            "image": image,
            "imageID": f"{image}@sha256:{digest}",
            "containerID": self._container_id(),
            "started": True,
        }
        if resources.get("requests"):
            status["allocatedResources"] = dict(resources["requests"])
        return status | {"resources": copy.deepcopy(resources)}

    def _init(self, container: Json, now: str) -> Json:
        status = self._container(container, now) | {"ready": True}
        if container.get("restartPolicy") != "Always":
            ended = {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}
            status |= {
                "state": {"terminated": ended | {"containerID": status["containerID"]}},
                "started": False,
            }
        return status

    def _container_id(self) -> str:
        return f"containerd://{self._hub.api.generator.getrandbits(256):064x}"

    # -- readiness and crashes ---------------------------------------------------------------------------

    def _readiness(self, pod: Json, status: Json) -> float | None:
        started = max(
            (seconds(c["state"]["running"]["startedAt"]) for c in status["containerStatuses"] if _runs(c)),
            default=seconds(status["startTime"]),
        )
        if pod["spec"]["restartPolicy"] != "Always":
            return self._finish(status, started)
        never = pod["metadata"].get("labels", {}).get(_BEHAVIOUR) == "never-ready"
        left = started + self.delays.ready - self._hub.now
        was = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", ()))
        alive = all(_runs(c) for c in status["containerStatuses"])
        self._set_ready(pod, status, ready=alive and not never and (was or left <= 0))
        return max(left, 0.01) if left > 0 and not was and not never else self.delays.check

    def _finish(self, status: Json, started: float) -> float | None:
        if any("terminated" in container["state"] for container in status["containerStatuses"]):
            status["phase"] = "Failed"
            for kind in ("Ready", "ContainersReady"):
                _set(status, kind, "False", self._hub.stamp(), "PodFailed")
            return None
        left = started + self.delays.run - self._hub.now
        if left > 0 or not all(map(_runs, status["containerStatuses"])):
            return max(left, 0.01)
        now = self._hub.stamp()
        for container in status["containerStatuses"]:
            begun = container["state"].get("running", {}).get("startedAt", now)
            ended = {"exitCode": 0, "reason": "Completed", "startedAt": begun, "finishedAt": now}
            container["state"] = {"terminated": ended | {"containerID": container["containerID"]}}
            container |= {"ready": False, "started": False}
        status["phase"] = "Succeeded"
        for kind in ("Ready", "ContainersReady"):
            _set(status, kind, "False", now, "PodCompleted")
        return None

    def _set_ready(self, pod: Json, status: Json, *, ready: bool) -> None:
        never = pod["metadata"].get("labels", {}).get(_BEHAVIOUR) == "never-ready"
        for container in status["containerStatuses"]:
            container["ready"] = ready and _runs(container) and not never
        unready = [c["name"] for c in status["containerStatuses"] if not c["ready"]]
        reason, text = "", ""
        if unready:
            reason, text = "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
        for kind in ("Ready", "ContainersReady"):
            _set(status, kind, "False" if unready else "True", self._hub.stamp(), reason, text)

    def _crashes(self, pod: Json, status: Json) -> float | None:
        waits = [self._crash(pod, container) for container in status["containerStatuses"]]
        known = [wait for wait in waits if wait is not None]
        return min(known) if known else None

    def _crash(self, pod: Json, container: Json) -> float | None:
        """Kills a container over its limit; starts one again whose back-off is over."""
        limit = container.get("resources", {}).get("limits", {}).get("memory")
        need = self._memory.memory_bytes(pod, container["name"])
        over = limit is not None and need > float(parse_quantity(limit))
        if "terminated" in container["state"]:
            return None
        if not _runs(container):
            return self._restart(container, over=over)
        if not over:
            return None
        begun = container["state"]["running"]["startedAt"]
        if pod["spec"]["restartPolicy"] == "Never":
            container["state"] = {"terminated": self._killed(container, begun)}
            container |= {"ready": False, "started": False}
            return None
        self._kill(container, begun)
        return self._backoff(container)

    def _killed(self, container: Json, begun: str) -> Json:
        ended = {"exitCode": 137, "reason": "OOMKilled", "startedAt": begun, "finishedAt": self._hub.stamp()}
        return ended | {"containerID": container["containerID"]}

    def _kill(self, container: Json, begun: str) -> None:
        container["lastState"] = {"terminated": self._killed(container, begun)}
        container |= {"restartCount": container["restartCount"] + 1, "ready": False, "started": False}
        container["containerID"] = self._container_id()
        wait = int(self._backoff(container)) or 1
        text = f"back-off {wait}s restarting failed container={container['name']}"
        container["state"] = {"waiting": {"reason": "CrashLoopBackOff", "message": text}}

    def _backoff(self, container: Json) -> float:
        times = max(0, container["restartCount"] - 1) if self.delays.double else 0
        return min(self.delays.crash * 2.0 ** min(times, 10), max(300.0, self.delays.crash))

    def _restart(self, container: Json, *, over: bool) -> float | None:
        ended = container["lastState"].get("terminated")
        if ended is None:
            return None
        left = seconds(ended["finishedAt"]) + self._backoff(container) - self._hub.now
        if left > 0:
            return max(left, 0.01)
        now = self._hub.stamp()
        if over:
            self._kill(container, now)
            return self._backoff(container)
        container["state"] = {"running": {"startedAt": now}}
        container["started"] = True
        return self.delays.ready

    # -- resize ------------------------------------------------------------------------------------------

    def _resize(self, pod: Json, status: Json) -> float | None:
        uid, now, stamped = pod["metadata"]["uid"], self._hub.now, seconds(self._hub.stamp())
        changed = _changed(pod, status)
        if not changed:
            self._due.pop(uid, None)
            _drop(status, _PENDING, _PROGRESS)
            return None
        if uid not in self._due or not _unstarted(status):
            refusal = self._refusal(pod)
            if refusal is not None:
                self._due.pop(uid, None)
                _drop(status, _PROGRESS)
                _set(status, _PENDING, "True", self._hub.stamp(), *refusal)
                return self.delays.retry if refusal[0] == "Deferred" else None
        _drop(status, _PENDING)
        _set(status, _PROGRESS, "True", self._hub.stamp())
        due = self._due.setdefault(uid, stamped + self.delays.resize)
        if now < due:
            return max(due - now, 0.01)
        self._due.pop(uid, None)
        _drop(status, _PROGRESS)
        for container, desired in changed:
            self._actuate(container, desired)
        return None

    def _refusal(self, pod: Json) -> tuple[str, str] | None:
        """Why a resize waits; None where it may begin."""
        behaviour = pod["metadata"].get("labels", {}).get(_BEHAVIOUR)
        if behaviour == "resize-infeasible":
            return "Infeasible", "resizes of this pod are infeasible on this node"
        if behaviour == "resize-deferred":
            return "Deferred", "resizes of this pod are deferred on this node"
        node = self._hub.store.get(NODE.key, "", pod["spec"]["nodeName"])
        if node is None:
            return None
        requested = admission.effective(pod["spec"])
        left = free(self._hub, node, but=pod["metadata"]["uid"])
        for name in _TRACKED:
            have = parse_quantity(node["status"]["allocatable"].get(name, "0"))
            if requested.get(name, Decimal(0)) > have:
                text = (
                    f"Node didn't have enough capacity: {name}, requested: {_amount(requested[name], name)}"
                )
                return "Infeasible", f"{text}, capacity: {_amount(have, name)}"
            if requested.get(name, Decimal(0)) > left[name]:
                used = have - left[name]
                amounts = f"requested: {_amount(requested[name], name)}, used: {_amount(used, name)}"
                text = f"Node didn't have enough resource: {name}, {amounts}, capacity: {_amount(have, name)}"
                return "Deferred", text
        return None

    def _actuate(self, container: Json, desired: Json) -> None:
        before = container.get("resources", {})
        after = desired.get("resources", {})
        if _must_restart(desired, before, after) and _runs(container):
            begun, now = container["state"]["running"]["startedAt"], self._hub.stamp()
            ended = {"exitCode": 0, "reason": "Completed", "startedAt": begun, "finishedAt": now}
            container["lastState"] = {"terminated": ended | {"containerID": container["containerID"]}}
            container["state"] = {"running": {"startedAt": now}}
            container["restartCount"] += 1
            container["containerID"] = self._container_id()
        container["resources"] = copy.deepcopy(after)
        if after.get("requests"):
            container["allocatedResources"] = dict(after["requests"])

    def _observe(self, pod: Json, status: Json) -> None:
        generation = pod["metadata"].get("generation", 1)
        status["observedGeneration"] = generation
        for each in status.get("conditions", ()):
            each["observedGeneration"] = generation


def _unstarted(status: Json) -> bool:
    return any(c["type"] == _PROGRESS for c in status.get("conditions", ()))


def _bound(pod: Json) -> bool:
    scheduled = condition(pod, "PodScheduled")
    return bool(pod["spec"].get("nodeName")) and scheduled is not None and scheduled["status"] == "True"


def _runs(container: Json) -> bool:
    return "running" in container["state"]


def _set(status: Json, kind: str, value: str, now: str, reason: str = "", message: str = "") -> None:
    conditions = status.setdefault("conditions", [])
    known = next((c for c in conditions if c["type"] == kind), None)
    texts = {key: text for key, text in (("reason", reason), ("message", message)) if text}
    turned = known["lastTransitionTime"] if known is not None and known["status"] == value else now
    entry: Json = {"type": kind, "observedGeneration": 1, "status": value, "lastProbeTime": None}
    entry |= {"lastTransitionTime": turned} | texts
    if known is None:
        conditions.append(entry)
    else:
        conditions[conditions.index(known)] = entry


def _drop(status: Json, *kinds: str) -> None:
    status["conditions"] = [c for c in status.get("conditions", ()) if c["type"] not in kinds]


def _changed(pod: Json, status: Json) -> list[tuple[Json, Json]]:
    """Container statuses whose resources are not those of the spec, with the containers."""
    pairs = []
    for kind, statuses in (("containers", "containerStatuses"), ("initContainers", "initContainerStatuses")):
        desired = {c["name"]: c for c in pod["spec"].get(kind, ())}
        for container in status.get(statuses, ()):
            given = desired.get(container["name"])
            ended = kind == "initContainers" and (given or {}).get("restartPolicy") != "Always"
            if given is None or ended or given.get("resources", {}) == container.get("resources", {}):
                continue
            pairs.append((container, given))
    return pairs


def _must_restart(container: Json, before: Json, after: Json) -> bool:
    policies = {p["resourceName"]: p["restartPolicy"] for p in container.get("resizePolicy", ())}
    moved = {
        name
        for kind in ("requests", "limits")
        for name in _TRACKED
        if before.get(kind, {}).get(name) != after.get(kind, {}).get(name)
    }
    return any(policies.get(name) == "RestartContainer" for name in moved)


def _amount(value: Decimal, name: str) -> str:
    """In the kubelet's units: millicores, or bytes."""
    return str(math.ceil(value * 1000) if name == "cpu" else int(value))
