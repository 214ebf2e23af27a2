"""Deployments: ReplicaSets by template, rolling updates, progress and its deadline, pausing."""

import copy
import math
from collections.abc import Iterable

from perfopt_api.simulated.kubernetes.clock import seconds
from perfopt_api.simulated.kubernetes.controllers.base import (
    Hub,
    Key,
    about,
    condition,
    counted,
    owner_reference,
    template_hash,
)
from perfopt_api.simulated.kubernetes.kinds import DEPLOYMENT, REPLICA_SET
from perfopt_api.simulated.kubernetes.status import Json
from perfopt_api.simulated.kubernetes.storage import Change

_PREFIX = "deployment.kubernetes.io/"
_REVISION, _HISTORY = f"{_PREFIX}revision", f"{_PREFIX}revision-history"
_DESIRED, _MAX = f"{_PREFIX}desired-replicas", f"{_PREFIX}max-replicas"
_COMPONENT = "deployment-controller"
_COMPLETE = "NewReplicaSetAvailable"
_TIMED_OUT = "ProgressDeadlineExceeded"


class DeploymentController:
    """Reconciles one Deployment: at most one step of a rollout a round."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def keys(self, change: Change) -> Iterable[Key]:
        """Deployments, and those that own a ReplicaSet."""
        return about(change, DEPLOYMENT, (REPLICA_SET,))

    def reconcile(self, namespace: str, name: str) -> float | None:
        """One round."""
        deployment = self._hub.store.get(DEPLOYMENT.key, namespace, name)
        if deployment is None:
            return None
        sets = self._hub.owned(deployment, REPLICA_SET)
        current = next((rs for rs in sets if _template(rs) == _template(deployment)), None)
        if "deletionTimestamp" in deployment["metadata"]:
            return self._report(deployment, sets, current)
        if deployment["spec"].get("paused"):
            self._pause(deployment, sets, current)
            return None
        if (condition(deployment, "Progressing") or {}).get("reason") == "DeploymentPaused":
            self._resume(deployment, sets, current)
            return 0.05
        if current is None:
            self._create(deployment, sets)
            return 0.1
        deployment = self._revise(deployment, sets, current)
        current = self._hub.store.get(REPLICA_SET.key, namespace, current["metadata"]["name"]) or current
        old = [rs for rs in sets if rs["metadata"]["name"] != current["metadata"]["name"]]
        if self._scaled(deployment, current, old):
            return 0.05
        if self._roll(deployment, current, old):
            sets = self._hub.owned(deployment, REPLICA_SET)
            name = current["metadata"]["name"]
            current = next(rs for rs in sets if rs["metadata"]["name"] == name)
            self._report(deployment, sets, current)
            return 0.05
        return self._report(deployment, [*old, current], current)

    # -- ReplicaSets -------------------------------------------------------------------------------------

    def _create(self, deployment: Json, old: list[Json]) -> None:
        spec, metadata = deployment["spec"], deployment["metadata"]
        template = copy.deepcopy(spec["template"])
        suffix = template_hash(template)
        label = {"pod-template-hash": suffix}
        template["metadata"]["labels"] = template["metadata"].get("labels", {}) | label
        name = f"{metadata['name']}-{suffix}"
        revision = str(_last_revision(old) + 1)
        replicas = self._first_replicas(deployment, old)
        replica_set: Json = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": name,
                "namespace": metadata["namespace"],
                "labels": template["metadata"]["labels"],
                "annotations": _annotations(deployment) | {_REVISION: revision},
                "ownerReferences": [owner_reference(deployment)],
            },
            "spec": {
                "replicas": replicas,
                "selector": _with_label(spec["selector"], label),
                "template": template,
                **({"minReadySeconds": spec["minReadySeconds"]} if spec.get("minReadySeconds") else {}),
            },
        }
        self._hub.create(REPLICA_SET, replica_set)
        self._told_scaling(deployment, name, 0, replicas)
        text = f'Created new replica set "{name}"'
        conditions = self._with(deployment, "Progressing", "True", "NewReplicaSetCreated", text)
        status = deployment.get("status", {}) | {"conditions": conditions}
        self._hub.status(DEPLOYMENT, deployment, status, {_REVISION: revision})

    def _first_replicas(self, deployment: Json, old: list[Json]) -> int:
        spec = deployment["spec"]
        if spec["strategy"]["type"] == "Recreate":
            return 0 if any(rs["status"].get("replicas") for rs in old) else int(spec["replicas"])
        room = spec["replicas"] + _surge(spec) - sum(rs["spec"]["replicas"] for rs in old)
        return int(max(0, min(room, spec["replicas"])))

    def _revise(self, deployment: Json, sets: list[Json], current: Json) -> Json:
        """Gives the ReplicaSet of the present template the highest revision."""
        others = [rs for rs in sets if rs["metadata"]["name"] != current["metadata"]["name"]]
        revision = _last_revision(others) + 1
        has = _revision(current)
        if has < revision:
            annotations = dict(current["metadata"].get("annotations", {})) | {_REVISION: str(revision)}
            history = [part for part in annotations.get(_HISTORY, "").split(",") if part]
            annotations[_HISTORY] = ",".join([*history, str(has)])
            self._hub.write(REPLICA_SET, current, metadata={"annotations": annotations})
            has = revision
        if deployment["metadata"].get("annotations", {}).get(_REVISION) == str(has):
            return deployment
        return self._hub.status(DEPLOYMENT, deployment, deployment["status"], {_REVISION: str(has)})

    def _scaled(self, deployment: Json, current: Json, old: list[Json]) -> bool:
        """Follows a change of the Deployment's replicas at once, in proportion to what there is."""
        active = [rs for rs in [current, *old] if rs["spec"]["replicas"]]
        desired = deployment["spec"]["replicas"]
        if all(_desired(rs) in (None, desired) for rs in active or [current]):
            return False
        if len(active) <= 1:
            return self._resize(deployment, active[0] if active else current, desired)
        total = desired + _surge(deployment["spec"]) if desired else 0
        left = total - sum(rs["spec"]["replicas"] for rs in active)
        for rs in sorted(active, key=lambda each: -each["spec"]["replicas"]):
            share = max(-rs["spec"]["replicas"], left) if left < 0 else left
            self._resize(deployment, rs, rs["spec"]["replicas"] + share)
            left -= share
        return True

    def _roll(self, deployment: Json, current: Json, old: list[Json]) -> bool:
        spec = deployment["spec"]
        if spec["strategy"]["type"] == "Recreate":
            return self._recreate(deployment, current, old)
        has, total = current["spec"]["replicas"], _replicas([current, *old])
        if has > spec["replicas"]:
            return self._resize(deployment, current, spec["replicas"])
        room = spec["replicas"] + _surge(spec) - total
        if room > 0 and has < spec["replicas"]:
            return self._resize(deployment, current, has + min(room, spec["replicas"] - has))
        return self._shrink(deployment, current, old)

    def _shrink(self, deployment: Json, current: Json, old: list[Json]) -> bool:
        spec = deployment["spec"]
        least = spec["replicas"] - _unavailable(spec)
        missing = current["spec"]["replicas"] - current["status"].get("availableReplicas", 0)
        surplus = _replicas([current, *old]) - least - missing
        if surplus <= 0:
            return False
        by_age = sorted(old, key=lambda rs: (rs["metadata"]["creationTimestamp"], _revision(rs)))
        for rs in by_age:  # unhealthy ones first: they serve nobody
            unhealthy = rs["spec"]["replicas"] - rs["status"].get("availableReplicas", 0)
            if unhealthy > 0:
                return self._resize(deployment, rs, rs["spec"]["replicas"] - min(unhealthy, surplus))
        available = sum(rs["status"].get("availableReplicas", 0) for rs in [current, *old])
        surplus = available - least
        for rs in by_age:
            if rs["spec"]["replicas"] and surplus > 0:
                return self._resize(
                    deployment, rs, rs["spec"]["replicas"] - min(rs["spec"]["replicas"], surplus)
                )
        return False

    def _recreate(self, deployment: Json, current: Json, old: list[Json]) -> bool:
        for rs in old:
            if rs["spec"]["replicas"]:
                return self._resize(deployment, rs, 0)
        if any(rs["status"].get("replicas") for rs in old):
            return False
        if current["spec"]["replicas"] != deployment["spec"]["replicas"]:
            return self._resize(deployment, current, deployment["spec"]["replicas"])
        return False

    def _resize(self, deployment: Json, rs: Json, replicas: int) -> bool:
        before = rs["spec"]["replicas"]
        annotations = rs["metadata"].get("annotations", {}) | _annotations(deployment)
        self._hub.write(REPLICA_SET, rs, metadata={"annotations": annotations}, spec={"replicas": replicas})
        if before != replicas:
            self._told_scaling(deployment, rs["metadata"]["name"], before, replicas)
        return True

    def _told_scaling(self, deployment: Json, name: str, before: int, after: int) -> None:
        way = "up" if after > before else "down"
        text = f"Scaled {way} replica set {name} from {before} to {after}"
        self._hub.event(deployment, "Normal", "ScalingReplicaSet", text, _COMPONENT)

    # -- status ------------------------------------------------------------------------------------------

    def _pause(self, deployment: Json, sets: list[Json], current: Json | None) -> None:
        reason = (condition(deployment, "Progressing") or {}).get("reason")
        if reason != "DeploymentPaused":
            conditions = self._with(
                deployment, "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused"
            )
            status = deployment["status"] | {"conditions": conditions}
            deployment = self._hub.status(DEPLOYMENT, deployment, status)
        for rs in sets:
            if rs["spec"]["replicas"] and _desired(rs) not in (None, deployment["spec"]["replicas"]):
                self._resize(deployment, rs, deployment["spec"]["replicas"])
        self._report(deployment, sets, current)

    def _resume(self, deployment: Json, sets: list[Json], current: Json | None) -> None:
        conditions = self._with(
            deployment, "Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed"
        )
        self._hub.status(DEPLOYMENT, deployment, deployment["status"] | {"conditions": conditions})

    def _report(self, deployment: Json, sets: list[Json], current: Json | None) -> float | None:
        counts = self._counts(deployment, sets, current)
        conditions = _list(self._available(deployment, counts), self._failure(deployment, sets, current))
        progress, due = self._progress(deployment, counts, current)
        status = counts | {"conditions": [*conditions, *([progress] if progress else [])]}
        self._hub.status(DEPLOYMENT, deployment, status)
        return due

    def _counts(self, deployment: Json, sets: list[Json], current: Json | None) -> Json:
        totals = {
            name: sum(rs["status"].get(name, 0) for rs in sets)
            for name in ("replicas", "readyReplicas", "availableReplicas", "terminatingReplicas")
        }
        updated = current["status"].get("replicas", 0) if current else 0
        missing = max(0, _replicas(sets) - totals["availableReplicas"])
        return {
            "observedGeneration": deployment["metadata"]["generation"],
            **counted(
                replicas=totals["replicas"],
                updatedReplicas=updated,
                readyReplicas=totals["readyReplicas"],
                availableReplicas=totals["availableReplicas"],
                unavailableReplicas=missing,
            ),
            "terminatingReplicas": totals["terminatingReplicas"],
        }

    def _available(self, deployment: Json, counts: Json) -> Json:
        spec = deployment["spec"]
        least = spec["replicas"] - _unavailable(spec)
        if counts.get("availableReplicas", 0) >= least:
            text = "Deployment has minimum availability."
            return self._condition(deployment, "Available", "True", "MinimumReplicasAvailable", text)
        text = "Deployment does not have minimum availability."
        return self._condition(deployment, "Available", "False", "MinimumReplicasUnavailable", text)

    def _failure(self, deployment: Json, sets: list[Json], current: Json | None) -> Json | None:
        for rs in [current, *sets] if current else sets:
            failed = condition(rs, "ReplicaFailure")
            if failed is not None:
                kind = ("ReplicaFailure", failed["status"], failed["reason"], failed["message"])
                return self._condition(deployment, *kind)
        return None

    def _progress(
        self, deployment: Json, counts: Json, current: Json | None
    ) -> tuple[Json | None, float | None]:
        known = condition(deployment, "Progressing")
        if current is None or deployment["spec"].get("paused"):
            return known, None
        name = current["metadata"]["name"]
        settled = counts.get("replicas", 0) == counts.get("updatedReplicas", 0)
        if settled and (known or {}).get("reason") == _COMPLETE:
            return known, None
        if _complete(deployment, counts):
            text = f'ReplicaSet "{name}" has successfully progressed.'
            return self._condition(deployment, "Progressing", "True", _COMPLETE, text), None
        if _progressed(deployment.get("status", {}), counts):
            text = f'ReplicaSet "{name}" is progressing.'
            return self._condition(
                deployment, "Progressing", "True", "ReplicaSetUpdated", text, fresh=True
            ), 0.05
        return self._deadline(deployment, known, name)

    def _deadline(self, deployment: Json, known: Json | None, name: str) -> tuple[Json | None, float | None]:
        if known is None or known["reason"] in (_TIMED_OUT, _COMPLETE):
            return known, None
        left = (
            seconds(known["lastUpdateTime"]) + deployment["spec"]["progressDeadlineSeconds"] - self._hub.now
        )
        if left > 0:
            return known, left + 0.05
        text = f'ReplicaSet "{name}" has timed out progressing.'
        return self._condition(deployment, "Progressing", "False", _TIMED_OUT, text), None

    def _condition(
        self, deployment: Json, kind: str, status: str, reason: str, message: str, *, fresh: bool = False
    ) -> Json:
        known, now = condition(deployment, kind), self._hub.stamp()
        same = known is not None and (known["status"], known["reason"]) == (status, reason)
        if known is not None and same and not fresh:
            return known
        turned = known["lastTransitionTime"] if known is not None and known["status"] == status else now
        return {
            "type": kind,
            "status": status,
            "lastUpdateTime": now,
            "lastTransitionTime": turned,
            "reason": reason,
            "message": message,
        }

    def _with(self, deployment: Json, kind: str, status: str, reason: str, message: str) -> list[Json]:
        others = [c for c in deployment.get("status", {}).get("conditions", ()) if c["type"] != kind]
        return [*others, self._condition(deployment, kind, status, reason, message)]


