"""A workload's state as a flat map of fields, so that what strategies want can be compared field by field."""

from collections.abc import Mapping
from typing import Any

import msgspec

from perfopt.domain.quantity import format_cpu, format_memory
from perfopt.domain.workload import Container, HpaState, WorkloadState

Path = tuple[str, ...]
Values = Mapping[Path, Any]

QUANTITIES = ("cpu_request_cores", "memory_request_bytes", "cpu_limit_cores", "memory_limit_bytes")
REPLICAS: Path = ("replicas",)
HPA_CPU: Path = ("hpa", "target_cpu_utilization_percent")
HPA_MEMORY: Path = ("hpa", "target_memory_utilization_percent")
HPA_MIN: Path = ("hpa", "min_replicas")
HPA_MAX: Path = ("hpa", "max_replicas")
KNOBS = ("knobs", "knob_settings")
"""State keys that are kept by container: the knobs, and how to set them."""
SCHEDULE: Path = ("extra", "schedule")
BASIS: Path = ("basis",)
_OWNERS = ("keda", "vpa_mode")
_SHOWN = {
    "cpu_request_cores": "cpu_request",
    "memory_request_bytes": "memory_request",
    "cpu_limit_cores": "cpu_limit",
    "memory_limit_bytes": "memory_limit",
}


def container_path(name: str, quantity: str) -> Path:
    """Returns where a container's quantity is."""
    return ("container", name, quantity)


def flatten(state: WorkloadState) -> dict[Path, Any]:
    """Returns all that a state sets by field; what is unset is absent."""
    values: dict[Path, Any] = {
        container_path(container.name, quantity): getattr(container, quantity)
        for container in state.containers
        for quantity in QUANTITIES
    }
    values |= {REPLICAS: state.replicas, BASIS: state.basis}
    values |= {(name,): getattr(state, name) for name in _OWNERS}
    if state.hpa is not None:
        values |= {("hpa", name): value for name, value in msgspec.structs.asdict(state.hpa).items()}
    for key, value in state.extra.items():
        values |= _by_container(key, value) if key in KNOBS else {("extra", key): value}
    return {path: value for path, value in values.items() if value is not None and value != ()}


def _by_container(key: str, value: Any) -> dict[Path, Any]:
    """Splits {container: {knob: value}}, and {container: how}; what is shaped otherwise stays whole."""
    if not isinstance(value, dict) or not all(isinstance(own, dict) for own in value.values()):
        return {("extra", key): value}
    if key == "knob_settings":
        return {(key, name): how for name, how in value.items()}
    return {(key, name, knob): setting for name, own in value.items() for knob, setting in own.items()}


def differences(current: WorkloadState, target: WorkloadState) -> dict[Path, Any]:
    """Returns the fields in which a target differs from the current state; None is a value taken away."""
    before, after = flatten(current), flatten(target)
    paths = dict.fromkeys((*before, *after))
    return {path: after.get(path) for path in paths if before.get(path) != after.get(path)}


def with_values(state: WorkloadState, values: Values) -> WorkloadState:
    """Returns a state with these fields set; None takes a value away."""
    if not values:
        return state
    merged = flatten(state) | dict(values)
    known = {container.name: container for container in state.containers}
    names = dict.fromkeys((*known, *(path[1] for path in merged if path[0] == "container")))
    containers = tuple(_container(known.get(name, Container(name=name)), merged) for name in names)
    hpa = {path[1]: value for path, value in merged.items() if path[0] == "hpa" and value is not None}
    return msgspec.structs.replace(
        state,
        containers=containers,
        replicas=merged.get(REPLICAS),
        basis=merged[BASIS],
        hpa=HpaState(**hpa) if "max_replicas" in hpa else None,
        keda=merged.get(("keda",)),
        vpa_mode=merged.get(("vpa_mode",)),
        extra=_extra(merged),
    )


def _container(container: Container, merged: Values) -> Container:
    own = {quantity: merged.get(container_path(container.name, quantity)) for quantity in QUANTITIES}
    return msgspec.structs.replace(container, **own)


def _extra(merged: Values) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    for path, value in merged.items():
        if value is None:
            continue
        if path[0] == "extra":
            extra[path[1]] = value
        elif path[0] == "knobs":
            extra.setdefault("knobs", {}).setdefault(path[1], {})[path[2]] = value
        elif path[0] == "knob_settings":
            extra.setdefault("knob_settings", {})[path[1]] = value
    return extra


def label(path: Path) -> str:
    """Returns the name of a field as users read it: "main.cpu_request", "hpa.min_replicas", "schedule"."""
    if path[0] == "container":
        return f"{path[1]}.{_SHOWN[path[2]]}"
    return ".".join(path[1:] if path[0] == "extra" else path)


def shown(path: Path, value: Any) -> Any:
    """Returns a value as state maps print it."""
    if value is None or path[0] != "container":
        return value
    return format_cpu(value) if "cpu" in path[2] else format_memory(value)


def is_quantity(path: Path) -> bool:
    """Tells whether a field is a container's request or limit."""
    return path[0] == "container"


def is_memory(path: Path) -> bool:
    """Tells whether a field is a container's memory."""
    return path[0] == "container" and path[2].startswith("memory")


def is_cpu(path: Path) -> bool:
    """Tells whether a field is a container's CPU."""
    return path[0] == "container" and not is_memory(path)


def is_cpu_request(path: Path) -> bool:
    """Tells whether a field is a container's CPU request."""
    return path[0] == "container" and path[2] == "cpu_request_cores"


def more_is_safer(path: Path) -> bool:
    """Tells whether a larger value of a field can only help what runs: capacity, in short."""
    return path[0] == "container" or path in (REPLICAS, HPA_MIN, HPA_MAX)
