"""From a model's sizes to one container's requests and limits, with the reasons. Units: cores and bytes."""

import math
from dataclasses import dataclass
from datetime import timedelta

import msgspec
import numpy as np

from perfopt.plugin import (
    CPU_FLOOR_CORES,
    MEMORY_FLOOR_BYTES,
    AnalysisContext,
    Array,
    Container,
    Reason,
    utilization_target,
    validity_steps,
)
from perfopt_resource import text
from perfopt_resource.leak import find_leak
from perfopt_resource.model.features import ALLOWED
from perfopt_resource.observed import ObservedContainer

MEMORY_LIMIT_HEADROOM = 1.25
MEMORY_PEAK_HEADROOM = 1.2
LIMIT_FALLS_AFTER = timedelta(days=7)
"""A memory limit falls only with so long a history: what runs weekly is in it."""
WHOLE_FALLS_AFTER = timedelta(days=1)
MAX_SHORT_FALL = 0.5
"""Share of a request that a history shorter than WHOLE_FALLS_AFTER takes off at most: the next hours may be
those of a day that it has not seen."""
LIKELY = 0.5
SMALL_MOVE = 0.10
SMALL_CPU_CORES = 0.025
SMALL_MEMORY_BYTES = 32 * 2**20
_WINDOWS = 14  # of a history, in which the current request is looked at
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class SizedResource:
    """A container with one resource sized.

    Attributes:
        container: the request and the limit set.
        reasons: why.
        request: that was set, in cores or bytes.
    """

    container: Container
    reasons: tuple[Reason, ...]
    request: float


def whole_millicores(cores: float) -> float:
    """Returns cores rounded up to whole millicores, at least 10m."""
    return max(math.ceil(round(cores * 1000, 6)) / 1000, CPU_FLOOR_CORES)


def whole_mebibytes(size: float) -> int:
    """Returns bytes rounded up to whole MiB, at least 16Mi."""
    return max(math.ceil(round(size / _MIB, 6)) * _MIB, MEMORY_FLOOR_BYTES)


def size_cpu(
    context: AnalysisContext,
    container: Container,
    seen: ObservedContainer,
    wanted: float,
    enough: float = 1.0,
) -> SizedResource:
    """Sizes cpu: the request covers the P99 of the validity window.

    The limit stays: it costs nothing, and one that follows the request down throttles. It rises only with
    throttling or with the request, and none is added where there is none.

    Args:
        context: the question.
        container: as it is.
        seen: of the container, its cpu usable.
        wanted: the model's size in cores.
        enough: probability, by the model, that the current request is enough.
    """
    throttled, ceiling = seen.throttled, seen.features.ceilings.get("cpu")
    if ceiling is not None and wanted == ceiling.size == CPU_FLOOR_CORES:
        reasons = [text.idle(container.name, seen.usable("cpu").values)]
    else:
        reasons = [text.cpu_bound(context, container, seen, wanted)]
    limit = container.cpu_limit_cores
    if throttled is not None:
        reasons.append(text.throttled(container.name, throttled, wanted))
        limit = None if limit is None else whole_millicores(limit * (1 + throttled.worst))
    request = whole_millicores(wanted)
    current = container.cpu_request_cores
    if current is not None and not (throttled and request > current):
        request, reason = _moved(context, container.name, "cpu", seen, current, request, enough)
        reasons += reason
    request, held = hold_for_autoscaler(context, container.name, "cpu", current, request)
    if limit is not None:
        limit = max(limit, request)
        reasons.append(text.cpu_limit(container.name, container.cpu_limit_cores, limit))
    sized = msgspec.structs.replace(container, cpu_request_cores=request, cpu_limit_cores=limit)
    return SizedResource(sized, (*reasons, *held), request)


