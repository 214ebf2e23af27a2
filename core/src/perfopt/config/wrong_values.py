"""Says in plain words what is wrong with a value that does not fit its type, where, and what is allowed."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import inspect as types

from perfopt.config.describe import type_name
from perfopt.config.paths import KeyPath, suggestion

_AT = re.compile(r" - at (?:`(?P<key>key)` in )?`\$(?P<path>[^`]*)`$")
_STEP = re.compile(r"\.(?P<name>[\w-]+)|\[(?P<number>\d+)\]|\[\.\.\.\]")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>[^`]*)`")
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]*)`")
_CHOICE = re.compile(r"Invalid (?:enum )?value (?P<value>.*)")
_TYPE = re.compile(r"Expected `[^`]*`(?: (?:<|>|<=|>=) \S+)?(?:, got `(?P<got>[^`]*)`)?")
_WORDS = {
    "str": "text", "int": "integer", "float": "number", "bool": "true or false", "object": "mapping",
    "array": "list", "null": "nothing",
}  # fmt: skip
_ITEMS = (types.ListType, types.VarTupleType, types.SetType, types.FrozenSetType)
_FIX = "Correct the value."


@dataclass(frozen=True, slots=True)
class WrongValue:
    """What is wrong with a value.

    Attributes:
        path: within the value that was converted.
        problem: one sentence.
        remedy: one sentence.
    """

    path: KeyPath
    problem: str
    remedy: str


def wrong_value(value: Any, into: Any, text: str, *, lax: bool) -> WrongValue:
    """Explains why a value could not be converted.

    Args:
        value: plain data.
        into: the type wanted.
        text: msgspec's message on the conversion.
        lax: whether text stands for numbers too.
    """
    names: list[str] = []
    while (at := _AT.search(text)) is not None:
        path, whole = _steps(at["path"], names)
        if whole and not at["key"]:
            return _described(text[: at.start()], path, _kinds(into, path))
        wrong = _first_wrong(value, path, into, lax)
        if wrong is None:
            return _described(text[: at.start()], path, [])
        name, value, text = wrong
        if whole:
            return _described(text[: at.start()], (*path, name), _key_kinds(into, path))
        names.append(name)
    return _described(text, (), [types.type_info(into)])


def _steps(text: str, names: list[str]) -> tuple[KeyPath, bool]:
    """Reads a path of msgspec, which calls the keys of a mapping "...", as far as their names are known."""
    path: list[str | int] = []
    known = iter(names)
    for step in _STEP.finditer(text):
        name = step["name"] or (int(step["number"]) if step["number"] else next(known, None))
        if name is None:
            return tuple(path), False
        path.append(name)
    return tuple(path), True


def _first_wrong(value: Any, path: KeyPath, into: Any, lax: bool) -> tuple[str, Any, str] | None:
    """Finds the first wrong entry of the mapping at a path: its key, the value with it alone, and why."""
    entries = value
    for step in path:
        entries = entries[step]
    if not isinstance(entries, dict):
        return None
    for key, entry in entries.items():
        alone = _with(value, path, {key: entry})
        try:
            msgspec.convert(alone, into, strict=not lax)
        except msgspec.ValidationError as error:
            return key, alone, str(error)
    return None


def _with(value: Any, path: KeyPath, part: Any) -> Any:
    if not path:
        return part
    step, rest = path[0], path[1:]
    if isinstance(value, dict):
        return {**value, step: _with(value[step], rest, part)}
    return [_with(one, rest, part) if place == step else one for place, one in enumerate(value)]


def _kinds(into: Any, path: KeyPath) -> list[types.Type]:
    """Returns the types that a value at a path may have; empty where that is not known."""
    kinds = [types.type_info(into)]
    for step in path:
        kinds = [inner for kind in kinds for inner in _inside(kind, step)]
    return kinds


def _key_kinds(into: Any, path: KeyPath) -> list[types.Type]:
    plain = (one for kind in _kinds(into, path) for one in _alternatives(kind))
    return [one.key_type for one in plain if isinstance(one, types.DictType)]


def _inside(kind: types.Type, step: str | int) -> Iterator[types.Type]:
    for one in _alternatives(kind):
        if isinstance(one, types.StructType):
            if step == one.tag_field:
                yield types.LiteralType((one.tag,))
            yield from (field.type for field in one.fields if field.encode_name == step)
        elif isinstance(one, types.DictType):
            yield one.value_type
        elif isinstance(one, _ITEMS):
            yield one.item_type


def _alternatives(kind: types.Type) -> Iterator[types.Type]:
    """Yields the types that a union, an optional or an annotation stands for."""
    if isinstance(kind, types.Metadata):
        yield from _alternatives(kind.type)
    elif isinstance(kind, types.UnionType):
        for one in kind.types:
            yield from _alternatives(one)
    else:
        yield kind


def _described(text: str, path: KeyPath, kinds: list[types.Type]) -> WrongValue:
    if unknown := _UNKNOWN.match(text):
        structs = [one for kind in kinds for one in _alternatives(kind) if isinstance(one, types.StructType)]
        known = tuple(dict.fromkeys(field.encode_name for one in structs for field in one.fields))
        name = unknown["name"]
        return WrongValue((*path, name), f"There is no field {name!r} here.", suggestion(name, known))
    if missing := _MISSING.match(text):
        return WrongValue(path, f"The field {missing['name']!r} is missing.", "Add it.")
    expected = _expected(kinds)
    if (choice := _CHOICE.match(text)) and expected:
        return WrongValue(path, f"{choice['value']} is not allowed: expected {expected}.", _FIX)
    if (kind := _TYPE.fullmatch(text)) and expected:
        got = f", got {_in_words(kind['got'])}" if kind["got"] else ""
        return WrongValue(path, f"Expected {expected}{got}.", _FIX)
    return WrongValue(path, f"{re.sub('`([^`]*)`', lambda match: _in_words(match[1]), text)}.", _FIX)


def _expected(kinds: list[types.Type]) -> str:
    """Says what values are allowed, "" where that can't be said; a struct stands for its choices of a tag."""
    try:
        tags = [kind.values[0] for kind in kinds if isinstance(kind, types.LiteralType)]
        if len(tags) > 1 and len(tags) == len(kinds):
            return type_name(types.LiteralType(tuple(tags)))
        return " or ".join(dict.fromkeys(type_name(kind) for kind in kinds))
    except TypeError:
        return ""


def _in_words(names: str) -> str:
    return " or ".join(dict.fromkeys(_WORDS.get(name, name) for name in names.split(" | ")))
