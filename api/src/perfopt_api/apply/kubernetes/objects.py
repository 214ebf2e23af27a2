"""Paths of a workload's fields in its object, and who owns them."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from perfopt_api.apply.cluster import QUANTITIES, ContainerSize, WorkloadTarget

Json = dict[str, Any]

_PLACES = {
    "cpu_request": ("requests", "cpu"),
    "memory_request": ("requests", "memory"),
    "cpu_limit": ("limits", "cpu"),
    "memory_limit": ("limits", "memory"),
}
_LISTS = ("f:containers", "f:initContainers", "f:env")
HPA_FIELDS = {
    "hpa.min_replicas": "minReplicas",
    "hpa.max_replicas": "maxReplicas",
    "hpa.metrics": "metrics",
    "hpa.behavior": "behavior",
}


def place_of(quantity: str) -> tuple[str, str]:
    """Where a quantity stands in `resources`."""
    return _PLACES[quantity]


def template_path(kind: str) -> tuple[str, ...]:
    """Where the pod's spec stands in a workload."""
    inner = ("template", "spec")
    return ("spec", "jobTemplate", "spec", *inner) if kind == "CronJob" else ("spec", *inner)


def dig(obj: Any, path: Sequence[str]) -> Any:
    """The value at a path; None where there is none."""
    for part in path:
        obj = obj.get(part) if isinstance(obj, dict) else None
    return obj


def pod_spec(obj: Json) -> Json:
    """The pod's spec of a workload or a pod."""
    path = ("spec",) if obj.get("kind", "Pod") == "Pod" else template_path(obj["kind"])
    return dig(obj, path) or {}


def containers(spec: Json) -> Iterator[tuple[str, Json]]:
    """Containers that count, with the name of their list: the plain ones and native sidecars."""
    for container in spec.get("containers", ()):
        yield "containers", container
    for container in spec.get("initContainers", ()):
        if container.get("restartPolicy") == "Always":
            yield "initContainers", container


def list_of(spec: Json, name: str) -> str:
    """The list that a container stands in."""
    return next((kind for kind, container in containers(spec) if container["name"] == name), "containers")


def size_of(resources: Json | None) -> ContainerSize:
    """Requests and limits of a container."""
    given = {name: dig(resources or {}, place_of(name)) for name in QUANTITIES}
    return ContainerSize(**{name: str(value) for name, value in given.items() if value is not None})


def resources_of(size: ContainerSize) -> Json:
    """Requests and limits as Kubernetes writes them."""
    written: Json = {}
    for name, value in size.quantities().items():
        kind, resource = place_of(name)
        written.setdefault(kind, {})[resource] = value
    return written


def fields_of(obj: Json) -> Json:
    """The values of a workload by flat path."""
    fields: Json = {}
    for _, container in containers(pod_spec(obj)):
        name = container["name"]
        size = size_of(container.get("resources"))
        fields |= {f"containers.{name}.{key}": value for key, value in size.quantities().items()}
        for variable in container.get("env", ()):
            if "value" in variable:
                fields[f"env.{name}.{variable['name']}"] = variable["value"]
    replicas = obj["spec"].get("replicas")
    return fields | ({"replicas": replicas} if replicas is not None else {})


def owned_path(path: str, obj: Json) -> tuple[str, ...]:
    """Where a flat path of a workload stands in `fieldsV1`."""
    kind, _, rest = path.partition(".")
    if kind == "replicas":
        return ("f:spec", "f:replicas")
    name, _, field = rest.partition(".")
    spec = pod_spec(obj)
    holder = tuple(f"f:{part}" for part in template_path(obj["kind"]))
    container = (*holder, f"f:{list_of(spec, name)}", key("name", name))
    if kind == "containers":
        group, resource = place_of(field)
        return (*container, "f:resources", f"f:{group}", f"f:{resource}")
    return (*container, "f:env", key("name", field), "f:value")


def key(name: str, value: str) -> str:
    """The element of a list's item in `fieldsV1`."""
    return "k:" + json.dumps({name: value}, separators=(",", ":"))


def managers_of(obj: Json, path: Sequence[str]) -> tuple[str, ...]:
    """The managers that own a path, or a whole above it."""
    entries = obj["metadata"].get("managedFields", ())
    managers = (entry["manager"] for entry in entries if _owns(entry.get("fieldsV1", {}), path))
    return tuple(dict.fromkeys(managers))


def _owns(fields: Json, path: Sequence[str]) -> bool:
    """Whether a set has a path, or a list above it as a whole (as of kinds whose lists have no keys).

    A map above it that stands alone is only the map: another manager has its entries.
    """
    node: Any = fields
    above = ""
    for part in path:
        if part not in node:
            return node == {} and above in _LISTS
        node, above = node[part], part
    return node == {} or "." in node


def all_managers(obj: Json) -> tuple[str, ...]:
    """Every field manager of an object."""
    return tuple(dict.fromkeys(entry["manager"] for entry in obj["metadata"].get("managedFields", ())))


def applied_by(obj: Json, manager: str) -> Json:
    """What a manager has applied to an object, with the values of now."""
    for entry in obj["metadata"].get("managedFields", ()):
        if (entry["manager"], entry["operation"], entry.get("subresource", "")) == (manager, "Apply", ""):
            taken = _take(obj, entry.get("fieldsV1", {}))
            return taken if isinstance(taken, dict) else {}
    return {}


def _take(value: Any, fields: Json) -> Any:
    parts = {name: node for name, node in fields.items() if name != "."}
    if not parts:
        return value
    if isinstance(value, list):
        keyed = [(json.loads(name[2:]), node) for name, node in parts.items() if name.startswith("k:")]
        return [_take(item, node) | k for k, node in keyed if (item := _find(value, k)) is not None]
    taken: Json = {}
    for name, node in parts.items():
        inner = value.get(name[2:]) if isinstance(value, dict) else None
        if inner is not None:
            taken[name[2:]] = _take(inner, node)
    return taken


def _find(items: list[Any], keys: Json) -> Any:
    for item in items:
        if all(item.get(name) == value for name, value in keys.items()):
            return item
    return None


def head(target: WorkloadTarget) -> Json:
    """apiVersion, kind and metadata of an apply."""
    return {
        "apiVersion": target.api_version,
        "kind": target.kind,
        "metadata": {"name": target.name, "namespace": target.namespace},
    }
