"""Replays recorded exchanges of a real Kubernetes API on the simulated one, and reports where they differ.

    python tests/support/replay_recordings.py --recordings PATH [FLOW...] [--verbose]

A recording is a JSON file of one flow: what was set up, then requests with their answers in time. Times are
the simulation's: nothing is waited for. What is compared: status, reason, texts, causes, headers, the
object's shape and values, relations of versions and generations, field ownership and watch events. Values
that differ by nature (uids, versions, times, generated names and hashes, addresses) are compared as such.
What controllers and the kubelet write comes at other moments than it did: their part of an answer agrees
where the simulation was in the same state within a few seconds. What differs for a known reason stands in
recording_differences.py; any other difference is a fault, and the exit code is 1.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recording_differences import EXPLAINED

from perfopt_api.simulated.kubernetes.access import ADMIN, ADMIN_TOKEN
from perfopt_api.simulated.kubernetes.api import Target
from perfopt_api.simulated.kubernetes.clock import ManualClock, seconds
from perfopt_api.simulated.kubernetes.cluster import ClusterOptions, SimulatedCluster
from perfopt_api.simulated.kubernetes.http import Request, Response
from perfopt_api.simulated.kubernetes.kubelet import Delays
from perfopt_api.simulated.kubernetes.subresources import scale_of
from perfopt_api.simulated.kubernetes.watching import Scope, item

SETTLE_SECONDS = 0.9
SLACK_SECONDS = 2.5
_POLL = re.compile(r"^(.*)-(\d+)$")
_VERSION = re.compile(r'("?resourceVersion"?[":= %22]*|rv=)\d+')
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_HASH = re.compile(rf"\b([a-z][a-z-]*[a-z])-([{_LETTERS}]{{8,10}}|[0-9a-f]{{8,10}})(-[{_LETTERS}]{{5}})?\b")
_SUFFIX = re.compile(rf"\b(report|waiting|agent|nightly)-[{_LETTERS}]{{5}}\b")
_CONTROLLERS = "deployment.kubernetes.io/"
_IGNORED = {
    "uid", "time", "creationTimestamp", "lastTransitionTime", "lastUpdateTime", "deletionTimestamp",
    "startedAt",
    "finishedAt", "startTime", "completionTime", "lastScaleTime", "containerID", "imageID", "podIP", "podIPs",
    "hostIP", "hostIPs", "lastProbeTime", "firstTimestamp", "lastTimestamp", "lastHeartbeatTime",
    "resourceVersion",
    "storageVersionHash", "serverAddress", "gitCommit", "goVersion", "buildDate", "eventTime",
    "reportingInstance",
    "count", "continue", "pod-template-hash", "controller-revision-hash",
    "controller.kubernetes.io/hash", "observedGeneration",
}  # fmt: skip


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
            second = kind == "poddisruptionbudgets" and exchange is _two_budgets(self.recording["exchanges"])
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
        prefix = re.sub(rf"(-[0-9a-z]{{8,10}})?-[{_LETTERS}]{{5}}$", "", found[2])
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
                _learn(theirs, ours, pairs)
        return pairs

    # -- comparison --------------------------------------------------------------------------------------

    def _compare(self, exchange: dict[str, Any], answer: Response) -> None:
        step, theirs = exchange["step"], exchange["response"]
        found = self.differences.setdefault(step, [])
        if theirs["status"] != answer.status:
            text = (answer.body or {}).get("message", answer.text)
            found.append(f"status {answer.status} in place of {theirs['status']}: {text}")
            return
        found += _headers(theirs["headers"], answer)
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
            yield from _subset(ours, theirs)
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
        return min(written or none, key=_amount) + min(reported or none, key=_amount)

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


def spec_part(value: Any) -> Any:
    """What requests write: without status, its ownership and the annotations of controllers."""
    if isinstance(value, list):
        return [spec_part(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {
        name: spec_part(part)
        for name, part in value.items()
        if name != "status" and not name.startswith(_CONTROLLERS)
    }
    if "managedFields" in kept:
        kept["managedFields"] = [
            each for each in kept["managedFields"] if each.get("subresource") != "status"
        ]
    return kept


def status_part(value: Any) -> Any:
    """What controllers write."""
    if "items" in value:
        return sorted((status_part(item) for item in value["items"]), key=json.dumps)
    metadata = value.get("metadata", {})
    own = [each for each in metadata.get("managedFields", ()) if each.get("subresource") == "status"]
    marks = {k: v for k, v in metadata.get("annotations", {}).items() if k.startswith(_CONTROLLERS)}
    return {"status": value.get("status"), "managedFields": own, "annotations": marks}


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
        matching = next((n for n in free if _same(line["type"], wanted, ours[n])), None)
        if matching is None:
            nearest = [
                list(differences(wanted, normal(e["object"]))) for e in ours if e["type"] == line["type"]
            ]
            best = min(nearest, key=_amount, default=["none of its type"])
            yield f"no {line['type']} {name}: {best[:3]}"
            continue
        places[name] = matching
        taken.add(matching)
    counts = [sum(each["type"] == kind for each in ours) for kind in ("ADDED", "DELETED")]
    theirs = [sum(each["type"] == kind for each in lines) for kind in ("ADDED", "DELETED")]
    if counts != theirs and not truncated:
        yield f"ADDED and DELETED {counts} times in place of {theirs}"


def _same(kind: str, wanted: Any, event: dict[str, Any]) -> bool:
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


def _learn(theirs: Any, ours: Any, pairs: dict[str, str]) -> None:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for name in ("uid", "resourceVersion", "name", "continue"):
            old, new = theirs.get(name), ours.get(name)
            if not isinstance(old, str) or not isinstance(new, str) or name == "resourceVersion":
                continue
            if name == "name" and ("uid" not in theirs or "uid" not in ours):
                continue  # of a part of an object, or of discovery
            if old != new and len(old) > 3:
                pairs[old] = new
        version = theirs.get("resourceVersion"), ours.get("resourceVersion")
        if all(isinstance(each, str) for each in version):
            pairs[f'"resourceVersion": "{version[0]}"'] = f'"resourceVersion": "{version[1]}"'
            pairs[f"resourceVersion={version[0]}&"] = f"resourceVersion={version[1]}&"
        for name in theirs.keys() & ours.keys():
            _learn(theirs[name], ours[name], pairs)
    elif isinstance(theirs, list) and isinstance(ours, list):
        for old, new in zip(_by_name(theirs), _by_name(ours), strict=False):
            _learn(old, new, pairs)


def _by_name(items: list[Any]) -> list[Any]:
    return sorted(items, key=lambda each: json.dumps(normal(each), sort_keys=True))


def _headers(theirs: dict[str, str], answer: Response) -> Iterator[str]:
    ours = dict(answer.headers)
    for name in ("Warning", "Retry-After", "X-Content-Type-Options"):
        if name in theirs and ours.get(name) != theirs[name]:
            yield f"header {name}: {ours.get(name)!r} in place of {theirs[name]!r}"
        if name in ours and name not in theirs:
            yield f"header {name} too many"


def normal(value: Any, key: str = "") -> Any:
    """A value without what differs by nature."""
    if isinstance(value, dict):
        return {_plain(name): normal(part, name) for name, part in value.items() if name not in _IGNORED}
    if isinstance(value, list):
        items = [normal(item, key) for item in value]
        ordered = key in (
            "causes",
            "items",
            "managedFields",
            "conditions",
            "resourceRules",
            "nonResourceRules",
        )
        return sorted(items, key=lambda each: json.dumps(each, sort_keys=True)) if ordered else items
    return _plain(value) if isinstance(value, str) else value


def _plain(text: str) -> str:
    for pattern, shown in ((_TIME, "TIME"), (_UID, "UID")):
        text = pattern.sub(shown, text)
    text = re.sub(r"\d+\.244\.\d+\.\d+", "ADDRESS", text)
    text = re.sub(r"(precondition|record) \(\d+\)", r"\1 (N)", text)
    text = re.sub(r"current: \d+", "current: N", text)
    text = re.sub(r"(too old resource version: \d+) \(\d+\)", r"\1 (N)", text)
    text = re.sub(r"(\.)[0-9a-f]{16}\b", r"\1EVENT", text)
    text = _SUFFIX.sub(r"\1-SUFFIX", text)
    text = re.sub(r'(Invalid value: )"\{.*\}"(: (?!field is))', r"\1OBJECT\2", text, flags=re.DOTALL)
    text = re.sub(r"(Invalid value: )\{.*\}(: field is immutable)", r"\1OBJECT\2", text, flags=re.DOTALL)
    text = re.sub(r"\n@@ .*", "", text, flags=re.DOTALL)
    return _HASH.sub(lambda found: f"{found[1]}-HASH" + ("-SUFFIX" if found[3] else ""), text)


def differences(theirs: Any, ours: Any, path: str = "") -> Iterator[str]:
    """Where two values differ."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for name in sorted(theirs.keys() | ours.keys()):
            inner = f"{path}.{name}"
            if name not in ours:
                yield f"{inner} missing: {_short(theirs[name])}"
            elif name not in theirs:
                yield f"{inner} too many: {_short(ours[name])}"
            else:
                yield from differences(theirs[name], ours[name], inner)
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for n, (old, new) in enumerate(zip(theirs, ours, strict=True)):
            yield from differences(old, new, f"{path}[{n}]")
    elif theirs != ours or type(theirs) is not type(ours):
        yield f"{path}: {_short(ours)} in place of {_short(theirs)}"


