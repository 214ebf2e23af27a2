"""What follows a deletion: dependents, finalizers, and the objects of a custom kind."""

from collections.abc import Iterable

from perfopt_api.simulated.kubernetes.controllers.base import Hub, Key
from perfopt_api.simulated.kubernetes.kinds import DEFINITION, Resource
from perfopt_api.simulated.kubernetes.managed import Writer
from perfopt_api.simulated.kubernetes.status import Json
from perfopt_api.simulated.kubernetes.storage import Change, Kind

_FOREGROUND, _ORPHAN = "foregroundDeletion", "orphan"
_CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
_AGAIN_SECONDS = 0.1


class GarbageCollector:
    """Deletes what lost its owner, and finishes foreground and orphan deletions. Its keys are uids."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._waiting: dict[str, tuple[Kind, Key]] = {}

    def keys(self, change: Change) -> Iterable[Key]:
        """Owners that are gone or going."""
        obj = change.after or change.before or {}
        uid = obj["metadata"]["uid"] if "uid" in obj.get("metadata", {}) else ""
        finalizers = obj.get("metadata", {}).get("finalizers", ())
        if change.after is None:
            self._waiting.pop(uid, None)
            return [("", uid)]
        if "deletionTimestamp" in obj["metadata"] and {_FOREGROUND, _ORPHAN} & set(finalizers):
            self._waiting[uid] = (change.kind, change.name)
            return [("", uid)]
        return []

    def reconcile(self, _: str, uid: str) -> float | None:
        """One round for one owner."""
        place = self._waiting.get(uid)
        if place is None:
            for resource, obj in self._hub.dependents(uid):
                self._delete(resource, obj, "Background")
            return None
        kind, name = place
        resource_of, owner = self._hub.api.resource(*kind), self._hub.store.get(kind, *name)
        if resource_of is None or owner is None:
            return None
        if _ORPHAN in owner["metadata"].get("finalizers", ()):
            for resource, obj in self._hub.dependents(uid):
                self._disown(resource, obj, uid)
            self._finish(resource_of, owner, _ORPHAN)
            return None
        dependents = self._hub.dependents(uid)
        for resource, obj in dependents:
            self._delete(resource, obj, "Foreground")
        if dependents:
            return _AGAIN_SECONDS
        self._finish(resource_of, owner, _FOREGROUND)
        return None

    def _delete(self, resource: Resource, obj: Json, policy: str) -> None:
        if "deletionTimestamp" not in obj["metadata"]:
            self._hub.delete(resource, obj, policy if resource.kind != "Pod" else "Background")

    def _disown(self, resource: Resource, obj: Json, uid: str) -> None:
        left = [owner for owner in obj["metadata"]["ownerReferences"] if owner["uid"] != uid]
        metadata = {k: v for k, v in obj["metadata"].items() if k != "ownerReferences"}
        new = obj | {"metadata": metadata | ({"ownerReferences": left} if left else {})}
        writer = Writer("kube-controller-manager", "Update", resource.api_version)
        self._hub.api.writes.update(resource, obj, new, writer)

    def _finish(self, resource: Resource, owner: Json, finalizer: str) -> None:
        left = [each for each in owner["metadata"].get("finalizers", ()) if each != finalizer]
        metadata = {k: v for k, v in owner["metadata"].items() if k != "finalizers"}
        new = owner | {"metadata": metadata | ({"finalizers": left} if left else {})}
        writer = Writer("kube-controller-manager", "Update", resource.api_version)
        self._hub.api.writes.update(resource, owner, new, writer)


class DefinitionController:
    """Serves the kinds of CustomResourceDefinitions, and drops them."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def keys(self, change: Change) -> Iterable[Key]:
        """Definitions."""
        return [change.name] if change.kind == DEFINITION.key else []

    def reconcile(self, namespace: str, name: str) -> float | None:
        """One round."""
        definition = self._hub.store.get(DEFINITION.key, namespace, name)
        if definition is None:
            return None
        metadata = definition["metadata"]
        if _CLEANUP in metadata.get("finalizers", ()):
            self._hub.api.drop_definition(definition)
            self._hub.store.remove(DEFINITION.key, namespace, name)
            return None
        if not definition.get("status"):
            self._hub.status(DEFINITION, definition, self._accepted(definition), manager="kube-apiserver")
        self._hub.api.add_definition(definition)
        return None

    def _accepted(self, definition: Json) -> Json:
        now, spec = self._hub.stamp(), definition["spec"]
        conditions = (
            ("NamesAccepted", "NoConflicts", "no conflicts found"),
            ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        )
        return {
            "conditions": [
                {"type": kind, "status": "True", "lastTransitionTime": now, "reason": why, "message": text}
                for kind, why, text in conditions
            ],
            "acceptedNames": spec["names"],
            "storedVersions": [v["name"] for v in spec["versions"] if v.get("storage")],
        }
