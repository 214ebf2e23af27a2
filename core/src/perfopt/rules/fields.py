"""The names that packs have for the fields that clamps and rounds change, and the paths they stand for.

cpu_request, memory_request, cpu_limit, memory_limit       of a container
knobs.KNOB                                                 of a container
replicas, hpa.FIELD, schedule.min_replicas                 of a workload
knobs.CONTAINER.KNOB                                       of a workload
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from perfopt.config.paths import suggestion
from perfopt.domain import fields
from perfopt.domain.fields import KNOBS, QUANTITY_OF_NAME, Path
from perfopt.domain.workload import WorkloadState
from perfopt.rules.errors import RulePackError
from perfopt.rules.units import FIELD_UNITS, NUMBER

SCHEDULE = "schedule.min_replicas"
HPA_FIELDS = tuple(name.partition(".")[2] for name in FIELD_UNITS if name.startswith("hpa."))
WORKLOAD_FIELDS = ("replicas", *(f"hpa.{name}" for name in HPA_FIELDS), SCHEDULE)
_ALIASES = {"hpa_min_replicas": "hpa.min_replicas", "hpa_max_replicas": "hpa.max_replicas"}
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
    if name.partition(".")[0] == KNOBS:
        return _checked_knob(name, scope)
    known = tuple(QUANTITY_OF_NAME) if scope == "containers" else WORKLOAD_FIELDS
    if name in known:
        return name
    if name in FIELD_UNITS:
        where = "`for: containers`" if name in QUANTITY_OF_NAME else "a rule for the workload"
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
    return NUMBER if is_knob(field) else FIELD_UNITS[field]


def is_knob(field: str) -> bool:
    """Tells whether a field is a knob."""
    return field.startswith(f"{KNOBS}.")


def numbers(state: WorkloadState, field: str) -> tuple[float, ...]:
    """Returns the numbers that a workload's field has: one for each span of a schedule; none where unset."""
    if field == SCHEDULE:
        return _scheduled(fields.get(state, fields.SCHEDULE))
    value = fields.get(state, fields.parse_label(field))
    return () if value is None or isinstance(value, str | bool) else (value,)


def _scheduled(entries: Any) -> tuple[float, ...]:
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return ()
    counts = [entry.get("min_replicas") for entry in entries]
    return tuple(counts) if all(isinstance(count, int) for count in counts) else ()


def with_numbers(state: WorkloadState, moved: Mapping[str, tuple[float, ...]]) -> WorkloadState:
    """Returns a state with other numbers in fields that have some; an autoscaler's bounds stay in order."""
    for field, values in moved.items():
        path = fields.parse_label(field)
        if field == SCHEDULE:
            pairs = zip(fields.get(state, fields.SCHEDULE), values, strict=True)
            entries = [entry | {"min_replicas": int(count)} for entry, count in pairs]
            state = fields.with_fields(state, {fields.SCHEDULE: entries})
        elif is_knob(field):
            state = fields.with_fields(state, {path: values[0]})
        else:
            state = _bounds_in_order(fields.with_fields(state, {path: int(values[0])}), int(values[0]))
    return state


def _bounds_in_order(state: WorkloadState, bound: int) -> WorkloadState:
    """Moves both bounds of an autoscaler to the one just set where they crossed."""
    hpa = state.hpa
    if hpa is None or hpa.min_replicas <= hpa.max_replicas:
        return state
    return fields.with_fields(state, {fields.HPA_MIN: bound, fields.HPA_MAX: bound})


class FieldChange(msgspec.Struct, frozen=True):
    """A field that rules changed.

    Attributes:
        container: whose field it is; None is the workload's.
        field: by its canonical name.
        before, after: printed as the state map has them; None is unset.
    """

    container: str | None
    field: str
    before: Any
    after: Any


def changes(before: WorkloadState, after: WorkloadState) -> Iterator[FieldChange]:
    """Yields what differs among the fields that rules change."""
    old = fields.all_fields(before)
    for path, value in fields.diff(before, after).items():
        if path == fields.SCHEDULE:
            yield FieldChange(None, SCHEDULE, _span(old.get(path)), _span(value))
            continue
        container, name = _name(path)
        if name in FIELD_UNITS or is_knob(name):
            shown = (fields.print_value(path, one) for one in (old.get(path), value))
            yield FieldChange(container, name, *shown)


def _name(path: Path) -> tuple[str | None, str]:
    if path[0] == "container":
        return path[1], fields.label(path).rpartition(".")[2]
    return (path[1], f"{KNOBS}.{path[2]}") if path[0] == KNOBS else (None, fields.label(path))


def _span(entries: Any) -> str | None:
    counts = _scheduled(entries)
    if not counts:
        return None
    low, high = min(counts), max(counts)
    return f"{low}" if low == high else f"{low} to {high}"
