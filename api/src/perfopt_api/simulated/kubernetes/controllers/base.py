"""What controllers share: reads by owner, writes as `kube-controller-manager`, events."""

import copy
import hashlib
import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from perfopt_api.simulated.kubernetes import kinds
from perfopt_api.simulated.kubernetes.api import ApiServer
from perfopt_api.simulated.kubernetes.clock import stamp
from perfopt_api.simulated.kubernetes.http import WriteOptions
from perfopt_api.simulated.kubernetes.kinds import Resource
from perfopt_api.simulated.kubernetes.managed import Writer
from perfopt_api.simulated.kubernetes.status import Json, StatusError
from perfopt_api.simulated.kubernetes.storage import Change, Kind, Name

MANAGER = "kube-controller-manager"
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
Key = tuple[str, str]  # namespace and name


class Controller(Protocol):
    """Watches kinds and reconciles one key at a time."""

    def keys(self, change: Change) -> Iterable[Key]:
        """The keys that a change is about."""
        ...

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Does one round; returns seconds until the next one that is due without a change."""
        ...


@dataclass
class Hub:
    """Reads and writes for controllers, with an index of what owns what."""

    api: ApiServer
    _owned: dict[str, set[tuple[Kind, Name]]] = field(default_factory=dict)
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.store, self.clock = self.api.store, self.api.clock
        self.store.listeners.append(self._index)

    def _index(self, change: Change) -> None:
        for uid in _owners(change.before) - _owners(change.after):
            self._owned.get(uid, set()).discard((change.kind, change.name))
        for uid in _owners(change.after) - _owners(change.before):
            self._owned.setdefault(uid, set()).add((change.kind, change.name))

    @property
    def now(self) -> float:
        """Seconds since the epoch."""
        return self.clock.now()

    def stamp(self) -> str:
        """The present as Kubernetes prints it."""
        return stamp(self.now)

    def owned(self, owner: Json, resource: Resource) -> list[Json]:
        """The objects of a resource that an object owns, by name."""
        names = sorted(n for kind, n in self._owned.get(owner["metadata"]["uid"], ()) if kind == resource.key)
        objects = (self.store.get(resource.key, *name) for name in names)
        return [obj for obj in objects if obj is not None]

    def dependents(self, uid: str) -> list[tuple[Resource, Json]]:
        """Everything that names an owner."""
        dependents = []
        for kind, name in sorted(self._owned.get(uid, ())):
            resource, obj = self.api.resource(*kind), self.store.get(kind, *name)
            if resource is not None and obj is not None:
                dependents.append((resource, obj))
        return dependents

    def status(
        self,
        resource: Resource,
        obj: Json,
        status: Json,
        annotations: Json | None = None,
        manager: str = MANAGER,
    ) -> Json:
        """Writes an object's status, and annotations beside it."""
        metadata = obj["metadata"]
        if annotations is not None:
            metadata = metadata | {"annotations": metadata.get("annotations", {}) | annotations}
        new = obj | {"status": status, "metadata": metadata}
        writer = Writer(manager, "Update", resource.api_version, "status")
        return self.api.writes.update(resource, obj, new, writer, "status")

    def write(self, resource: Resource, obj: Json, subresource: str = "", **parts: Json) -> Json:
        """Writes other parts of an object: its spec, its metadata."""
        new = copy.deepcopy(obj)
        for name, part in parts.items():
            new[name] = new.get(name, {}) | part
        writer = Writer(MANAGER, "Update", resource.api_version, subresource)
        return self.api.writes.update(
            resource, obj, new, writer, "" if subresource == "scale" else subresource
        )

    def create(self, resource: Resource, obj: Json) -> Json:
        """Creates an object.

        Raises:
            StatusError: it is not allowed or there already.
        """
        namespace = obj["metadata"].get("namespace", "")
        return self.api.writes.create(resource, namespace, obj, WriteOptions(MANAGER, validation="Ignore"))

    def delete(self, resource: Resource, obj: Json, policy: str = "Background") -> None:
        """Deletes an object."""
        self.api.deletes.delete(resource, obj, {"propagationPolicy": policy}, dry_run=False)

    def event(self, about: Json, kind: str, reason: str, message: str, component: str) -> None:
        """Records an event."""
        metadata, now = about["metadata"], self.stamp()
        namespace = metadata.get("namespace", "default")
        event: Json = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{metadata['name']}.{next(self._numbers):016x}", "namespace": namespace},
            "involvedObject": {
                "kind": about["kind"],
                "namespace": namespace,
                "name": metadata["name"],
                "uid": metadata["uid"],
                "apiVersion": about["apiVersion"],
                "resourceVersion": metadata["resourceVersion"],
            },
            "reason": reason,
            "message": message,
            "source": {"component": component},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "type": kind,
            "reportingComponent": component,
        }
        try:
            self.create(kinds.EVENT, event)
        except StatusError:
            return  # its namespace is gone


def _owners(obj: Json | None) -> set[str]:
    return {owner["uid"] for owner in (obj or {}).get("metadata", {}).get("ownerReferences", ())}


def owner_reference(owner: Json) -> Json:
    """What an owned object says of its owner."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def controller_of(obj: Json | None, kind: str) -> list[Key]:
    """The key of the owner that controls an object, where it is of a kind."""
    metadata = (obj or {}).get("metadata", {})
    return [
        (metadata.get("namespace", ""), owner["name"])
        for owner in metadata.get("ownerReferences", ())
        if owner.get("controller") and owner["kind"] == kind
    ]


def about(change: Change, resource: Resource, owned: Iterable[Resource] = ()) -> list[Key]:
    """Keys of a controller that reconciles one kind and owns others."""
    if change.kind == resource.key:
        return [change.name]
    if any(change.kind == each.key for each in owned):
        return controller_of(change.after or change.before, resource.kind)
    return []


def template_hash(template: Json) -> str:
    """Letters that stand for a template."""
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).digest()
    return "".join(_LETTERS[byte % len(_LETTERS)] for byte in digest[:10])


def pod_from(template: Json, owner: Json, name: str = "", labels: Json | None = None) -> Json:
    """A pod of a template."""
    metadata = copy.deepcopy(template.get("metadata", {}))
    metadata["namespace"] = owner["metadata"]["namespace"]
    metadata["labels"] = metadata.get("labels", {}) | (labels or {})
    metadata["ownerReferences"] = [owner_reference(owner)]
    if name:
        metadata["name"] = name
    else:
        metadata["generateName"] = f"{owner['metadata']['name']}-"
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": copy.deepcopy(template["spec"])}


def condition(obj: Json, kind: str) -> Json | None:
    """A condition of a status."""
    return next((c for c in obj.get("status", {}).get("conditions", ()) if c["type"] == kind), None)


def is_ready(pod: Json) -> bool:
    """Whether a pod is Ready."""
    ready = condition(pod, "Ready")
    return ready is not None and ready["status"] == "True"


def is_active(pod: Json) -> bool:
    """Whether a pod counts: neither finished nor being deleted."""
    finished = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
    return not finished and "deletionTimestamp" not in pod["metadata"]


def counted(**numbers: int) -> Json:
    """Counters of a status without those at zero."""
    return {name: number for name, number in numbers.items() if number}
