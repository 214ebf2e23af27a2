"""What makes an object invalid, in the server's words."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from perfopt.domain.quantity import parse_quantity
from perfopt_api.simulated.kubernetes.selectors import matches
from perfopt_api.simulated.kubernetes.status import Cause, Json

_NAME = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
_NAME_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_STANDARD = ("cpu", "memory", "ephemeral-storage", "hugepages-")
_NOT_NEGATIVE = "must be greater than or equal to 0"
_IMMUTABLE = "field is immutable"
_STATEFUL_FIELDS = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)

Check = Callable[[Json, Json | None], Iterator[Cause]]


def show(value: Any) -> str:
    """A value in a message."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _wrong(field: str, value: Any, why: str, kind: str = "Invalid") -> Cause:
    return Cause(kind, field, f"Invalid value: {show(value)}: {why}")


def _required(field: str) -> Cause:
    return Cause("Required", field, "Required value")


def metadata(obj: Json) -> Iterator[Cause]:
    """Names."""
    name = obj["metadata"].get("name", "")
    if not _NAME.match(name) and not obj["kind"].endswith(("Role", "Binding")):
        yield _wrong("metadata.name", name, _NAME_RULE)


def pod_spec(spec: Json, path: str) -> Iterator[Cause]:
    """Containers and their resources."""
    if not spec.get("containers"):
        yield _required(f"{path}.containers")
    seen: set[str] = set()
    for kind in ("initContainers", "containers"):
        for n, container in enumerate(spec.get(kind, ())):
            yield from _container(container, f"{path}.{kind}[{n}]", seen)


def _container(container: Json, path: str, seen: set[str]) -> Iterator[Cause]:
    name = container.get("name", "")
    if not name:
        yield _required(f"{path}.name")
    elif name in seen:
        yield Cause("Duplicate", f"{path}.name", f"Duplicate value: {show(name)}")
    seen.add(name)
    if not container.get("image"):
        yield _required(f"{path}.image")
    yield from resources(container.get("resources", {}), f"{path}.resources")


def resources(given: Json, path: str) -> Iterator[Cause]:
    """Names, signs, and requests within limits."""
    limits = given.get("limits", {})
    for kind in ("limits", "requests"):
        for name, text in given.get(kind, {}).items():
            where = f"{path}.{kind}[{name}]"
            yield from _resource_name(name, where)
            if parse_quantity(text) < 0:
                yield _wrong(where, text, _NOT_NEGATIVE)
            limit = limits.get(name)
            if kind == "requests" and limit is not None and parse_quantity(text) > parse_quantity(limit):
                why = f"must be less than or equal to {name} limit of {limit}"
                yield _wrong(f"{path}.requests", text, why)


def _resource_name(name: str, where: str) -> Iterator[Cause]:
    if "/" not in name and not name.startswith(_STANDARD):
        yield _wrong(where, name, "must be a standard resource type or fully qualified")
        yield _wrong(where, name, "must be a standard resource for containers")


def warnings(obj: Json) -> Iterator[str]:
    """What is accepted with a `Warning` header."""
    spec, path = template_of(obj)
    for n, container in enumerate((spec or {}).get("containers", ())):
        for kind in ("limits", "requests"):
            text = container.get("resources", {}).get(kind, {}).get("memory")
            if text is not None and parse_quantity(text) % 1:
                where = f"{path}.containers[{n}].resources.{kind}[memory]"
                yield f'{where}: fractional byte value "{text}" is invalid, must be an integer'


def template_of(obj: Json) -> tuple[Json | None, str]:
    """The pod spec within an object, and its path."""
    match obj["kind"]:
        case "Pod":
            return obj.get("spec"), "spec"
        case "CronJob":
            job = obj.get("spec", {}).get("jobTemplate", {}).get("spec", {})
            return job.get("template", {}).get("spec"), "spec.jobTemplate.spec.template.spec"
        case "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "Job":
            return obj.get("spec", {}).get("template", {}).get("spec"), "spec.template.spec"
    return None, ""


