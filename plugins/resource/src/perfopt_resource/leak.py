"""Memory that only ever grows: where a straight line explains the daily peaks, it is carried forward."""

import numpy as np

from perfopt.plugin import Array

_BLOCKS_PER_VALIDITY = 7  # days, for a validity of a week
_MAX_BLOCKS = 14
_MIN_BLOCKS = 5
_MIN_FIT = 0.9  # share of the peaks' variance that the line explains
_MIN_RISE = 0.1  # of the highest peak, over the history


def leak_peak(values: Array, validity_steps: int) -> float | None:
    """Returns where a leak will have taken memory by the end of the validity window, or None.

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
    if not np.isfinite(peaks).all() or (np.diff(peaks) < 0).any():
        return None
    times = np.arange(count) - (count - 1) / 2
    spread = peaks - peaks.mean()
    slope = float(spread @ times / (times @ times))
    total = float(spread @ spread)
    rise = slope * (count - 1)
    if total == 0 or slope * slope * float(times @ times) < _MIN_FIT * total:
        return None
    return float(peaks[-1]) + slope * validity_steps / block if rise >= _MIN_RISE * peaks[-1] else None