def _amount(found: list[str]) -> int:
    """How much differs."""
    return sum(map(len, found))


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 260 else f"{text[:130]} ... {text[-120:]}"


def _subset(ours: Any, theirs: Any) -> Iterator[str]:
    """Discovery: all that ours has is as theirs; a real server has more."""
    known = {
        each.get("name"): each for key in ("resources", "groups", "versions") for each in theirs.get(key, ())
    }
    for key in ("resources", "groups", "versions"):
        for entry in ours.get(key, ()):
            name = entry.get("name")
            if name in known and name is not None:
                wanted = {
                    k: v for k, v in known[name].items() if k in entry or k in ("shortNames", "categories")
                }
                if key == "resources":
                    yield from differences(normal(wanted), normal(entry), f".{name}")


def load(path: Path) -> dict[str, Any]:
    """Reads one recording."""
    return dict(json.loads(path.read_bytes()))


def replay(recording: dict[str, Any]) -> Flow:
    """Sets a cluster up as a recording was, and replays it."""
    start = phase(recording)
    exchanges = recording["exchanges"]
    clock = ManualClock(start - 5)
    options = ClusterOptions(
        delays=Delays(double=False, stop=0.01),
        autoscaler_seconds=5.0,
        metrics_api=False,
        compact_seconds=30.0,
        notice_seconds=0.06,
        react_seconds=0.01,
    )
    cluster = _observed(SimulatedCluster(clock, options))
    late = [given for given in recording["setup"] if _created_later(given, exchanges)]
    soon = [given for given in recording["setup"] if given not in late]
    for given in soon:
        set_up(cluster, given)
        cluster.advance(0.1)
    cluster.advance(start - clock.now())
    flow = Flow(recording, cluster, start, late=late)
    flow.run()
    return flow


