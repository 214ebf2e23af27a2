"""A change and a snapshot as what is sent to the API, and as the kubectl commands that do the same. Pure."""

import copy
import json
import shlex
from collections.abc import Collection, Mapping
from typing import Any

from perfopt_api.apply.cluster import FIELD_MANAGER, ContainerSize, WorkloadChange, WorkloadTarget
from perfopt_api.apply.kubernetes.objects import (
    HPA_FIELDS,
    Json,
    applied_by,
    containers,
    head,
    list_of,
    place_of,
    pod_spec,
    resources_of,
    template_path,
)


def workload_fields(change: WorkloadChange) -> dict[str, Any]:
    """The fields of a change that stand in the workload itself."""
    fields = {path: value for path, value in change.fields().items() if not path.startswith(("hpa.", "keda"))}
    if change.durability == "transient":
        return {path: value for path, value in fields.items() if path == "replicas"}
    return fields


def apply_body(target: WorkloadTarget, obj: Json, fields: Mapping[str, Any]) -> Json:
    """What a server-side apply of these fields sends.

    What was applied before is sent again with the values of now: an apply without a field gives it up.
    """
    body = head(target)
    before = applied_by(obj, FIELD_MANAGER)
    if "spec" in before:
        body["spec"] = copy.deepcopy(before["spec"])
    for path, value in fields.items():
        if value is not None:
            _write(body, obj, path, value)
    return body


def merge_body(obj: Json, fields: Mapping[str, Any]) -> Json:
    """A strategic merge patch of these fields; None removes."""
    body: Json = {"kind": obj["kind"]}
    for path, value in fields.items():
        _write(body, obj, path, value)
    del body["kind"]
    return body


def _write(body: Json, obj: Json, path: str, value: Any) -> None:
    kind, _, rest = path.partition(".")
    if kind == "replicas":
        body.setdefault("spec", {})["replicas"] = value
        return
    name, _, field = rest.partition(".")
    spec: Json = body
    for part in template_path(obj["kind"]):
        spec = spec.setdefault(part, {})
    container = _item(spec.setdefault(list_of(pod_spec(obj), name), []), name)
    if kind == "containers":
        group, resource = place_of(field)
        container.setdefault("resources", {}).setdefault(group, {})[resource] = value
    elif value is None:
        container.setdefault("env", []).append({"name": field, "$patch": "delete"})
    else:
        variable = _item(container.setdefault("env", []), field)
        variable["value"] = value


def _item(items: list[Json], name: str) -> Json:
    for item in items:
        if item.get("name") == name:
            return item
    items.append({"name": name})
    return items[-1]


def json_patch(obj: Json, fields: Mapping[str, Any]) -> list[Json]:
    """A JSON patch for a kind whose lists are replaced whole, guarded by the containers' names."""
    operations: list[Json] = []
    spec = pod_spec(obj)
    root = "/" + "/".join(template_path(obj["kind"]))
    for path, value in fields.items():
        kind, _, rest = path.partition(".")
        name, _, field = rest.partition(".")
        if kind in ("containers", "env"):
            place, container = _place(spec, name)
            operations.append({"op": "test", "path": f"{root}/{place}/name", "value": name})
            make = _resource_steps if kind == "containers" else _variable_steps
            operations += make(f"{root}/{place}", container, field, value)
    return operations


def _place(spec: Json, name: str) -> tuple[str, Json]:
    for kind in ("containers", "initContainers"):
        for n, container in enumerate(spec.get(kind, ())):
            if container["name"] == name:
                return f"{kind}/{n}", container
    return "containers/-", {"name": name}


def _resource_steps(root: str, container: Json, field: str, value: Any) -> list[Json]:
    group, resource = place_of(field)
    resources = container.setdefault("resources", {})
    steps: list[Json] = []
    if not resources and group not in resources:
        steps.append({"op": "add", "path": f"{root}/resources", "value": {}})
    if group not in resources:
        steps.append({"op": "add", "path": f"{root}/resources/{group}", "value": {}})
        resources[group] = {}
    where = f"{root}/resources/{group}/{resource}"
    if value is not None:
        resources[group][resource] = value
        return [*steps, {"op": "add", "path": where, "value": value}]
    return [{"op": "remove", "path": where}] if resources[group].pop(resource, None) is not None else []


def _variable_steps(root: str, container: Json, field: str, value: Any) -> list[Json]:
    variables = container.setdefault("env", [])
    for n, variable in enumerate(variables):
        if variable["name"] == field:
            test = {"op": "test", "path": f"{root}/env/{n}/name", "value": field}
            if value is None:
                del variables[n]
                return [test, {"op": "remove", "path": f"{root}/env/{n}"}]
            return [test, {"op": "add", "path": f"{root}/env/{n}/value", "value": value}]
    if value is None:
        return []
    added = {"name": field, "value": value}
    if variables:
        variables.append(added)
        return [{"op": "add", "path": f"{root}/env/-", "value": added}]
    variables.append(added)
    return [{"op": "add", "path": f"{root}/env", "value": [added]}]


