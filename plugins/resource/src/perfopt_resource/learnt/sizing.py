"""From a model's sizes to one container's requests and limits, with the reasons. Units: cores and bytes."""

from dataclasses import dataclass

import msgspec
import numpy as np

from perfopt.plugin import (
    CPU_FLOOR_CORES,
    AnalysisContext,
    Array,
    Container,
    Reason,
)
from perfopt_resource import text
from perfopt_resource.leak import leak_peak
from perfopt_resource.learnt import sentences
from perfopt_resource.learnt.observed import Observed
from perfopt_resource.sizing import (
    IDLE_CORES,
    OVER_LIMIT_HEADROOM,
    SMALL_CPU_CORES,
    SMALL_MEMORY_BYTES,
    hold_for_autoscaler,
    kept_reason,
    limit_for,
    settled,
    whole_mebibytes,
    whole_millicores,
)
from perfopt_resource.usage import validity_steps


@dataclass(frozen=True, slots=True)
class Sized:
    """A container with one resource sized.

    Attributes:
        container: the request and the limit set.
        reasons: why.
        sure_as: the size of which the model's probability is that of the request. A rule that lowers a
            size does so because demand will not pass the lower one, so the probability stays what it was:
            of 481 requests at a memory limit 99.8 % held, of 262 at a cpu limit 98.9 %, of 165 idle ones
            96.4 % (`report` half of bitbrains_rnd), where the model alone says 99.0, 96.7 and 54.8 %.
    """

    container: Container
    reasons: tuple[Reason, ...]
    sure_as: float


def under_cap(wanted: float, limit: float | None, peak: float) -> float:
    """Returns a size, at most what demand can't exceed: the limit.

    Where use was above the limit, the limit is not what holds it down; then no more than a tenth above
    the highest ever seen is assumed.
    """
    if limit is None or limit <= 0:
        return wanted
    return min(wanted, limit if peak <= limit else peak * OVER_LIMIT_HEADROOM)


def size_cpu(context: AnalysisContext, container: Container, seen: Observed, wanted: float) -> Sized:
    """Sizes cpu: the request covers the P99 of the validity window.

    The limit stays: it costs nothing, and one that follows the request down throttles. It rises only with
    throttling or with the request, and none is added where there is none.

    Args:
        context: the question.
        container: as it is.
        seen: of the container, its cpu usable.
        wanted: the model's size in cores.
    """
    values, throttled = seen.usable("cpu").values, seen.throttled
    peak = float(np.nanmax(values))
    value = wanted if throttled else under_cap(wanted, container.cpu_limit_cores, peak)
    lowered = value == container.cpu_limit_cores
    if not throttled and is_idle(values, peak):
        value, lowered = CPU_FLOOR_CORES, True
        reasons = [sentences.idle(container.name, values, peak)]
    else:
        reasons = [sentences.cpu_bound(context, container, seen, wanted, value)]
    limit = container.cpu_limit_cores
    if throttled is not None:
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
    return Sized(sized, (*reasons, *reason), _sure_as(request, value, wanted, lowered=lowered))


def _sure_as(request: float, value: float, wanted: float, *, lowered: bool) -> float:
    return max(request, wanted) if lowered and request >= value else request


def is_idle(values: Array, peak: float) -> bool:
    """Returns whether use is so small that the floor is enough: the peak, or the P99 of half the floor."""
    return peak <= CPU_FLOOR_CORES or (values > IDLE_CORES).sum() <= 0.01 * np.isfinite(values).sum()


def size_memory(context: AnalysisContext, container: Container, seen: Observed, wanted: float) -> Sized:
    """Sizes memory: the request covers the highest sample of the validity window.

    The limit is the request and a quarter (MEMORY_LIMIT_HEADROOM); without an OOM kill it never rises
    above what it is, unless the request needs it, and none is added where there is none.

    Args:
        context: the question.
        container: as it is.
        seen: of the container, its memory usable.
        wanted: the model's size in bytes.
    """
    hottest = np.fmax.reduce(seen.usable("memory").values, axis=0)[None]
    peak, killed = float(np.nanmax(hottest)), seen.killed
    leaking = leak_peak(hottest, validity_steps(context))
    grown = wanted if leaking is None else max(wanted, leaking)
    value = under_cap(grown, container.memory_limit_bytes, peak)
    lowered = killed is None and value == container.memory_limit_bytes
    reasons = [sentences.memory_bound(context, container, seen, peak, wanted, value)]
    if leaking is not None:
        reasons.append(text.leaking(context, container.name, leaking))
    if killed is not None:
        value = max(grown, killed.least_bytes)
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
    return Sized(sized, (*reasons, *reason), _sure_as(request, value, grown, lowered=lowered))
