"""What a KEDA ScaledObject scales on, as far as history can tell: CPU, and cron triggers."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from perfopt.domain.workload import HpaState
from perfopt.metrics.snapshot import Array, TimeGrid

_DEFAULT_MAXIMUM = 100  # of KEDA, where the ScaledObject names none
_FIELDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))  # minute, hour, day, month, weekday
_WEEK_MINUTES = 7 * 24 * 60


def hpa_of(scaled_object: Mapping[str, Any]) -> HpaState:
    """Returns the autoscaler that KEDA makes of a ScaledObject; triggers other than CPU are only named.

    KEDA hands its triggers to one HorizontalPodAutoscaler, which takes the highest of what they ask for. A
    minimum of zero counts as one: how often nothing was to be done is not in the metrics.
    """
    spec = scaled_object.get("spec") or {}
    triggers = [one for one in spec.get("triggers") or () if isinstance(one, Mapping)]
    cpu = next((one for one in triggers if one.get("type") == "cpu"), None)
    config = (spec.get("advanced") or {}).get("horizontalPodAutoscalerConfig") or {}
    return HpaState(
        min_replicas=max(int(spec.get("minReplicaCount", 0)), 1),
        max_replicas=int(spec.get("maxReplicaCount", _DEFAULT_MAXIMUM)),
        target_cpu_utilization_percent=None if cpu is None else _utilisation(cpu),
        other_metrics=tuple(
            str(one.get("type")) for one in triggers if one.get("type") not in ("cpu", "cron")
        ),
        behavior=config.get("behavior"),
    )


def cron_minimum(scaled_object: Mapping[str, Any], grid: TimeGrid) -> Array:
    """Returns the replicas that cron triggers ask for at each step, shape (grid.size,); NaN where none does.

    A trigger is active from each time of its `start` to the next of its `end`; of several the highest counts.
    One whose times cannot be read asks for nothing.
    """
    floor = np.full(grid.size, np.nan)
    for trigger in (scaled_object.get("spec") or {}).get("triggers") or ():
        if isinstance(trigger, Mapping) and trigger.get("type") == "cron":
            active, replicas = _cron(trigger.get("metadata") or {}, grid)
            floor[active] = np.fmax(floor[active], replicas)
    return floor


def _utilisation(trigger: Mapping[str, Any]) -> int | None:
    kind = trigger.get("metricType", "Utilization")
    value = str((trigger.get("metadata") or {}).get("value", ""))
    return int(value) if kind == "Utilization" and value.isdecimal() and int(value) else None


def _cron(values: Mapping[str, Any], grid: TimeGrid) -> tuple[NDArray[np.bool_], float]:
    """Tells of each step whether its first minute lies between a start and the next end; and the replicas."""
    try:
        zone = ZoneInfo(str(values.get("timezone", "UTC")))
        replicas = float(values["desiredReplicas"])
        start, end = (_allowed(str(values[name])) for name in ("start", "end"))
    except (KeyError, ValueError, ZoneInfoNotFoundError):
        return np.zeros(grid.size, dtype=np.bool_), 0.0
    first = int(grid.start.timestamp()) // 60
    size = grid.size * grid.step_seconds // 60 + 1
    begins, ends = (_last(times, first - _WEEK_MINUTES, _WEEK_MINUTES + size, zone) for times in (start, end))
    at = _WEEK_MINUTES + np.arange(grid.size) * grid.step_seconds // 60
    active: NDArray[np.bool_] = begins[at] > ends[at]
    return active, replicas


def _allowed(expression: str) -> tuple[frozenset[int], ...]:
    """Reads a cron expression of five fields.

    Raises:
        ValueError: it is none.
    """
    fields = expression.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(f"{expression!r} does not have five fields")
    return tuple(_values(field, *bounds) for field, bounds in zip(fields, _FIELDS, strict=True))


def _values(field: str, low: int, high: int) -> frozenset[int]:
    values: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        begin, _, end = span.partition("-")
        first = low if begin == "*" else int(begin)
        last = high if begin == "*" or (step and not end) else int(end or begin)
        values.update(range(first, last + 1, int(step or 1)))
    if not values or min(values) < low or max(values) > high:
        raise ValueError(f"{field!r} is out of range")
    return frozenset(0 if value == 7 and high == 7 else value for value in values)


def _last(times: tuple[frozenset[int], ...], first: int, size: int, zone: ZoneInfo) -> NDArray[np.intp]:
    """Returns for each minute the number of the last one up to it that matches; -1 before any."""
    minutes, hours, days, months, weekdays = times
    any_day, any_weekday = len(days) == 31, len(weekdays) == 7
    matches = np.zeros(size, dtype=np.bool_)
    for number in range(size):
        if (first + number) % 60 not in minutes and zone.key == "UTC":
            continue
        at = datetime.fromtimestamp((first + number) * 60, UTC).astimezone(zone)
        if at.minute not in minutes or at.hour not in hours or at.month not in months:
            continue
        on_day, on_weekday = at.day in days, at.isoweekday() % 7 in weekdays
        # as cron has it: of two restricted days either one is enough
        either = not any_day and not any_weekday
        matches[number] = (on_day or on_weekday) if either else (on_day and on_weekday)
    return np.maximum.accumulate(np.where(matches, np.arange(size), -1))
