"""What the server decides about pods: LimitRange, ResourceQuota, node capacity, resizes."""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

from perfopt.domain.quantity import canonical_quantity, parse_quantity
from perfopt_api.simulated.kubernetes import kinds
from perfopt_api.simulated.kubernetes.status import Cause, Json, StatusError, forbidden
from perfopt_api.simulated.kubernetes.storage import Store

_TRACKED = ("cpu", "memory")
_FINISHED = ("Succeeded", "Failed")


def effective(spec: Json, kind: str = "requests") -> dict[str, Decimal]:
    """What the scheduler and quotas count for a pod: containers, sidecars, init containers, overhead."""
    total: dict[str, Decimal] = {}
    for container in spec.get("containers", ()):
        _add(total, _amounts(container, kind))
    sidecars: dict[str, Decimal] = {}
    peak: dict[str, Decimal] = {}
    for container in spec.get("initContainers", ()):
        amounts = _amounts(container, kind)
        if container.get("restartPolicy") == "Always":
            _add(sidecars, amounts)
            _add(total, amounts)
            _raise(peak, sidecars)
        else:
            _raise(peak, {name: sidecars.get(name, Decimal(0)) + value for name, value in amounts.items()})
    _raise(total, peak)
    pod_level = spec.get("resources", {}).get(kind, {})
    total.update({name: parse_quantity(text) for name, text in pod_level.items()})
    _add(total, {name: parse_quantity(text) for name, text in spec.get("overhead", {}).items()})
    return total


def _amounts(container: Json, kind: str) -> dict[str, Decimal]:
    given = container.get("resources", {}).get(kind, {})
    return {name: parse_quantity(text) for name, text in given.items()}


def _add(total: dict[str, Decimal], more: dict[str, Decimal]) -> None:
    for name, value in more.items():
        total[name] = total.get(name, Decimal(0)) + value


def _raise(total: dict[str, Decimal], floor: dict[str, Decimal]) -> None:
    for name, value in floor.items():
        total[name] = max(total.get(name, Decimal(0)), value)


def qos_class(spec: Json) -> str:
    """Guaranteed, Burstable or BestEffort."""
    holders: list[Json] = [*spec.get("containers", ()), *spec.get("initContainers", ())]
    if spec.get("resources"):
        holders = [spec]
    resources = [holder.get("resources", {}) for holder in holders]
    if not any(_tracked(part.get(kind)) for part in resources for kind in ("requests", "limits")):
        return "BestEffort"
    guaranteed = all(
        len(_tracked(part.get("limits"))) == len(_TRACKED)
        and _tracked(part.get("limits")) == (_tracked(part.get("requests")) or _tracked(part.get("limits")))
        for part in resources
    )
    return "Guaranteed" if guaranteed else "Burstable"


def _tracked(quantities: Json | None) -> dict[str, Decimal]:
    given = {name: parse_quantity(text) for name, text in (quantities or {}).items() if name in _TRACKED}
    return {name: value for name, value in given.items() if value}


def fill_limits(store: Store, pod: Json) -> None:
    """Writes the defaults of LimitRanges into a new pod, and says so in an annotation."""
    messages: list[str] = []
    for limit in _limits(store, pod["metadata"].get("namespace", "")):
        for container in pod["spec"].get("containers", ()):
            messages += _fill(container, limit)
    if messages:
        annotations = pod["metadata"].setdefault("annotations", {})
        annotations["kubernetes.io/limit-ranger"] = "LimitRanger plugin set: " + "; ".join(messages)


def _fill(container: Json, limit: Json) -> Iterator[str]:
    resources = container.setdefault("resources", {})
    for kind, source, word in (("requests", "defaultRequest", "request"), ("limits", "default", "limit")):
        missing = {k: v for k, v in limit.get(source, {}).items() if k not in resources.get(kind, {})}
        if missing:
            resources[kind] = resources.get(kind, {}) | missing
            yield f"{', '.join(sorted(missing))} {word} for container {container['name']}"


def _limits(store: Store, namespace: str) -> Iterator[Json]:
    for limit_range in store.all(kinds.LIMIT_RANGE.key, namespace):
        for limit in limit_range["spec"].get("limits", ()):
            if limit.get("type") == "Container":
                yield limit


def check_limits(store: Store, pod: Json) -> None:
    """Holds a pod to the LimitRanges of its namespace.

    Raises:
        StatusError: 403.
    """
    metadata = pod["metadata"]
    wrongs = [
        wrong
        for limit in _limits(store, metadata.get("namespace", ""))
        for container in pod["spec"].get("containers", ())
        for wrong in _outside(container.get("resources", {}), limit)
    ]
    if wrongs:
        why = wrongs[0] if len(wrongs) == 1 else f"[{', '.join(wrongs)}]"
        raise forbidden("pods", "", metadata["name"], why)


