"""One service over one horizon of a closed loop: what was in force at each step, and how that did. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from perfopt.backtest.evaluated import OriginCase, PolicyDecision
from perfopt.domain.floors import CPU_FLOOR_CORES, MEMORY_FLOOR_BYTES
from perfopt.domain.workload import WorkloadState
from perfopt.engine.loop import CPU, MEMORY, ContainerSample, LoopSettings, drifted
from perfopt.evaluation.savings import smallest_state
from perfopt.metrics.need import CPU_SAFE_PERCENT, SCORED_COVERAGE, five_minute_means
from perfopt.metrics.snapshot import Array, WorkloadSnapshot

METRICS: Mapping[str, str] = {CPU: "cpu_cores", MEMORY: "memory_bytes"}
FLOORS: Mapping[str, float] = {CPU: CPU_FLOOR_CORES, MEMORY: MEMORY_FLOOR_BYTES}
RESIZE_STEPS = 1  # a change is in force one step after it was decided
Bools = NDArray[np.bool_]


class ServiceDay(msgspec.Struct, frozen=True, kw_only=True):
    """One service over one horizon, usually a day.

    Attributes:
        service: its name; tier: first name of those that it moves together with, "" is itself.
        policy: that was in the loop.
        start: of the horizon.
        cpu_safe: demand was at most the request in force in 99 % of samples; None was not measured.
        memory_safe: no sample was above it; None was not measured.
        current_cost, paid_cost, minimum_cost: a month at the mean of the horizon: of what was set before the
            loop, of what was in force, of the smallest safe sizes; None where requests are unknown.
        current_memory, paid_memory, minimum_memory: requested bytes of a replica, likewise.
        changes: of what is in force, raises for drift among them.
        raises: for drift.
        abstained: there was no recommendation, so that what was in force stayed.
        in_sample: it was by a model that was trained on this service at that time.
    """

    service: str
    policy: str
    start: datetime
    cpu_safe: bool | None
    memory_safe: bool | None
    changes: int
    raises: int
    abstained: bool
    in_sample: bool = False
    current_cost: float | None = None
    paid_cost: float | None = None
    minimum_cost: float | None = None
    current_memory: float | None = None
    paid_memory: float | None = None
    minimum_memory: float | None = None
    tier: str = ""

    @property
    def unsafe(self) -> bool:
        """Whether either resource was short."""
        return self.cpu_safe is False or self.memory_safe is False


@dataclass(frozen=True, slots=True)
class RaisedState:
    """A raise for drift: the state, and the step of the horizon at which it was decided."""

    state: WorkloadState
    step: int


@dataclass(frozen=True, slots=True)
class ForceTimeline:
    """What was in force over a horizon.

    Attributes:
        states: with the step from which each was decided; increasing, the first from before the horizon.
        size: steps of the horizon.
        raises: how many of the states are raises for drift.
    """

    states: tuple[tuple[WorkloadState, int], ...]
    size: int
    raises: int

    def values(self, name: str, field: str, *, paid: bool) -> Array:
        """Returns a request at each step, shape (size,); NaN where it is not set.

        Args:
            name: of the container.
            field: CPU or MEMORY.
            paid: what is paid for while a change is carried out, the larger; else what holds, the smaller.
        """
        values = np.full(self.size, np.nan)
        larger = np.fmax if paid else np.fmin
        previous: float | None = None
        for state, begin in self.states:
            container = state.container(name)
            value = None if container is None else getattr(container, field)
            if value is None:
                continue
            value = max(value, FLOORS[field])
            step = max(begin, 0)
            values[step:] = value
            if previous is not None:
                values[step : step + RESIZE_STEPS] = larger(previous, value)
            previous = value
        return values


def raises_of(case: OriginCase, state: WorkloadState, settings: LoopSettings) -> Iterator[RaisedState]:
    """Yields the raises for drift over a horizon, each decided at the end of the step that showed it.

    Args:
        case: a service at the begin of the horizon; its current limits cap a raise.
        state: in force at its begin.
        settings: what is drift.
    """
    window, ceilings, begin = case.window, case.known.workload.state, 0
    use = {one.name: _hottest(window, one.name) for one in state.containers}
    while begin < window.grid.size:
        over = np.zeros(window.grid.size, dtype=np.bool_)
        for container in state.containers:
            over |= _over(container.cpu_request_cores, settings.cpu_drift, use[container.name][0])
            over |= _over(container.memory_request_bytes, settings.memory_drift, use[container.name][1])
        steps = np.flatnonzero(over[begin:])
        raised = None
        for step in (steps + begin).tolist():
            raised = drifted(state, _samples(use, step), ceilings, settings)
            if raised is not None:
                break
        if raised is None:
            return
        state, begin = raised, step + 1 + RESIZE_STEPS
        yield RaisedState(raised, step + 1)


def _hottest(window: WorkloadSnapshot, name: str) -> tuple[Array, Array]:
    series = [window.series(name, metric) for metric in METRICS.values()]
    cpu, memory = (np.full(window.grid.size, np.nan) if one is None else one.hottest() for one in series)
    return cpu, memory


def _over(request: float | None, share: float, use: Array) -> Bools:
    if request is None:
        return np.zeros(use.size, dtype=np.bool_)
    over: Bools = use > share * request
    return over


def _samples(use: Mapping[str, tuple[Array, Array]], step: int) -> dict[str, ContainerSample]:
    return {
        name: ContainerSample(cpu_cores=_finite(cpu[step]), memory_bytes=_finite(memory[step]))
        for name, (cpu, memory) in use.items()
    }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def score_day(
    case: OriginCase, policy: str, timeline: ForceTimeline, decision: PolicyDecision | None, changes: int
) -> ServiceDay | None:
    """Returns how a horizon did, or None where it has too few samples of what is set.

    Args:
        case: the service at the begin of the horizon.
        policy: name of the loop.
        timeline: what was in force.
        decision: what the policy recommended; None is an abstention.
        changes: by the recommendation.
    """
    window, current = case.window, case.known.workload.state
    names = [one.name for one in current.containers]
    safe = {
        field: [verdict for name in names if (verdict := _safe(window, name, field, timeline)) is not None]
        for field in METRICS
    }
    if not any(safe.values()):
        return None
    day = ServiceDay(
        service=case.known.workload.service_name,
        policy=policy,
        start=window.grid.start,
        cpu_safe=all(safe[CPU]) if safe[CPU] else None,
        memory_safe=all(safe[MEMORY]) if safe[MEMORY] else None,
        changes=changes + timeline.raises,
        raises=timeline.raises,
        abstained=decision is None,
        in_sample=decision is not None and decision.in_sample,
    )
    return msgspec.structs.replace(day, **_costs(case, timeline))


def _safe(window: WorkloadSnapshot, name: str, field: str, timeline: ForceTimeline) -> bool | None:
    series = window.series(name, METRICS[field])
    request = timeline.values(name, field, paid=False)
    if series is None or np.isnan(request).all():
        return None
    if np.isfinite(series.values).any(axis=0).mean() < SCORED_COVERAGE:
        return None
    if field == MEMORY:
        return not bool((series.values > request).any())
    values = five_minute_means(series.values, window.grid)
    held = five_minute_means(request[None], window.grid)[0]
    present = np.isfinite(values)
    within = int(np.count_nonzero((values <= held) & present))
    return within * 100 >= CPU_SAFE_PERCENT * int(np.count_nonzero(present))


def _costs(case: OriginCase, timeline: ForceTimeline) -> dict[str, float]:
    """Returns the means of what was requested before, in the loop, and at least; none if any is unknown."""
    current, book = case.known.workload.state, case.book
    minimum = smallest_state(current, case.window)
    costs: dict[str, float] = {}
    for name, totals in (
        ("current", (current.total(CPU), current.total(MEMORY))),
        ("paid", tuple(_paid(current, field, timeline) for field in (CPU, MEMORY))),
        ("minimum", (minimum.total(CPU), minimum.total(MEMORY))),
    ):
        cpu, memory = totals
        if cpu is None or memory is None:
            return {}
        costs[f"{name}_cost"] = _replicas(current) * book.hourly_cost(cpu, memory) * book.hours_month
        costs[f"{name}_memory"] = memory
    return costs


def _paid(current: WorkloadState, field: str, timeline: ForceTimeline) -> float | None:
    values = [timeline.values(one.name, field, paid=True).mean() for one in current.containers]
    total = float(np.sum(values))
    return total if np.isfinite(total) else None


def _replicas(state: WorkloadState) -> float:
    return float(state.replicas if state.replicas is not None else 1)
