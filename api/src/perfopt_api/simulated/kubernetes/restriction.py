"""Which parts of an object a write may change: itself, its status or its size."""

from perfopt_api.simulated.kubernetes.kinds import Resource
from perfopt_api.simulated.kubernetes.status import Json

_KEPT_METADATA = (
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "resourceVersion",
    "generateName",
)


def restricted(resource: Resource, old: Json, new: Json, subresource: str) -> Json:
    """What a write of a resource or a subresource may change, laid over the old object."""
    metadata = dict(new.get("metadata", {}))
    for name in _KEPT_METADATA:
        metadata.pop(name, None)
        if name in old["metadata"]:
            metadata[name] = old["metadata"][name]
    metadata.pop("managedFields", None)
    if "managedFields" in old["metadata"]:
        metadata["managedFields"] = old["metadata"]["managedFields"]
    head = {"apiVersion": old["apiVersion"], "kind": old["kind"]}
    if subresource == "resize":
        return {**old, "metadata": dict(old["metadata"]), "spec": _resized(old["spec"], new["spec"])}
    if subresource == "status":
        labels = old["metadata"] if resource.custom else metadata | _labels(old)
        return {**old, **head, "metadata": labels, "status": new.get("status", {})}
    body = {name: part for name, part in new.items() if name not in ("apiVersion", "kind", "metadata")}
    if "status" in resource.subresources:
        body.pop("status", None)
        body |= {"status": old["status"]} if "status" in old else {}
    return {**head, "metadata": metadata, **body}


def _labels(old: Json) -> Json:
    return {"labels": old["metadata"]["labels"]} if "labels" in old["metadata"] else {}


def _resized(old: Json, new: Json) -> Json:
    """A pod's spec with the new resources of its containers; other changes are dropped."""
    spec = dict(old)
    for kind in ("containers", "initContainers"):
        if kind not in old and kind not in new:
            continue
        known = {container["name"]: container for container in old.get(kind, ())}
        spec[kind] = [_with_resources(known.get(c.get("name")), c) for c in new.get(kind, ())]
    if "resources" in new or "resources" in old:
        spec["resources"] = new.get("resources", {})
    return spec


def _with_resources(known: Json | None, container: Json) -> Json:
    return container if known is None else {**known, "resources": container.get("resources", {})}
