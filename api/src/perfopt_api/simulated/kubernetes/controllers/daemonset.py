"""DaemonSets: one pod a node, replaced node by node."""

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
from perfopt_api.simulated.kubernetes.controllers.deployment import share
from perfopt_api.simulated.kubernetes.controllers.scheduler import node_of
from perfopt_api.simulated.kubernetes.kinds import DAEMON_SET, NODE, POD
from perfopt_api.simulated.kubernetes.status import Json, StatusError
from perfopt_api.simulated.kubernetes.storage import Change

_RETRY_SECONDS = 5.0
_TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"


_TOLERATIONS = [
    {"key": f"node.kubernetes.io/{name}", "operator": "Exists", "effect": effect}
    for name, effect in (
        ("not-ready", "NoExecute"),
        ("unreachable", "NoExecute"),
        ("disk-pressure", "NoSchedule"),
        ("memory-pressure", "NoSchedule"),
        ("pid-pressure", "NoSchedule"),
        ("unschedulable", "NoSchedule"),
    )
]


def _only(node: str) -> Json:
    """The affinity of a pod to one node."""
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    terms = [{"matchFields": [field]}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    return {"nodeAffinity": required}


class DaemonSetController:
    """Reconciles one DaemonSet."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def keys(self, change: Change) -> Iterable[Key]:
        """DaemonSets, those that own a pod, and all where a node comes or goes."""
        if change.kind == NODE.key and (change.before is None or change.after is None):
            daemon_sets = self._hub.store.all(DAEMON_SET.key)
            return [(each["metadata"]["namespace"], each["metadata"]["name"]) for each in daemon_sets]
        return about(change, DAEMON_SET, (POD,))

    def reconcile(self, namespace: str, name: str) -> float | None:
        """One round."""
        owner = self._hub.store.get(DAEMON_SET.key, namespace, name)
        if owner is None:
            return None
        revision = revisions.current(self._hub, owner)["metadata"]["labels"][revisions.LABEL]
        due = None
        try:
            if "deletionTimestamp" not in owner["metadata"]:
                self._place(owner, revision)
        except StatusError:
            due = _RETRY_SECONDS
        self._report(owner, revision)
        return due

    def _place(self, owner: Json, revision: str) -> None:
        nodes = [node["metadata"]["name"] for node in self._hub.store.all(NODE.key)]
        pods = {node_of(pod): pod for pod in self._hub.owned(owner, POD)}
        generation = owner["metadata"].get("annotations", {}).get(_TEMPLATE_GENERATION, "1")
        labels = {revisions.LABEL: revision, "pod-template-generation": generation}
        for node in nodes:
            if node not in pods:
                pod = pod_from(owner["spec"]["template"], owner, labels=labels)
                pod["spec"] |= {"affinity": _only(node), "tolerations": _TOLERATIONS}
                self._hub.create(POD, pod)
        self._replace(owner, [pod for node, pod in pods.items() if node in nodes], len(nodes), revision)

    def _replace(self, owner: Json, pods: list[Json], nodes: int, revision: str) -> None:
        strategy = owner["spec"]["updateStrategy"]
        if strategy["type"] != "RollingUpdate":
            return
        allowed = share(strategy["rollingUpdate"]["maxUnavailable"], nodes, up=True)
        missing = nodes - sum(is_ready(p) and "deletionTimestamp" not in p["metadata"] for p in pods)
        for pod in pods:
            old = pod["metadata"]["labels"].get(revisions.LABEL) != revision
            if not old or "deletionTimestamp" in pod["metadata"]:
                continue
            if is_ready(pod):
                if missing >= allowed:
                    continue
                missing += 1
            self._hub.delete(POD, pod)

    def _report(self, owner: Json, revision: str) -> None:
        pods = [p for p in self._hub.owned(owner, POD) if "deletionTimestamp" not in p["metadata"]]
        nodes = len(self._hub.store.all(NODE.key))
        ready = sum(map(is_ready, pods))
        updated = sum(p["metadata"]["labels"].get(revisions.LABEL) == revision for p in pods)
        status: Json = {
            "currentNumberScheduled": len(pods),
            "numberMisscheduled": 0,
            "desiredNumberScheduled": nodes,
            "numberReady": ready,
            "observedGeneration": owner["metadata"]["generation"],
            **counted(updatedNumberScheduled=updated, numberAvailable=ready, numberUnavailable=nodes - ready),
        }
        self._hub.status(DAEMON_SET, owner, status)
