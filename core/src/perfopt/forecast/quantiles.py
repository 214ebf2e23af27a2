"""Weighted quantiles of many rows at once."""

from collections.abc import Sequence

import numpy as np

from perfopt.metrics.snapshot import Array


def weighted_quantiles(values: Array, weights: Array, levels: Sequence[float]) -> Array:
    """Returns the weighted quantiles of each row.

    A quantile is the smallest value at which the weight of the values up to it reaches the level's
    share of the row's weight (the inverse of the weighted empirical distribution): always a value seen.

    Args:
        values: shape (rows, n); NaN counts as absent.
        weights: non-negative, shape (n,), (rows, n) or (kinds, 1, n) for several weightings of the
            same values, sorted once.
        levels: in [0, 1].

    Returns:
        Shape (len(levels), rows), or (len(levels), kinds, rows); NaN where a row has no weight.
    """
    order = np.argsort(values, axis=-1)
    ordered = np.take_along_axis(values, order, axis=-1)  # NaN last
    present = np.where(np.isfinite(values), 1.0, 0.0)
    shares = np.broadcast_to(weights, np.broadcast_shapes(weights.shape, values.shape)) * present
    order = np.broadcast_to(order, shares.shape)
    cumulative = np.cumsum(np.take_along_axis(shares, order, axis=-1), axis=-1)
    total = cumulative[..., -1:]
    result = np.empty((len(levels), *shares.shape[:-1]))
    last = np.maximum(present.sum(axis=-1).astype(np.int64) - 1, 0)
    rows = np.arange(len(values))
    for i, level in enumerate(levels):
        # the tolerance keeps the running sum's rounding from skipping the value that reaches the level
        below = (cumulative < level * total * (1 - 1e-12)).sum(axis=-1)
        result[i] = ordered[rows, np.minimum(below, last)]
    result[:, total[..., 0] <= 0] = np.nan
    return result
