"""Deletes: preconditions, propagation, finalizers and the time that a pod gets to end."""

from collections.abc import Sequence
from dataclasses import dataclass

from perfopt_api.simulated.kubernetes.clock import Clock, stamp
from perfopt_api.simulated.kubernetes.kinds import Resource
from perfopt_api.simulated.kubernetes.status import Cause, Json, conflict, invalid, success
from perfopt_api.simulated.kubernetes.storage import Store


@dataclass(frozen=True, slots=True)
class Deletes:
    """Deletes objects of any kind."""

    store: Store
    clock: Clock

    def delete(self, resource: Resource, old: Json, choices: Json, *, dry_run: bool) -> Json:
        """DELETE; answers with a Status where the object is gone, else with the object.

        Raises:
            StatusError: 409 for preconditions that do not hold, 422 for a policy that there is not.
        """
        _check_delete(resource, old, choices)
        metadata = old["metadata"]
        policy = choices.get("propagationPolicy", "Background")
        waiting = list(metadata.get("finalizers", ()))
        if policy == "Foreground":
            waiting.append("foregroundDeletion")
        elif policy == "Orphan":
            waiting.append("orphan")
        elif resource.kind == "CustomResourceDefinition":
            waiting.append("customresourcecleanup.apiextensions.k8s.io")
        grace = _grace(resource, old, choices)
        if dry_run:
            return old if waiting or grace is not None else _deleted(resource, metadata)
        if waiting or grace is not None:
            return self._mark_deleted(resource, old, waiting, grace or 0)
        self.store.remove(resource.key, metadata.get("namespace", ""), metadata["name"])
        return _deleted(resource, metadata)

    def _mark_deleted(self, resource: Resource, old: Json, finalizers: Sequence[str], grace: int) -> Json:
        metadata = dict(old["metadata"])
        if metadata.get("deletionTimestamp"):
            return old
        metadata["deletionTimestamp"] = stamp(self.clock.now() + grace)
        if resource.kind != "CustomResourceDefinition":
            metadata["deletionGracePeriodSeconds"] = grace
            if "generation" in metadata:
                metadata["generation"] += 1
        if finalizers:
            metadata["finalizers"] = list(dict.fromkeys(finalizers))
        return self.store.put(resource.key, old | {"metadata": metadata})


def _check_delete(resource: Resource, old: Json, choices: Json) -> None:
    policy = choices.get("propagationPolicy")
    if policy not in (None, "Foreground", "Background", "Orphan"):
        text = f'Unsupported value: "{policy}": supported values: "Foreground", "Background", "Orphan", "nil"'
        cause = Cause("NotSupported", "propagationPolicy", text)
        raise invalid("DeleteOptions", "meta.k8s.io", "", [cause])
    preconditions, metadata = choices.get("preconditions", {}), old["metadata"]
    for key, label, then in (
        ("uid", "UID", "The object might have been deleted and then recreated"),
        ("resourceVersion", "ResourceVersion", "The object might have been modified"),
    ):
        if preconditions.get(key) not in (None, metadata[key]):
            why = (
                f"the {label} in the precondition ({preconditions[key]})"
                f" does not match the {label} in record "
                f"({metadata[key]}). {then}"
            )
            raise conflict(resource.kind, resource.group, metadata["name"], why)


def _grace(resource: Resource, old: Json, choices: Json) -> int | None:
    """Seconds that a pod gets to end; None is removed at once."""
    if resource.kind != "Pod":
        return None
    grace = choices.get("gracePeriodSeconds")
    if grace == 0 or not old["spec"].get("nodeName"):
        return None
    return int(old["spec"].get("terminationGracePeriodSeconds", 30) if grace is None else grace)


def _deleted(resource: Resource, metadata: Json) -> Json:
    about = {
        "name": metadata["name"],
        "group": resource.group,
        "kind": resource.plural,
        "uid": metadata["uid"],
    }
    return success({key: value for key, value in about.items() if value})
