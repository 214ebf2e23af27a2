"""YAML documents with positions, converted to structs; an error names file, line, path and remedy."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import msgspec
import yaml

from perfopt.config.paths import KeyPath, dotted
from perfopt.errors import InvalidInputError, PerfoptError

T = TypeVar("T")
MAX_BYTES = 16 * 2**20
MAX_DEPTH = 100
MAX_REPEATED = 100_000
"""Values that all aliases of a document may stand for."""
YAML_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Safe; in C, which is ten times as fast, where PyYAML was built with it."""


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """A parsed YAML file.

    Attributes:
        name: the file as the user knows it.
        data: the top-level mapping.
        lines: path of a key to the line it stands on, from 1.
        overrides: path of a key to what set it in place of the file: a variable or an option.
    """

    name: str
    data: dict[str, Any]
    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    overrides: Mapping[KeyPath, str] = field(default_factory=dict)

    def where(self, path: KeyPath) -> str:
        """Returns "file:line" or what overrode it, of a path or of the nearest key that is set there."""
        below = (one for one in self.overrides if one[: len(path)] == path and path not in self.lines)
        path = next(below, path)
        for length in range(len(path), 0, -1):
            origin = self.origin(path[:length])
            if origin is not None:
                return origin
        return self.name

    def origin(self, path: KeyPath) -> str | None:
        """Returns "file:line" of exactly this path, or what overrode it; None where it is not set."""
        if path in self.overrides:
            return self.overrides[path]
        return f"{self.name}:{self.lines[path]}" if path in self.lines else None

    def fail(self, path: KeyPath, problem: str, remedy: str) -> NoReturn:
        """Raises InvalidInputError that names the file, the line and the path."""
        raise InvalidInputError(f"{problem} ({self.where(path)})", field=dotted(path), remedy=remedy)

    def convert(self, value: Any, into: type[T], path: KeyPath = (), *, lax: bool = False) -> T:
        """Converts a part of the document to a struct.

        Args:
            value: what stands at `path`.
            into: the type wanted.
            path: of the value, for errors.
            lax: takes "20" for 20 and "true" for true, as environment variables have no types.

        Raises:
            InvalidInputError: an unknown field, a wrong type or a value out of bounds.
        """
        try:
            return msgspec.convert(value, into, strict=not lax)
        except msgspec.ValidationError as error:
            from perfopt.config.wrong_values import wrong_value  # types are looked into on errors only

            wrong = wrong_value(value, into, str(error), lax=lax)
            self.fail(path + wrong.path, wrong.problem, wrong.remedy)


def read_yaml(path: Path, *, what: str) -> YamlDocument:
    """Reads a YAML file whose top level is a mapping.

    Args:
        path: the file.
        what: what the file is, for errors ("services file").

    Raises:
        InvalidInputError: not readable, not YAML, over 16 MiB, or not a mapping.
    """
    return parse_yaml(read_text(path, what), str(path), what=what)


def parse_yaml(text: str, name: str, *, what: str) -> YamlDocument:
    """Reads YAML text whose top level is a mapping.

    Args:
        text: the YAML.
        name: where it is from, as the user knows it.
        what: what it is, for errors.

    Raises:
        InvalidInputError: not YAML, not a mapping, too deep, or with aliases of too much.
    """
    _require_bounded(text, name, what)
    try:
        root, data = _read_fast(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{name}:{mark.line + 1}" if mark else name
        problem = getattr(error, "problem", None) or "cannot be parsed"
        raise InvalidInputError(
            f"The {what} is not YAML: {problem} ({place}).", remedy="Correct it there."
        ) from error
    except ValueError as error:  # a number of thousands of digits, a date that there is not
        raise InvalidInputError(
            f"The {what} {name} holds a number that is too long, or a date that does not exist.",
            remedy="Correct it there.",
        ) from error
    if data is None:
        return YamlDocument(name, {})  # nothing but space and comments, which is no mistake
    if not isinstance(data, dict):
        raise InvalidInputError(
            f"The {what} {name} is not a mapping.", remedy="Write `key: value` lines at the top level."
        )
    document = YamlDocument(name, data, _lines(root, ()))
    _require_text_keys(document, data, ())
    return document


def _require_bounded(text: str, name: str, what: str) -> None:
    """Refuses what would exhaust the stack or the memory while it is read: both end the process.

    Raises:
        InvalidInputError: it is nested too deeply, or its aliases stand for too much.
    """
    try:
        bounded = _is_bounded(yaml.parse(text, Loader=YAML_LOADER))
    except (yaml.YAMLError, ValueError):
        return  # it is read up to there only, and said with its line
    if not bounded:
        raise InvalidInputError(
            f"The {what} {name} is nested over {MAX_DEPTH} deep, or its aliases stand for themselves or for"
            f" over {MAX_REPEATED} values.",
            remedy="Write it flat, and without aliases of aliases.",
        )


def _is_bounded(events: Iterable[yaml.Event]) -> bool:
    sizes: dict[str | None, int] = {}  # by anchor, with aliases written out
    open_anchors: list[str | None] = []
    counts, repeated = [0], 0
    for event in events:
        if isinstance(event, yaml.CollectionStartEvent):
            open_anchors.append(event.anchor)
            counts.append(1)
        elif isinstance(event, yaml.CollectionEndEvent):
            size = counts.pop()
            sizes[open_anchors.pop()] = size
            counts[-1] += size
        elif isinstance(event, yaml.AliasEvent):
            size = MAX_REPEATED + 1 if event.anchor in open_anchors else sizes.get(event.anchor, 1)
            counts[-1] += size
            repeated += size
        elif isinstance(event, yaml.ScalarEvent):
            counts[-1] += 1
        if len(counts) > MAX_DEPTH or repeated > MAX_REPEATED:
            return False
    return True


def _read_fast(text: str) -> tuple[yaml.Node | None, Any]:
    try:
        return _read(text, YAML_LOADER)
    except yaml.YAMLError:
        return _read(text, yaml.SafeLoader)  # which says better what is wrong


def _read(text: str, loader_type: Any) -> tuple[yaml.Node | None, Any]:
    """Returns the nodes of a document, which know their lines, and what they stand for."""
    loader = loader_type(text)
    try:
        root = loader.get_single_node()
        return root, None if root is None else loader.construct_document(root)
    finally:
        loader.dispose()


def read_text(path: Path, what: str) -> str:
    """Returns a text file's content; raises InvalidInputError where it can't be read, naming `what` it is."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidInputError(f"The {what} {path} is over 16 MiB.", remedy="Split it.")
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InvalidInputError(
            f"The {what} {path} cannot be read: {reason}.", remedy="Check the path, and that it may be read."
        ) from error


def _require_text_keys(document: YamlDocument, value: Any, path: KeyPath) -> None:
    if isinstance(value, list):
        for number, item in enumerate(value):
            _require_text_keys(document, item, (*path, number))
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                document.fail((*path, str(key)), f"The key {key!r} is not text.", "Put it in quotes.")
            _require_text_keys(document, item, (*path, key))


def _lines(node: Any, path: KeyPath) -> dict[KeyPath, int]:
    lines: dict[KeyPath, int] = {}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = (*path, str(key.value))
            lines[below] = key.start_mark.line + 1
            lines |= _lines(value, below)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            lines[(*path, number)] = value.start_mark.line + 1
            lines |= _lines(value, (*path, number))
    return lines


def reraise_at(document: YamlDocument, path: KeyPath, error: PerfoptError) -> NoReturn:
    """Raises a domain error again with the place in the document it came from."""
    document.fail(path, error.message, error.remedy or "Correct the value.")
