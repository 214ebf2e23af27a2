"""One recorded flow, replayed on the simulated API in its own time."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from recording_values import (
    NAME_LETTERS,
    differences,
    header_differences,
    learn,
    missing_in,
    normal,
    number_in,
    spec_part,
    status_part,
)

from perfopt_api.simulated.kubernetes.access import ADMIN, ADMIN_TOKEN
from perfopt_api.simulated.kubernetes.api import Target
from perfopt_api.simulated.kubernetes.cluster import SimulatedCluster
from perfopt_api.simulated.kubernetes.http import Request, Response
from perfopt_api.simulated.kubernetes.subresources import scale_of
from perfopt_api.simulated.kubernetes.watching import Scope, item

SETTLE_SECONDS = 0.9
SLACK_SECONDS = 2.5
_POLL = re.compile(r"^(.*)-(\d+)$")


@dataclass
class Flow:
    """One recording, replayed."""

    recording: dict[str, Any]
    cluster: SimulatedCluster
    origin: float
    differences: dict[str, list[str]] = field(default_factory=dict)
    versions: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    ours: list[tuple[dict[str, Any], Response]] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict)
    generations: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    pods: dict[str, str] = field(default_factory=dict)
    states: dict[Any, Any] = field(default_factory=dict)
    undecided: list[dict[str, Any]] = field(default_factory=list)
    late: list[dict[str, Any]] = field(default_factory=list)

    def run(self) -> None:
        """Sends every request at its time and compares the answers."""
        exchanges = sorted(self.recording["exchanges"], key=lambda each: each["at_s"])
        for exchange in exchanges:
            self._late(exchange)
            self._wait_until(exchange["at_s"])
            self._before = self._live_version(exchange)
            answer = self._send(exchange)
            self.ours.append((exchange, answer))
            if "lines" in exchange["response"] or answer.stream is not None:
                continue
            if is_poll(exchange):
                continue  # compared at the end, against all states that there were
            self._compare(exchange, answer)
        self._wait_until(exchanges[-1]["at_s"] + 30)
        self._polls()
        self._statuses()
        self._watches()

    def _late(self, exchange: dict[str, Any]) -> None:
        """Creates what was set up between requests, before the first that finds it."""
        for given in list(self.late):
            place = f"{given['path']}/{given['body']['metadata']['name']}"
            found = exchange["request"]["path"].startswith(place) and exchange["response"]["status"] != 404
            kind = given["path"].rpartition("/")[2]
            defined = "golden.example" in place and exchange["request"]["path"].partition("?")[0].endswith(
                f"/{kind}"
            )
            second = kind == "poddisruptionbudgets" and exchange is answer_of_two_budgets(
                self.recording["exchanges"]
            )
            if found or defined or second:
                self.late.remove(given)
                self._wait_until(exchange["at_s"] - 1.8 if found else exchange["at_s"])
                set_up(self.cluster, given)

    def _live_version(self, exchange: dict[str, Any]) -> str | None:
        path = self._translate(exchange["request"]["path"]).partition("?")[0]
        live = self.cluster.get(re.sub(r"/(scale|resize|status|eviction)$", "", path))
        return live["metadata"].get("resourceVersion") if live and "metadata" in live else None

    def _wait_until(self, at: float) -> None:
        left = self.origin + at - self.cluster.clock.now()
        if left > 0:
            self.cluster.advance(left / 2, step=0.01)
            self._elsewhere()
            self.cluster.advance(left / 2, step=0.01)

    def _elsewhere(self) -> None:
        """Something is written all the time in a real cluster, so versions go on."""
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "elsewhere-"}}
        self.cluster.create("/api/v1/namespaces/kube-system/configmaps", body)

    def _send(self, exchange: dict[str, Any]) -> Response:
        request = exchange["request"]
        self._assign_pods(request["path"])
        path, body = self._translate(request["path"] + "&").removesuffix("&"), request.get("body", b"")
        if not isinstance(body, bytes | str):
            body = self._current(request, self._translate(json.dumps(body)))
        headers = {
            name: value for name, value in request["headers"].items() if name.lower() != "authorization"
        }
        if authorization := self._credentials(request["as"]):
            headers["Authorization"] = authorization
        return self.cluster.handle(Request.of(request["method"], path, headers, body))

    def _assign_pods(self, path: str) -> None:
        """Takes one of our pods for one of theirs whose generated name no answer has shown before."""
        found = re.match(r"(/api/v1/namespaces/[^/]+/pods)/([^/?]+)", path)
        if not found or self.cluster.get(self._translate(found[0])) is not None:
            return
        prefix = re.sub(rf"(-[0-9a-z]{{8,10}})?-[{NAME_LETTERS}]{{5}}$", "", found[2])
        pods = (self.cluster.get(found[1]) or {"items": []})["items"]
        free = [pod["metadata"]["name"] for pod in pods if pod["metadata"]["name"] not in self.pods.values()]
        ours = [name for name in free if name.startswith(f"{prefix}-")]
        if ours and prefix != found[2]:
            self.pods[found[2]] = ours[0]

    def _current(self, request: dict[str, Any], body: str) -> str:
        """Puts our present version for one that was read between the recorded requests."""
        given = request["body"].get("metadata", {}) if isinstance(request["body"], dict) else {}
        theirs = given.get("resourceVersion", "0")
        known = [pair[0] for pairs in self.versions.values() for pair in pairs]
        if request["method"] != "PUT" or not known or int(theirs) <= max(known):
            return body
        path = request["path"].partition("?")[0].removesuffix("/scale").removesuffix("/resize")
        live = self.cluster.get(path)
        version = live["metadata"]["resourceVersion"] if live else theirs
        return body.replace(f'"resourceVersion": "{theirs}"', f'"resourceVersion": "{version}"')

    def _credentials(self, who: str) -> str:
        if who == "anonymous":
            return ""
        if who.startswith("system:serviceaccount:"):
            _, _, namespace, name = who.split(":")
            if who not in self.tokens:
                self.tokens[who] = self.cluster.api.access.token(namespace, name)
            return f"Bearer {self.tokens[who]}"
        return f"Bearer {ADMIN_TOKEN if who == 'admin' else 'nonsense'}"

    # -- theirs to ours ----------------------------------------------------------------------------------

    def _translate(self, text: str) -> str:
        """Puts our uids, versions, tokens and generated names for theirs."""
        for theirs, ours in sorted(self._pairs().items(), key=lambda pair: -len(pair[0])):
            text = text.replace(theirs, ours)
        return text

    def _pairs(self) -> dict[str, str]:
        pairs: dict[str, str] = dict(self.pods)
        for exchange, answer in self.ours:
            theirs, ours = exchange["response"].get("body"), answer.body
            if isinstance(theirs, dict) and isinstance(ours, dict):
                learn(theirs, ours, pairs)
        return pairs

    # -- comparison --------------------------------------------------------------------------------------

    def _compare(self, exchange: dict[str, Any], answer: Response) -> None:
        step, theirs = exchange["step"], exchange["response"]
        found = self.differences.setdefault(step, [])
        if theirs["status"] != answer.status:
            text = (answer.body or {}).get("message", answer.text)
            found.append(f"status {answer.status} in place of {theirs['status']}: {text}")
            return
        found += header_differences(theirs["headers"], answer)
        body = theirs.get("body")
        if isinstance(body, str):
            if step != "readyz-verbose" and (answer.text or "") != body:
                found.append(f"text {answer.text!r} in place of {body!r}")
            return
        if exchange.get("truncated") or "/openapi/" in exchange["request"]["path"]:
            return
        found += self._bodies(exchange, body, answer.body or {})

    def _bodies(self, exchange: dict[str, Any], theirs: Any, ours: Any) -> Iterator[str]:
        if "resources" in theirs or "groups" in theirs or theirs.get("kind") == "APIGroup":
            yield from missing_in(ours, theirs)
            return
        wrongs = list(differences(normal(theirs), normal(ours)))
        if (
            wrongs
            and "status" in str(wrongs) + str(theirs.get("status", ""))
            and exchange["response"]["status"] < 300
        ):
            wrongs = list(differences(spec_part(normal(theirs)), spec_part(normal(ours))))
            if exchange["request"]["method"] in ("GET", "PATCH", "PUT", "DELETE"):
                self.undecided.append(exchange)
        yield from wrongs
        yield from self._relation(exchange, theirs, ours)

    def _relation(self, exchange: dict[str, Any], theirs: Any, ours: Any) -> Iterator[str]:
        """Versions move where theirs moved."""
        metadata, mine = theirs.get("metadata", {}), ours.get("metadata", {})
        if "resourceVersion" not in metadata or theirs.get("kind", "").endswith("List"):
            return
        if "resourceVersion" not in mine:
            yield "no resourceVersion"
            return
        key = metadata.get("uid", exchange["request"]["path"])
        seen = self.versions.setdefault(key, [])
        pair = int(metadata["resourceVersion"]), int(mine["resourceVersion"])
        if exchange["request"]["method"] in ("PUT", "PATCH"):
            moved = mine["resourceVersion"] != self._before
            if moved and any(theirs_then == pair[0] for theirs_then, _ in seen):
                yield "resourceVersion moved and should not"
            known = [g for v, g in self.generations.get(key, ()) if v < pair[0]]
            new = (
                all(theirs_then != pair[0] for theirs_then, _ in seen)
                and "dryRun" not in exchange["request"]["path"]
            )
            if not moved and new and known and metadata.get("generation", 0) > max(known):
                yield "resourceVersion should have moved"
        seen.append(pair)
        self.generations.setdefault(key, []).append((pair[0], metadata.get("generation", 0)))

    def _statuses(self) -> None:
        """What controllers had written by then is what ours had written around that time."""
        for exchange in self.undecided:
            theirs = status_part(normal(exchange["response"]["body"]))
            states = [status_part(state) for state in self._states(exchange, exchange["at_s"])]
            if theirs not in states:
                nearest = min(
                    (list(differences(theirs, state)) for state in states), key=len, default=["no state"]
                )
                self.differences[exchange["step"]] += nearest

    def _polls(self) -> None:
        """Every recorded state of a poll is one that ours went through, and the last is the last."""
        for exchange, _ in self.ours:
            if is_poll(exchange):
                self._poll(exchange)

    def _poll(self, exchange: dict[str, Any]) -> None:
        found = self.differences.setdefault(exchange["step"], [])
        body, at = exchange["response"].get("body"), exchange["at_s"]
        if exchange["response"]["status"] != 200:
            own = next(answer for each, answer in self.ours if each is exchange)
            if own.status != exchange["response"]["status"]:
                found.append(f"status {own.status} in place of {exchange['response']['status']}")
            return
        found += self._nearest(exchange, body, at)

    def _nearest(self, exchange: dict[str, Any], body: Any, at: float) -> list[str]:
        """Differences from the nearest state around a time."""
        states = list(self._states(exchange, at))
        wanted = normal(body)
        if wanted in states:
            return []
        written = [list(differences(spec_part(wanted), spec_part(state))) for state in states]
        reported = [list(differences(status_part(wanted), status_part(state))) for state in states]
        none = [["there was no state"]]
        return min(written or none, key=number_in) + min(reported or none, key=number_in)

    def _states(self, exchange: dict[str, Any], at: float) -> Iterator[Any]:
        """What a GET would have answered around its time."""
        path = re.sub(r"(/pods/[^/?]+|/[a-z]+/[^/?]+)/(resize|status)", r"\1", exchange["request"]["path"])
        request = Request.of("GET", self._translate(path))
        target = Target.parse(request.path)
        resource = target and self.cluster.api.resource(target.group, target.plural, target.version)
        if target is None or not resource:
            return
        name = (target.namespace, target.name)
        low, high = self.origin + at - SLACK_SECONDS, self.origin + at + SLACK_SECONDS
        changes = [
            c for c in self.cluster.store.changes(resource.key, 0) if not target.name or c.name == name
        ]
        moments = self.cluster.moments  # type: ignore[attr-defined]
        first = max((c.version for c in changes if moments.get(c.version, 0.0) < low), default=0)
        for version in [first, *(c.version for c in changes if low <= moments.get(c.version, 0.0) <= high)]:
            key = (request.path, tuple(request.query.items()), version)
            if key not in self.states:
                self.states[key] = normal(_at(self.cluster, request, version))
            if self.states[key] is not None:
                yield self.states[key]

    def _watches(self) -> None:
        for exchange, answer in self.ours:
            if "lines" not in exchange["response"] and answer.stream is None:
                continue
            found = self.differences.setdefault(exchange["step"], [])
            if answer.status != exchange["response"]["status"]:
                found.append(f"status {answer.status} in place of {exchange['response']['status']}")
                continue
            lines = [line for line in exchange["response"].get("lines", ()) if isinstance(line, dict)]
            found += watch_differences(lines, answer, self, truncated=bool(exchange.get("truncated")))


def is_poll(exchange: dict[str, Any]) -> bool:
    """Whether a GET was repeated until something changed."""
    request = exchange["request"]
    plain = "lines" not in exchange["response"] and "limit=" not in request["path"]
    return bool(_POLL.match(exchange["step"])) and request["method"] == "GET" and plain


def watch_differences(lines: list[Any], answer: Response, flow: Flow, *, truncated: bool) -> Iterator[str]:
    """Recorded events stand in ours in order; ours has none of another type after the last."""
    stream = answer.stream
    if stream is None:
        yield "no watch"
        return
    ours = [event for events in flow.cluster.watched.get(id(stream), []) for event in events]  # type: ignore[attr-defined]
    taken: set[int] = set()
    places: dict[str, int] = {}
    for line in lines:
        if line["type"] == "BOOKMARK":
            if not any(event["type"] == "BOOKMARK" for event in ours):
                yield "no bookmark"
            continue
        wanted, name = normal(line["object"]), line["object"].get("metadata", {}).get("name", "")
        after = places.get(name, 0)  # events of one object come in order
        free = (n for n in range(after, len(ours)) if n not in taken)
        matching = next((n for n in free if _same_event(line["type"], wanted, ours[n])), None)
        if matching is None:
            nearest = [
                list(differences(wanted, normal(e["object"]))) for e in ours if e["type"] == line["type"]
            ]
            best = min(nearest, key=number_in, default=["none of its type"])
            yield f"no {line['type']} {name}: {best[:3]}"
            continue
        places[name] = matching
        taken.add(matching)
    counts = [sum(each["type"] == kind for each in ours) for kind in ("ADDED", "DELETED")]
    theirs = [sum(each["type"] == kind for each in lines) for kind in ("ADDED", "DELETED")]
    if counts != theirs and not truncated:
        yield f"ADDED and DELETED {counts} times in place of {theirs}"


def _same_event(kind: str, wanted: Any, event: dict[str, Any]) -> bool:
    return event["type"] == kind and not list(differences(wanted, normal(event["object"])))


def _at(cluster: SimulatedCluster, request: Request, version: int) -> Any:
    """What a GET answers at a version."""
    target = Target.parse(request.path)
    assert target is not None
    resource = cluster.api.resource(target.group, target.plural, target.version)
    if resource is None:
        return None
    state = cluster.store.at(resource.key, version)
    if target.name:
        obj = state.get((target.namespace, target.name))
        return scale_of(resource, obj) if obj is not None and target.subresource == "scale" else obj
    scope = Scope.read(request, resource, target.namespace)
    items = [item(state[name], resource) for name in sorted(state) if scope.holds(state[name])]
    head = {"kind": f"{resource.kind}List", "apiVersion": resource.api_version}
    return head | {"metadata": {"resourceVersion": str(version)}, "items": items}


def set_up(cluster: SimulatedCluster, given: dict[str, Any]) -> None:
    """Creates an object that was there before the recording."""
    target = f"{given['path']}?fieldManager={given.get('fieldManager') or 'kubectl'}"
    answer = cluster.api.handle(Request.of("POST", target, body=given["body"]), ADMIN)
    assert answer.status == 201, (given, answer)


def answer_of_two_budgets(exchanges: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The request that finds two budgets on a pod: the second was made just before."""
    text = "more than one PodDisruptionBudget"
    return next((each for each in exchanges if text in str(each["response"].get("body"))), None)