def _outside(resources: Json, limit: Json) -> Iterator[str]:
    requests, limits = resources.get("requests", {}), resources.get("limits", {})
    for name, least in sorted(limit.get("min", {}).items()):
        given = requests.get(name)
        if given is None:
            yield f"minimum {name} usage per Container is {least}.  No request is specified"
        elif parse_quantity(given) < parse_quantity(least):
            yield f"minimum {name} usage per Container is {least}, but request is {given}"
    for name, most in sorted(limit.get("max", {}).items()):
        given = limits.get(name)
        if given is None:
            yield f"maximum {name} usage per Container is {most}.  No limit is specified"
        elif parse_quantity(given) > parse_quantity(most):
            yield f"maximum {name} usage per Container is {most}, but limit is {given}"
    for name, most in sorted(limit.get("maxLimitRequestRatio", {}).items()):
        if name in requests and name in limits and parse_quantity(requests[name]):
            ratio = parse_quantity(limits[name]) / parse_quantity(requests[name])
            if ratio > parse_quantity(most):
                yield (
                    f"{name} max limit to request ratio per Container is {most}, "
                    f"but provided ratio is {ratio:.6f}"
                )


def quota_usage(pod: Json) -> dict[str, Decimal]:
    """What a pod counts in a ResourceQuota."""
    used = {"pods": Decimal(1), "count/pods": Decimal(1)}
    for kind in ("requests", "limits"):
        for name, value in effective(pod["spec"], kind).items():
            used[f"{kind}.{name}"] = value
            if kind == "requests":
                used[name] = value
    return used


def used(store: Store, namespace: str, *, but: str = "") -> dict[str, Decimal]:
    """What the pods of a namespace count together."""
    total: dict[str, Decimal] = {}
    for pod in store.all(kinds.POD.key, namespace):
        if pod["metadata"]["name"] != but and pod.get("status", {}).get("phase") not in _FINISHED:
            _add(total, quota_usage(pod))
    return total


def check_quota(store: Store, pod: Json, old: Json | None = None) -> None:
    """Holds a pod, or the growth of one, to the quotas of its namespace.

    Raises:
        StatusError: 403.
    """
    metadata = pod["metadata"]
    namespace, name = metadata.get("namespace", ""), metadata["name"]
    before = used(store, namespace)
    requested = quota_usage(pod)
    growth = {
        key: value - (quota_usage(old).get(key, Decimal(0)) if old else 0) for key, value in requested.items()
    }
    for quota in store.all(kinds.RESOURCE_QUOTA.key, namespace):
        hard = {key: parse_quantity(text) for key, text in quota["spec"].get("hard", {}).items()}
        _check_named(pod, quota, hard, name)
        over = [key for key in sorted(hard) if growth.get(key, Decimal(0)) > 0]
        over = [key for key in over if before.get(key, Decimal(0)) + growth[key] > hard[key]]
        if over:
            texts = [_listed(over, amounts) for amounts in (growth, before, hard)]
            sums = f"requested: {texts[0]}, used: {texts[1]}, limited: {texts[2]}"
            raise forbidden("pods", "", name, f"exceeded quota: {quota['metadata']['name']}, {sums}")


def _check_named(pod: Json, quota: Json, hard: dict[str, Decimal], name: str) -> None:
    """A quota of requests or limits wants every container to say them."""
    missing = []
    for key in sorted(hard):
        kind, _, resource = key.partition(".")
        if kind not in ("requests", "limits"):
            continue
        silent = [
            container["name"]
            for container in pod["spec"].get("containers", ())
            if resource not in container.get("resources", {}).get(kind, {})
        ]
        if silent:
            missing.append(f"{key} for: {','.join(silent)}")
    if missing:
        why = f"failed quota: {quota['metadata']['name']}: must specify {'; '.join(missing)}"
        raise forbidden("pods", "", name, why)


def _listed(names: Iterable[str], amounts: dict[str, Decimal]) -> str:
    return ",".join(f"{name}={show_amount(name, amounts.get(name, Decimal(0)))}" for name in names)


def show_amount(name: str, value: Decimal) -> str:
    """A quota's amount as the server prints it."""
    if "memory" in name or "storage" in name:
        whole = int(value)
        for power, suffix in ((4, "Ti"), (3, "Gi"), (2, "Mi"), (1, "Ki")):
            if whole and whole % 1024**power == 0:
                return f"{whole // 1024**power}{suffix}"
        return str(whole)
    return canonical_quantity(f"{int(value * 1000)}m")


