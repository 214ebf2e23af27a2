"""What the sizing rule looks at in a history of use: a few logarithms of quantiles and their spread.

History is cut, from its end backwards, into at most 14 blocks of a seventh of the validity or more
(days, for 14 days of history and a validity of 7). So 12 hours of history for the next 6 look to the
rule as 14 days for the next 7.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MAXIMUM_BLOCKS = 14
BLOCKS_PER_VALIDITY = 7
_HALF_LIFE_BLOCKS = 3.0
_SEGMENTS = 24
_LEAST_BLOCK_COVERAGE = 0.2


@dataclass(frozen=True, slots=True)
class Blocks:
    """A history cut in blocks, values in logarithms.

    Attributes:
        recent: pooled samples of the blocks, oldest first, shape (blocks, n), each row sorted, NaN last.
        everything: all samples, sorted, finite.
        segments: peaks by position in the block (time of day for daily blocks), shape (blocks, 24).
    """

    recent: Array
    everything: Array
    segments: Array

    @property
    def count(self) -> int:
        """How many blocks there are."""
        return len(self.recent)


def cut(values: Array, validity_steps: int, floor: float) -> Blocks:
    """Cuts a history into blocks.

    Args:
        values: use, shape (pods, n), NaN where missing; the first column has a sample.
        validity_steps: steps of the validity window.
        floor: the least value that matters; half of it is the least logarithm's argument.
    """
    size = values.shape[1]
    block = max(-(-validity_steps // BLOCKS_PER_VALIDITY), -(-size // MAXIMUM_BLOCKS), 1)
    block = min(block, size)
    count = size // block
    with np.errstate(invalid="ignore"):
        logs = np.log(np.maximum(values, floor / 2))
    tail = logs[:, size - count * block :].reshape(len(values), count, block)
    pooled = tail.transpose(1, 0, 2).reshape(count, -1)
    recent = np.sort(pooled, axis=1)
    everything = np.sort(logs[np.isfinite(logs)])
    return Blocks(recent, everything, _segments(tail))


def _segments(tail: Array) -> Array:
    """Returns the highest sample in each 24th of each block, shape (blocks, segments); NaN where none."""
    peaks = np.fmax.reduce(tail, axis=0)
    starts = np.unique(np.arange(_SEGMENTS) * peaks.shape[1] // _SEGMENTS)
    result: Array = np.fmax.reduceat(peaks, starts, axis=1)
    return result


def quantile(ordered: Array, level: float) -> float:
    """Returns the smallest sample that at least `level` of the samples do not exceed."""
    return float(ordered[max(math.ceil(level * ordered.size - 1e-9) - 1, 0)])


def block_quantiles(blocks: Blocks, level: float) -> Array:
    """Returns the quantile of each block that has enough samples, oldest first, shape (k,), k >= 1."""
    counts = np.isfinite(blocks.recent).sum(axis=1)
    rows = np.flatnonzero(counts >= _LEAST_BLOCK_COVERAGE * blocks.recent.shape[1])
    if not rows.size:
        return np.array([quantile(blocks.everything, level)])
    at = np.maximum(np.ceil(level * counts[rows] - 1e-9).astype(np.int64) - 1, 0)
    found: Array = blocks.recent[rows, at]
    return found


def own_errors(blocks: Blocks) -> Array:
    """Returns the errors of "the P99 stays what it was on average" at rolling origins in the history.

    At each block the forecast is the mean of the blocks before it, which is all that was known then.
    In logarithms, shape (origins,); empty with a single block.
    """
    peaks = block_quantiles(blocks, 0.99)
    known = np.cumsum(peaks) / np.arange(1, peaks.size + 1)
    errors: Array = peaks[1:] - known[:-1]
    return errors


def features(blocks: Blocks) -> dict[str, float]:
    """Returns every feature by name: natural logarithms of use, their differences and spreads."""
    everything = blocks.everything
    p99, top = quantile(everything, 0.99), float(everything[-1])
    return {
        "p99": p99,
        "max": top,
        "p99_below_max": top - p99,
        "p98_below_p99": p99 - quantile(everything, 0.98),
        "median_below_max": top - quantile(everything, 0.5),
        "decayed_max": _decayed(block_quantiles(blocks, 1.0)) - top,
        "own_error": _root_mean_square(own_errors(blocks)),
        "above_season": _above_season(blocks.segments),
        "blocks": math.log(blocks.count / MAXIMUM_BLOCKS),
    }


def _root_mean_square(values: Array) -> float:
    return math.sqrt(float((values**2).mean())) if values.size else 0.0


def _decayed(values: Array) -> float:
    """Returns the mean with a half-life of three blocks."""
    weights = 0.5 ** (np.arange(values.size - 1, -1, -1) / _HALF_LIFE_BLOCKS)
    return float(values @ weights / weights.sum())


def _above_season(segments: Array) -> float:
    """Returns how far the worst peak stood above what is usual at its time of day."""
    known = segments[:, np.isfinite(segments).any(axis=0)]
    if not known.size:
        return 0.0
    ordered = np.sort(known, axis=0)  # NaN last
    middle = (np.isfinite(known).sum(axis=0) - 1) // 2
    usual = ordered[middle, np.arange(known.shape[1])]
    return float(np.fmax.reduce(known - usual, axis=None))
