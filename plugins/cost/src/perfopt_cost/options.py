"""From needs and allowed changes to the optimization model, and from its solution back to containers."""

import math
from dataclasses import dataclass

import msgspec
import numpy as np

from perfopt.capacity.memory import memory_at_load
from perfopt.plugin import (
    CPU_FLOOR_CORES,
    MEMORY_FLOOR_BYTES,
    AnalysisContext,
    Array,
    Container,
    NodeType,
    PriceBook,
)
from perfopt_cost.allowed import AllowedChanges, carries
from perfopt_cost.availability import fewest, survivors
from perfopt_cost.demand import ContainerDemand
from perfopt_cost.hours import SchedulePeriod
from perfopt_cost.milp import OptimizationModel

SIZES = 16  # numbers of replicas that a size is made for, at most
SMALL_MOVE = 0.10
SMALL_CPU_CORES = 0.025
SMALL_MEMORY_BYTES = 32 * 2**20
_MIB = 2**20
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class CandidateSizes:
    """Sizes of a pod to choose from: cpu for one number of replicas, memory for one at most as large.

    Attributes:
        cpu, memory: requests, shape (containers, sizes).
        for_memory: the fewest replicas the memory is enough for, shape (sizes,).
        for_cpu: the replicas at the peak that the cpu is made for, shape (sizes,).
    """

    cpu: Array
    memory: Array
    for_memory: Array
    for_cpu: Array


def sizes_of(
    context: AnalysisContext, needs: list[ContainerDemand], allowed: AllowedChanges
) -> CandidateSizes:
    """Returns the sizes that keep every container within what it may carry."""
    containers = [context.snapshot.workload.state.container(need.name) for need in needs]
    at_quietest = _replicas(allowed, quiet=True)
    pairs = [
        (at_peak, at_least)
        for at_peak in _replicas(allowed)
        for at_least in at_quietest
        if at_least <= at_peak
        and all(
            carries(need, container.cpu_request_cores if container else None, allowed.running / at_peak)
            for need, container in zip(needs, containers, strict=True)
        )
    ]
    columns = [
        [
            _size(need, container or Container(name=need.name), allowed, *pair)
            for need, container in zip(needs, containers, strict=True)
        ]
        for pair in pairs
    ]
    table = np.array(columns, dtype=np.float64).reshape(len(pairs), len(needs), 2)
    ends = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    return CandidateSizes(table[:, :, 0].T, table[:, :, 1].T, ends[:, 1], ends[:, 0])


def _replicas(allowed: AllowedChanges, *, quiet: bool = False) -> list[int]:
    """Returns the numbers of replicas to make sizes for: at the peak, or at the quietest."""
    if not allowed.replicas:
        return [allowed.running]
    low, high = (allowed.floor if quiet else allowed.least), max(allowed.running, allowed.floor)
    low = min(low, high)
    spaced = np.geomspace(low, high, min(SIZES, high - low + 1)).round()
    return [int(count) for count in np.unique(spaced)]


def _size(
    need: ContainerDemand, container: Container, allowed: AllowedChanges, at_peak: int, at_least: int
) -> tuple[float, float]:
    cpu, memory = container.cpu_request_cores or 0.0, float(container.memory_request_bytes or 0)
    if allowed.cpu and need.cpu is not None:
        cpu = whole_millicores(need.cpu.value * allowed.running / at_peak)
    if allowed.memory and need.memory is not None:
        memory = _memory(need, allowed.running / at_least)
    return cpu, memory


def _memory(need: ContainerDemand, load: float) -> float:
    assert need.memory is not None
    grown = memory_at_load(need.memory_least, need.memory.value, load)
    return whole_mebibytes(float(grown))


def whole_millicores(cores: float) -> float:
    """Returns cores rounded up to whole millicores, at least 10m."""
    return max(math.ceil(round(cores * 1000, 6)) / 1000, CPU_FLOOR_CORES)


def whole_mebibytes(size: float) -> float:
    """Returns bytes rounded up to whole MiB, at least 16Mi."""
    return float(max(math.ceil(round(size / _MIB, 6)) * _MIB, MEMORY_FLOOR_BYTES))


def optimization_model(
    context: AnalysisContext,
    needs: list[ContainerDemand],
    allowed: AllowedChanges,
    sizes: CandidateSizes,
    periods: list[SchedulePeriod],
) -> tuple[OptimizationModel, tuple[NodeType | None, ...]]:
    """Returns the model and its places; without node types in the book there is one place, None."""
    least_cpu, least_memory = context.snapshot.workload.state.reserving(0.0, 0.0)
    cpu = np.maximum(sizes.cpu.sum(axis=0), least_cpu)
    memory = np.maximum(sizes.memory.sum(axis=0), least_memory)
    places, demand, spot = _prices(context.price_book, cpu, memory, spot=allowed.spot_share > 0)
    least = np.stack([_least(context, needs, allowed, sizes, period) for period in periods])
    return (
        OptimizationModel(
            hours=np.array([period.hours for period in periods]),
            least=least,
            demand_price=demand,
            spot_price=spot,
            most=max(allowed.running, allowed.floor),
            spot_share=allowed.spot_share,
            steady=allowed.steady,
        ),
        places,
    )


