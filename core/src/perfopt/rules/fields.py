"""The fields that clamps and rounds change, by the names that packs have for them.

cpu_request, memory_request, cpu_limit, memory_limit       of a container
knobs.KNOB                                                 of a container
replicas, hpa.FIELD, schedule.min_replicas                 of a workload
knobs.CONTAINER.KNOB                                       of a workload
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from perfopt.config.documents import suggestion
from perfopt.domain.quantity import format_cpu, format_memory
from perfopt.domain.workload import Container, HpaState, WorkloadState
from perfopt.rules.errors import RulePackError
from perfopt.rules.pack import CONTAINER_FIELDS
from perfopt.rules.units import BYTES, CORES, FIELD_UNITS, NUMBER

SCHEDULE = "schedule.min_replicas"
HPA_FIELDS = {
    "hpa.min_replicas": "min_replicas",
    "hpa.max_replicas": "max_replicas",
    "hpa.target_cpu_utilization_percent": "target_cpu_utilization_percent",
    "hpa.target_memory_utilization_percent": "target_memory_utilization_percent",
}
WORKLOAD_FIELDS = ("replicas", *HPA_FIELDS, SCHEDULE)
_ALIASES = {"hpa_min_replicas": "hpa.min_replicas", "hpa_max_replicas": "hpa.max_replicas"}
_KNOBS = "knobs"
_KNOB = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_IN_FIELDS = {"cpu_limit": "cpu_limit"}  # knobs that are set by a field of the container


def canonical(field: str, scope: str) -> str:
    """Returns the name that a field goes by.

    Args:
        field: as a pack has it.
        scope: of the rule, "workload" or "containers".

    Raises:
        RulePackError: there is no such field in rules of that scope.
    """
    name = _ALIASES.get(field, field)
    if name.partition(".")[0] == _KNOBS:
        return _checked_knob(name, scope)
    known = tuple(CONTAINER_FIELDS) if scope == "containers" else WORKLOAD_FIELDS
    if name in known:
        return name
    if name in FIELD_UNITS:
        where = "`for: containers`" if name in CONTAINER_FIELDS else "a rule for the workload"
        raise _unknown(field, f"It stands in {where}.")
    form = "knobs.KNOB" if scope == "containers" else "knobs.CONTAINER.KNOB"
    raise _unknown(field, suggestion(field, (*known, form)))


def _checked_knob(name: str, scope: str) -> str:
    _, *rest = name.split(".")
    form = "knobs.KNOB" if scope == "containers" else "knobs.CONTAINER.KNOB"
    if len(rest) != form.count(".") or not all(rest):
        where = "`for: containers`" if scope == "containers" else "a rule for the workload"
        raise _unknown(name, f"Write {form} in {where}.")
    if rest[-1] in _IN_FIELDS:
        raise _unknown(name, f"Write {_IN_FIELDS[rest[-1]]} in a rule `for: containers`.")
    if not _KNOB.fullmatch(rest[-1]):
        raise _unknown(name, "A knob has letters, digits and _, such as gomaxprocs.")
    return name


def _unknown(field: str, remedy: str) -> RulePackError:
    return RulePackError(f"There is no field {field!r} here.", remedy=remedy)


def unit(field: str) -> str:
    """Returns the unit of a field by its canonical name; knobs are numbers in units of their own."""
    return NUMBER if field.startswith(f"{_KNOBS}.") else FIELD_UNITS[field]


def is_knob(field: str) -> bool:
    """Tells whether a field is a knob."""
    return field.startswith(f"{_KNOBS}.")


def shown(field: str, value: Any) -> str | int | float | None:
    """Prints a field's value as the state map has it."""
    if value is None:
        return None
    kind = unit(field)
    if kind == NUMBER:
        found: str | int | float = value
        return found
    if field == SCHEDULE:
        return _span(value)
    return format_cpu(value) if kind == CORES else format_memory(value) if kind == BYTES else int(value)


