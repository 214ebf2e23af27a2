"""Counters that jump, or fall, and come back: the rates that this makes. Pure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfopt.sources.prometheus.answer import RangeSeries

_NEIGHBOURS = 6  # steps on each side
_OUT_OF_PROPORTION = 5.0

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class WithoutJumps:
    """A series of rates without those that a jump made; `count` of them were left out."""

    series: RangeSeries
    count: int = 0


def spikes(series: RangeSeries) -> Flags:
    """Returns which values are out of all proportion to the median of those around them."""
    values = series.values
    flags: Flags = np.zeros(values.size, dtype=bool)
    if not np.isfinite(values).any():
        return flags
    # A value that is not out of proportion to the smallest one around it is not to their median.
    padded = np.pad(values, _NEIGHBOURS, constant_values=np.nan)
    odd = np.flatnonzero(values > _OUT_OF_PROPORTION * _lowest(padded, 2 * _NEIGHBOURS + 1))
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * _NEIGHBOURS + 1)[odd]
    around = np.where(np.isnan(around), values[odd, None], around)
    flags[odd] = values[odd] > _OUT_OF_PROPORTION * np.median(around, axis=1)
    return flags


def _lowest(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Returns the smallest of each stretch of a width; NaN only where all of it is."""
    lowest, covered = values, 1
    while covered < width:
        shift = min(covered, width - covered)
        lowest = np.fmin(lowest[:-shift], lowest[shift:])
        covered += shift
    return lowest


def without_jumps(series: RangeSeries, resets: RangeSeries | None, step_ms: int) -> WithoutJumps:
    """Leaves out spikes at which the counter fell, which a rate takes for growth from zero.

    A counter that starts again at zero makes no spike; one that falls and comes back does, and so does one
    that jumps and falls back.

    Args:
        series: rates, times are starts of steps.
        resets: how often the counter fell in the windows of each step and the one before; None is never.
        step_ms: length of a step.
    """
    if resets is None:
        return WithoutJumps(series)
    fell = resets.times[resets.values > 0]
    near = np.isin(series.times, np.concatenate((fell, fell - step_ms)))
    bad = spikes(series) & near
    if not bad.any():
        return WithoutJumps(series)
    keep = ~bad
    return WithoutJumps(RangeSeries(series.labels, series.times[keep], series.values[keep]), int(bad.sum()))
