"""When a size in force is changed: what a closed loop does at a recommendation and between two. Pure.

The backtest of a closed loop and the service use the same rule.
"""

import math
from collections.abc import Mapping, Sequence

import msgspec

from perfopt.domain.workload import Container, WorkloadState

CPU, MEMORY = "cpu_request_cores", "memory_request_bytes"
LIMITS: Mapping[str, str] = {CPU: "cpu_limit_cores", MEMORY: "memory_limit_bytes"}


class LoopSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is worth a change.

    Attributes:
        min_rise: a request rises where the new one is larger by more than this share of it.
        min_fall: a request falls where the new one is smaller by more than this share of it.
        agreeing: it falls to the largest of so many latest recommendations, raises for drift among them.
        max_fall: share of a request that one change takes off at most; a raise has no such limit.
        cpu_drift, memory_drift: share of the request above which use has drifted; infinite is never.
        drift_headroom: share of the use seen that a raise for drift adds to it.
    """

    min_rise: float = 1.0
    min_fall: float = 0.5
    agreeing: int = 7
    max_fall: float = 0.75
    cpu_drift: float = 1.0
    memory_drift: float = 0.93
    drift_headroom: float = 0.5


PLAIN = LoopSettings(
    min_rise=0.0, min_fall=0.1, agreeing=1, max_fall=1.0, cpu_drift=math.inf, memory_drift=math.inf
)
"""Changed where a new size is larger, or more than 10 % smaller; nothing between two recommendations."""
CONTROLLED = LoopSettings()
"""perfopt's own."""


class ContainerSample(msgspec.Struct, frozen=True, kw_only=True):
    """What was last seen of a container, of its hottest pod; None is unknown.

    Attributes:
        cpu_cores, memory_bytes: use.
        throttled: it was throttled in more than 5 % of its periods.
        oom_killed: it was killed for want of memory.
    """

    cpu_cores: float | None = None
    memory_bytes: float | None = None
    throttled: bool = False
    oom_killed: bool = False


def worth_changing(
    current: WorkloadState, recommended: Sequence[WorkloadState], settings: LoopSettings = CONTROLLED
) -> WorkloadState | None:
    """Returns the state to change to, or None where none is worth a change.

    Where one request changes, every other that may fall at all falls in the same change.

    Args:
        current: in force.
        recommended: the latest recommendations and raises for drift, oldest first; at least one.
        settings: what is worth it.
    """
    changes = {
        (container.name, field): change
        for container in current.containers
        for field in LIMITS
        if (change := _change(container, field, recommended, settings)) is not None
    }
    if not any(worth for _, worth in changes.values()):
        return None
    containers = tuple(
        _resized(one, recommended[-1].container(one.name), {f: changes.get((one.name, f)) for f in LIMITS})
        for one in current.containers
    )
    return msgspec.structs.replace(current, containers=containers)


_Change = tuple[float, bool]
"""The new request, and whether it is worth a change by itself."""


def _change(
    container: Container, field: str, recommended: Sequence[WorkloadState], settings: LoopSettings
) -> _Change | None:
    current = getattr(container, field)
    latest = [_request(state, container.name, field) for state in recommended[-settings.agreeing :]]
    known = [value for value in latest if value is not None]
    newest = latest[-1]
    if newest is None:
        return None
    if current is None or newest > current * (1 + settings.min_rise):
        return newest, True
    target = max(max(known), current * (1 - settings.max_fall))
    if target >= current:
        return None
    return target, target < current * (1 - settings.min_fall)


def _request(state: WorkloadState, name: str, field: str) -> float | None:
    container = state.container(name)
    value: float | None = None if container is None else getattr(container, field)
    return value


def _resized(
    container: Container, recommended: Container | None, changes: Mapping[str, _Change | None]
) -> Container:
    """Returns the container with the changed requests; its limits follow the recommended ones."""
    for field, change in changes.items():
        if change is None:
            continue
        limit = None if recommended is None else getattr(recommended, LIMITS[field])
        container = _with_request(container, field, change[0], limit)
    return container


def _with_request(container: Container, field: str, value: float, limit: float | None) -> Container:
    """Sets a request in the unit that Kubernetes stores, and a limit that is at least as large."""
    request = math.ceil(round(value * 1000, 6)) / 1000 if field == CPU else math.ceil(value)
    fields: dict[str, float] = {field: request}
    if limit is not None:
        fields[LIMITS[field]] = max(limit, request)
    return msgspec.structs.replace(container, **fields)


def drifted(
    current: WorkloadState,
    samples: Mapping[str, ContainerSample],
    ceilings: WorkloadState | None = None,
    settings: LoopSettings = CONTROLLED,
) -> WorkloadState | None:
    """Returns the state to raise to at once, or None where use is as it was expected to be.

    Use has drifted above a share of the request, or the container was throttled or killed for want of memory.

    Args:
        current: in force.
        samples: by container.
        ceilings: whose limits cap a raise, unless the container was throttled, killed, or used more.
        settings: what is drift.
    """
    containers = tuple(
        _raised(
            one, samples.get(one.name), None if ceilings is None else ceilings.container(one.name), settings
        )
        for one in current.containers
    )
    if containers == current.containers:
        return None
    return msgspec.structs.replace(current, containers=containers)


def _raised(
    container: Container, sample: ContainerSample | None, ceiling: Container | None, settings: LoopSettings
) -> Container:
    if sample is None:
        return container
    seen = (
        (CPU, sample.cpu_cores, settings.cpu_drift, sample.throttled),
        (MEMORY, sample.memory_bytes, settings.memory_drift, sample.oom_killed),
    )
    for field, use, share, starved in seen:
        request = getattr(container, field)
        if request is None or not (starved or (use is not None and use > share * request)):
            continue
        raised = (1 + settings.drift_headroom) * max(use or 0.0, request if starved else 0.0)
        cap = math.inf if starved or ceiling is None else getattr(ceiling, LIMITS[field])
        raised = raised if cap is None else min(raised, max(cap, use or 0.0))
        if raised > request:
            limit = getattr(container, LIMITS[field])
            container = _with_request(container, field, raised, limit)
    return container
