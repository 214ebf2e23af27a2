"""Scores sizes on a window of data: CPU-safe and memory-safe.

CPU is compared in millicores and memory in bytes, as Kubernetes stores them: a request is the
whole number of millicores that its quantity prints as, so no float noise decides a window.
"""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from perfopt.domain.fields import (
    QUANTITIES,
    Path,
    container_path,
    get,
    only_quantities,
    print_value,
    with_fields,
)
from perfopt.domain.floors import CPU_FLOOR_CORES, MEMORY_FLOOR_BYTES
from perfopt.domain.workload import Container, WorkloadState
from perfopt.metrics.need import SCORED_COVERAGE, smallest_cpu_request, smallest_memory_request
from perfopt.metrics.snapshot import PodSeries, TimeGrid, WorkloadSnapshot


@dataclass(frozen=True, slots=True)
class WindowScore:
    """How a state of resources did on one window.

    Attributes:
        scored: False where the window held too little data, or nothing the state speaks of.
        accurate: CPU-safe, memory-safe and the claim met, for what was measured; False where not scored.
        cpu_safe, memory_safe: None where that resource was not measured or not recommended.
        cpu_waste, memory_waste: recommended / smallest accurate value - 1, summed over containers;
            negative is the relative shortage.
        reason: why the window was not scored.
        cpu_recommended_cores, cpu_needed_cores: the two sums behind cpu_waste, for weighted totals.
        memory_recommended_bytes, memory_needed_bytes: the same for memory_waste.
        cpu_short_cores, memory_short_bytes: what the containers lacked, summed over those that did.
        claim_met: the expected latency or saving was realised; None where none was expected.
        realised_latency_ms: at the quantile of the objective, where latency was expected.
        realised_saving_percent: of replica-hours, where a saving was expected.
    """

    scored: bool
    accurate: bool
    cpu_safe: bool | None = None
    memory_safe: bool | None = None
    cpu_waste: float | None = None
    memory_waste: float | None = None
    reason: str | None = None
    cpu_recommended_cores: float | None = None
    cpu_needed_cores: float | None = None
    memory_recommended_bytes: float | None = None
    memory_needed_bytes: float | None = None
    cpu_short_cores: float | None = None
    memory_short_bytes: float | None = None
    claim_met: bool | None = None
    realised_latency_ms: float | None = None
    realised_saving_percent: float | None = None


@dataclass(frozen=True, slots=True)
class _ResourceScore:
    """One resource of one container: granted, the smallest accurate value, and whether granted is safe."""

    recommended: float
    needed: float
    safe: bool

    @property
    def short(self) -> float:
        return max(self.needed - self.recommended, 0.0)


def score_resources(target: WorkloadState, window: WorkloadSnapshot) -> WindowScore:
    """Scores a target state on data that was not seen when it was made.

    CPU: demand (5-minute means, pod-samples pooled) at most the request in at least 99 % of samples.
    Memory: no sample of any pod above the request or the limit. Floors of 10m and 16Mi apply to the
    target and to the smallest accurate value. `perfopt.evaluation.score` checks latency and saving too.
    """
    parts: dict[str, list[_ResourceScore]] = {"cpu": [], "memory": []}
    for container, resource, series in _measured(target, window):
        share = _coverage(series)
        if share < SCORED_COVERAGE:
            return unscored(f"{container.name} has {share:.0%} of its {resource} samples, 50% are needed")
        part = _cpu(container, series, window.grid) if resource == "cpu" else _memory(container, series)
        parts[resource].append(part)
    cpu, memory = parts["cpu"], parts["memory"]
    if not cpu and not memory:
        return unscored("the window measures nothing that the state sets")
    return WindowScore(
        scored=True,
        accurate=all(part.safe for part in cpu + memory),
        cpu_safe=_safe(cpu),
        memory_safe=_safe(memory),
        cpu_waste=_waste(cpu),
        memory_waste=_waste(memory),
        cpu_recommended_cores=_sum(cpu, "recommended"),
        cpu_needed_cores=_sum(cpu, "needed"),
        memory_recommended_bytes=_sum(memory, "recommended"),
        memory_needed_bytes=_sum(memory, "needed"),
        cpu_short_cores=_sum(cpu, "short"),
        memory_short_bytes=_sum(memory, "short"),
    )


