"""From bounds to one container's requests and limits, with the reasons. Units: cores and bytes."""

import math
from dataclasses import dataclass

import msgspec
import numpy as np

from perfopt.plugin import AnalysisContext, Container, Reason
from perfopt_resource import text
from perfopt_resource.bounds import BoundModel
from perfopt_resource.leak import leak_peak
from perfopt_resource.usage import Usage, oom_kills, throttling, validity_steps

CPU_FLOOR_CORES = 0.010
# On the tuning half, use with a P99 of half the floor stays within it in 97 of 100 weeks, and use that
# never passed the floor in all of 138: better than the bound keeps its word, at no waste.
IDLE_CORES = CPU_FLOOR_CORES / 2
MEMORY_FLOOR_BYTES = 16 * 2**20
OVER_LIMIT_HEADROOM = 1.1
MEMORY_LIMIT_HEADROOM = 1.25
SMALL_MOVE = 0.10
SMALL_CPU_CORES = 0.025
SMALL_MEMORY_BYTES = 32 * 2**20
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Sized:
    """A container with one resource sized, and why."""

    container: Container
    reasons: tuple[Reason, ...]


def enforced_cap(limit: float | None, peak: float) -> float | None:
    """Returns what demand can't exceed: the limit, or None where there is none.

    Where use was above the limit, the limit is not what holds it down; then no more than a tenth above
    the highest ever seen is assumed.
    """
    if limit is None or limit <= 0:
        return None
    return limit if peak <= limit else peak * OVER_LIMIT_HEADROOM


def whole_millicores(cores: float) -> float:
    """Returns cores rounded up to whole millicores, at least 10m."""
    return max(math.ceil(round(cores * 1000, 6)) / 1000, CPU_FLOOR_CORES)


def whole_mebibytes(size: float) -> int:
    """Returns bytes rounded up to whole MiB, at least 16Mi."""
    return max(math.ceil(round(size / _MIB, 6)) * _MIB, MEMORY_FLOOR_BYTES)


def size_cpu(context: AnalysisContext, container: Container, used: Usage, model: BoundModel) -> Sized:
    """Sizes cpu: the request covers the P99 of the validity window.

    The limit stays: it costs nothing, and one that follows the request down throttles. It rises only with
    throttling or with the request, and none is added where there is none.
    """
    steps = validity_steps(context)
    bound = model.bound(used.values, steps)
    peak = float(np.nanmax(used.values))
    cap = enforced_cap(container.cpu_limit_cores, peak)
    value = bound.value if cap is None else min(bound.value, cap)
    if peak <= CPU_FLOOR_CORES or bound.reference <= IDLE_CORES:
        value, reasons = CPU_FLOOR_CORES, [text.idle(container.name, bound, peak)]
    else:
        reasons = [text.cpu_bound(context, container, bound, value)]
    limit = container.cpu_limit_cores
    throttled = throttling(context, container.name, used)
    if throttled is not None:
        value = max(bound.value, model.bound(throttled.demand, steps).value)
        reasons.append(text.throttled(container.name, throttled, value))
        limit = None if limit is None else whole_millicores(limit * (1 + throttled.worst))
    request = whole_millicores(value)
    current = container.cpu_request_cores
    if current is not None and not (throttled and request > current):
        kept = settled(current, request, SMALL_CPU_CORES)
        reasons += kept_reason(container.name, "cpu_request", kept, current, request)
        request = kept
    request, reason = hold_for_autoscaler(context, container.name, "cpu", current, request)
    if limit is not None:
        limit = max(limit, request)
        reasons.append(text.cpu_limit(container.name, container.cpu_limit_cores, limit))
    sized = msgspec.structs.replace(container, cpu_request_cores=request, cpu_limit_cores=limit)
    return Sized(sized, (*reasons, *reason))


def size_memory(context: AnalysisContext, container: Container, used: Usage, model: BoundModel) -> Sized:
    """Sizes memory: the request covers the highest sample of the validity window.

    The limit is the request and a quarter (MEMORY_LIMIT_HEADROOM); without an OOM kill it never rises
    above what it is, unless the request needs it, and none is added where there is none.
    """
    hottest = np.fmax.reduce(used.values, axis=0)[None]
    bound = model.bound(hottest, validity_steps(context))
    peak = float(np.nanmax(hottest))
    leaking = leak_peak(hottest, validity_steps(context))
    wanted = bound.value if leaking is None else max(bound.value, leaking)
    cap = enforced_cap(container.memory_limit_bytes, peak)
    value = wanted if cap is None else min(wanted, cap)
    reasons = [text.memory_bound(context, container, bound, peak, value)]
    if leaking is not None:
        reasons.append(text.leaking(context, container.name, leaking))
    killed = oom_kills(context, container.name, used.begin, container.memory_limit_bytes)
    if killed is not None:
        value = max(wanted, killed.least_bytes)
        reasons.append(text.oom_killed(container.name, killed))
    request: float = whole_mebibytes(value)
    limit, current = container.memory_limit_bytes, container.memory_request_bytes
    if killed is None and limit is not None and value <= limit < request:
        request = limit  # rounding up must not pass the limit that caps it
    if current is not None and not (killed and request > current):
        kept = settled(current, request, SMALL_MEMORY_BYTES)
        reasons += kept_reason(container.name, "memory_request", kept, current, request)
        request = kept
    request, reason = hold_for_autoscaler(context, container.name, "memory", current, request)
    if limit is not None:
        limit = limit_for(limit, int(request), killed=killed is not None)
        reasons.append(text.memory_limit(container.name, container.memory_limit_bytes, limit))
    sized = msgspec.structs.replace(container, memory_request_bytes=int(request), memory_limit_bytes=limit)
    return Sized(sized, (*reasons, *reason))


def limit_for(current: int, request: int, *, killed: bool) -> int:
    """Returns the limit: the request and its headroom, within the module's rules."""
    headroom = whole_mebibytes(request * MEMORY_LIMIT_HEADROOM)
    wanted = max(headroom, current) if killed else max(request, min(headroom, current))
    return max(int(settled(current, wanted, SMALL_MEMORY_BYTES)), request)


def settled(current: float, wanted: float, small: float) -> float:
    """Returns the current value where the move to the wanted one would not be worth making."""
    move = abs(wanted - current)
    return current if move < SMALL_MOVE * current and move < small else wanted


def kept_reason(name: str, field: str, kept: float, current: float, wanted: float) -> list[Reason]:
    """Returns the reason why a value stays, where it does and another was wanted."""
    return [text.small_move(name, field, current, wanted)] if kept == current != wanted else []


def hold_for_autoscaler(
    context: AnalysisContext, name: str, resource: str, current: float | None, wanted: float
) -> tuple[float, tuple[Reason, ...]]:
    """Keeps a request that a HorizontalPodAutoscaler measures utilisation against from falling.

    Its target is a share of the request: a smaller request makes the same use look like more, so it adds
    replicas, each of which then uses less, and the next recommendation is smaller again.
    """
    hpa = context.snapshot.workload.state.hpa
    target = getattr(hpa, f"target_{resource}_utilization_percent", None)
    if target is None or current is None:
        return wanted, ()
    if wanted < current:
        return current, (text.held_for_autoscaler(name, resource, target, current, wanted),)
    return wanted, (
        text.autoscaler_shift(name, resource, target, current, wanted),
    ) if wanted > current else ()