def _span(counts: tuple[int, ...]) -> str:
    low, high = min(counts), max(counts)
    return f"{low}" if low == high else f"{low} to {high}"


def numbers(state: WorkloadState, field: str) -> tuple[float, ...]:
    """Returns the numbers that a workload's field has: one for each span of a schedule; none where unset."""
    if field == "replicas":
        return () if state.replicas is None else (state.replicas,)
    if field in HPA_FIELDS:
        value = None if state.hpa is None else getattr(state.hpa, HPA_FIELDS[field])
        return () if value is None else (value,)
    if field == SCHEDULE:
        return _scheduled(state)
    knob = _knob(state, field)
    return () if isinstance(knob, str | bool) or knob is None else (knob,)


def with_numbers(state: WorkloadState, moved: Mapping[str, tuple[float, ...]]) -> WorkloadState:
    """Returns a state with other numbers in fields that have some; an autoscaler's bounds stay in order."""
    for field, values in moved.items():
        if field == "replicas":
            state = msgspec.structs.replace(state, replicas=int(values[0]))
        elif field in HPA_FIELDS:
            state = _with_hpa(state, HPA_FIELDS[field], int(values[0]))
        elif field == SCHEDULE:
            pairs = zip(state.extra["schedule"], values, strict=True)
            entries = [entry | {"min_replicas": int(count)} for entry, count in pairs]
            state = msgspec.structs.replace(state, extra=state.extra | {"schedule": entries})
        else:
            state = _with_knob(state, field, values[0])
    return state


def _scheduled(state: WorkloadState) -> tuple[float, ...]:
    entries = state.extra.get("schedule")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return ()
    counts = [entry.get("min_replicas") for entry in entries]
    return tuple(counts) if all(isinstance(count, int) for count in counts) else ()


def _with_hpa(state: WorkloadState, name: str, value: int) -> WorkloadState:
    hpa = state.hpa
    assert hpa is not None
    changed: HpaState = msgspec.structs.replace(hpa, **{name: value})
    if changed.min_replicas > changed.max_replicas:
        changed = msgspec.structs.replace(changed, min_replicas=value, max_replicas=value)
    return msgspec.structs.replace(state, hpa=changed)


def knobs(state: WorkloadState) -> dict[str, dict[str, Any]]:
    """Returns the knobs that a state sets, by container and name."""
    found = state.extra.get(_KNOBS)
    if not isinstance(found, dict):
        return {}
    return {name: own for name, own in found.items() if isinstance(own, dict)}


def _knob(state: WorkloadState, field: str) -> Any:
    _, container, name = field.split(".")
    return knobs(state).get(container, {}).get(name)


def _with_knob(state: WorkloadState, field: str, value: float) -> WorkloadState:
    _, container, name = field.split(".")
    own = knobs(state)
    own[container] = own[container] | {name: value}
    return msgspec.structs.replace(state, extra=state.extra | {_KNOBS: own})


def differences(before: WorkloadState, after: WorkloadState) -> Iterator[tuple[str | None, str, Any, Any]]:
    """Yields (container, field, old, new) of what differs among the fields that rules change."""
    for old, new in zip(before.containers, after.containers, strict=True):
        if old is not new:
            yield from _of_container(old, new)
    for field in WORKLOAD_FIELDS:
        was, becomes = numbers(before, field), numbers(after, field)
        if was != becomes:
            yield None, field, _value(field, was), _value(field, becomes)
    earlier = knobs(before)
    for container, own in knobs(after).items():
        for name, value in own.items():
            setting = earlier.get(container, {}).get(name)
            if setting != value:
                yield container, f"{_KNOBS}.{name}", setting, value


def _value(field: str, values: tuple[float, ...]) -> Any:
    return (values or None) if field == SCHEDULE else next(iter(values), None)


def _of_container(old: Container, new: Container) -> Iterator[tuple[str, str, Any, Any]]:
    for name, attribute in CONTAINER_FIELDS.items():
        was, becomes = getattr(old, attribute), getattr(new, attribute)
        if was != becomes:
            yield old.name, name, was, becomes
