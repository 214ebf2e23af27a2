"""What a recommendation cost over a window, beside what was set and the least that is accurate."""

import msgspec
import numpy as np

from perfopt.domain.enums import OptimizationType
from perfopt.domain.fields import container_path, with_fields
from perfopt.domain.floors import CPU_FLOOR_CORES, MEMORY_FLOOR_BYTES
from perfopt.domain.price import PriceBook
from perfopt.domain.workload import Container, WorkloadState
from perfopt.evaluation.scaling import recorded_replicas, smallest_replicas
from perfopt.metrics.need import SCORED_COVERAGE, smallest_cpu_request, smallest_memory_request
from perfopt.metrics.snapshot import Array, PodSeries, WorkloadSnapshot

_REPLICAS_ONLY = (OptimizationType.SCALING_OPTIMIZATION,)
_SIZES_ONLY = (
    OptimizationType.RESOURCE_OPTIMIZATION,
    OptimizationType.LATENCY_OPTIMIZATION,
    OptimizationType.PERFORMANCE_TUNING,
)


class RequestedAmount(msgspec.Struct, frozen=True):
    """One quantity that is paid for, over a window.

    Attributes:
        current: as it was set.
        recommended: as it would have been set.
        minimum: of the smallest accurate recommendation of the type.
    """

    current: float
    recommended: float
    minimum: float

    @property
    def saved(self) -> float:
        """What the recommendation saves, in the unit of the amount; negative where it costs more."""
        return self.current - self.recommended

    @property
    def possible(self) -> float:
        """What the smallest accurate recommendation would have saved."""
        return self.current - self.minimum


class RequestedAmounts(msgspec.Struct, frozen=True):
    """What is requested over a window.

    Attributes:
        cost: a month at the mean of the window, in the currency of the price book.
        memory: bytes of all replicas, the mean of the window.
    """

    cost: RequestedAmount
    memory: RequestedAmount


def requested_amounts(
    target: WorkloadState,
    window: WorkloadSnapshot,
    book: PriceBook,
    optimization_type: OptimizationType | None,
    planned: Array | None,
) -> RequestedAmounts | None:
    """Returns what a target requests over the window after it, against the current state and the minimum.

    The minimum of a type that sets sizes is the smallest safe size of each container at the replicas that
    ran; of SCALING the fewest replicas that carry the demand at the current size. COST and a plan set both,
    and the cheaper of the two is their minimum.

    Args:
        target: the recommended state.
        window: the data that followed, with the workload's state as it was known at its start.
        book: prices.
        optimization_type: of the recommendation; None is a plan.
        planned: replicas that the target would have run at each step, shape (steps,); None is unknown.

    Returns:
        None where requests are unknown, now or in the target.
    """
    current = window.workload.state
    ran = recorded_replicas(window)
    mean_ran, mean_planned = _mean(ran, current), _mean(planned, target)
    candidates: list[tuple[float, WorkloadState]] = []
    if optimization_type not in _REPLICAS_ONLY:
        candidates.append((mean_ran, smallest_state(target, window)))
    fewest = None if optimization_type in _SIZES_ONLY else smallest_replicas(current, window)
    if fewest is not None:
        candidates.append((_mean(fewest, current), current))
    placement = min(book.placement(current), book.placement(target))
    before, after = _amounts(current, mean_ran, book), _amounts(target, mean_planned, book)
    amounts = [_amounts(state, count, book, placement) for count, state in candidates]
    smallest = [one for one in amounts if one is not None]
    if before is None or after is None or not smallest:
        return None
    minimum = min(smallest)
    return RequestedAmounts(
        cost=RequestedAmount(before[0], after[0], minimum[0]),
        memory=RequestedAmount(before[1], after[1], minimum[1]),
    )


def smallest_state(target: WorkloadState, window: WorkloadSnapshot) -> WorkloadState:
    """Returns the target with the smallest safe request of each container for what the window measures."""
    values = {
        container_path(container.name, field): value
        for container in target.containers
        for field, value in _smallest(container, window).items()
    }
    return with_fields(target, values)


def _smallest(container: Container, window: WorkloadSnapshot) -> dict[str, float]:
    smallest: dict[str, float] = {}
    cpu, memory = (_covered(window.series(container.name, name)) for name in ("cpu_cores", "memory_bytes"))
    if cpu is not None:
        smallest["cpu_request_cores"] = smallest_cpu_request(cpu.values, window.grid) or CPU_FLOOR_CORES
    if memory is not None:
        smallest["memory_request_bytes"] = smallest_memory_request(memory.values) or MEMORY_FLOOR_BYTES
    return smallest


def _covered(series: PodSeries | None) -> PodSeries | None:
    """Returns the series where it has enough samples to be scored by."""
    if series is None or not series.values.size:
        return None
    return series if np.isfinite(series.values).any(axis=0).mean() >= SCORED_COVERAGE else None


def _mean(replicas: Array | None, state: WorkloadState) -> float:
    """Returns the mean of the replicas at each step; without them what the state says, or one."""
    if replicas is not None:
        return float(replicas.mean())
    return float(state.replicas if state.replicas is not None else 1)


def _amounts(
    state: WorkloadState, replicas: float, book: PriceBook, placement: float | None = None
) -> tuple[float, float] | None:
    """Returns cost a month and bytes of so many replicas of a state; None where requests are unknown."""
    reserved = state.reserved()
    if reserved is None:
        return None
    factor = book.placement(state) if placement is None else placement
    return replicas * book.hourly_cost(*reserved) * factor * book.hours_month, replicas * reserved[1]
