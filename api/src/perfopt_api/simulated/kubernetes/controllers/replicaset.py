"""ReplicaSets: pods by number, and why they could not be created."""

from collections.abc import Iterable

from perfopt_api.simulated.kubernetes.clock import seconds
from perfopt_api.simulated.kubernetes.controllers.base import (
    Hub,
    Key,
    about,
    condition,
    counted,
    is_active,
    is_ready,
    pod_from,
)
from perfopt_api.simulated.kubernetes.kinds import POD, REPLICA_SET
from perfopt_api.simulated.kubernetes.status import Json, StatusError
from perfopt_api.simulated.kubernetes.storage import Change

_COMPONENT = "replicaset-controller"
_RETRY_SECONDS = 5.0


class ReplicaSetController:
    """Reconciles one ReplicaSet."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def keys(self, change: Change) -> Iterable[Key]:
        """ReplicaSets, and those that own a pod."""
        return about(change, REPLICA_SET, (POD,))

    def reconcile(self, namespace: str, name: str) -> float | None:
        """One round."""
        replica_set = self._hub.store.get(REPLICA_SET.key, namespace, name)
        if replica_set is None:
            return None
        failure = None
        if "deletionTimestamp" not in replica_set["metadata"]:
            failure = self._adjust(replica_set)
        return self._report(replica_set, failure)

    def _adjust(self, replica_set: Json) -> StatusError | None:
        """Creates or deletes pods; returns why one could not be created."""
        active = [pod for pod in self._hub.owned(replica_set, POD) if is_active(pod)]
        desired = replica_set["spec"]["replicas"]
        for pod in sorted(active, key=_value)[: max(0, len(active) - desired)]:
            self._hub.delete(POD, pod)
            self._record_event(
                replica_set, "Normal", "SuccessfulDelete", f"Deleted pod: {pod['metadata']['name']}"
            )
        for _ in range(desired - len(active)):
            try:
                pod = self._hub.create(POD, pod_from(replica_set["spec"]["template"], replica_set))
            except StatusError as error:
                self._record_event(replica_set, "Warning", "FailedCreate", f"Error creating: {error.message}")
                return error
            self._record_event(
                replica_set, "Normal", "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}"
            )
        return None

    def _record_event(self, replica_set: Json, kind: str, reason: str, text: str) -> None:
        self._hub.event(replica_set, kind, reason, text, _COMPONENT)

    def _report(self, replica_set: Json, failure: StatusError | None) -> float | None:
        pods = self._hub.owned(replica_set, POD)
        active = [pod for pod in pods if is_active(pod)]
        ready = [pod for pod in active if is_ready(pod)]
        waits = [left for pod in ready if (left := self._until_available(pod, replica_set)) > 0]
        ending = sum("deletionTimestamp" in pod["metadata"] for pod in pods)
        status: Json = {
            "replicas": len(active),
            **counted(
                fullyLabeledReplicas=len(active),
                readyReplicas=len(ready),
                availableReplicas=len(ready) - len(waits),
            ),
            "terminatingReplicas": ending,
            "observedGeneration": replica_set["metadata"]["generation"],
        }
        if failure is not None:
            status["conditions"] = [self._failure(replica_set, failure)]
        self._hub.status(REPLICA_SET, replica_set, status)
        if failure is not None:
            return _RETRY_SECONDS
        return min(waits) + 0.01 if waits else None

    def _failure(self, replica_set: Json, failure: StatusError) -> Json:
        known = condition(replica_set, "ReplicaFailure")
        return known or {
            "type": "ReplicaFailure",
            "status": "True",
            "lastTransitionTime": self._hub.stamp(),
            "reason": "FailedCreate",
            "message": failure.message,
        }

    def _until_available(self, pod: Json, replica_set: Json) -> float:
        least = replica_set["spec"].get("minReadySeconds", 0)
        ready = condition(pod, "Ready")
        if not least or ready is None:
            return 0.0
        return seconds(ready["lastTransitionTime"]) + float(least) - self._hub.now


def _value(pod: Json) -> tuple[bool, bool, str]:
    """Whom to delete first: the pods that serve least, then the youngest."""
    age = pod["metadata"]["creationTimestamp"]
    return is_ready(pod), bool(pod["spec"].get("nodeName")), "".join(chr(255 - ord(c)) for c in age)
