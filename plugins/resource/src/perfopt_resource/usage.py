"""What a container's history says: what counts of it, whether it is enough, and signs of shortage."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from perfopt.plugin import AnalysisContext, Array, DeclineCode, PodSeries, WorkloadSnapshot

Flags = NDArray[np.bool_]

MIN_HISTORY = (3, 7)  # parts of the validity (DESIGN.md section 3)
MIN_COVERAGE = 0.6
THROTTLED_FRACTION = 0.05
OOM_FACTOR = 1.2  # VPA's bump after an OOM kill: a fifth more,
OOM_MIN_BYTES = 100 * 2**20  # and at least 100 MiB


@dataclass(frozen=True, slots=True)
class Usage:
    """A container's use of one resource, from its first sample that counts.

    Attributes:
        values: shape (pods, n), NaN where missing.
        begin: step of the snapshot's grid at which the values begin.
        image_change: when the image changed, where only the history since then is used.
    """

    values: Array
    begin: int
    image_change: datetime | None


@dataclass(frozen=True, slots=True)
class Unusable:
    """Why a container's use of a resource can't be sized."""

    code: DeclineCode
    reason: str


def usage(context: AnalysisContext, container: str, metric: str) -> Usage | Unusable:
    """Returns the history of a metric that counts, or why it is not enough."""
    snapshot = context.snapshot
    series = snapshot.series(container, metric)
    present = _present(series)
    if series is None or not present.any():
        return Unusable(DeclineCode.NO_DATA, f"{container} has no {metric}")
    first = int(present.argmax())
    least = least_steps(context)
    if present.size - first < least:
        hours = (present.size - first) * snapshot.grid.step_seconds / 3600
        needed = least * snapshot.grid.step_seconds / 3600
        return Unusable(
            DeclineCode.SHORT_HISTORY,
            f"{container} has {hours:.1f} h of {metric}, {needed:.1f} h (3/7 of the validity) are needed",
        )
    covered = snapshot.covered(present[first:], first)
    if covered < MIN_COVERAGE:
        return Unusable(
            DeclineCode.LOW_COVERAGE,
            f"{container} has {covered:.0%} of its samples of {metric}, {MIN_COVERAGE:.0%} are needed",
        )
    return _since_image_change(snapshot, container, series, present, first, least)


def least_steps(context: AnalysisContext) -> int:
    """Returns how many steps of history are needed at least."""
    parts, of = MIN_HISTORY
    return -(-validity_steps(context) * parts // of)


def validity_steps(context: AnalysisContext) -> int:
    """Returns the steps of the validity window, at least one."""
    return max(-(-context.validity // context.snapshot.grid.step), 1)


def _present(series: PodSeries | None) -> Flags:
    if series is None:
        return np.zeros(0, dtype=np.bool_)
    found: Flags = np.isfinite(series.values).any(axis=0)
    return found


def _since_image_change(
    snapshot: WorkloadSnapshot,
    container: str,
    series: PodSeries,
    present: Flags,
    first: int,
    least: int,
) -> Usage:
    """Leaves out what another image did, where enough remains without it."""
    changes = [change.at for change in snapshot.image_changes if change.container == container]
    if changes:
        since = -(-(changes[-1] - snapshot.grid.start) // snapshot.grid.step)
        rest = present[since:]
        if first < since <= present.size - least and snapshot.covered(rest, since) >= MIN_COVERAGE:
            begin = since + int(rest.argmax())
            return Usage(_finite(series.values[:, begin:]), begin, changes[-1])
    return Usage(_finite(series.values[:, first:]), first, None)


def _finite(values: Array) -> Array:
    return np.where(np.isinf(values), np.nan, values) if np.isinf(values).any() else values


@dataclass(frozen=True, slots=True)
class Throttling:
    """CPU throttling that was seen.

    Attributes:
        share: share of steps with more than 5 % throttled periods.
        worst: the P99 of the throttled fraction.
        demand: use as it would have been, at least, without throttling; shape of the use.
    """

    share: float
    worst: float
    demand: Array


def throttling(context: AnalysisContext, container: str, used: Usage) -> Throttling | None:
    """Returns what throttling hid, or None where 5-minute steps were throttled in less than 1 %.

    A container throttled in a fraction f of its periods wanted more in each of them; taking its demand
    as use * (1 + f) is what Kruize does. It never lowers use.
    """
    series = context.snapshot.series(container, "cpu_throttled_fraction")
    if series is None or not series.values.size:
        return None
    fractions = np.fmax.reduce(series.values[:, used.begin :], axis=0)
    known = np.isfinite(fractions)
    if not known.any():
        return None
    share = float((fractions[known] > THROTTLED_FRACTION).mean())
    if share < 0.01:
        return None
    fractions = np.where(known, np.clip(fractions, 0.0, 1.0), 0.0)
    return Throttling(share, float(np.quantile(fractions[known], 0.99)), used.values * (1 + fractions))


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
    found = series.values[:, steps]
    found = found[np.isfinite(found)]
    return float(found.max()) if found.size else 0.0
