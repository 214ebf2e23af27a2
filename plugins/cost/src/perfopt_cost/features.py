"""Features of a history of use that bound the window after it: a few logarithms and their differences.

History is cut, from its end backwards, into at most 14 blocks of a seventh of the validity or more: days, for
two weeks of history and a validity of one.
"""

import math
from dataclasses import dataclass

import numpy as np

from perfopt.plugin import Array

MAX_BLOCKS = 14
BLOCKS_PER_VALIDITY = 7
HALF_LIFE_BLOCKS = 3.0
MIN_SPREAD = 0.02  # added to a spread before its logarithm: 2 % is the noise of measuring
LOCATION = ("recent", "decayed")
SPREAD = ("above", "below", "own_error", "median", "level", "blocks")


@dataclass(frozen=True, slots=True)
class UsageFeatures:
    """A history in numbers.

    Attributes:
        reference: the P99 (cpu) or the maximum (memory), in the unit of the values.
        location: how far recent peaks are from the reference, in logarithms, shape (len(LOCATION),).
        spread: logarithms of how much the history varies, of its level and its length, shape (len(SPREAD),).
    """

    reference: float
    location: Array
    spread: Array


def usage_features(values: Array, validity_steps: int, level: float, floor: float) -> UsageFeatures:
    """Returns the features of a history.

    Args:
        values: use, shape (pods, n), NaN where missing; at least one sample.
        validity_steps: steps of the validity window.
        level: 0.99 for the P99, 1.0 for the maximum.
        floor: the least value that matters; half of it is the least logarithm's argument.
    """
    size = values.shape[1]
    block = min(max(-(-validity_steps // BLOCKS_PER_VALIDITY), -(-size // MAX_BLOCKS), 1), size)
    count = size // block
    present = np.isfinite(values).any(axis=0)
    if not present[size - count * block :].any():  # nothing ran lately: of a job, the time in which it ran
        return usage_features(values[:, present], validity_steps, level, floor)
    with np.errstate(invalid="ignore"):
        logs = np.log(np.maximum(values, floor / 2))
    everything = logs[np.isfinite(logs)]
    at = [_rank(everything.size, share) for share in (0.5, 0.98, level)]
    ordered = np.partition(everything, sorted({*at}))
    median, below, reference = (float(ordered[rank]) for rank in at)
    tail = logs[:, size - count * block :].reshape(len(logs), count, block)
    peaks = _block_levels(tail.transpose(1, 0, 2).reshape(count, -1), level)
    spreads = (float(everything.max()) - reference, reference - below, _own_error(peaks), reference - median)
    return UsageFeatures(
        reference=math.exp(reference),
        location=np.array([float(peaks[-2:].max()) - reference, _decayed(peaks) - reference]),
        spread=np.array(
            [
                *(math.log(max(spread, 0.0) + MIN_SPREAD) for spread in spreads),
                max(reference, math.log(floor)),
                math.log(count / MAX_BLOCKS),
            ]
        ),
    )


def _rank(size: int, share: float) -> int:
    return max(math.ceil(share * size - 1e-9) - 1, 0)


def _block_levels(blocks: Array, level: float) -> Array:
    """Returns the quantile of each block that has samples, oldest first, shape (k,), k >= 1."""
    counts = np.isfinite(blocks).sum(axis=1)
    rows = np.flatnonzero(counts)
    if level >= 1.0:
        highest: Array = np.fmax.reduce(blocks[rows], axis=1)
        return highest
    ordered = np.sort(blocks[rows], axis=1)  # NaN last
    at = np.maximum(np.ceil(level * counts[rows] - 1e-9).astype(np.int64) - 1, 0)
    return ordered[np.arange(rows.size), at]


def _own_error(peaks: Array) -> float:
    """Returns the typical error of "the mean of the blocks before" at rolling origins in the history."""
    if peaks.size < 2:
        return 0.0
    known = np.cumsum(peaks)[:-1] / np.arange(1, peaks.size)
    return math.sqrt(float(((peaks[1:] - known) ** 2).mean()))


def _decayed(peaks: Array) -> float:
    weights = 0.5 ** (np.arange(peaks.size - 1, -1, -1) / HALF_LIFE_BLOCKS)
    return float(peaks @ weights / weights.sum())
