"""The fields of a WorkloadState: where each is, its value, its name for users, and its text.

A field is named by its path. Values are numbers in the unit of the field (cores, bytes, replicas, percent);
Kubernetes strings exist only in printed states.

    ("container", NAME, "cpu_request_cores")     one of the four QUANTITIES of a container
    ("replicas",), ("basis",), ("keda",), ("vpa_mode",)
    ("hpa", "min_replicas")                      a setting of the HorizontalPodAutoscaler
    ("knobs", CONTAINER, KNOB)                   a runtime knob
    ("knob_settings", CONTAINER)                 how the knobs of a container are set
    ("extra", KEY)                               any other key of the state map (schedule, node_type, ...)
"""

from collections.abc import Container as Holds
from collections.abc import Mapping
from typing import Any

import msgspec

from perfopt.domain.enums import Basis
from perfopt.domain.quantity import CONTAINER_QUANTITIES, parse_cpu, parse_memory
from perfopt.domain.workload import INIT_KEY, Container, HpaState, InitRequest, WorkloadState

Path = tuple[str, ...]
Values = Mapping[Path, Any]

QUANTITIES = tuple(quantity.attribute for quantity in CONTAINER_QUANTITIES)
"""Attributes of a container, in the order in which they are printed."""
QUANTITY_OF_NAME = {quantity.name: quantity.attribute for quantity in CONTAINER_QUANTITIES}
"""Printed name ("cpu_request") to attribute ("cpu_request_cores")."""
REQUEST_LIMIT_PAIRS = (
    ("cpu_request_cores", "cpu_limit_cores"),
    ("memory_request_bytes", "memory_limit_bytes"),
)
REPLICAS: Path = ("replicas",)
BASIS: Path = ("basis",)
HPA_MIN: Path = ("hpa", "min_replicas")
HPA_MAX: Path = ("hpa", "max_replicas")
HPA_CPU: Path = ("hpa", "target_cpu_utilization_percent")
HPA_MEMORY: Path = ("hpa", "target_memory_utilization_percent")
SCHEDULE: Path = ("extra", "schedule")
KNOBS, KNOB_SETTINGS = "knobs", "knob_settings"

_BY_ATTRIBUTE = {quantity.attribute: quantity for quantity in CONTAINER_QUANTITIES}
_OWNERS = ("keda", "vpa_mode")
_PLAIN = ("replicas", "basis", *_OWNERS)
_OF_STATE = frozenset({*QUANTITY_OF_NAME, *_PLAIN, "containers", "sidecars", "hpa", INIT_KEY})


def container_path(name: str, quantity: str) -> Path:
    """Returns the path of a container's quantity, one of QUANTITIES."""
    return ("container", name, quantity)


def all_fields(state: WorkloadState) -> dict[Path, Any]:
    """Returns all that a state sets, by field; what is unset is absent."""
    values: dict[Path, Any] = {
        container_path(container.name, quantity): getattr(container, quantity)
        for container in state.containers
        for quantity in QUANTITIES
    }
    values |= {(name,): getattr(state, name) for name in _PLAIN}
    if state.hpa is not None:
        values |= {("hpa", name): value for name, value in msgspec.structs.asdict(state.hpa).items()}
    for key, value in state.extra.items():
        values |= _by_container(key, value) if key in (KNOBS, KNOB_SETTINGS) else {("extra", key): value}
    return {path: value for path, value in values.items() if value is not None and value != ()}


def _by_container(key: str, value: Any) -> dict[Path, Any]:
    """Splits {container: {knob: value}}, and {container: how}; what is shaped otherwise stays whole."""
    if not isinstance(value, dict) or not all(isinstance(own, dict) for own in value.values()):
        return {("extra", key): value}
    if key == KNOB_SETTINGS:
        return {(key, name): how for name, how in value.items()}
    return {(key, name, knob): setting for name, own in value.items() for knob, setting in own.items()}


def get(state: WorkloadState, path: Path) -> Any:
    """Returns the value of a field; None where it is unset."""
    if path[0] == "container":
        container = state.container(path[1])
        return None if container is None else getattr(container, path[2])
    if path[0] == "hpa":
        return None if state.hpa is None else getattr(state.hpa, path[1])
    if path[0] == KNOBS:
        return knobs(state).get(path[1], {}).get(path[2])
    if path[0] in ("extra", KNOB_SETTINGS):
        return all_fields(state).get(path)
    return getattr(state, path[0])


def knobs(state: WorkloadState) -> dict[str, dict[str, Any]]:
    """Returns the runtime knobs that a state sets, by container and name."""
    settings = state.extra.get(KNOBS)
    if not isinstance(settings, dict):
        return {}
    return {name: own for name, own in settings.items() if isinstance(own, dict)}


def with_fields(state: WorkloadState, values: Values) -> WorkloadState:
    """Returns a state with these fields set; None unsets one. What is not named stays as it is."""
    if not values:
        return state
    changed: dict[str, Any] = {path[0]: value for path, value in values.items() if path[0] in _PLAIN}
    heads = {path[0] for path in values}
    if "container" in heads:
        known = {container.name: container for container in state.containers}
        names = dict.fromkeys((*known, *(path[1] for path in values if path[0] == "container")))
        changed["containers"] = tuple(
            _container(known.get(name, Container(name=name)), values) for name in names
        )
    if not heads.isdisjoint(("hpa", "extra", KNOBS, KNOB_SETTINGS)):
        merged = all_fields(state) | dict(values)
        changed |= {"hpa": _hpa(merged), "extra": _extra(merged)}
    return msgspec.structs.replace(state, **changed)


