"""Puts rows that were read at longer steps on the steps of a grid. Pure."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from perfopt.metrics.catalogue import METRICS
from perfopt.metrics.grid import Times
from perfopt.metrics.snapshot import TimeGrid
from perfopt.sources.prometheus.answer import RangeSeries
from perfopt.sources.prometheus.packing import Lifetime
from perfopt.sources.prometheus.rows import SeriesRow

Flags = NDArray[np.bool_]


def spread(rows: Sequence[SeriesRow], grid: TimeGrid) -> list[SeriesRow]:
    """Puts rows that were read at longer steps on the steps of the grid.

    A value holds throughout its stretch: what is measured, in the steps in which the container has other
    samples; what is declared, from the pod's first measured step to its last, as in the first and the last
    stretch nothing else tells when it came and went.
    """
    sampled: dict[tuple[str, str], list[Times]] = defaultdict(list)
    for row in rows:
        if row.coarse is None and row.container and is_measured(row) and len(row.series.times):
            sampled[row.pod, row.container].append(row.series.times)
    lives: dict[str, Lifetime] = {}
    for (pod, _), parts in sampled.items():
        first, last = min(times[0] for times in parts), max(times[-1] for times in parts)
        known = lives.get(pod, (first, last))
        lives[pod] = min(first, known[0]), max(last, known[1])
    return [
        row if row.coarse is None else _spread(row, grid, lives.get(row.pod), sampled[row.pod, row.container])
        for row in rows
    ]


def _spread(row: SeriesRow, grid: TimeGrid, life: Lifetime | None, sampled: Sequence[Times]) -> SeriesRow:
    step, begins = grid.step_seconds * 1000, row.series.times
    width = int((row.coarse or grid.step) / grid.step)
    if not (sampled and is_measured(row)) and _lasts(row.series, step * width):
        return replace(row, series=_steady(row.series, grid, step * width, life), coarse=None)
    times = (begins[:, None] + step * np.arange(width)).ravel()
    values = np.repeat(row.series.values, width)
    if len(begins):
        kept = _within(times, int(begins[0]), int(begins[-1]), step * width, life, step)
        if sampled and is_measured(row):
            kept &= _among(times, np.concatenate(sampled), step)
        kept &= times >= int(grid.start.timestamp()) * 1000
        times, values = times[kept], values[kept]
    return replace(row, series=RangeSeries(row.series.labels, times, values), coarse=None)


def _lasts(series: RangeSeries, width: int) -> bool:
    """Returns whether a series has one value throughout, in stretches of a width (ms) without a gap."""
    times, values = series.times, series.values
    whole = bool(len(times)) and int(times[-1] - times[0]) == (len(times) - 1) * width
    return whole and bool((values == values[0]).all())


def _steady(series: RangeSeries, grid: TimeGrid, width: int, life: Lifetime | None) -> RangeSeries:
    """Returns a series of one value at the steps of the grid; what `_spread` does for any other."""
    step, begin, end = grid.step_seconds * 1000, int(series.times[0]), int(series.times[-1])
    first, last = _bounds(begin, end, width, life, step)
    first = begin + -((begin - max(first, int(grid.start.timestamp()) * 1000)) // step) * step
    times = np.arange(first, min(last, end + width - step) + 1, step)
    return RangeSeries(series.labels, times, np.full(len(times), series.values[0]))


def _within(times: Times, begin: int, end: int, width: int, life: Lifetime | None, step: int) -> Flags:
    """Returns which times lie in a pod's life; at least one of its first stretch and one of its last."""
    first, last = _bounds(begin, end, width, life, step)
    return (times >= first) & (times <= last)


def _bounds(begin: int, end: int, width: int, life: Lifetime | None, step: int) -> tuple[int, int]:
    first, last = life or (begin + width - step, end)
    first = min(max(first, begin), begin + width - step)
    return first, max(last, end, first)


def _among(times: Times, sampled: Times, step: int) -> Flags:
    """Returns which times are among others; all are at whole steps of a grid."""
    first, last = int(times[0]), int(times[-1])
    there: Flags = np.zeros((last - first) // step + 1, dtype=bool)
    inside = sampled[(sampled >= first) & (sampled <= last)]
    there[(inside - first) // step] = True
    return there[(times - first) // step]


def is_measured(row: SeriesRow) -> bool:
    """Returns whether a row holds what is measured, not declared or counted."""
    return METRICS[row.metric].aggregation in ("mean", "max", "min")