def set_up(cluster: SimulatedCluster, given: dict[str, Any]) -> None:
    """Creates an object that was there before the recording."""
    target = f"{given['path']}?fieldManager={given.get('fieldManager') or 'kubectl'}"
    answer = cluster.api.handle(Request.of("POST", target, body=given["body"]), ADMIN)
    assert answer.status == 201, (given, answer)


def _created_later(given: dict[str, Any], exchanges: list[dict[str, Any]]) -> bool:
    """Whether an object of the set-up was made only after the first requests."""
    name = given["body"]["metadata"]["name"]
    place = f"{given['path']}/{name}"
    first = next((each for each in exchanges if each["request"]["path"].partition("?")[0] == place), None)
    absent = first is not None and first["response"]["status"] == 404
    second = given["body"]["kind"] == "PodDisruptionBudget" and _two_budgets(exchanges) is not None
    return absent or second or ("golden.example" in given["path"] and "definitions" not in given["path"])


def _two_budgets(exchanges: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The request that finds two budgets on a pod: the second was made just before."""
    text = "more than one PodDisruptionBudget"
    return next((each for each in exchanges if text in str(each["response"].get("body"))), None)


def phase(recording: dict[str, Any]) -> float:
    """Seconds since the epoch at which a recording began, from the times that its answers hold.

    A write at second `at` that is stamped T was made in [T, T + 1): the flow began in [T - at, T + 1 - at).
    """
    low, high = 0.0, float("inf")
    seen: dict[tuple[str, str], str] = {}
    for exchange in sorted(recording["exchanges"], key=lambda each: each["at_s"]):
        at = exchange["at_s"]
        for stamp in _stamps(exchange, seen):
            low, high = max(low, seconds(stamp) - at - 0.02), min(high, seconds(stamp) + 1 - at)
    if high == float("inf"):
        return 1_764_000_000.0
    return (low + max(low, high)) / 2


def _stamps(exchange: dict[str, Any], seen: dict[tuple[str, str], str]) -> Iterator[str]:
    """The times that a write has put into its object."""
    request, response = exchange["request"], exchange["response"]
    body = response.get("body")
    if not isinstance(body, dict) or response["status"] >= 300 or "dryRun" in request["path"]:
        return
    metadata = body.get("metadata", {})
    if request["method"] == "POST" and response["status"] == 201 and "creationTimestamp" in metadata:
        yield metadata["creationTimestamp"]
    for entry in metadata.get("managedFields", ()):
        if not entry.get("time") or entry["manager"] in ("kube-controller-manager", "kubelet"):
            continue
        writer = entry["manager"] + entry["operation"] + entry.get("subresource", "")
        key = (metadata.get("uid", ""), writer)
        wrote = (
            request["method"] in ("PATCH", "PUT") and f"fieldManager={entry['manager']}" in request["path"]
        )
        if wrote and key in seen and seen[key] != entry["time"]:
            yield entry["time"]
        seen[key] = entry["time"]


def _observed(cluster: SimulatedCluster) -> Any:
    """Notes when which version was written, and what open watches have seen."""
    cluster.moments = {0: 0.0}  # type: ignore[attr-defined]
    cluster.watched = {}  # type: ignore[attr-defined]
    cluster.store.listeners.append(
        lambda change: cluster.moments.__setitem__(change.version, cluster.clock.now())  # type: ignore[attr-defined]
    )
    streams: list[Any] = []
    handle, step = cluster.handle, cluster.step

    def watching(request: Request) -> Response:
        answer = handle(request)
        if answer.stream is not None:
            streams.append(answer.stream)
            cluster.watched[id(answer.stream)] = []  # type: ignore[attr-defined]
        return answer

    def stepping() -> None:
        step()
        for stream in [*streams]:
            cluster.watched[id(stream)].append(stream.poll(cluster.clock.now()))  # type: ignore[attr-defined]
            if stream.done(cluster.clock.now()):
                streams.remove(stream)

    cluster.handle, cluster.step = watching, stepping  # type: ignore[method-assign]
    return cluster


def main() -> int:
    """Replays flows; prints how many exchanges agree."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("flows", nargs="*", help="names of files without .json; none is all")
    parser.add_argument("--recordings", type=Path, required=True)
    parser.add_argument("--verbose", action="store_true", help="print every difference")
    chosen = parser.parse_args()
    total = agreed = explained = 0
    for path in sorted(chosen.recordings.glob("*.json")):
        if chosen.flows and path.stem not in chosen.flows:
            continue
        flow = replay(load(path))
        wrong = {step: found for step, found in flow.differences.items() if found}
        count = len(flow.recording["exchanges"])
        total, agreed = total + count, agreed + count - len(wrong)
        print(f"{path.stem:24} {count - len(wrong):4} of {count:3} agree")
        for step, found in wrong.items():
            reason = EXPLAINED.get((path.stem, step))
            explained += reason is not None
            print(f"    {step}: {reason}" if reason else f"    {step}: NOT EXPLAINED")
            print(f"        {found[0][:300]}" + (f" (and {len(found) - 1} more)" if len(found) > 1 else ""))
            if chosen.verbose:
                print("".join(f"        {text}\n" for text in found[1:12]), end="")
    rest = total - agreed - explained
    print(f"{agreed} of {total} exchanges agree; {explained} differ for a known reason, {rest} for none")
    return 0 if rest == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
