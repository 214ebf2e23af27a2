"""Who owns which field: `managedFields` through updates and server-side applies."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from perfopt_api.simulated.kubernetes import fields
from perfopt_api.simulated.kubernetes.fields import FieldSet
from perfopt_api.simulated.kubernetes.schema import Type
from perfopt_api.simulated.kubernetes.status import Json, StatusError

Operation = Literal["Apply", "Update"]
BEFORE_FIRST_APPLY = "before-first-apply"


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes, how, in which version and through which subresource: the key of an entry."""

    manager: str
    operation: Operation
    api_version: str
    subresource: str = ""

    def describe(self) -> str:
        """As conflicts name it."""
        text = f'"{self.manager}"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return text + (f" using {self.api_version}" if self.operation == "Update" else "")


@dataclass(frozen=True, slots=True)
class Entry:
    """What a writer owns, and since when."""

    writer: Writer
    paths: FieldSet
    time: str | None


Entries = dict[Writer, Entry]


def read(obj: Json) -> Entries:
    """The entries of an object."""
    entries: Entries = {}
    for item in obj.get("metadata", {}).get("managedFields", ()):
        writer = Writer(
            item.get("manager", ""),
            item.get("operation", "Update"),
            item.get("apiVersion", ""),
            item.get("subresource", ""),
        )
        entries[writer] = Entry(writer, fields.from_v1(item.get("fieldsV1", {})), item.get("time"))
    return entries


def write(obj: Json, entries: Entries) -> None:
    """Puts entries into an object: appliers first, then by time."""
    ordered = sorted(entries.values(), key=_order)
    metadata = obj.setdefault("metadata", {})
    metadata.pop("managedFields", None)
    if ordered:
        metadata["managedFields"] = [_json(entry) for entry in ordered]


def _order(entry: Entry) -> tuple[str, str, str, str, str]:
    writer = entry.writer
    return writer.operation, entry.time or "", writer.manager, writer.api_version, writer.subresource


def _json(entry: Entry) -> Json:
    item: Json = {
        "manager": entry.writer.manager,
        "operation": entry.writer.operation,
        "apiVersion": entry.writer.api_version,
        "time": entry.time,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields.to_v1(entry.paths),
    }
    return item | ({"subresource": entry.writer.subresource} if entry.writer.subresource else {})


def update(old: Json, new: Json, kind: Type, entries: Entries, writer: Writer, time: str) -> Entries:
    """Returns who owns what after an update: it takes what it changed from everybody else."""
    changed, removed = fields.compare(fields.tracked(old), fields.tracked(new), kind)
    mine = entries[writer].paths if writer in entries else frozenset()
    after = _taken(entries, writer, changed, removed, time)
    return _remaining_entries(after, entries, writer, (mine - removed) | changed, time)


def apply(
    live: Json, config: Json, kind: Type, entries: Entries, writer: Writer, time: str, *, force: bool
) -> tuple[Json, Entries]:
    """Lays a configuration over the live object.

    Returns:
        The new object, and who owns what.

    Raises:
        StatusError: another manager owns a field with another value, and `force` is not set.
        DuplicateKeyError: two items of a list have the same key.
    """
    applied = fields.applied(config, kind)
    merged: Any = fields.merge(fields.tracked(live), fields.tracked(config), kind)
    before = entries[writer].paths if writer in entries else frozenset()
    owned = set(applied).union(*(entry.paths for other, entry in entries.items() if other != writer))
    merged = fields.without(merged, kind, before - owned)
    changed, removed = fields.compare(fields.tracked(live), merged, kind)
    if not force:
        _refuse_conflicts(entries, writer, changed)
    after = _taken(entries, writer, changed, removed, time)
    return _whole(live, merged), _remaining_entries(after, entries, writer, applied, time)


def _whole(live: Json, merged: Json) -> Json:
    metadata = {name: part for name, part in live["metadata"].items() if name not in _OWNED_METADATA}
    return {
        **{name: live[name] for name in ("apiVersion", "kind") if name in live},
        **merged,
        "metadata": metadata | merged.get("metadata", {}),
    }


_OWNED_METADATA = ("labels", "annotations", "ownerReferences", "finalizers", "generateName")


def _taken(entries: Entries, writer: Writer, changed: FieldSet, removed: FieldSet, time: str) -> Entries:
    after: Entries = {}
    for other, entry in entries.items():
        if other == writer:
            continue
        left = entry.paths - changed - removed
        if left:
            after[other] = entry if left == entry.paths else replace(entry, paths=left)
    return after


def _remaining_entries(
    after: Entries, entries: Entries, writer: Writer, paths: FieldSet, time: str
) -> Entries:
    if not paths:
        return after
    known = entries.get(writer)
    same = known is not None and known.paths == paths
    return after | {writer: known if same and known else Entry(writer, paths, time)}


def disowned(entries: Entries, path: fields.Path) -> Entries:
    """The entries without a path that nobody owns any more."""
    left = {w: replace(e, paths=e.paths - {path}) if path in e.paths else e for w, e in entries.items()}
    return {writer: entry for writer, entry in left.items() if entry.paths}


def _refuse_conflicts(entries: Entries, writer: Writer, changed: FieldSet) -> None:
    conflicts = [
        (entry.writer.describe(), fields.print_path(path))
        for other, entry in entries.items()
        if other != writer
        for path in sorted(entry.paths & changed)
    ]
    if conflicts:
        raise conflict_error(conflicts)


def conflict_error(conflicts: Iterable[tuple[str, str]]) -> StatusError:
    """409 that names the managers and their fields."""
    by_manager: dict[str, list[str]] = {}
    for manager, path in conflicts:
        by_manager.setdefault(manager, []).append(path)
    count = sum(map(len, by_manager.values()))
    if count == 1:
        ((manager, (path,)),) = by_manager.items()
        text = f"Apply failed with 1 conflict: conflict with {manager}: {path}"
    else:
        lines = []
        for manager, paths in sorted(by_manager.items()):
            lines += [f"conflicts with {manager}:", *(f"- {path}" for path in sorted(paths))]
        text = f"Apply failed with {count} conflicts: " + "\n".join(lines)
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {manager}", "field": path}
        for manager, paths in by_manager.items()
        for path in sorted(paths)
    ]
    return StatusError(409, "Conflict", text, {"causes": causes})


def before_first_apply(live: Json, kind: Type, api_version: str, skeleton: Json, time: str) -> Entries:
    """Gives everything that nobody owned to one manager, as the first apply of an old object does."""
    spec = {name: part for name, part in fields.tracked(live).items() if name != "status"}
    changed, _ = fields.compare(
        {k: v for k, v in fields.tracked(skeleton).items() if k != "status"}, spec, kind
    )
    writer = Writer(BEFORE_FIRST_APPLY, "Update", api_version)
    return {writer: Entry(writer, changed, time)}
