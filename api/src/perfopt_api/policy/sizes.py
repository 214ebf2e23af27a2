"""Directions, ranges and steps of the values that a change sets. Pure."""

from collections.abc import Mapping
from typing import Any

from perfopt.domain.quantity import format_cpu, format_memory, parse_quantity
from perfopt_api.policy.settings import Direction, PolicySettings, SizeRange

_REPLICAS = ("replicas", "hpa.min_replicas", "hpa.max_replicas")


def number_of(path: str, value: Any) -> float | None:
    """Returns a size or a number of replicas in cores, bytes or pods; None for anything else."""
    if value is None:
        return None
    if path.startswith("containers."):
        return float(parse_quantity(str(value)))
    return float(value) if path in _REPLICAS else None


def directions_of(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[Direction]:
    """Returns which ways the values go. A limit that is removed goes up, so does a request that is new."""
    directions: set[Direction] = set()
    for path, value in after.items():
        old, new = number_of(path, before.get(path)), number_of(path, value)
        if old == new:
            continue
        limit = path.endswith("_limit")
        if new is None:
            directions.add("up" if limit else "down")
        elif old is None:
            directions.add("down" if limit else "up")
        else:
            directions.add("up" if new > old else "down")
    return directions


def lowered_memory(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, float]:
    """Returns by container the lowest memory, in bytes, that a change lowers a request or limit to."""
    lowest: dict[str, float] = {}
    for path, value in after.items():
        if not path.startswith("containers.") or not path.endswith(("memory_request", "memory_limit")):
            continue
        old, new = number_of(path, before.get(path)), number_of(path, value)
        lowered = new is not None and (new < old if old is not None else path.endswith("_limit"))
        if lowered and new is not None:
            container = path.split(".")[1]
            lowest[container] = min(new, lowest.get(container, new))
    return lowest


def out_of_range(after: Mapping[str, Any], bounds: SizeRange) -> str | None:
    """Returns which value is outside a range, as a sentence; None where none is."""
    for path, value in after.items():
        number = number_of(path, value)
        if number is None:
            continue
        kind = "cpu" if "cpu_" in path else "memory" if "memory_" in path else "replicas"
        low, high = getattr(bounds, f"{kind}_min"), getattr(bounds, f"{kind}_max")
        if low is not None and number < float(parse_quantity(str(low))):
            return f"{path} would be {value}, below the allowed {low}."
        if high is not None and number > float(parse_quantity(str(high))):
            return f"{path} would be {value}, above the allowed {high}."
    return None


def stepped(
    before: Mapping[str, Any], after: Mapping[str, Any], settings: PolicySettings
) -> tuple[dict[str, Any], ...]:
    """Returns the values of each step towards a change; the last is the change itself.

    No step lowers a size or a number of replicas by more than `largest_step_down` of it, or raises it to
    more than `largest_step_up` times it.
    """
    steps: list[dict[str, Any]] = []
    present = dict(before)
    while True:
        values = {path: _towards(path, present.get(path), value, settings) for path, value in after.items()}
        if values == dict(after) or values == present or len(steps) >= _MAX_STEPS:
            return (*steps, dict(after))
        steps.append(values)
        present = values


_MAX_STEPS = 20


def _towards(path: str, present: Any, target: Any, settings: PolicySettings) -> Any:
    old, new = number_of(path, present), number_of(path, target)
    if old is None or new is None or old <= 0:
        return target
    low, high = old * (1 - settings.largest_step_down), old * settings.largest_step_up
    if low <= new <= high:
        return target
    return _printed(path, max(low, min(new, high)), up=new > old)


def _printed(path: str, number: float, *, up: bool) -> Any:
    if path in _REPLICAS:
        return int(number) if up else -int(-number // 1)
    return format_cpu(number) if "cpu_" in path else format_memory(number)
