"""Objects, their versions and their history: one counter of versions for all, as etcd has."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from perfopt_api.simulated.kubernetes.status import Json

Kind = tuple[str, str]  # group and plural
Name = tuple[str, str]  # namespace and name


@dataclass(frozen=True, slots=True)
class Change:
    """One write: the object before and after; None is absent."""

    version: int
    kind: Kind
    name: Name
    before: Json | None
    after: Json | None


@dataclass
class Store:
    """Holds objects by kind and name. Objects that it gives out are not to be changed.

    Attributes:
        version: of the last write.
        listeners: called after every write.
    """

    version: int = 0
    listeners: list[Callable[[Change], None]] = field(default_factory=list)
    _objects: dict[Kind, dict[Name, Json]] = field(default_factory=dict)
    _history: dict[Kind, list[Change]] = field(default_factory=dict)
    _floor: dict[Kind, int] = field(default_factory=dict)
    _compacted: int = 0

    def get(self, kind: Kind, namespace: str, name: str) -> Json | None:
        """The object, or None."""
        return self._objects.get(kind, {}).get((namespace, name))

    def all(self, kind: Kind, namespace: str = "") -> list[Json]:
        """The objects of a kind, by namespace and name."""
        held = self._objects.get(kind, {})
        return [obj for name, obj in sorted(held.items()) if not namespace or name[0] == namespace]

    def put(self, kind: Kind, obj: Json) -> Json:
        """Writes an object under the next version; returns it with that version."""
        metadata = obj["metadata"]
        name = (metadata.get("namespace", ""), metadata["name"])
        held = self._objects.setdefault(kind, {})
        version = self.version + 1
        stored = obj | {"metadata": metadata | {"resourceVersion": str(version)}}
        before = held.get(name)
        held[name] = stored
        self._record(Change(version, kind, name, before, stored))
        return stored

    def remove(self, kind: Kind, namespace: str, name: str) -> Json | None:
        """Removes an object; returns it with the version of its removal."""
        before = self._objects.get(kind, {}).pop((namespace, name), None)
        if before is None:
            return None
        self._record(Change(self.version + 1, kind, (namespace, name), before, None))
        return before

    def drop_kind(self, kind: Kind) -> None:
        """Forgets a kind with all its objects."""
        for namespace, name in list(self._objects.get(kind, {})):
            self.remove(kind, namespace, name)

    def changes(self, kind: Kind, since: int) -> Iterator[Change]:
        """The writes after a version, in order."""
        history = self._history.get(kind, [])
        start = len(history)
        while start and history[start - 1].version > since:
            start -= 1
        return iter(history[start:])

    def watch_floor(self, kind: Kind) -> int:
        """The oldest version from which a watch can be served."""
        return self._floor.get(kind, 0)

    @property
    def compacted(self) -> int:
        """Lists of exactly a version up to this one are gone."""
        return self._compacted

    def begin(self, kind: Kind) -> None:
        """Starts the watch history of a kind at the present."""
        self._floor[kind] = self.version

    def compact(self) -> None:
        """Forgets exact lists of versions up to the present."""
        self._compacted = self.version

    def expire(self) -> None:
        """Forgets all history: every watch from an earlier version is answered with 410."""
        self.compact()
        for kind in {*self._history, *self._objects}:
            self._floor[kind] = self.version
            self._history.get(kind, []).clear()

    def at(self, kind: Kind, version: int) -> dict[Name, Json]:
        """The objects of a kind as they were at a version."""
        state = dict(self._objects.get(kind, {}))
        for change in reversed(list(self.changes(kind, version))):
            if change.before is None:
                state.pop(change.name, None)
            else:
                state[change.name] = change.before
        return state

    def _record(self, change: Change) -> None:
        self.version = change.version
        self._history.setdefault(change.kind, []).append(change)
        for listener in self.listeners:
            listener(change)
