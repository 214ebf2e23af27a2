"""StatefulSets: pods in order, updated from the last down to the partition; a broken one is waited for."""

from collections.abc import Iterable

from perfopt_api.simulated.kubernetes.controllers import revisions
from perfopt_api.simulated.kubernetes.controllers.base import (
    Hub,
    Key,
    about,
    counted,
    is_ready,
    pod_from,
)
from perfopt_api.simulated.kubernetes.kinds import POD, STATEFUL_SET
from perfopt_api.simulated.kubernetes.status import Json, StatusError
from perfopt_api.simulated.kubernetes.storage import Change

_RETRY_SECONDS = 5.0


class StatefulSetController:
    """Reconciles one StatefulSet: one pod a round."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def keys(self, change: Change) -> Iterable[Key]:
        """StatefulSets, and those that own a pod."""
        return about(change, STATEFUL_SET, (POD,))

    def reconcile(self, namespace: str, name: str) -> float | None:
        """One round."""
        owner = self._hub.store.get(STATEFUL_SET.key, namespace, name)
        if owner is None:
            return None
        update = str(revisions.current(self._hub, owner)["metadata"]["name"])
        present = owner.get("status", {}).get("currentRevision") or update
        try:
            if "deletionTimestamp" not in owner["metadata"]:
                self._step(owner, self._pods(owner), present, update)
        except StatusError:
            return _RETRY_SECONDS
        finally:
            self._report(owner, present, update)
        return None

    def _pods(self, owner: Json) -> dict[int, Json]:
        pods = self._hub.owned(owner, POD)
        return {int(pod["metadata"]["name"].rpartition("-")[2]): pod for pod in pods}

    def _step(self, owner: Json, pods: dict[int, Json], present: str, update: str) -> None:
        desired = owner["spec"]["replicas"]
        parallel = owner["spec"]["podManagementPolicy"] == "Parallel"
        for ordinal in range(desired):
            pod = pods.get(ordinal)
            if pod is None:
                self._create(owner, ordinal, present, update)
            if not parallel and (pod is None or not _healthy(pod)):
                return
        for ordinal in sorted((n for n in pods if n >= desired), reverse=True):
            if "deletionTimestamp" not in pods[ordinal]["metadata"]:
                self._hub.delete(POD, pods[ordinal])
            return
        if owner["spec"]["updateStrategy"]["type"] == "RollingUpdate":
            self._update(owner, pods, update)

    def _create(self, owner: Json, ordinal: int, present: str, update: str) -> None:
        partition = _partition(owner)
        old = ordinal < partition and present != update
        template = revisions.template_of(self._hub, owner, present) if old else owner["spec"]["template"]
        name = f"{owner['metadata']['name']}-{ordinal}"
        labels = {
            revisions.LABEL: present if old else update,
            "statefulset.kubernetes.io/pod-name": name,
            "apps.kubernetes.io/pod-index": str(ordinal),
        }
        pod = pod_from(template or owner["spec"]["template"], owner, name, labels)
        pod["metadata"]["generateName"] = f"{owner['metadata']['name']}-"
        pod["spec"]["hostname"] = name
        if owner["spec"].get("serviceName"):
            pod["spec"]["subdomain"] = owner["spec"]["serviceName"]
        self._hub.create(POD, pod)

    def _update(self, owner: Json, pods: dict[int, Json], update: str) -> None:
        for ordinal in range(owner["spec"]["replicas"] - 1, _partition(owner) - 1, -1):
            pod = pods.get(ordinal)
            if pod is None or not _healthy(pod):
                return
            if _revision(pod) != update:
                self._hub.delete(POD, pod)
                return

    def _report(self, owner: Json, present: str, update: str) -> None:
        pods = [pod for pod in self._pods(owner).values() if "deletionTimestamp" not in pod["metadata"]]
        ready = sum(map(is_ready, pods))
        updated = sum(_revision(pod) == update for pod in pods)
        desired = owner["spec"]["replicas"]
        if updated == desired and ready == desired and len(pods) == desired and _partition(owner) == 0:
            present = update
        status: Json = {
            "observedGeneration": owner["metadata"]["generation"],
            "replicas": len(pods),
            **counted(
                readyReplicas=ready,
                currentReplicas=sum(_revision(pod) == present for pod in pods),
                updatedReplicas=updated,
            ),
            "currentRevision": present,
            "updateRevision": update,
            "collisionCount": 0,
            "availableReplicas": ready,
        }
        self._hub.status(STATEFUL_SET, owner, status)


def _partition(owner: Json) -> int:
    return int(owner["spec"]["updateStrategy"].get("rollingUpdate", {}).get("partition", 0))


def _revision(pod: Json) -> str:
    return str(pod["metadata"].get("labels", {}).get(revisions.LABEL, ""))


def _healthy(pod: Json) -> bool:
    return is_ready(pod) and "deletionTimestamp" not in pod["metadata"]