def measures(target: WorkloadState, window: WorkloadSnapshot) -> bool:
    """Tells whether the window measures anything that the state sets."""
    return next(_measured(target, window), None) is not None


def changed_quantities(
    target: WorkloadState, current: WorkloadState, always: Collection[Path] = ()
) -> WorkloadState | None:
    """Returns the target with only those quantities set that differ from the current state.

    A changed CPU limit stands where an unchanged request stands: demand must fit under it as often.

    Args:
        target: the state proposed.
        current: the state of the same workload that it was proposed for.
        always: quantities that are kept although they are as they were, because the load on them is not.

    Returns:
        None where no quantity is left.
    """
    paths = [container_path(c.name, quantity) for c in target.containers for quantity in QUANTITIES]
    changed = {
        path for path in paths if path in always or _differs(path, get(target, path), get(current, path))
    }
    limits = {
        container_path(container.name, "cpu_request_cores"): container.cpu_limit_cores
        for container in target.containers
        if container_path(container.name, "cpu_limit_cores") in changed
    }
    left = only_quantities(target, changed)
    unset = {path: limit for path, limit in limits.items() if get(left, path) is None}
    left = with_fields(left, unset)
    return None if all(get(left, path) is None for path in paths) else left


def _differs(path: Path, one: float | None, other: float | None) -> bool:
    """Tells whether two quantities differ as Kubernetes stores them: what was measured has rounding in it."""
    return one != other and print_value(path, one) != print_value(path, other)


def unscored(reason: str) -> WindowScore:
    """Returns the score of a window that decides nothing."""
    return WindowScore(scored=False, accurate=False, reason=reason)


def _measured(target: WorkloadState, window: WorkloadSnapshot) -> Iterator[tuple[Container, str, PodSeries]]:
    """Yields what the target sets and the source measures."""
    for container in target.containers:
        cpu = window.series(container.name, "cpu_cores")
        if cpu is not None and container.cpu_request_cores is not None:
            yield container, "cpu", cpu
        memory = window.series(container.name, "memory_bytes")
        if memory is not None and _memory_bound(container) is not None:
            yield container, "memory", memory


def _coverage(series: PodSeries) -> float:
    """Returns the share of steps at which at least one pod has a sample."""
    present = np.isfinite(series.values).any(axis=0)
    return float(present.mean()) if present.size else 0.0


def _cpu(container: Container, series: PodSeries, grid: TimeGrid) -> _ResourceScore:
    assert container.cpu_request_cores is not None
    needed = smallest_cpu_request(series.values, grid)
    assert needed is not None
    millicores = math.ceil(round(container.cpu_request_cores * 1000, 6))  # as format_cpu prints it
    recommended = max(millicores / 1000, CPU_FLOOR_CORES)
    return _ResourceScore(recommended, needed, recommended >= needed)


def _memory_bound(container: Container) -> float | None:
    """Returns what memory must stay under: the lower of request and limit, floors applied."""
    values = [v for v in (container.memory_request_bytes, container.memory_limit_bytes) if v is not None]
    return float(max(min(values), MEMORY_FLOOR_BYTES)) if values else None


def _memory(container: Container, series: PodSeries) -> _ResourceScore:
    bound, needed = _memory_bound(container), smallest_memory_request(series.values)
    assert bound is not None
    assert needed is not None
    granted = container.memory_request_bytes
    recommended = bound if granted is None else float(max(granted, MEMORY_FLOOR_BYTES))
    return _ResourceScore(recommended, needed, bound >= needed)


def _safe(parts: list[_ResourceScore]) -> bool | None:
    return all(part.safe for part in parts) if parts else None


def _sum(parts: list[_ResourceScore], field: str) -> float | None:
    return float(sum(getattr(part, field) for part in parts)) if parts else None


def _waste(parts: list[_ResourceScore]) -> float | None:
    if not parts:
        return None
    return float(sum(part.recommended for part in parts) / sum(part.needed for part in parts) - 1)