def autoscaler_spec(fields: Mapping[str, Any]) -> Json:
    """The spec of a HorizontalPodAutoscaler that these fields set."""
    return {name: fields[path] for path, name in HPA_FIELDS.items() if path in fields}


def autoscaler_body(hpa: Json, fields: Mapping[str, Any]) -> Json:
    """What a server-side apply of an autoscaler's fields sends."""
    before = applied_by(hpa, FIELD_MANAGER).get("spec", {})
    metadata = {"name": hpa["metadata"]["name"], "namespace": hpa["metadata"]["namespace"]}
    identity = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": metadata}
    return identity | {"spec": before | autoscaler_spec(fields)}


def resize_body(spec: Json, sizes: Mapping[str, ContainerSize]) -> Json:
    """A strategic merge patch of `pods/resize`."""
    body: Json = {}
    for kind, container in containers(spec):
        size = sizes.get(container["name"])
        if size is not None and size.quantities():
            item = {"name": container["name"], "resources": resources_of(size)}
            body.setdefault(kind, []).append(item)
    return {"spec": body}


def without(obj: Json, body: Json, paths: Collection[str]) -> Json:
    """An apply without some fields: it gives them up; what then says nothing is left out."""
    left = copy.deepcopy(body)
    for path in paths:
        _erase(left, obj, path)
    if not _prune(left.get("spec", {})):
        left.pop("spec", None)
    return left


def _erase(body: Json, obj: Json, path: str) -> None:
    kind, _, rest = path.partition(".")
    if kind == "replicas":
        body.get("spec", {}).pop("replicas", None)
        return
    name, _, field = rest.partition(".")
    spec: Any = body
    for part in template_path(obj["kind"]):
        spec = spec.get(part, {})
    for container in spec.get(list_of(pod_spec(obj), name), ()):
        if container.get("name") != name:
            continue
        if kind == "containers":
            group, resource = place_of(field)
            container.get("resources", {}).get(group, {}).pop(resource, None)
        elif "env" in container:
            container["env"] = [each for each in container["env"] if each["name"] != field]


def _prune(value: Any) -> bool:
    """Takes out what says nothing but names; returns whether anything is left."""
    if isinstance(value, list):
        value[:] = [item for item in value if _prune(item)]
        return bool(value)
    if not isinstance(value, dict):
        return True
    for name in [name for name, part in value.items() if isinstance(part, dict | list) and not _prune(part)]:
        del value[name]
    return bool(value.keys() - {"name"})


# -- kubectl ----------------------------------------------------------------------------------------------


def change_commands(
    change: WorkloadChange, obj: Json, *, custom: bool, autoscaler: str = "", scaled_object: str = ""
) -> list[str]:
    """The kubectl commands of a change.

    Args:
        change: to be made.
        obj: the workload as last read; its head alone where it was not read.
        custom: its kind knows no strategic merge.
        autoscaler: name of the HorizontalPodAutoscaler that targets it; else it is taken to have its name.
        scaled_object: the same of KEDA's object.
    """
    target, fields = change.target, change.fields()
    commands = []
    what = f"{_resource(target)} {shlex.quote(target.name)}"
    sized = {k: v for k, v in workload_fields(change).items() if k != "replicas" or not custom}
    if sized and custom:
        commands.append(_patch(target, what, "json", json_patch(copy.deepcopy(obj), sized)))
    elif sized:
        commands.append(_patch(target, what, "strategic", merge_body(obj, sized)))
    if custom and change.replicas is not None:
        commands.append(
            f"kubectl scale {what} --namespace {shlex.quote(target.namespace)} --replicas {change.replicas}"
        )
    spec = autoscaler_spec(fields)
    if spec and change.autoscaler is not None:
        name = change.autoscaler.name or autoscaler or target.name
        commands.append(_patch(target, f"horizontalpodautoscaler {name}", "merge", {"spec": spec}))
    if change.keda is not None:
        name = scaled_object or target.name
        commands.append(_patch(target, f"scaledobject {name}", "merge", {"spec": change.keda}))
    return commands


def resize_command(change: WorkloadChange, obj: Json, pod: str) -> str:
    """The kubectl command of a pod's resize; see change_commands."""
    spec = pod_spec(obj)
    body: Json = {}
    for name, size in change.containers.items():
        if size.quantities():
            body.setdefault(list_of(spec, name), []).append({"name": name, "resources": resources_of(size)})
    return _patch(change.target, f"pod {pod} --subresource resize", "strategic", {"spec": body})


def _resource(target: WorkloadTarget) -> str:
    group = target.api_version.rpartition("/")[0]
    known = target.kind in ("Deployment", "StatefulSet", "DaemonSet", "CronJob")
    return target.kind.lower() if known or not group else f"{target.kind.lower()}.{group}"


def _patch(target: WorkloadTarget, what: str, kind: str, body: Json | list[Json]) -> str:
    return (
        f"kubectl patch {what} --namespace {shlex.quote(target.namespace)} --type {kind} "
        f"--field-manager {FIELD_MANAGER} --patch {shlex.quote(json.dumps(body, separators=(',', ':')))}"
    )
