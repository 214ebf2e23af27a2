"""Whether a new size fits: nodes, quotas, limit ranges, QoS class. Pure."""

import copy
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from perfopt.domain.quantity import parse_quantity
from perfopt_api.apply.cluster import Finding, WorkloadChange
from perfopt_api.apply.kubernetes.objects import Json, containers, dig, place_of, pod_spec
from perfopt_api.apply.kubernetes.views import condition

Amounts = dict[str, Decimal]
_TRACKED = ("cpu", "memory")
_ZERO = Decimal(0)


def changed_spec(obj: Json, change: WorkloadChange) -> Json:
    """The pod's spec of a workload after a change."""
    spec = copy.deepcopy(pod_spec(obj))
    for _, container in containers(spec):
        size = change.containers.get(container["name"])
        for name, value in (size.quantities() if size else {}).items():
            kind, resource = place_of(name)
            container.setdefault("resources", {}).setdefault(kind, {})[resource] = value
        for path in change.removed:
            _, name, field = path.split(".")
            if name == container["name"]:
                kind, resource = place_of(field)
                container.get("resources", {}).get(kind, {}).pop(resource, None)
    return spec


def effective(spec: Json, kind: str = "requests") -> Amounts:
    """What the scheduler counts for a pod: containers, sidecars, the largest init container, overhead."""
    total: Amounts = {}
    for container in spec.get("containers", ()):
        _add(total, _amounts(container, kind))
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in spec.get("initContainers", ()):
        amounts = _amounts(container, kind)
        if container.get("restartPolicy") == "Always":
            _add(sidecars, amounts)
            _add(total, amounts)
        else:
            for name, value in amounts.items():
                peak[name] = max(peak.get(name, _ZERO), value + sidecars.get(name, _ZERO))
    for name, value in peak.items():
        total[name] = max(total.get(name, _ZERO), value)
    _add(total, {name: parse_quantity(str(text)) for name, text in spec.get("overhead", {}).items()})
    return total


def _amounts(container: Json, kind: str) -> Amounts:
    resources = container.get("resources", {})
    given = dict(resources.get(kind, {}))
    if kind == "requests":  # a limit without a request is the request too
        given = dict(resources.get("limits", {})) | given
    return {name: parse_quantity(str(text)) for name, text in given.items()}


def _add(total: Amounts, more: Amounts) -> None:
    for name, value in more.items():
        total[name] = total.get(name, _ZERO) + value


def qos_class(spec: Json) -> str:
    """Guaranteed, Burstable or BestEffort."""
    guaranteed, anything = True, False
    for container in [*spec.get("containers", ()), *spec.get("initContainers", ())]:
        requests, limits = (_amounts(container, kind) for kind in ("requests", "limits"))
        anything = anything or any(amounts.get(name) for amounts in (requests, limits) for name in _TRACKED)
        if any(not limits.get(name) or requests.get(name) != limits.get(name) for name in _TRACKED):
            guaranteed = False
    if not anything:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def grows(before: Amounts, after: Amounts) -> tuple[str, ...]:
    """The resources of which a pod asks for more than before."""
    return tuple(name for name in _TRACKED if after.get(name, _ZERO) > before.get(name, _ZERO))


def node_findings(
    before: Json, after: Json, nodes: Sequence[Json] | None, pods: Sequence[Json], *, in_place: bool
) -> Iterator[Finding]:
    """Whether the effective request fits: any node for new pods, each pod's own node in place."""
    old, new = effective(before), effective(after)
    more = grows(old, new)
    if not more:
        return
    if nodes is None:
        yield Finding(
            code="node_capacity",
            message="The nodes could not be read, so it is not known whether the increase fits.",
            remedy="Let the service account list nodes.",
        )
        return
    yield from _pressure(nodes, pods)
    for name in more:
        largest = max((_allocatable(node, name) for node in nodes), default=_ZERO)
        if new[name] > largest:
            yield Finding(
                code="node_capacity",
                message=f"A pod would ask for {_show(new[name], name)} of {name}; the largest node has "
                f"{_show(largest, name)} allocatable.",
                remedy="Lower the size, or add a larger node.",
            )
    if in_place:
        yield from _room(old, new, more, nodes, pods)


def _pressure(nodes: Sequence[Json], pods: Sequence[Json]) -> Iterator[Finding]:
    used = {pod["spec"].get("nodeName") for pod in pods}
    for node in nodes:
        name = node["metadata"]["name"]
        pressed = condition(node.get("status", {}), "MemoryPressure").get("status") == "True"
        if name in used and pressed:
            yield Finding(
                code="node_pressure",
                message=f"Node {name} is under memory pressure.",
                remedy="Increase the size once the pressure is over.",
            )


