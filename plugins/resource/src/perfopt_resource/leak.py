"""Memory that only ever grows: a robust trend of its peaks, with an interval, carried forward.

Peaks of days follow each other closely, so a straight line through them looks surer than it is. The slope is
therefore fitted with Huber weights (one odd day hardly counts), and its error is that of Newey and West
(1987), which allows for errors that go on from day to day, or the ordinary one where that is larger. With
five to fourteen peaks even that is too small at times: what counts as a leak has its interval at LEAK_LEVEL
above zero, and little beside the trend. How often that is wrong is printed by
plugins/resource/tests/leak_report.py.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfopt.plugin import Array

SHOWN_LEVEL = 0.95
LEAK_LEVEL = 0.9999
_BLOCKS_PER_VALIDITY = 7  # days, for a validity of a week
_MAX_BLOCKS = 14
_MIN_BLOCKS = 5
_MIN_FIT = 0.95  # share of the peaks' variance that the trend explains
_MIN_RISE = 0.1  # of the highest peak, over the history
_MIN_ORDER = 0.7  # Kendall's tau of peaks and time: below it no trend explains so much
_LAGS_SHARE = 0.25  # of the blocks: how long errors go on
_ENDED_FALL = 1.5  # by which memory fell when a leak ended
_SAME_LEVEL = 1.25  # of the level after it: where the rise began
_LEVEL_STEPS = 12  # that tell this level
_MIN_RISE_STEPS = 48  # four hours of five minutes: what rises faster is a warm-up or load
_STEADY_SHARE = 0.05  # of the whole rise, in each fifth of it
_EXACT = 1e-9  # share of the variance that is left by rounding


@dataclass(frozen=True, slots=True)
class MemoryLeak:
    """A leak and its size.

    Attributes:
        peak: where it will have taken memory by the end of the validity window, bytes.
        slope: bytes a step.
        low, high: of the slope's interval at SHOWN_LEVEL.
    """

    peak: float
    slope: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class _PeakTrend:
    """A slope a block, its standard error, and the share of the variance that it explains."""

    slope: float
    error: float
    fit: float


def find_leak(values: Array, validity_steps: int) -> MemoryLeak | None:
    """Returns the leak of a container, or None.

    Args:
        values: bytes, shape (pods, n), NaN where missing.
        validity_steps: steps of the window, which begins where the values end.
    """
    hottest = np.fmax.reduce(values, axis=0)
    block = max(-(-validity_steps // _BLOCKS_PER_VALIDITY), -(-hottest.size // _MAX_BLOCKS))
    count = hottest.size // block
    if count < _MIN_BLOCKS:
        return None
    peaks = np.fmax.reduce(hottest[hottest.size - count * block :].reshape(count, block), axis=1)
    if not np.isfinite(peaks).all() or not _may_be_leak(peaks):
        return None
    trend = _robust_trend(peaks)
    if trend.fit < _MIN_FIT or trend.slope * (count - 1) < _MIN_RISE * peaks[-1]:
        return None
    if trend.slope <= _margin(trend, count, LEAK_LEVEL):
        return None
    margin = _margin(trend, count, SHOWN_LEVEL)
    return MemoryLeak(
        peak=float(peaks[-1]) + trend.slope * validity_steps / block,
        slope=trend.slope / block,
        low=(trend.slope - margin) / block,
        high=(trend.slope + margin) / block,
    )


def end_of_leak(values: Array, began: NDArray[np.bool_]) -> int | None:
    """Returns the step from which pods that no longer leak took the place of those that did, or None.

    Memory rose steadily by half and more, fell back when its containers began anew, and stayed below since,
    for longer than it rose before: at the same age the new ones use less, so the leak is gone. One whose
    rise is older than the history may only be younger, and is not taken to be gone.

    Args:
        values: bytes, shape (pods, n), NaN where missing.
        began: steps in which a container began anew, shape (n,).
    """
    hottest = np.fmax.reduce(values, axis=0)
    known = np.isfinite(hottest)
    if not known.any():
        return None
    highest = float(np.nanmax(hottest))
    above = np.flatnonzero(known & (hottest > highest / _ENDED_FALL))
    if not above.size:
        return None  # no memory was ever used
    end = int(above[-1]) + 1
    if end >= hottest.size or not began[max(end - 2, 0) : end + 3].any():
        return None
    low = float(np.nanmedian(hottest[end : end + _LEVEL_STEPS]))
    before = np.flatnonzero(known[:end] & (hottest[:end] <= _SAME_LEVEL * low))
    if not before.size:
        return None
    rise = end - int(before[-1])
    return (
        end
        if _MIN_RISE_STEPS <= rise <= hottest.size - end and _is_steady(hottest[end - rise : end])
        else None
    )


def _is_steady(rise: Array) -> bool:
    """Tells whether memory rose through all of a stretch, not at once nor up and down with load."""
    peaks = np.array(
        [np.nanmax(part) for part in np.array_split(rise, _MIN_BLOCKS) if np.isfinite(part).any()]
    )
    return peaks.size == _MIN_BLOCKS and bool((np.diff(peaks) > _STEADY_SHARE * (peaks[-1] - peaks[0])).all())


def _may_be_leak(peaks: Array) -> bool:
    """Returns whether a trend is worth fitting, which takes longer: peaks mostly rise, and by enough."""
    later, earlier = np.triu_indices(peaks.size, 1)[::-1]
    rises = peaks[later] - peaks[earlier]
    slope = float(np.median(rises / (later - earlier)))
    return bool(np.sign(rises).mean() >= _MIN_ORDER and slope * (peaks.size - 1) >= _MIN_RISE / 2 * peaks[-1])


def _robust_trend(peaks: Array) -> _PeakTrend:
    times = np.arange(peaks.size, dtype=np.float64) - (peaks.size - 1) / 2
    scale = float(np.ptp(peaks))
    scaled = (peaks - peaks.mean()) / scale
    slope = float(scaled @ times / (times @ times))
    if float(((scaled - slope * times) ** 2).sum()) <= _EXACT * float(scaled @ scaled):
        return _PeakTrend(slope * scale, 0.0, 1.0)  # nothing scatters: there is no error to estimate
    return _fitted(scaled, times, scale)


def _fitted(scaled: Array, times: Array, scale: float) -> _PeakTrend:
    from statsmodels.regression.linear_model import WLS
    from statsmodels.robust.robust_linear_model import RLM

    given = np.column_stack([np.ones(times.size), times])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few samples, which LEAK_LEVEL allows for
        weights = np.maximum(RLM(scaled, given).fit().weights, 1e-6)
        lags = max(int(_LAGS_SHARE * times.size), 1)
        plain = WLS(scaled, given, weights=weights).fit()
        related = plain.get_robustcov_results("HAC", maxlags=lags, use_correction=True, use_t=True)
    error = max(float(plain.bse[1]), float(related.bse[1]))
    return _PeakTrend(float(plain.params[1]) * scale, error * scale, float(plain.rsquared))


def _margin(trend: _PeakTrend, count: int, level: float) -> float:
    """Returns half the width of the slope's interval at a level, by Student's t."""
    if trend.error == 0:
        return 0.0
    from scipy.special import stdtrit

    return trend.error * float(stdtrit(count - 2, (1 + level) / 2))
