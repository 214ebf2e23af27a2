"""Intervals by resampling services: recommendations for one service depend on each other. Seeded."""

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

RESAMPLES = 500
SEED = 20130701
LEVEL = 0.95
Rows = NDArray[np.intp]


class ConfidenceInterval(msgspec.Struct, frozen=True, kw_only=True):
    """A figure with its 95 % interval; low and high are None with fewer than two services."""

    value: float
    low: float | None = None
    high: float | None = None


def resamples(services: Sequence[str], count: int = RESAMPLES, seed: int = SEED) -> tuple[Rows, ...]:
    """Returns the rows of each resample: as many services as there are, drawn with replacement.

    Args:
        services: the service of each row, shape (n,).
        count: of resamples.
        seed: of the generator.

    Returns:
        One array of row numbers a resample; none where there are fewer than two services.
    """
    names, group = np.unique(np.asarray(services), return_inverse=True)
    if names.size < 2:
        return ()
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(names.size + 1))
    rows = [order[starts[i] : starts[i + 1]] for i in range(names.size)]
    drawn = np.random.default_rng(seed).integers(names.size, size=(count, names.size))
    return tuple(np.concatenate([rows[i] for i in one]) for one in drawn.tolist())


def interval(
    statistic: Callable[[Rows], float | None], rows: Rows, samples: Sequence[Rows]
) -> ConfidenceInterval | None:
    """Returns a figure with its percentile interval; None where it is not defined on the rows.

    Args:
        statistic: of rows; None where it is not defined.
        rows: all of them.
        samples: from `resamples`; those on which the figure is not defined are left out.
    """
    value = statistic(rows)
    if value is None:
        return None
    statistics = [one for sample in samples if (one := statistic(sample)) is not None]
    if not statistics:
        return ConfidenceInterval(value=value)
    low, high = np.quantile(statistics, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return ConfidenceInterval(value=value, low=float(low), high=float(high))