def size_memory(
    context: AnalysisContext,
    container: Container,
    seen: ObservedContainer,
    wanted: float,
    enough: float = 1.0,
) -> SizedResource:
    """Sizes memory: the request covers the highest sample of the validity window, and the observed peak.

    The limit is the request and a quarter (MEMORY_LIMIT_HEADROOM), and at least the observed peak and a
    fifth (MEMORY_PEAK_HEADROOM). Without an OOM kill it rises above what it is only for the peak or for the
    request, and none is added where there is none. It falls only with a week of history
    (LIMIT_FALLS_AFTER). After an OOM kill neither falls.

    Args:
        context: the question.
        container: as it is.
        seen: of the container, its memory usable.
        wanted: the model's size in bytes.
        enough: probability, by the model, that the current request is enough.
    """
    hottest = np.fmax.reduce(seen.usable("memory").values, axis=0)[None]
    killed, ceiling = seen.killed, seen.features.ceilings.get("memory")
    reasons = [text.memory_bound(context, container, seen, wanted)]
    leak = find_leak(hottest, validity_steps(context))
    value = wanted
    if leak is not None:
        value = max(wanted, leak.peak if ceiling is None else min(leak.peak, ceiling.size))
        reasons.append(text.leaking(context, container.name, leak))
    if killed is not None:
        value = max(value, killed.least_bytes)
        reasons.append(text.oom_killed(container.name, killed))
    peak = float(np.nanmax(hottest))
    if value < peak:
        value = peak
        reasons.append(text.raised_to_peak(container.name, peak))
    request: float = whole_mebibytes(value)
    limit, current = container.memory_limit_bytes, container.memory_request_bytes
    if killed is None and limit is not None and value <= limit < request:
        request = limit  # rounding up must not pass the limit that caps it
    if killed is not None and current is not None and request < current:
        reasons.append(text.held_after_kill(container.name, current, request))
        request = current
    elif current is not None and not (killed and request > current):
        leaking = leak is not None and leak.peak > current
        request, reason = _moved(
            context, container.name, "memory", seen, current, request, 0.0 if leaking else enough
        )
        reasons += reason
    request, held = hold_for_autoscaler(context, container.name, "memory", current, request)
    if limit is not None:
        wanted_limit = limit_for(limit, int(request), peak, killed=killed is not None)
        known = hottest.shape[1] * context.snapshot.grid.step
        limit = wanted_limit if known >= LIMIT_FALLS_AFTER else max(limit, wanted_limit)
        reasons.append(text.memory_limit(container.name, container.memory_limit_bytes, limit))
        if limit > wanted_limit:
            reasons.append(text.limit_kept(container.name, limit, wanted_limit, known, LIMIT_FALLS_AFTER))
    sized = msgspec.structs.replace(container, memory_request_bytes=int(request), memory_limit_bytes=limit)
    return SizedResource(sized, (*reasons, *held), request)


def _moved(
    context: AnalysisContext,
    name: str,
    resource: str,
    seen: ObservedContainer,
    current: float,
    wanted: float,
    enough: float,
) -> tuple[float, list[Reason]]:
    """Returns the request to set: the current one where the move is small, or a raise lacks evidence.

    With less than a day of history a request falls by half at most. Evidence is a window of the history in
    which the current request would have been too small, or a forecast by which it will more likely be too
    small than enough.
    """
    field = f"{resource}_request"
    known = seen.usable(resource).values.shape[1] * context.snapshot.grid.step
    lowest = current * (1 - MAX_SHORT_FALL)
    if wanted < lowest and known < WHOLE_FALLS_AFTER:
        rounded = whole_millicores(lowest) if resource == "cpu" else whole_mebibytes(lowest)
        return rounded, [text.fall_bounded(name, field, current, wanted, known, WHOLE_FALLS_AFTER)]
    if wanted > current:
        failed = staying_failed(resource, seen.usable(resource).values, current, validity_steps(context))
        if not failed and enough >= LIKELY:
            return current, [text.no_evidence(name, field, current, wanted)]
        if resource == "memory" and failed:
            return wanted, []
    kept = settled(current, wanted, SMALL_CPU_CORES if resource == "cpu" else SMALL_MEMORY_BYTES)
    return kept, kept_reason(name, field, kept, current, wanted)


def staying_failed(resource: str, values: Array, request: float, steps: int) -> bool:
    """Returns whether a request would have been too small in any window of the history.

    Args:
        resource: "cpu" or "memory".
        values: shape (pods, n), NaN where missing.
        request: in cores or bytes.
        steps: length of a window, the validity; a shorter history is one window.
    """
    above, present = (values > request).sum(axis=0), np.isfinite(values).sum(axis=0)
    last = max(values.shape[1] - steps, 0)
    for start in np.unique(np.linspace(0, last, _WINDOWS).astype(int)):
        window = slice(start, start + steps)
        if above[window].sum() > ALLOWED[resource] * present[window].sum():
            return True
    return False


def limit_for(current: int, request: int, peak: float, *, killed: bool) -> int:
    """Returns the limit: the request and its headroom, the peak and its own, within the module's rules."""
    headroom = whole_mebibytes(request * MEMORY_LIMIT_HEADROOM)
    least = max(request, whole_mebibytes(peak * MEMORY_PEAK_HEADROOM))
    wanted = max(headroom, current, least) if killed else max(least, min(headroom, current))
    return max(int(settled(current, wanted, SMALL_MEMORY_BYTES)) if current >= least else wanted, request)


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
    target = utilization_target(context.snapshot.workload.state, resource)
    if target is None or current is None:
        return wanted, ()
    if wanted < current:
        return current, (text.held_for_autoscaler(name, resource, target, current, wanted),)
    return wanted, (
        text.autoscaler_shift(name, resource, target, current, wanted),
    ) if wanted > current else ()