def _hpa(merged: Values) -> HpaState | None:
    hpa = {path[1]: value for path, value in merged.items() if path[0] == "hpa" and value is not None}
    return HpaState(**hpa) if "max_replicas" in hpa else None


def _container(container: Container, values: Values) -> Container:
    paths = {quantity: container_path(container.name, quantity) for quantity in QUANTITIES}
    own = {quantity: values[path] for quantity, path in paths.items() if path in values}
    return msgspec.structs.replace(container, **own) if own else container


def _extra(merged: Values) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    for path, value in merged.items():
        if value is None:
            continue
        if path[0] == "extra":
            extra[path[1]] = value
        elif path[0] == KNOBS:
            extra.setdefault(KNOBS, {}).setdefault(path[1], {})[path[2]] = value
        elif path[0] == KNOB_SETTINGS:
            extra.setdefault(KNOB_SETTINGS, {})[path[1]] = value
    return extra


def only_quantities(state: WorkloadState, remaining: Holds[Path]) -> WorkloadState:
    """Returns a state in which containers have these of their quantities only."""
    dropped = {
        path: None
        for container in state.containers
        for quantity in QUANTITIES
        if (path := container_path(container.name, quantity)) not in remaining
    }
    containers = tuple(_container(container, dropped) for container in state.containers)
    return msgspec.structs.replace(state, containers=containers)


def diff(before: WorkloadState, after: WorkloadState) -> dict[Path, Any]:
    """Returns the fields whose values differ, with the values of `after`; None is one taken away."""
    return changed_values(all_fields(before), all_fields(after))


def changed_values(before: Values, after: Values) -> dict[Path, Any]:
    """Returns what `diff` returns, of states given by `all_fields`."""
    paths = dict.fromkeys((*before, *after))
    return {path: after.get(path) for path in paths if before.get(path) != after.get(path)}


def label(path: Path) -> str:
    """Returns the name of a field for users: "main.cpu_request", "hpa.min_replicas", "schedule"."""
    if path[0] == "container":
        return f"{path[1]}.{_BY_ATTRIBUTE[path[2]].name}"
    return ".".join(path[1:] if path[0] == "extra" else path)


def parse_label(text: str) -> Path:
    """Returns the path that `label` names: its inverse."""
    head, _, rest = text.partition(".")
    container, _, name = text.rpartition(".")
    if text in _PLAIN:
        return (text,)
    if head == "hpa" and rest:
        return ("hpa", rest)
    if head == KNOBS and rest:
        owner, _, knob = rest.rpartition(".")
        return (KNOBS, owner, knob)
    if head == KNOB_SETTINGS and rest:
        return (KNOB_SETTINGS, rest)
    if container and name in QUANTITY_OF_NAME:
        return container_path(container, QUANTITY_OF_NAME[name])
    return ("extra", text)


def print_value(path: Path, value: Any) -> Any:
    """Returns a value as state maps have it: quantities as Kubernetes strings, all others as they are."""
    if value is None or path[0] != "container":
        return value
    return _BY_ATTRIBUTE[path[2]].print(value)


def parse_value(path: Path, printed: Any) -> Any:
    """Returns the value that `print_value` printed.

    Raises:
        InvalidInputError: the field is a quantity and the text is none.
    """
    if printed is None or path[0] != "container":
        return printed
    return _BY_ATTRIBUTE[path[2]].parse(printed)


def parse_quantities(state: Mapping[str, Any]) -> dict[Path, Any]:
    """Returns all quantities of the containers of a state map; None where it has none.

    Raises:
        InvalidInputError: a text is no quantity.
    """
    values = {}
    for container, printed in state.get("containers", {}).items():
        for name, attribute in QUANTITY_OF_NAME.items():
            path = container_path(container, attribute)
            values[path] = parse_value(path, printed.get(name))
    return values


def parse_state(state: Mapping[str, Any]) -> WorkloadState:
    """Returns the state that `WorkloadState.to_map` printed, with quantities as Kubernetes stores them.

    Raises:
        msgspec.ValidationError, InvalidInputError: the map was not made by `WorkloadState.to_map`.
    """
    sidecars, hpa = state.get("sidecars", ()), state.get("hpa")
    names = state.get("containers", {})
    parsed = WorkloadState(
        containers=tuple(Container(name=name, sidecar=name in sidecars) for name in names),
        replicas=state.get("replicas"),
        basis=Basis(state.get("basis", Basis.DECLARED)),
        hpa=None if hpa is None else msgspec.convert(hpa, HpaState),
        vpa_mode=state.get("vpa_mode"),
        keda=state.get("keda"),
        extra={key: value for key, value in state.items() if key not in _OF_STATE},
        init=_init_of(state),
    )
    return with_fields(parsed, parse_quantities(state))


def _init_of(state: Mapping[str, Any]) -> InitRequest | None:
    printed = state.get(INIT_KEY)
    if printed is None:
        return None
    cpu, memory = printed.get("cpu_request", "0"), printed.get("memory_request", "0")
    return InitRequest(cpu_cores=parse_cpu(cpu), memory_bytes=int(parse_memory(memory)))


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


def is_knob(path: Path) -> bool:
    """Tells whether a field is a runtime knob, or how one is set."""
    return path[0] in (KNOBS, KNOB_SETTINGS)


def more_is_safer(path: Path) -> bool:
    """Tells whether a larger value of a field can only help what runs: capacity, in short."""
    return path[0] == "container" or path in (REPLICAS, HPA_MIN, HPA_MAX)
