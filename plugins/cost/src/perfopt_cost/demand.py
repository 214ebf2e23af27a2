"""What each container needs in the validity window: bounds for a replica, and their shape over the hours."""

from dataclasses import dataclass

import numpy as np

from perfopt.plugin import (
    CPU_FLOOR_CORES,
    MEMORY_FLOOR_BYTES,
    AnalysisContext,
    Array,
    DeclineCode,
    InsufficientHistory,
    check_history,
    running_replicas,
    steps_with_samples,
    throttling,
    validity_steps,
)
from perfopt_cost.calibration import BoundCalibration, BoundModel, DemandBound
from perfopt_cost.hours import HOURS, KINDS, HourCells

IDLE_CORES = CPU_FLOOR_CORES / 2  # a P99 of half the floor stays within the floor
OVER_LIMIT = 1.1


@dataclass(frozen=True, slots=True)
class ContainerDemand:
    """What one replica of a container needs while as many replicas run as now.

    Attributes:
        name: of the container.
        cpu: bound of the P99 of cpu, cores; None where it is not measured.
        memory: bound of the peak of memory, bytes; None where it is not measured.
        memory_least: the least ever held: it does not shrink with the load.
        cpu_seen: the highest use of one pod that was measured.
        shape: share of the cpu bound needed in each hour of each kind of day, in [0, 1], (KINDS, HOURS).
    """

    name: str
    cpu: DemandBound | None
    memory: DemandBound | None
    memory_least: float
    cpu_seen: float
    shape: Array

    @property
    def idle(self) -> bool:
        """Whether the least request there is covers its cpu."""
        return self.cpu is not None and self.cpu.value <= CPU_FLOOR_CORES


def needs(
    context: AnalysisContext, calibration: BoundCalibration, cells: HourCells
) -> list[ContainerDemand] | InsufficientHistory:
    """Returns what each container needs, or why that is not known of one of them."""
    names = [container.name for container in context.snapshot.workload.state.containers]
    load = running_replicas(context.snapshot)
    load = load / max(context.snapshot.workload.state.replicas or 1, 1)
    demands = []
    for name in names:
        need = _need(context, calibration, cells, name, load)
        if isinstance(need, InsufficientHistory):
            return need
        demands.append(need)
    if not any(need.cpu or need.memory for need in demands):
        return InsufficientHistory(
            DeclineCode.NO_DATA, "Neither cpu nor memory of this workload is measured."
        )
    return demands


def _need(
    context: AnalysisContext, calibration: BoundCalibration, cells: HourCells, name: str, load: Array
) -> ContainerDemand | InsufficientHistory:
    kind = context.snapshot.workload.service_class
    shape = np.ones((KINDS, HOURS))
    bounds: dict[str, DemandBound | None] = {}
    seen = least = 0.0
    for metric, model in (("cpu_cores", calibration.cpu[kind]), ("memory_bytes", calibration.memory[kind])):
        used = _usable(context, name, metric)
        if isinstance(used, InsufficientHistory):
            return used
        bounds[metric] = None
        if used is None:
            continue
        values, begin = used
        if metric == "cpu_cores":
            seen = float(np.nanmax(values))
            values = values * load[begin:]
            shape = cells.shape(np.fmax.reduce(values, axis=0), begin, _p99(values))
        else:
            least = float(np.nanmin(values))
            values = np.fmax.reduce(values, axis=0)[None]
        bounds[metric] = _bounded(context, name, metric, values, model)
    return ContainerDemand(name, bounds["cpu_cores"], bounds["memory_bytes"], least, seen, shape)


def _bounded(
    context: AnalysisContext, name: str, metric: str, values: Array, model: BoundModel
) -> DemandBound:
    """Returns the bound, no higher than a limit that use never passed lets it be, and idle use as idle."""
    bound = model.bound(values, validity_steps(context))
    container = context.snapshot.workload.state.container(name)
    limit = getattr(container, "cpu_limit_cores" if metric == "cpu_cores" else "memory_limit_bytes", None)
    peak = float(np.nanmax(values))
    value = bound.value
    if limit:
        value = min(value, limit if peak <= limit else peak * OVER_LIMIT)
    if metric == "cpu_cores" and (bound.reference <= IDLE_CORES or peak <= CPU_FLOOR_CORES):
        value = CPU_FLOOR_CORES
    floor = CPU_FLOOR_CORES if metric == "cpu_cores" else MEMORY_FLOOR_BYTES
    confidence = bound.confidence
    if confidence is not None and limit and peak <= limit:
        confidence = confidence.below(limit)
    return DemandBound(max(value, floor), bound.reference, bound.held, confidence)


def _usable(
    context: AnalysisContext, name: str, metric: str
) -> tuple[Array, int] | InsufficientHistory | None:
    """Returns the values from the first sample on and where they begin; None without such a metric."""
    series = context.snapshot.series(name, metric)
    if series is None:
        return None
    values = np.where(np.isfinite(series.values), series.values, np.nan)
    begin = check_history(context, steps_with_samples(values), name, metric)
    if isinstance(begin, InsufficientHistory):
        return None if begin.code is DeclineCode.NO_DATA else begin
    return values[:, begin:], begin


def _p99(values: Array) -> float:
    known = values[np.isfinite(values)]
    rank = max(-(-99 * known.size // 100) - 1, 0)
    return float(np.partition(known, rank)[rank])


def shortage(context: AnalysisContext) -> str | None:
    """Returns a sentence on OOM kills or throttling in the history, or None: shortage is not made cheaper."""
    for name, metrics in sorted(context.snapshot.containers.items()):
        kills = metrics.get("oom_kills")
        if kills is not None and np.nansum(kills.values) > 0:
            return f"{name} was killed for lack of memory in this period."
        throttled = throttling(context.snapshot, name)
        if throttled is not None and throttled.considerable:
            return f"{name} was throttled in more than 5 % of its periods at times."
    return None
