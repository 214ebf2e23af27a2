"""Which workload a pod belongs to, by what kube-state-metrics says of owners."""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import msgspec

from perfopt.domain.workload import WorkloadId

TEMPLATE_HASH = "[bcdfghjklmnpqrstvwxz2456789]{1,10}"
"""The hash that a Deployment adds to its name for a ReplicaSet's (apimachinery's SafeEncodeString)."""
_REPLICASET = re.compile(rf"(.+)-{TEMPLATE_HASH}")
THROUGH_OTHERS = ("Deployment",)
"""Kinds that own pods by way of ReplicaSets only: others are of an operator, by another template."""
NO_OWNER = ("", "<none>")  # kube-state-metrics' owner of what has none
_BETWEEN = {
    "replicaset": "ReplicaSet",
    "replicationcontroller": "ReplicationController",
    "job_name": "Job",
}


class PodKey(NamedTuple):
    """A pod's identity."""

    cluster: str
    namespace: str
    name: str


class PodOwners:
    """Which workload a pod belongs to: by way of its ReplicaSet or Job where there is one in between."""

    def __init__(
        self,
        between: Iterable[Mapping[str, str]],
        cluster_label: str,
        deployments: Collection[WorkloadId] = (),
    ) -> None:
        """Reads the owners of ReplicaSets, ReplicationControllers and Jobs.

        Args:
            between: label sets of kube_replicaset_owner, kube_replicationcontroller_owner and kube_job_owner.
            cluster_label: the label that names the cluster.
            deployments: those there are: where a ReplicaSet's owner is not shown, it is the one whose name
                with a hash is the ReplicaSet's.
        """
        self._cluster_label = cluster_label
        self._deployments = frozenset(deployments)
        self._between: dict[WorkloadId, WorkloadId] = {}
        for labels in between:
            name = next((label for label in _BETWEEN if labels.get(label)), "job_name")
            child = self._id(labels, _BETWEEN[name], labels.get(name, ""))
            if labels.get("owner_kind", "") not in NO_OWNER:
                self._between[child] = self._id(labels, labels["owner_kind"], labels["owner_name"])

    def workload_of(self, labels: Mapping[str, str]) -> WorkloadId:
        """Returns the workload of a pod, given the labels of its kube_pod_owner series."""
        owner = self._id(labels, labels["owner_kind"], labels["owner_name"])
        return self._between.get(owner) or self._deployment(owner) or owner

    def _deployment(self, owner: WorkloadId) -> WorkloadId | None:
        match = _REPLICASET.fullmatch(owner.name) if owner.kind == "ReplicaSet" else None
        if match is None:
            return None
        named = msgspec.structs.replace(owner, kind="Deployment", name=match[1])
        return named if named in self._deployments else None

    def _id(self, labels: Mapping[str, str], kind: str, name: str) -> WorkloadId:
        cluster = labels.get(self._cluster_label, "")
        return WorkloadId(cluster=cluster, namespace=labels.get("namespace", ""), kind=kind, name=name)
