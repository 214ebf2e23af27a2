"""Custom resources: their kinds from definitions, and validation against an OpenAPI schema."""

from collections.abc import Iterator
from typing import Any

from perfopt_api.simulated.kubernetes.kinds import Resource
from perfopt_api.simulated.kubernetes.schema import (
    BOOL,
    FREE,
    INT_OR_STRING,
    METADATA,
    STRING,
    Free,
    ListOf,
    MapOf,
    Struct,
    Type,
)
from perfopt_api.simulated.kubernetes.status import Cause, Json

_TYPES = {
    "integer": int,
    "number": int | float,
    "string": str,
    "boolean": bool,
    "object": dict,
    "array": list,
}


def resources(definition: Json) -> list[Resource]:
    """The resources that a CustomResourceDefinition adds."""
    spec = definition["spec"]
    return [_resource(spec, version) for version in spec["versions"] if version.get("served")]


def _resource(spec: Json, version: Json) -> Resource:
    schema = version.get("schema", {}).get("openAPIV3Schema", {})
    subresources = version.get("subresources", {})
    return Resource(
        spec["group"],
        version["name"],
        spec["names"]["plural"],
        spec["names"]["kind"],
        _whole(schema, spec["names"]["kind"]),
        namespaced=spec["scope"] == "Namespaced",
        subresources=frozenset(subresources),
        generation="spec",
        unversioned_update=False,
        short_names=tuple(spec["names"].get("shortNames", ())),
        custom=version,
    )


def _whole(schema: Json, kind: str) -> Struct:
    field_type = _type(schema)
    fields = (
        dict(field_type.fields)
        if isinstance(field_type, Struct)
        else {"spec": FREE, "status": FREE, "data": FREE}
    )
    return Struct({**fields, "apiVersion": STRING, "kind": STRING, "metadata": METADATA}, kind)


def _type(schema: Json) -> Type:
    """Ownership and pruning of a schema; scalars are checked by `validate`, not while decoding."""
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return FREE
    match schema.get("type"):
        case "object":
            return _object(schema)
        case "array":
            item = _type(schema.get("items", {}))
            keys = tuple(schema.get("x-kubernetes-list-map-keys", ()))
            return ListOf(item, keys=keys, values=schema.get("x-kubernetes-list-type") == "set")
        case "boolean":
            return BOOL
    return INT_OR_STRING if schema.get("type") in ("integer", "number", "string") else Free()


def _object(schema: Json) -> Type:
    if "properties" in schema:
        fields = {name: _type(part) for name, part in schema["properties"].items()}
        return Struct(fields, atomic=schema.get("x-kubernetes-map-type") == "atomic")
    if isinstance(schema.get("additionalProperties"), dict):
        return MapOf(_type(schema["additionalProperties"]))
    return MapOf(FREE)


def validate(obj: Json, resource: Resource) -> list[Cause]:
    """Causes by the schema and by the scale subresource."""
    version = resource.custom or {}
    schema = version.get("schema", {}).get("openAPIV3Schema", {})
    causes = list(_check(obj, schema, ""))
    return causes + list(_scale(obj, version.get("subresources", {}).get("scale")))


def _check(value: Any, schema: Json, path: str) -> Iterator[Cause]:
    expected = schema.get("type")
    kind = _TYPES.get(expected or "")
    if kind and (not isinstance(value, kind) or (isinstance(value, bool) and expected != "boolean")):
        names = {
            str: "string",
            bool: "boolean",
            int: "integer",
            float: "number",
            list: "array",
            dict: "object",
        }
        name = names.get(type(value), "null")
        text = f'Invalid value: "{name}": {path} in body must be of type {expected}: "{name}"'
        yield Cause("TypeInvalid", path, text)
        return
    low = schema.get("minimum")
    if low is not None and isinstance(value, int | float) and value < low:
        text = f"Invalid value: {value}: {path} in body should be greater than or equal to {low}"
        yield Cause("Invalid", path, text)
    for name, part in schema.get("properties", {}).items():
        if isinstance(value, dict) and name in value:
            yield from _check(value[name], part, f"{path}.{name}" if path else name)


def _scale(obj: Json, scale: Json | None) -> Iterator[Cause]:
    if scale is None:
        return
    path = scale["specReplicasPath"]
    value = get_path(obj, path)
    if isinstance(value, str):
        text = f"Invalid value: 0: {path} accessor error: {value} is of the type string, expected int64"
        yield Cause("Invalid", path, text)
    elif isinstance(value, int) and value < 0:
        yield Cause("Invalid", path, f"Invalid value: {value}: should be a non-negative integer")


def get_path(obj: Json, path: str) -> Any:
    """The value at a path such as `.spec.replicas`; None where there is none."""
    value: Any = obj
    for part in path.strip(".").split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def set_path(obj: Json, path: str, value: Any) -> None:
    """Writes the value at a path."""
    *parents, last = path.strip(".").split(".")
    for part in parents:
        obj = obj.setdefault(part, {})
    obj[last] = value