def workload(obj: Json, old: Json | None) -> Iterator[Cause]:
    """Deployments, ReplicaSets, StatefulSets and DaemonSets."""
    spec = obj["spec"]
    if spec.get("replicas", 0) < 0:
        yield _wrong("spec.replicas", spec["replicas"], _NOT_NEGATIVE)
    selector = spec.get("selector")
    labels = spec.get("template", {}).get("metadata", {}).get("labels")
    if not selector:
        yield _required("spec.selector")
    if not matches(selector, labels or {}):
        yield _wrong("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    yield from pod_spec(spec.get("template", {}).get("spec", {}), "spec.template.spec")
    if old is not None and obj["kind"] != "StatefulSet" and selector != old["spec"].get("selector"):
        yield _wrong("spec.selector", selector, _IMMUTABLE)


def stateful_set(obj: Json, old: Json | None) -> Iterator[Cause]:
    """Most of its spec cannot be changed."""
    yield from workload(obj, old)
    if old is None:
        return
    fixed = [{k: v for k, v in each["spec"].items() if k not in _STATEFUL_FIELDS} for each in (obj, old)]
    if fixed[0] != fixed[1]:
        names = [f"'{name}'" for name in _STATEFUL_FIELDS]
        listed = f"{', '.join(names[:-1])} and {names[-1]}"
        why = f"Forbidden: updates to statefulset spec for fields other than {listed} are forbidden"
        yield Cause("Forbidden", "spec", why)


def pod(obj: Json, old: Json | None) -> Iterator[Cause]:
    """A new pod; what an update may change is checked where it is written."""
    yield from pod_spec(obj["spec"], "spec")


def job(obj: Json, old: Json | None) -> Iterator[Cause]:
    """A Job's template is fixed from its start on; resources may change while it is suspended."""
    yield from pod_spec(obj["spec"]["template"].get("spec", {}), "spec.template.spec")
    if old is None or obj["spec"]["template"] == old["spec"]["template"]:
        return
    suspended = old["spec"].get("suspend") and not old.get("status", {}).get("startTime")
    if not suspended or _without_resources(obj) != _without_resources(old):
        yield _wrong("spec.template", obj["spec"]["template"], _IMMUTABLE)


def _without_resources(obj: Json) -> Json:
    template = obj["spec"]["template"]
    containers = [{k: v for k, v in c.items() if k != "resources"} for c in template["spec"]["containers"]]
    return {**template, "spec": {**template["spec"], "containers": containers}}


def cron_job(obj: Json, old: Json | None) -> Iterator[Cause]:
    """Its schedule and its template."""
    schedule = obj["spec"].get("schedule", "")
    parts = schedule.split()
    if not schedule:
        yield _required("spec.schedule")
    elif len(parts) != 5 and not schedule.startswith("@"):
        message = f"expected exactly 5 fields, found {len(parts)}: [{' '.join(parts)}]"
        yield _wrong("spec.schedule", schedule, message)
    spec, path = template_of(obj)
    yield from pod_spec(spec or {}, path)


def autoscaler(obj: Json, old: Json | None) -> Iterator[Cause]:
    """Bounds of replicas."""
    spec = obj["spec"]
    low, high = spec.get("minReplicas", 1), spec.get("maxReplicas", 0)
    if low < 1:
        yield _wrong("spec.minReplicas", low, "must be greater than or equal to 1")
        if low == 0 and all(metric.get("type") not in ("Object", "External") for metric in spec["metrics"]):
            why = "must specify at least one Object or External metric to support scaling to zero replicas"
            yield Cause("Forbidden", "spec.metrics", f"Forbidden: {why}")
    if high < 1:
        yield _wrong("spec.maxReplicas", high, "must be greater than 0")
    if high < low:
        yield _wrong("spec.maxReplicas", high, "must be greater than or equal to `minReplicas`")


def lease(obj: Json, old: Json | None) -> Iterator[Cause]:
    """A duration is positive."""
    duration = obj["spec"].get("leaseDurationSeconds")
    if duration is not None and duration <= 0:
        yield _wrong("spec.leaseDurationSeconds", duration, "must be greater than 0")


def config_map(obj: Json, old: Json | None) -> Iterator[Cause]:
    """An immutable one keeps its data."""
    if old is None or not old.get("immutable"):
        return
    why = "Forbidden: field is immutable when `immutable` is set"
    for name in ("immutable", "data", "binaryData"):
        if obj.get(name) != old.get(name):
            yield Cause("Forbidden", name, why)


CHECKS: dict[str, Check] = {
    "Deployment": workload,
    "ReplicaSet": workload,
    "DaemonSet": workload,
    "StatefulSet": stateful_set,
    "Pod": pod,
    "Job": job,
    "CronJob": cron_job,
    "HorizontalPodAutoscaler": autoscaler,
    "Lease": lease,
    "ConfigMap": config_map,
}


def check(obj: Json, old: Json | None) -> list[Cause]:
    """All causes why an object is invalid."""
    causes = list(metadata(obj)) if old is None else []
    kind = CHECKS.get(obj["kind"])
    return causes + (list(kind(obj, old)) if kind else [])
