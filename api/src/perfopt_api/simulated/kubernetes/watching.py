"""Reads: single objects, lists in pages, and watches."""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from perfopt_api.simulated.kubernetes.clock import Clock
from perfopt_api.simulated.kubernetes.http import Request
from perfopt_api.simulated.kubernetes.kinds import Resource
from perfopt_api.simulated.kubernetes.selectors import field_selector, label_selector
from perfopt_api.simulated.kubernetes.status import Json, StatusError, bad_request, internal
from perfopt_api.simulated.kubernetes.storage import Change, Store

_BOOKMARK_SECONDS = 60.0
_LAST_BOOKMARK_SECONDS = 2.0
_DEFAULT_TIMEOUT = 1800.0
_INITIAL_END = {"k8s.io/initial-events-end": "true"}
_TOO_OLD_PAGE = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new "
    "list without the continue parameter, or use the continue token in this response to retrieve the "
    "remainder of the results. Continuing with the provided token results in an inconsistent list - objects "
    "that were created, modified, or deleted between the time the first chunk was returned and now may show "
    "up in the list."
)


@dataclass(frozen=True, slots=True)
class Scope:
    """Which objects of a resource a read is about."""

    resource: Resource
    namespace: str
    labels: Callable[[Json], bool]
    fields: Callable[[Json], bool]
    selective: bool

    @classmethod
    def read(cls, request: Request, resource: Resource, namespace: str) -> "Scope":
        """Reads the selectors of a request.

        Raises:
            StatusError: 400.
        """
        by_label = label_selector(request.query.get("labelSelector", ""))
        by_field = field_selector(request.query.get("fieldSelector", ""), resource.plural)
        return cls(
            resource,
            namespace,
            lambda obj: by_label(obj["metadata"].get("labels", {})),
            by_field,
            bool(request.query.get("labelSelector") or request.query.get("fieldSelector")),
        )

    def holds(self, obj: Json | None) -> bool:
        """Whether an object belongs to it."""
        if obj is None or (self.namespace and obj["metadata"].get("namespace") != self.namespace):
            return False
        return self.labels(obj) and self.fields(obj)


def item(obj: Json, resource: Resource) -> Json:
    """An object as an item of a list: built-in kinds without kind and apiVersion."""
    if resource.custom is not None:
        return obj
    return {name: part for name, part in obj.items() if name not in ("apiVersion", "kind")}


def list_objects(store: Store, request: Request, scope: Scope) -> Json:
    """A list, or a page of it.

    Raises:
        StatusError: 400, 410, 500 or 504, by its version or token.
    """
    token = request.query.get("continue", "")
    version, start = _token(token) if token else (_version(request, store), "")
    exact = request.query.get("resourceVersionMatch") == "Exact"
    if (token and 0 <= version < store.compacted) or (exact and version < store.compacted):
        raise _expired(start if token else None)
    state = store.at(scope.resource.key, version) if (token and version >= 0) or exact else None
    objects = store.all(scope.resource.key) if state is None else [state[name] for name in sorted(state)]
    shown = version if (token and version >= 0) or exact else store.version
    matching = [obj for obj in objects if scope.holds(obj) and _path(obj, scope) > start]
    limit = int(request.query.get("limit", "0") or 0)
    metadata: Json = {"resourceVersion": str(shown)}
    if limit and len(matching) > limit:
        metadata["continue"] = _encode(shown, _path(matching[limit - 1], scope) + "\0")
        if not scope.selective:
            metadata["remainingItemCount"] = len(matching) - limit
        matching = matching[:limit]
    return {
        "kind": f"{scope.resource.kind}List",
        "apiVersion": scope.resource.api_version,
        "metadata": metadata,
        "items": [item(obj, scope.resource) for obj in matching],
    }


def _path(obj: Json, scope: Scope) -> str:
    metadata = obj["metadata"]
    if scope.namespace or not scope.resource.namespaced:
        return "/" + str(metadata["name"])
    return f"/{metadata['namespace']}/{metadata['name']}"


def _encode(version: int, start: str) -> str:
    token = json.dumps({"v": "meta.k8s.io/v1", "rv": version, "start": start}, separators=(",", ":"))
    return base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


def _token(text: str) -> tuple[int, str]:
    raw = b""
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        token = json.loads(raw)
        start = token["start"]
        return int(token["rv"]), (start if start.startswith("/") else f"/{start}").rstrip("\0")
    except (ValueError, KeyError, TypeError) as error:
        text = raw.decode(errors="replace")
        why = (
            f"invalid character '{text[1:2]}' in literal null (expecting 'u')"
            if text[:1] == "n"
            else str(error)
        )
        raise bad_request(f"invalid continue token: continue key is not valid: {why}") from error


