"""Clamps and rounds of one container or of the workload's fields. Pure arithmetic on states."""

import math
from collections.abc import Callable
from typing import Any

import msgspec

from perfopt.domain.fields import QUANTITY_OF_NAME, REQUEST_LIMIT_PAIRS
from perfopt.domain.workload import Container, WorkloadState
from perfopt.rules.compiled import Bound, CompiledChange
from perfopt.rules.fields import numbers, with_numbers
from perfopt.rules.language import UNKNOWN, RuleExpression
from perfopt.rules.units import BYTES, CORES, NUMBER

Evaluate = Callable[[RuleExpression], Any]
_EPSILON = 1e-9
_MIB = 2**20


def changed_container(container: Container, change: CompiledChange, evaluate: Evaluate) -> Container:
    """Returns the container after a change: the same object where nothing moved.

    A request that is raised takes its limit along, and a limit that is lowered its request.
    """
    values = {QUANTITY_OF_NAME[field]: getattr(container, QUANTITY_OF_NAME[field]) for field in change.fields}
    moved = _moved(values, change, evaluate)
    if not moved:
        return container
    for request, limit in REQUEST_LIMIT_PAIRS:
        requested = moved.get(request, getattr(container, request))
        allowed = moved.get(limit, getattr(container, limit))
        if requested is not None and allowed is not None and requested > allowed:
            follows = limit if request in moved and requested > getattr(container, request) else request
            moved[follows] = requested if follows == limit else allowed
    return msgspec.structs.replace(container, **moved)


def changed_state(
    state: WorkloadState, change: CompiledChange, evaluate: Evaluate, container: str | None = None
) -> WorkloadState:
    """Returns the state after a change of what is not a container's quantity: the same where nothing moved.

    Args:
        state: before it.
        change: of workload fields, or of knobs.
        evaluate: gives the value of an expression.
        container: whose knobs a rule for containers means.
    """
    names = {
        field if container is None else field.replace(".", f".{container}.", 1) for field in change.fields
    }
    changed = {name: values for name in sorted(names) if (values := numbers(state, name))}
    if not changed:
        return state
    apply = _clamp(change, evaluate) if change.kind == "clamp" else _round(change, evaluate)
    after = {name: tuple(apply(value) for value in values) for name, values in changed.items()}
    moved = {name: values for name, values in after.items() if values != changed[name]}
    return with_numbers(state, moved) if moved else state


def _moved(values: dict[str, Any], change: CompiledChange, evaluate: Evaluate) -> dict[str, Any]:
    if all(value is None for value in values.values()):
        return {}
    apply = _clamp(change, evaluate) if change.kind == "clamp" else _round(change, evaluate)
    moved = {name: apply(value) for name, value in values.items() if value is not None}
    return {name: value for name, value in moved.items() if value != values[name]}


def _clamp(change: CompiledChange, evaluate: Evaluate) -> Callable[[float], float]:
    low, high = _bound(change.at_least, evaluate), _bound(change.at_most, evaluate)
    if low is not None and change.unit not in (CORES, NUMBER):
        multiple = _multiple(change, change.at_least)
        low = math.ceil(low / multiple - _EPSILON) * multiple
    if high is not None and change.unit not in (CORES, NUMBER):
        multiple = _multiple(change, change.at_most)
        high = math.floor(high / multiple + _EPSILON) * multiple

    def apply(value: float) -> float:
        least, most = low, high
        if change.unit == NUMBER and isinstance(value, int):  # a knob that takes whole numbers
            least = None if least is None else math.ceil(least - _EPSILON)
            most = None if most is None else math.floor(most + _EPSILON)
        value = value if most is None or value <= most else most
        return value if least is None or value >= least else least

    return apply


def _multiple(change: CompiledChange, bound: Bound) -> int:
    """Returns what a bound is a whole multiple of: computed memory is whole MiB, as people write it."""
    return _MIB if change.unit == BYTES and isinstance(bound, RuleExpression) else 1


def _round(change: CompiledChange, evaluate: Evaluate) -> Callable[[float], float]:
    multiple = _bound(change.to, evaluate)
    steps: dict[str, Callable[[float], int]] = {
        "up": lambda x: math.ceil(x - _EPSILON),
        "down": lambda x: math.floor(x + _EPSILON),
        "nearest": round,
    }

    def apply(value: float) -> float:
        if multiple is None or multiple <= 0:
            return value
        rounded = steps[change.direction](value / multiple) * multiple
        whole = isinstance(value, int) if change.unit == NUMBER else change.unit != CORES
        return round(rounded) if whole else round(rounded, 9)

    return apply


def _bound(bound: Bound, evaluate: Evaluate) -> float | None:
    """Returns a bound's number; None where there is none, or it is not known or not usable as one."""
    if not isinstance(bound, RuleExpression):
        return bound
    value = evaluate(bound)
    if value is UNKNOWN or not math.isfinite(value) or value < 0:
        return None
    number: float = value
    return number