def _room(
    old: Amounts, new: Amounts, more: Sequence[str], nodes: Sequence[Json], pods: Sequence[Json]
) -> Iterator[Finding]:
    """What is left on the nodes of the workload's pods, by the requests of all pods that were read."""
    for node in nodes:
        here = [pod for pod in pods if pod["spec"].get("nodeName") == node["metadata"]["name"]]
        for name in more if here else ():
            total = sum((effective(pod["spec"]).get(name, _ZERO) for pod in here), _ZERO)
            after = total + (new[name] - old.get(name, _ZERO))
            if after > _allocatable(node, name):
                yield Finding(
                    code="node_capacity",
                    message=f"Node {node['metadata']['name']} has no room to raise {name} of a pod in place: "
                    f"{_show(after, name)} asked for, {_show(_allocatable(node, name), name)} allocatable.",
                    remedy="Change the template instead, so that the scheduler places new pods.",
                )


def _allocatable(node: Json, name: str) -> Decimal:
    return parse_quantity(str(dig(node, ("status", "allocatable", name)) or "0"))


def _show(value: Decimal, name: str) -> str:
    return f"{float(value):g} cores" if name == "cpu" else f"{float(value) / 2**20:.0f} MiB"


def quota_findings(before: Json, after: Json, quotas: Sequence[Json], replicas: int) -> Iterator[Finding]:
    """Whether the growth of all pods fits the quotas of the namespace."""
    for quota in quotas:
        hard, used = (dig(quota, ("status", part)) or {} for part in ("hard", "used"))
        for key, text in hard.items():
            kind, _, resource = key.partition(".")
            if kind not in ("requests", "limits"):
                kind, resource = "requests", key
            growth = effective(after, kind).get(resource, _ZERO) - effective(before, kind).get(
                resource, _ZERO
            )
            total = parse_quantity(str(used.get(key, "0"))) + growth * replicas
            if growth > 0 and total > parse_quantity(str(text)):
                yield Finding(
                    code="quota_exceeded",
                    message=f"ResourceQuota {quota['metadata']['name']} allows {text} of {key}; "
                    f"{replicas} pods of the new size would use {_show(total, resource)}.",
                    remedy="Raise the quota, or lower the size.",
                )


def limit_findings(after: Json, ranges: Sequence[Json]) -> Iterator[Finding]:
    """Whether each container is within the LimitRanges of the namespace."""
    limits = [limit for each in ranges for limit in each["spec"].get("limits", ())]
    for limit in (each for each in limits if each.get("type") == "Container"):
        for _, container in containers(after):
            for text in _outside(container, limit):
                yield Finding(
                    code="limit_range",
                    message=f"Container {container['name']}: {text}.",
                    remedy="Stay within the LimitRange of the namespace, or change it.",
                )


def _outside(container: Json, limit: Json) -> Iterator[str]:
    requests, limits = (_amounts(container, kind) for kind in ("requests", "limits"))
    for name, text in limit.get("min", {}).items():
        if name in requests and requests[name] < parse_quantity(str(text)):
            yield f"the LimitRange asks for at least {text} of {name}"
    for name, text in limit.get("max", {}).items():
        given = limits.get(name, requests.get(name, _ZERO))
        if given > parse_quantity(str(text)):
            yield f"the LimitRange allows at most {text} of {name}"
    for name, text in limit.get("maxLimitRequestRatio", {}).items():
        if (
            requests.get(name)
            and name in limits
            and limits[name] / requests[name] > parse_quantity(str(text))
        ):
            yield f"the LimitRange allows a {name} limit of at most {text} times the request"


def class_findings(before: Json, after: Json, *, in_place: bool) -> Iterator[Finding]:
    """A QoS class that changes, and CPUs that a static CPU manager pins."""
    old, new = qos_class(before), qos_class(after)
    if old != new:
        yield Finding(
            code="qos_class",
            message=f"The QoS class would change from {old} to {new}.",
            blocking=in_place,
            remedy="Change the template: a pod's class cannot change in place." if in_place else None,
        )
    cpu: Any = effective(after).get("cpu", _ZERO)
    if new == "Guaranteed" and in_place and cpu and cpu == int(cpu):
        yield Finding(
            code="static_cpu",
            message=f"The pods are Guaranteed with {int(cpu)} whole CPUs: a node with the static CPU manager "
            "does not resize them in place.",
            blocking=False,
            remedy="Change the template where a resize stays Infeasible.",
        )
