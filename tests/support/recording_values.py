"""Compares what a real Kubernetes API answered with what the simulated one does, value by value."""

import json
import re
from collections.abc import Iterator
from typing import Any

from perfopt_api.simulated.kubernetes.http import Response

_VERSION = re.compile(r'("?resourceVersion"?[":= %22]*|rv=)\d+')
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_HASH = re.compile(
    rf"\b([a-z][a-z-]*[a-z])-([{NAME_LETTERS}]{{8,10}}|[0-9a-f]{{8,10}})(-[{NAME_LETTERS}]{{5}})?\b"
)
_SUFFIX = re.compile(rf"\b(report|waiting|agent|nightly)-[{NAME_LETTERS}]{{5}}\b")
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


def learn(theirs: Any, ours: Any, pairs: dict[str, str]) -> None:
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
            learn(theirs[name], ours[name], pairs)
    elif isinstance(theirs, list) and isinstance(ours, list):
        for old, new in zip(_by_name(theirs), _by_name(ours), strict=False):
            learn(old, new, pairs)


def _by_name(items: list[Any]) -> list[Any]:
    return sorted(items, key=lambda each: json.dumps(normal(each), sort_keys=True))


def header_differences(theirs: dict[str, str], answer: Response) -> Iterator[str]:
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


def number_in(found: list[str]) -> int:
    """How much differs."""
    return sum(map(len, found))


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 260 else f"{text[:130]} ... {text[-120:]}"


def missing_in(ours: Any, theirs: Any) -> Iterator[str]:
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