def _list(*conditions: Json | None) -> list[Json]:
    return [each for each in conditions if each is not None]


def _template(obj: Json) -> Json:
    template = copy.deepcopy(obj["spec"]["template"])
    template["metadata"].get("labels", {}).pop("pod-template-hash", None)
    return dict(template)


def _with_label(selector: Json, label: Json) -> Json:
    return selector | {"matchLabels": selector.get("matchLabels", {}) | label}


def _annotations(deployment: Json) -> Json:
    spec = deployment["spec"]
    own = {
        k: v for k, v in deployment["metadata"].get("annotations", {}).items() if not k.startswith(_PREFIX)
    }
    own.pop("kubectl.kubernetes.io/last-applied-configuration", None)
    return own | {_DESIRED: str(spec["replicas"]), _MAX: str(spec["replicas"] + _surge(spec))}


def _revision(rs: Json) -> int:
    return int(rs["metadata"].get("annotations", {}).get(_REVISION, "0"))


def _last_revision(sets: Iterable[Json]) -> int:
    return max((_revision(rs) for rs in sets), default=0)


def _desired(rs: Json) -> int | None:
    text = rs["metadata"].get("annotations", {}).get(_DESIRED)
    return int(text) if text else None


def _replicas(sets: Iterable[Json]) -> int:
    return sum(rs["spec"]["replicas"] for rs in sets)


