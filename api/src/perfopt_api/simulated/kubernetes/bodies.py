"""What requests that change an object bring: the type of a patch, the configuration of an apply."""

from typing import Any

import yaml

from perfopt_api.simulated.kubernetes import fields
from perfopt_api.simulated.kubernetes.fields import DuplicateKeyError
from perfopt_api.simulated.kubernetes.http import Request
from perfopt_api.simulated.kubernetes.kinds import Resource
from perfopt_api.simulated.kubernetes.schema import ListOf, Struct
from perfopt_api.simulated.kubernetes.status import Json, bad_request, unsupported_media_type

_PATCHES = {
    "application/json-patch+json": "json",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
    "application/apply-patch+yaml": "apply",
}
_CUSTOM_PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/apply-patch+yaml",
)


def patch_kind(request: Request, resource: Resource) -> str:
    """json, merge, strategic or apply.

    Raises:
        StatusError: 415.
    """
    kind = _PATCHES.get(request.content_type)
    if kind is None:
        raise unsupported_media_type()
    if kind == "strategic" and resource.custom is not None:
        raise unsupported_media_type(_CUSTOM_PATCHES)
    return kind


def read_config(request: Request, api_version: str, kind: str) -> Json:
    """The configuration that an apply brings.

    Raises:
        StatusError: 400.
    """
    try:
        config = yaml.safe_load(request.body)
    except yaml.YAMLError as error:
        raise bad_request(f"error decoding YAML: {error}") from error
    if not isinstance(config, dict):
        raise bad_request("error decoding YAML: the configuration is no object")
    given = config.get("apiVersion", ""), config.get("kind", "")
    if given != (api_version, kind):
        shown = given[0] if "/" in given[0] or not given[0] else f"/{given[0]}"
        raise bad_request(f"invalid object type: {shown or '/'}, Kind={given[1]}")
    return config


def unforced(resource: Resource) -> Any:
    """The schema without objects that are printed even when empty: a configuration has what it says."""
    return _without_always(resource.schema)


def _without_always(kind: Any) -> Any:
    if isinstance(kind, Struct):
        inner = {name: _without_always(part) for name, part in kind.fields.items()}
        return Struct(inner, kind.name, kind.atomic)
    if isinstance(kind, ListOf):
        return ListOf(_without_always(kind.item), kind.keys, kind.merge_key, kind.values, kind.defaults)
    return kind


def keyed(path: str, config: Json) -> str:
    """`.spec.containers[name="app"].x` for `spec.containers[0].x`."""
    node: Any = config
    shown = ""
    for part in path.replace("[", ".[").split("."):
        if part.startswith("["):
            node = node[int(part[1:-1])]
            shown += f'[name="{node["name"]}"]' if isinstance(node, dict) and "name" in node else part
        else:
            shown += f".{part}"
            node = node.get(part, {}) if isinstance(node, dict) else {}
    return shown


def duplicate_path(config: Json, resource: Resource) -> str:
    """Where two items of a list have the same key."""
    return _find_duplicate(config, resource.schema, ()) or ""


def _find_duplicate(value: Any, kind: Any, path: fields.Path) -> str | None:
    try:
        parts = fields.children(value, kind)
    except DuplicateKeyError:
        return fields.print_path(path)
    for element, (part, part_kind) in (parts or {}).items():
        duplicate = _find_duplicate(part, part_kind, (*path, element))
        if duplicate:
            return duplicate
    return None
