"""Throttling, saturation, latency: paired differences of canary and control, block by block. Pure.

What both see at the same time (load, hour, market open) cancels in the difference. Within a block samples
depend on each other, so a block is one observation, as long as the workload's own past shows it must be.
"""

import numpy as np

from perfopt.metrics.snapshot import Array
from perfopt_api.apply.verification.bounds import ConfidenceSequence

MIN_BLOCKS = 10
"""The bounds are asymptotic: with fewer blocks there are none."""

_BLOCK_LENGTHS = (1, 2, 3, 5, 10, 20, 30, 60)


def mean_difference(differences: Array, alpha: float, beta: float, expected: int) -> ConfidenceSequence:
    """Returns bounds of the mean of differences after each block.

    An asymptotic confidence sequence for each side, tightest after `expected` blocks: Waudby-Smith, Arbour,
    Sinha, Kennedy and Ramdas, Time-uniform central limit theory and asymptotic confidence sequences.

    Args:
        differences: canary minus control of each block, shape (blocks,); blocks with NaN are left out.
        alpha: probability that the mean is ever below the lower bound, in (0, 1/2).
        beta: probability that it is ever above the upper bound, in (0, 1/2).
        expected: after so many blocks one wants to know, at least 1.

    Returns:
        Bounds of the mean in the unit of the differences, one for each block; infinite before MIN_BLOCKS.
    """
    known = np.isfinite(differences)
    count = np.cumsum(known)
    values = np.where(known, differences, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.cumsum(values) / count
        variance = np.maximum(np.cumsum(values**2) / count - mean**2, 0.0) * count / (count - 1)
        below, above = (np.sqrt(variance) * _width(count, each, max(expected, 1)) for each in (alpha, beta))
    enough = count >= MIN_BLOCKS
    return ConfidenceSequence(
        estimate=np.where(count > 0, mean, np.nan),
        lower=np.where(enough, mean - below, -np.inf),
        upper=np.where(enough, mean + above, np.inf),
    )


def _width(count: Array, alpha: float, expected: int) -> Array:
    """Returns the distance of one bound from the mean, in standard deviations of a block."""
    both = 2 * alpha
    scaled = count * (-2 * np.log(both) + np.log(-2 * np.log(both) + 1)) / expected
    result: Array = np.sqrt(2 * (scaled + 1) / (count * scaled) * np.log1p(np.sqrt(scaled + 1) / both))
    return result


def in_blocks(values: Array, length: int) -> Array:
    """Returns the mean of each stretch of so many values, shape (n // length,); NaN where all are missing."""
    size = values.size // length
    parts = values[: size * length].reshape(size, length)
    known = np.isfinite(parts)
    total = np.where(known, parts, 0.0).sum(axis=1)
    return np.where(known.any(axis=1), total / np.maximum(known.sum(axis=1), 1), np.nan)


def block_length(past: Array, longest: int) -> int:
    """Returns how many steps a block needs for one block to say little of the next.

    Args:
        past: differences before the change, shape (steps,).
        longest: no block is longer; what dependence is left, placebo runs show.

    Returns:
        The shortest of a few lengths at which the correlation of neighbouring blocks is not significant (two
        standard errors); the longest with enough blocks where none is.
    """
    fit = 1
    for length in _BLOCK_LENGTHS:
        blocks = in_blocks(past, length)
        pairs = np.isfinite(blocks[:-1]) & np.isfinite(blocks[1:])
        if pairs.sum() < MIN_BLOCKS or length > max(longest, 1):
            break
        fit = length
        before, after = blocks[:-1][pairs], blocks[1:][pairs]
        spread = before.std() * after.std()
        correlation = ((before - before.mean()) * (after - after.mean())).mean() / spread if spread else 0.0
        if correlation < 2 / np.sqrt(pairs.sum()):
            return length
    return fit
