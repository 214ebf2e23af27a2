"""The scheduler: pods onto nodes that have room for them."""

from collections.abc import Iterable
from decimal import Decimal

from perfopt.domain.quantity import parse_quantity
from perfopt_api.simulated.kubernetes import admission
from perfopt_api.simulated.kubernetes.controllers.base import Hub, Key
from perfopt_api.simulated.kubernetes.kinds import NODE, POD
from perfopt_api.simulated.kubernetes.status import Json
from perfopt_api.simulated.kubernetes.storage import Change

_RETRY_SECONDS = 1.0


class Scheduler:
    """Binds one pod."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def keys(self, change: Change) -> Iterable[Key]:
        """Pods that are new, or whose gates are gone."""
        pod = change.after
        waiting = change.kind == POD.key and pod is not None and not _scheduled(pod)
        return [change.name] if waiting else []

    def reconcile(self, namespace: str, name: str) -> float | None:
        """One try."""
        pod = self._hub.store.get(POD.key, namespace, name)
        if pod is None or _scheduled(pod) or "deletionTimestamp" in pod["metadata"]:
            return None
        if pod["spec"].get("schedulingGates"):
            self._condition(
                pod, "False", "SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates"
            )
            return None
        node = node_of(pod) or self._fitting(pod)
        if node is None:
            nodes = len(self._hub.store.all(NODE.key))
            text = f"0/{nodes} nodes are available: {nodes} Insufficient cpu or memory."
            self._condition(pod, "False", "Unschedulable", text)
            return _RETRY_SECONDS
        bound = pod | {"spec": pod["spec"] | {"nodeName": node}}
        self._condition(bound, "True")
        return None

    def _fitting(self, pod: Json) -> str | None:
        """The name of the node with the most CPU left that has room."""
        requested = admission.effective(pod["spec"])
        best: tuple[Decimal, str] | None = None
        for node in self._hub.store.all(NODE.key):
            left = free(self._hub, node)
            fits = all(
                left.get(name, Decimal(0)) >= value for name, value in requested.items() if name in left
            )
            if fits and (best is None or left["cpu"] > best[0]):
                best = (left["cpu"], node["metadata"]["name"])
        return best[1] if best else None

    def _condition(self, pod: Json, status: str, reason: str = "", message: str = "") -> None:
        reasons = {"reason": reason, "message": message} if reason else {}
        scheduled: Json = {
            "type": "PodScheduled",
            "status": status,
            "lastProbeTime": None,
            "lastTransitionTime": self._hub.stamp(),
        }
        known: Json = next(iter(pod["status"].get("conditions", ())), {})
        if known.get("status") == status and known.get("reason", "") == reason:
            return
        self._hub.store.put(POD.key, pod | {"status": pod["status"] | {"conditions": [scheduled | reasons]}})


def node_of(pod: Json) -> str:
    """The node that a pod is on, or is for; "" where the scheduler chooses."""
    required = pod["spec"].get("affinity", {}).get("nodeAffinity", {})
    terms = required.get("requiredDuringSchedulingIgnoredDuringExecution", {}).get("nodeSelectorTerms", ())
    fields = [field for term in terms for field in term.get("matchFields", ())]
    chosen = next((field["values"][0] for field in fields if field["key"] == "metadata.name"), "")
    return str(pod["spec"].get("nodeName") or chosen)


def _scheduled(pod: Json) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any(c["type"] == "PodScheduled" and c["status"] == "True" for c in conditions)


def free(hub: Hub, node: Json, *, but: str = "") -> dict[str, Decimal]:
    """What the pods of a node leave of its allocatable; `but` is the uid of a pod not to count."""
    left = {name: parse_quantity(text) for name, text in node["status"]["allocatable"].items()}
    for pod in hub.store.all(POD.key):
        finished = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
        if pod["spec"].get("nodeName") != node["metadata"]["name"] or finished:
            continue
        if pod["metadata"]["uid"] == but:
            continue
        for name, value in allocated(pod).items():
            if name in left:
                left[name] -= value
    return left


def allocated(pod: Json) -> dict[str, Decimal]:
    """What a pod holds: the larger of what it asks for and what its containers were given."""
    requested = admission.effective(pod["spec"])
    given: dict[str, Decimal] = {}
    statuses = pod.get("status", {})
    for status in [*statuses.get("containerStatuses", ()), *statuses.get("initContainerStatuses", ())]:
        if "terminated" in status.get("state", {}):
            continue
        for name, text in status.get("allocatedResources", {}).items():
            given[name] = given.get(name, Decimal(0)) + parse_quantity(text)
    if _pending(pod):
        return given
    return {
        name: max(requested.get(name, Decimal(0)), given.get(name, Decimal(0))) for name in requested | given
    }


def _pending(pod: Json) -> bool:
    """Whether a resize waits: then the pod holds what it had."""
    return any(c["type"] == "PodResizePending" for c in pod.get("status", {}).get("conditions", ()))