def _version(request: Request, store: Store) -> int:
    text = request.query.get("resourceVersion", "")
    if not text:
        return store.version
    version = parse_version(text)
    if version > store.version:
        message = f"Timeout: Too large resource version: {version}, current: {store.version}"
        cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
        described = {"causes": [cause], "retryAfterSeconds": 1}
        raise StatusError(504, "Timeout", message, described, {"Retry-After": "1"})
    return version


def parse_version(text: str) -> int:
    """A resourceVersion of a request.

    Raises:
        StatusError: 500, as the server answers.
    """
    if not text.isdigit():
        raise internal(
            f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        )
    return int(text)


def _expired(start: str | None) -> StatusError:
    if start is None:
        message = "The resourceVersion for the provided list is too old."
        return StatusError(410, "Expired", message)
    token = _encode(-1, start.removeprefix("/") + "\0")
    return StatusError(410, "Expired", _TOO_OLD_PAGE, metadata={"continue": token})


def timeout_seconds(request: Request) -> float:
    """How long a watch lasts.

    Raises:
        StatusError: 400.
    """
    text = request.query.get("timeoutSeconds", "")
    try:
        return float(int(text)) if text else _DEFAULT_TIMEOUT
    except ValueError as error:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from error


@dataclass
class Watch:
    """One watch: what is there at first where asked, then every change, bookmarks in between."""

    store: Store
    scope: Scope
    since: int
    ends: float
    bookmarks: bool
    next_bookmark: float
    pending: list[Json] = field(default_factory=list)
    closed: bool = False

    @classmethod
    def start(cls, store: Store, clock: Clock, request: Request, scope: Scope) -> "Watch":
        """Starts a watch as a request asks.

        Raises:
            StatusError: 400 or 500.
        """
        now, lasts = clock.now(), timeout_seconds(request)
        text = request.query.get("resourceVersion", "")
        initial = request.query.get("sendInitialEvents") == "true"
        version = parse_version(text) if text else 0
        from_now = initial or version == 0
        floor = store.watch_floor(scope.resource.key)
        watch = cls(
            store,
            scope,
            store.version if from_now else version,
            now + lasts,
            request.flag("allowWatchBookmarks"),
            now + min(_BOOKMARK_SECONDS, max(lasts - _LAST_BOOKMARK_SECONDS, 0.0)),
        )
        if from_now:
            objects = store.all(scope.resource.key)
            watch.pending = [_event("ADDED", obj) for obj in objects if scope.holds(obj)]
            if initial and watch.bookmarks:
                watch.pending.append(watch._bookmark(_INITIAL_END))
        elif version < floor:
            message = f"too old resource version: {version} ({floor})"
            watch.pending = [{"type": "ERROR", "object": StatusError(410, "Expired", message).body()}]
            watch.closed = True
        return watch

    def poll(self, now: float) -> list[Json]:
        """The events since the last call."""
        events, self.pending = self.pending, []
        if self.closed:
            return events
        if self.since < self.store.watch_floor(self.scope.resource.key):
            message = f"too old resource version: {self.since} ({self.store.version})"
            self.closed = True
            return [*events, {"type": "ERROR", "object": StatusError(410, "Expired", message).body()}]
        events += self._changes()
        if self.bookmarks and now >= self.next_bookmark:
            events.append(self._bookmark())
            last = self.ends - _LAST_BOOKMARK_SECONDS
            self.next_bookmark = min(now + _BOOKMARK_SECONDS, last) if now < last else self.ends + 1
        return events

    def done(self, now: float) -> bool:
        """Whether it has ended."""
        return self.closed or now >= self.ends

    def _changes(self) -> Iterator[Json]:
        for change in self.store.changes(self.scope.resource.key, self.since):
            self.since = change.version
            event = seen_as(change, self.scope.holds)
            if event is not None:
                yield event
        self.since = max(self.since, self.store.version)

    def _bookmark(self, annotations: Json | None = None) -> Json:
        metadata: Json = {"resourceVersion": str(self.store.version)}
        if annotations:
            metadata["annotations"] = annotations
        resource = self.scope.resource
        empty = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
        return {"type": "BOOKMARK", "object": empty | resource.skeleton}


def seen_as(change: Change, holds: Callable[[Json | None], bool]) -> Json | None:
    """The event that a change is for who watches a selection; None where it is none."""
    before, after = holds(change.before), holds(change.after)
    if after:
        return _event("MODIFIED" if before else "ADDED", change.after or {})
    if not before or change.before is None:
        return None
    metadata = change.before["metadata"] | {"resourceVersion": str(change.version)}
    return _event("DELETED", change.before | {"metadata": metadata})


def _event(kind: str, obj: Json) -> Json:
    return {"type": kind, "object": obj}
