"""What a container's history says: what counts of it, whether it is enough, and signs of shortage."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from perfopt.plugin import (
    AnalysisContext,
    Array,
    InsufficientHistory,
    PodSeries,
    check_history,
    enough_since,
    steps_with_samples,
    throttling,
)
from perfopt_resource.leak import end_of_leak

Flags = NDArray[np.bool_]

OOM_FACTOR = 1.2  # VPA's bump after an OOM kill: a fifth more,
OOM_MIN_BYTES = 100 * 2**20  # and at least 100 MiB


@dataclass(frozen=True, slots=True)
class ResourceUsage:
    """A container's use of one resource, from its first sample that counts.

    Attributes:
        values: shape (pods, n), NaN where missing.
        begin: step of the snapshot's grid at which the values begin.
        image_change: when the image changed, where only the history since then is used.
        leak_ended: when pods that leaked were replaced by some that don't, where only the history since then
            is used.
    """

    values: Array
    begin: int
    image_change: datetime | None
    leak_ended: datetime | None = None


def usage(context: AnalysisContext, container: str, metric: str) -> ResourceUsage | InsufficientHistory:
    """Returns the history of a metric that counts, or why it is not enough."""
    snapshot = context.snapshot
    series = snapshot.series(container, metric)
    values = np.zeros((1, 0)) if series is None else _finite(series.values)
    present = steps_with_samples(values)
    begin = check_history(context, present, container, metric)
    if isinstance(begin, InsufficientHistory):
        return begin
    at = None
    if (changed := _image_change(context, container, present, begin)) is not None:
        begin, at = changed
    if metric == "memory_bytes":
        ended = end_of_leak(values[:, begin:], _restarts(context, container)[begin:])
        if ended is not None and enough_since(context, present, begin + ended):
            begin += ended
            return ResourceUsage(
                values[:, begin:], begin, at, snapshot.grid.start + begin * snapshot.grid.step
            )
    return ResourceUsage(values[:, begin:], begin, at)


def _restarts(context: AnalysisContext, container: str) -> Flags:
    """Returns the steps around which the container began anew: restarts, OOM kills, new pods."""
    snapshot = context.snapshot
    began: Flags = np.zeros(snapshot.grid.size, dtype=bool)
    for metric in ("restarts", "oom_kills"):
        series = snapshot.series(container, metric)
        if series is not None and series.values.size:
            began |= (series.values > 0).any(axis=0)
    for start in snapshot.starts:
        born = (start.ready - timedelta(seconds=start.seconds) - snapshot.grid.start) // snapshot.grid.step
        if 0 <= born < began.size:
            began[born] = True
    return began


def _image_change(
    context: AnalysisContext, container: str, present: Flags, first: int
) -> tuple[int, datetime] | None:
    """Returns where the history of the latest image begins, where that is history enough, and since when."""
    grid = context.snapshot.grid
    changes = [change.at for change in context.snapshot.image_changes if change.container == container]
    if not changes:
        return None
    since = -(-(changes[-1] - grid.start) // grid.step)
    if since <= first or not enough_since(context, present, since):
        return None
    return since + int(present[since:].argmax()), changes[-1]


def _finite(values: Array) -> Array:
    return np.where(np.isinf(values), np.nan, values) if np.isinf(values).any() else values


@dataclass(frozen=True, slots=True)
class HiddenDemand:
    """CPU demand that throttling hid.

    Attributes:
        share: share of throttled steps.
        worst: the P99 of the throttled fraction.
        demand: use as it would have been, at least, without throttling; shape of the use.
    """

    share: float
    worst: float
    demand: Array


def hidden_demand(context: AnalysisContext, container: str, used: ResourceUsage) -> HiddenDemand | None:
    """Returns what throttling hid, or None where a container was not throttled.

    A container throttled in a fraction f of its periods wanted more in each of them; taking its demand
    as use * (1 + f) is what Kruize does. It never lowers use.
    """
    seen = throttling(context.snapshot, container, used.begin)
    if seen is None or not seen.considerable:
        return None
    worst = float(np.nanquantile(seen.fractions, 0.99))
    return HiddenDemand(seen.share, worst, used.values * (1 + np.nan_to_num(seen.fractions)))


@dataclass(frozen=True, slots=True)
class OomKills:
    """OOM kills that were seen.

    Attributes:
        count: how many.
        held_bytes: the larger of use and limit at the worst of them.
        least_bytes: what memory must be at least after them.
    """

    count: int
    held_bytes: float
    least_bytes: float


def oom_kills(
    context: AnalysisContext, container: str, begin: int, current_limit: int | None
) -> OomKills | None:
    """Returns the OOM kills since a step and what follows from them, or None.

    The rule is VPA's: max(1.2 * held, held + 100 MiB), where held is the larger of the limit at the kill
    and the use around it.
    """
    snapshot = context.snapshot
    series = snapshot.series(container, "oom_kills")
    if series is None or not series.values.size:
        return None
    kills = np.where(series.values > 0, series.values, 0.0).sum(axis=0)
    steps = np.flatnonzero(kills[begin:]) + begin
    if not steps.size:
        return None
    held = 0.0
    for step in steps:
        around = slice(max(int(step) - 1, 0), int(step) + 1)
        peak = _highest(snapshot.series(container, "memory_bytes"), around)
        limit = _highest(snapshot.series(container, "memory_limit_bytes"), around)
        held = max(held, peak, limit or float(current_limit or 0))
    return OomKills(round(float(kills[steps].sum())) or 1, held, max(held * OOM_FACTOR, held + OOM_MIN_BYTES))


def _highest(series: PodSeries | None, steps: slice) -> float:
    """Returns the highest sample in the steps over all pods, 0 without one."""
    if series is None:
        return 0.0
    values = series.values[:, steps]
    values = values[np.isfinite(values)]
    return float(values.max()) if values.size else 0.0
