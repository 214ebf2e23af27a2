"""Field ownership: sets of paths in an object, as `managedFields` writes them.

A set is a frozenset of paths, a path a tuple of elements: `f:name`, `k:{"name":"app"}` or `v:"value"`.
"""

import copy
import json
from collections.abc import Iterable, Iterator
from typing import Any

from perfopt_api.simulated.kubernetes.schema import Free, ListOf, MapOf, Struct, Type
from perfopt_api.simulated.kubernetes.status import Json

Path = tuple[str, ...]
FieldSet = frozenset[Path]

_MISSING: Any = object()
_UNTRACKED = (
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "generation",
    "managedFields",
    "resourceVersion",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)


class DuplicateKeyError(Exception):
    """Two items of a list have the same key; the text is the server's."""


def tracked(value: Json) -> Json:
    """The parts of an object that someone can own."""
    metadata = {name: part for name, part in value.get("metadata", {}).items() if name not in _UNTRACKED}
    rest = {name: part for name, part in value.items() if name not in ("apiVersion", "kind", "metadata")}
    return rest | {"metadata": metadata}


def children(value: Any, kind: Type) -> dict[str, tuple[Any, Type]] | None:
    """Path elements of a value's parts, with their types; None where it is owned as a whole."""
    if isinstance(value, dict):
        if isinstance(kind, Struct) and not kind.atomic:
            return {f"f:{name}": (part, kind.fields.get(name, Free())) for name, part in value.items()}
        if isinstance(kind, MapOf) and not kind.atomic:
            return {f"f:{name}": (part, kind.value) for name, part in value.items()}
        if isinstance(kind, Free):
            return {f"f:{name}": (part, kind) for name, part in value.items()}
    if isinstance(value, list) and isinstance(kind, ListOf):
        if kind.values:
            return {f"v:{json.dumps(item)}": (item, kind.item) for item in value}
        if kind.keys:
            return _by_keys(value, kind)
    return None


def _by_keys(items: list[Any], kind: ListOf) -> dict[str, tuple[Any, Type]]:
    elements: dict[str, tuple[Any, Type]] = {}
    for item in items:
        element = item_key(item, kind)
        if element in elements:
            raise DuplicateKeyError(f"duplicate entries for key [{_print_key(element)}]")
        elements[element] = (item, kind.item)
    return elements


def item_key(item: Json, kind: ListOf) -> str:
    """The path element of a list's item."""
    key = {name: item.get(name, kind.defaults.get(name)) for name in kind.keys}
    return "k:" + json.dumps(
        {name: value for name, value in key.items() if value is not None},
        sort_keys=True,
        separators=(",", ":"),
    )


def applied(config: Json, kind: Type) -> FieldSet:
    """The paths that an applied configuration owns: leaves, empty objects, and items of keyed lists."""
    applied_fields = {name: part for name, part in tracked(config).items() if name != "metadata" or part}
    return frozenset(_leaves(applied_fields, kind, ()))


def _leaves(value: Any, kind: Type, path: Path) -> Iterator[Path]:
    parts = children(value, kind)
    if not parts:
        if path:
            yield path
        return
    for element, (part, part_kind) in parts.items():
        inner = (*path, element)
        if element.startswith("k:"):
            yield inner
        yield from _leaves(part, part_kind, inner)


def everything(value: Any, kind: Type, path: Path) -> Iterator[Path]:
    """All paths from a value down, itself included."""
    yield path
    for element, (part, part_kind) in (children(value, kind) or {}).items():
        yield from everything(part, part_kind, (*path, element))


def compare(old: Any, new: Any, kind: Type) -> tuple[FieldSet, FieldSet]:
    """Returns the paths that were added or modified, and those that were removed."""
    changed: set[Path] = set()
    removed: set[Path] = set()
    _compare(old, new, kind, (), changed, removed)
    return frozenset(changed), frozenset(removed)


def _compare(old: Any, new: Any, kind: Type, path: Path, changed: set[Path], removed: set[Path]) -> None:
    if old is _MISSING:
        changed.update(everything(new, kind, path))
        return
    if new is _MISSING:
        removed.update(everything(old, kind, path))
        return
    before, after = _parts(old, new, kind), _parts(new, old, kind)
    if before is None or after is None:
        if old != new:
            changed.add(path)
        return
    for element in before.keys() | after.keys():
        known = after.get(element) or before[element]
        old_part = before[element][0] if element in before else _MISSING
        new_part = after[element][0] if element in after else _MISSING
        _compare(old_part, new_part, known[1], (*path, element), changed, removed)


def _parts(value: Any, other: Any, kind: Type) -> dict[str, tuple[Any, Type]] | None:
    """Parts of a value; a null in place of a map or list has none of them."""
    if value is None and children(other, kind) is not None:
        return {}
    return children(value, kind)


def merge(live: Any, config: Any, kind: Type) -> Any:
    """Returns the live value with what a configuration says laid over it."""
    parts, mine = children(config, kind), children(live, kind)
    if parts is None or mine is None:
        return copy.deepcopy(config)
    if isinstance(config, dict):
        merged = dict(live)
        for element, (part, part_kind) in parts.items():
            name = element[2:]
            merged[name] = merge(live[name], part, part_kind) if name in live else copy.deepcopy(part)
        return merged
    items = {element: part for element, (part, _) in mine.items()}
    for element, (part, part_kind) in parts.items():
        known = items.get(element)
        items[element] = copy.deepcopy(part) if known is None else merge(known, part, part_kind)
    return list(items.values())


def without(value: Any, kind: Type, paths: Iterable[Path]) -> Any:
    """Returns the value without these paths; an item or object goes only when nothing is left in it."""
    doomed = set(paths)
    return _without(value, kind, (), doomed) if doomed else value


def _without(value: Any, kind: Type, path: Path, doomed: set[Path]) -> Any:
    parts = children(value, kind)
    if parts is None:
        return value
    remaining: dict[str, Any] = {}
    for element, (part, part_kind) in parts.items():
        inner = (*path, element)
        left = _without(part, part_kind, inner, doomed)
        if inner in doomed and (left in ({}, []) or children(part, part_kind) is None):
            continue
        remaining[element] = left
    if isinstance(value, list):
        return list(remaining.values())
    return {element[2:]: part for element, part in remaining.items()}


def to_v1(paths: FieldSet) -> Json:
    """Writes a set as `fieldsV1`."""
    root: Json = {}
    for path in sorted(paths):
        node = root
        for element in path:
            node = node.setdefault(element, {})
        node["."] = {}
    return {name: _tidy(node) for name, node in sorted(root.items())}


def _tidy(node: Json) -> Json:
    if node.keys() == {"."}:
        return {}
    return {name: _tidy(part) if name != "." else {} for name, part in sorted(node.items())}


def from_v1(fields: Json) -> FieldSet:
    """Reads `fieldsV1`."""
    return frozenset(_read(fields, ()))


def _read(node: Json, path: Path) -> Iterator[Path]:
    if not node and path:
        yield path
    for element, part in node.items():
        if element == ".":
            yield path
        else:
            yield from _read(part, (*path, element))


def print_path(path: Path) -> str:
    """`.spec.template.spec.containers[name="app"].image`."""
    return "".join(f".{part[2:]}" if part.startswith("f:") else f"[{_print_key(part)}]" for part in path)


def _print_key(element: str) -> str:
    if element.startswith("v:"):
        return f"={element[2:]}"
    return ",".join(f"{name}={json.dumps(value)}" for name, value in json.loads(element[2:]).items())
