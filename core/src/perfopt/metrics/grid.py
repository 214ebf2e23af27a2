"""From raw samples to one value a step: order, duplicates, gaps, nonsense and clock skew dealt with."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from perfopt.domain.recommendation import Coverage
from perfopt.metrics.catalogue import Aggregation, Metric
from perfopt.metrics.snapshot import Array, TimeGrid

Times = NDArray[np.int64]
_FINITE = float(np.finfo(np.float64).max)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class GridReport:
    """What was there of one series, and what was done to it.

    Attributes:
        expected: steps in which the series was alive.
        present: steps with at least one valid sample.
        filled: steps without one that took the last value before them.
        dropped: raw samples dropped, by reason: duplicate, nan, negative, implausible,
            future.
        resets: counter resets seen.
    """

    expected: int
    present: int
    filled: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    resets: int = 0

    def coverage(self) -> Coverage:
        """Returns the report as it stands in results."""
        return merge_reports([self])


def merge_reports(reports: Iterable[GridReport]) -> Coverage:
    """Returns the coverage of a metric from the reports of its pods."""
    expected = present = filled = resets = 0
    dropped: dict[str, int] = {}
    for report in reports:
        expected += report.expected
        present += report.present
        filled += report.filled
        resets += report.resets
        for reason, count in report.dropped.items():
            dropped[reason] = dropped.get(reason, 0) + count
    return Coverage(
        expected=expected,
        present=present,
        fraction=min(present / expected, 1.0) if expected else 0.0,
        filled=filled,
        dropped=dict(sorted(dropped.items())),
        resets=resets,
    )


def to_grid(
    times: Times, values: Array, grid: TimeGrid, metric: Metric, *, alive: tuple[int, int] | None = None
) -> tuple[Array, GridReport]:
    """Puts one series on the grid.

    Samples may come in any order. Of several at one millisecond the largest counts, so that the answer
    does not depend on the order they came in. NaN, infinite and negative values are dropped (no metric
    here can be negative), and so are values above the metric's ceiling, and everything at or after the
    grid's end: a clock that runs ahead must not bring the future in. Samples before the grid's start only
    seed a metric that is carried forward.

    Args:
        times: milliseconds since the epoch, shape (n,).
        values: shape (n,), in the metric's unit.
        grid: the steps wanted.
        metric: says how several samples in one step become one value, and whether the last value holds
            until the next.
        alive: the steps [first, last) in which the series existed. None: from its first sample to the
            grid's end. Coverage expects samples, and values are carried forward, in these steps only.

    Returns:
        One value a step, shape (grid.size,), NaN where there is none; and what was done.
    """
    times, values, dropped = _clean(
        np.asarray(times, np.int64), np.asarray(values, np.float64), grid, metric.ceiling
    )
    steps = (times - _milliseconds(grid.start)) // (grid.step_seconds * 1000)
    inside = int(np.searchsorted(steps, 0))
    result, present = _aggregate(steps[inside:], values[inside:], grid.size, metric.aggregation)
    seed = float(values[inside - 1]) if metric.carry_forward and inside else None
    first, last = alive or (_first_step(steps, inside, grid.size, seeded=seed is not None), grid.size)
    filled = _carry_forward(result, first, last, seed) if metric.carry_forward else 0
    return result, GridReport(expected=last - first, present=present, filled=filled, dropped=dropped)


def edges_without_rate(values: Array, first: int, last: int) -> int:
    """Returns how many of a pod's first and last steps have no value though the step beside them has one.

    A rate needs two scrapes, which a step in which a pod came or went may not have.

    Args:
        values: of one pod, one a step.
        first: step in which it came; the grid's first is none.
        last: step after the one in which it went; the grid's end is none.
    """
    known = np.isfinite(values[first:last])
    if known.size < 2:
        return 0
    begins = first > 0 and known[1] and not known[0]
    ends = last < values.size and known[-2] and not known[-1]
    return int(begins) + int(ends)


def step_aligned(instant: datetime, step: timedelta) -> datetime:
    """Returns the last step boundary at or before an instant."""
    return instant - (instant - _EPOCH) % step


def _milliseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(milliseconds=1)


def _clean(
    times: Times, values: Array, grid: TimeGrid, ceiling: float
) -> tuple[Times, Array, dict[str, int]]:
    dropped: dict[str, int] = {}
    end = _milliseconds(grid.end)
    with np.errstate(invalid="ignore"):
        plain = bool(((values >= 0) & (values <= min(ceiling, _FINITE)) & (times < end)).all())
    if plain and bool((times[1:] > times[:-1]).all()):
        return times, values, dropped  # what a server answers, nearly always
    keep = np.ones(len(values), dtype=bool)
    for reason, bad in (
        ("nan", ~np.isfinite(values)),
        ("negative", values < 0),
        ("implausible", values > ceiling),
        ("future", times >= end),
    ):
        if count := int(np.count_nonzero(keep & bad)):
            dropped[reason] = count
        keep &= ~bad
    if dropped:
        times, values = times[keep], values[keep]
    if np.any(times[1:] <= times[:-1]):
        order = np.lexsort((values, times))
        times, values = times[order], values[order]
        last_of_instant = np.append(times[1:] != times[:-1], True)
        if count := int(np.count_nonzero(~last_of_instant)):
            dropped["duplicate"] = count
            times, values = times[last_of_instant], values[last_of_instant]
    return times, values, dropped


def _aggregate(steps: Times, values: Array, size: int, how: Aggregation) -> tuple[Array, int]:
    """Reduces the samples of each step; steps are sorted and lie in [0, size)."""
    result = np.full(size, np.nan)
    if not len(steps):
        return result, 0
    if int(steps[-1] - steps[0]) == len(steps) - 1 and bool((np.diff(steps) == 1).all()):
        result[int(steps[0]) : int(steps[-1]) + 1] = values
        return result, len(steps)
    new = steps[1:] != steps[:-1]
    if new.all():
        result[steps] = values
        return result, len(steps)
    starts = np.flatnonzero(np.append(True, new))
    ends = np.append(starts[1:], len(steps))
    if how == "last":
        reduced = values[ends - 1]
    elif how == "max":
        reduced = np.maximum.reduceat(values, starts)
    elif how == "min":
        reduced = np.minimum.reduceat(values, starts)
    else:
        reduced = np.add.reduceat(values, starts)
        if how == "mean":
            reduced = reduced / (ends - starts)
    result[steps[starts]] = reduced
    return result, len(starts)


def _first_step(steps: Times, inside: int, size: int, *, seeded: bool) -> int:
    if seeded:
        return 0
    return int(steps[inside]) if inside < len(steps) else size


def _carry_forward(result: Array, first: int, last: int, seed: float | None) -> int:
    """Fills gaps of result[first:last] in place with the value before them; returns how many."""
    part = result[first:last]
    missing = np.isnan(part)
    if not missing.any():
        return 0
    source = np.maximum.accumulate(np.where(missing, -1, np.arange(len(part))))
    fill = missing & (source >= 0)
    part[fill] = part[source[fill]]
    leading = missing & (source < 0)
    if seed is not None:
        part[leading] = seed
        return int(np.count_nonzero(missing))
    return int(np.count_nonzero(fill))