def _least(
    context: AnalysisContext,
    needs: list[ContainerDemand],
    allowed: AllowedChanges,
    sizes: CandidateSizes,
    period: SchedulePeriod,
) -> Array:
    """Returns how many replicas of each size carry a period, shape (sizes,)."""
    least = np.maximum(sizes.for_memory, max(allowed.floor if allowed.replicas else allowed.running, 1))
    if not allowed.replicas:
        return least
    for row, need in enumerate(needs):
        if need.cpu is not None:
            required = need.cpu.value * allowed.running * float(need.shape.reshape(-1)[period.cells].max())
            least = np.maximum(
                least, np.ceil(required / np.maximum(sizes.cpu[row], CPU_FLOOR_CORES) - _ROUNDING)
            )
    peak = max(float(need.shape.reshape(-1)[period.cells].max()) for need in needs)
    # what the latency objective asks for at the peak it asks for in a quieter hour by its load
    least = np.maximum(least, np.ceil(allowed.least * peak - _ROUNDING))
    if allowed.availability.carries:
        zones = allowed.availability.zones
        left = np.maximum(np.ceil(needed_alive(context, needs, allowed, sizes, peak) - _ROUNDING), 1.0)
        # no fewer than outlive it today, if those are too few for the load
        least = np.maximum(least, fewest(np.minimum(left, max(survivors(allowed.running, zones), 1)), zones))
    return least


def needed_alive(
    context: AnalysisContext,
    needs: list[ContainerDemand],
    allowed: AllowedChanges,
    sizes: CandidateSizes,
    peak: float,
) -> Array:
    """Returns how many replicas of each size carry a load within their limits, shape (sizes,).

    Those that a lost zone leaves may use all that their limits allow; without a limit one is taken to do.

    Args:
        context: has the limits.
        needs: of the containers, in the order of the sizes' rows.
        allowed: has how many run.
        sizes: to choose from.
        peak: the load, as a share of the highest.
    """
    alive = np.zeros(sizes.for_cpu.size)
    for row, need in enumerate(needs):
        container = context.snapshot.workload.state.container(need.name)
        if container is None:
            continue
        if need.cpu is not None and container.cpu_limit_cores:
            risen = container.cpu_limit_cores * np.maximum(allowed.running / sizes.for_cpu, 1.0)
            alive = np.maximum(
                alive, need.cpu.value * allowed.running * peak / np.maximum(risen, sizes.cpu[row])
            )
        if need.memory is not None and container.memory_limit_bytes:
            limit = np.maximum(container.memory_limit_bytes, sizes.memory[row])
            headroom = np.maximum(limit - need.memory_least, _MIB)
            alive = np.maximum(
                alive, (need.memory.value - need.memory_least) * allowed.running * peak / headroom
            )
    return alive


def _prices(
    book: PriceBook, cpu: Array, memory: Array, *, spot: bool
) -> tuple[tuple[NodeType | None, ...], Array, Array]:
    """Returns places and what a replica of each size costs there for an hour, on demand and on spot."""
    plain = np.array([book.hourly_cost(c, m) for c, m in zip(cpu, memory, strict=True)])
    share = np.array(
        [
            [max(c / node.cores, m / node.memory_bytes) for node in book.node_types]
            for c, m in zip(cpu, memory, strict=True)
        ]
    ).reshape(cpu.size, len(book.node_types))
    fits = share <= 1
    if not fits.any():
        return (None,), plain[:, None], np.full((cpu.size, 1), np.nan)
    on_demand = np.where(fits, share * np.array([node.price_hour for node in book.node_types]), np.nan)
    prices = [node.spot_price_hour for node in book.node_types]
    on_spot = np.where(
        fits, share * np.array([np.nan if p is None or not spot else p for p in prices]), np.nan
    )
    cheapest = np.where(fits.any(axis=1), np.nanmin(np.where(fits, on_demand, np.inf), axis=1), np.nan)
    scale = np.where(cheapest > 0, plain / cheapest, np.nan)[:, None]
    return tuple(book.node_types), on_demand * scale, on_spot * scale


def container_of(old: Container, need: ContainerDemand, cpu: float, memory: float, load: float) -> Container:
    """Returns a container with a new size; limits rise with a replica's load and never stand below a request.

    Args:
        old: what it has.
        need: what is measured; the rest stays.
        cpu: request, cores.
        memory: request, bytes.
        load: of a replica at the peak, relative to now.
    """
    request = _settled(old.cpu_request_cores, cpu, SMALL_CPU_CORES) if need.cpu else old.cpu_request_cores
    limit = old.cpu_limit_cores
    if limit is not None and request is not None:
        limit = max(limit * max(load, 1.0), request)
    held = old.memory_request_bytes
    if need.memory:
        held = int(_settled(old.memory_request_bytes, memory, SMALL_MEMORY_BYTES))
    held_limit = old.memory_limit_bytes
    if held_limit is not None and held is not None:
        held_limit = max(held_limit, held)
    return msgspec.structs.replace(
        old,
        cpu_request_cores=request,
        cpu_limit_cores=limit,
        memory_request_bytes=held,
        memory_limit_bytes=held_limit,
    )


def memory_for_load(container: Container, need: ContainerDemand, load: float) -> Container:
    """Returns a container with memory for so many times its present load, and no less than it has.

    Args:
        container: as recommended so far.
        need: of one replica at its present load.
        load: of a replica when the fewest run.
    """
    held = container.memory_request_bytes
    if need.memory is None or held is None:
        return container
    held = max(held, int(_memory(need, load)))
    limit = container.memory_limit_bytes
    return msgspec.structs.replace(
        container,
        memory_request_bytes=held,
        memory_limit_bytes=None if limit is None else max(limit, held),
    )


def _settled(current: float | None, target: float, small: float) -> float:
    """Returns the current value where it is enough and the move would not be worth a restart."""
    if current is None or current < target:
        return target
    move = current - target
    return current if move < SMALL_MOVE * current and move < small else target