def resize(store: Store, pod: Json, old: Json) -> list[Cause]:
    """What a resize may not do.

    Returns:
        The causes of a 422.

    Raises:
        StatusError: 403 for what the node cannot hold or does not know how to do.
    """
    causes = list(_resize_causes(pod, old))
    if causes:
        return causes
    node = store.get(kinds.NODE.key, "", old["spec"].get("nodeName", ""))
    if node is not None:
        _check_features(node, pod, old)
        _check_capacity(node, pod)
    return []


def _resize_causes(pod: Json, old: Json) -> Iterator[Cause]:
    names = [c.get("name") for c in pod["spec"].get("containers", ())]
    before = {c["name"]: c for c in old["spec"].get("containers", ())}
    if len(names) == len(before):
        for kind in ("limits", "requests"):
            for n, container in enumerate(pod["spec"]["containers"]):
                was = before.get(container.get("name"), {}).get("resources", {}).get(kind, {})
                now = container.get("resources", {}).get(kind, {})
                if set(was) & set(_TRACKED) - set(now):
                    where = f"spec.containers[{n}].resources.{kind}"
                    yield Cause("Forbidden", where, f"Forbidden: resource {kind} cannot be removed")
    if set(names) != set(before):
        why = "Forbidden: containers may not be added or removed on resize"
        yield Cause("Forbidden", "spec.containers", why)
        return
    if qos_class(pod["spec"]) != qos_class(old["spec"]):
        why = (
            f'Invalid value: "{qos_class(old["spec"])}": Pod QOS Class may not change as a result of resizing'
        )
        yield Cause("Invalid", "spec", why)
    statuses = old.get("status", {}).get("containerStatuses", ())
    if statuses and any("resources" not in status for status in statuses):
        yield Cause("Forbidden", "spec", "Forbidden: Pod running on node without support for resize")
    if _others(pod) != _others(old):
        yield Cause("Forbidden", "spec", "Forbidden: only cpu and memory resources are mutable")


def _others(pod: Json) -> list[Any]:
    """Resources of containers other than CPU and memory."""
    return [
        {k: v for k, v in container.get("resources", {}).get(kind, {}).items() if k not in _TRACKED}
        for container in pod["spec"].get("containers", ())
        for kind in ("requests", "limits")
    ]


def _check_features(node: Json, pod: Json, old: Json) -> None:
    declared = node.get("status", {}).get("declaredFeatures", ())
    required = []
    if _plain_init(pod) != _plain_init(old):
        required.append("InPlacePodVerticalScalingInitContainers")
    if pod["spec"].get("resources") != old["spec"].get("resources"):
        required.append("InPlacePodLevelResourcesVerticalScaling")
    missing = [name for name in required if name not in declared]
    if missing:
        why = (
            f"pod update requires features {', '.join(missing)} which are not available "
            f'on node "{node["metadata"]["name"]}"'
        )
        raise forbidden("pods", "", pod["metadata"]["name"], why)


def _plain_init(pod: Json) -> list[Any]:
    return [
        container.get("resources")
        for container in pod["spec"].get("initContainers", ())
        if container.get("restartPolicy") != "Always"
    ]


def _check_capacity(node: Json, pod: Json) -> None:
    requested = effective(pod["spec"])
    for name, unit in (("cpu", 1000), ("memory", 1)):
        have = parse_quantity(node["status"]["allocatable"].get(name, "0"))
        if requested.get(name, Decimal(0)) > have:
            why = (
                f"node didn't have enough allocatable resources: {name}, "
                f"requested: {int(requested[name] * unit)}, allocatable: {int(have * unit)}"
            )
            error: StatusError = forbidden(
                "pods", "", pod["metadata"]["name"], why, [{"reason": "NodeCapacity"}]
            )
            raise error


def shape_causes(pod: Json, old: Json) -> list[Cause]:
    """Causes of a resize beside those of containers that are not valid at all."""
    names = {container.get("name") for container in pod["spec"].get("containers", ())}
    if names == {container["name"] for container in old["spec"]["containers"]} and len(names) == len(
        pod["spec"]["containers"]
    ):
        return []
    why = "Forbidden: containers may not be added or removed on resize"
    return [Cause("Forbidden", "spec.containers", why)]


_POD_UPDATE = (
    "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to "
    "existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
    "previously negative)"
)


def pod_update_causes(pod: Json, old: Json) -> list[Cause]:
    """What may not be changed through the pod itself."""
    loose = ("activeDeadlineSeconds", "tolerations", "schedulingGates")

    def fixed(spec: Json) -> Json:
        rest = {name: part for name, part in spec.items() if name not in loose}
        for kind in ("containers", "initContainers"):
            rest[kind] = [{k: v for k, v in c.items() if k != "image"} for c in spec.get(kind, ())]
        return rest

    return [] if fixed(pod["spec"]) == fixed(old["spec"]) else [Cause("Forbidden", "spec", _POD_UPDATE)]