def share(value: int | str, of: int, *, up: bool) -> int:
    """An absolute number, or a percentage of one."""
    if isinstance(value, int):
        return value
    part = of * int(value.rstrip("%")) / 100
    return math.ceil(part) if up else math.floor(part)


def _surge(spec: Json) -> int:
    if spec["strategy"]["type"] == "Recreate":
        return 0
    return share(spec["strategy"]["rollingUpdate"]["maxSurge"], spec["replicas"], up=True)


def _unavailable(spec: Json) -> int:
    if spec["strategy"]["type"] == "Recreate":
        return 0
    rolling = spec["strategy"]["rollingUpdate"]
    allowed = share(rolling["maxUnavailable"], spec["replicas"], up=False)
    return min(allowed or (1 if _surge(spec) == 0 else 0), int(spec["replicas"]))


def _complete(deployment: Json, counts: Json) -> bool:
    desired = deployment["spec"]["replicas"]
    counters = ("updatedReplicas", "replicas", "availableReplicas")
    return all(counts.get(name, 0) == desired for name in counters)


def _progressed(before: Json, after: Json) -> bool:
    def old(status: Json) -> int:
        return int(status.get("replicas", 0) - status.get("updatedReplicas", 0))

    more = ("updatedReplicas", "readyReplicas", "availableReplicas")
    return old(after) < old(before) or any(after.get(name, 0) > before.get(name, 0) for name in more)
