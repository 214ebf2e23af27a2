"""Counters that only grow, but for resets: what they grew by in each step."""

import numpy as np

from perfopt.metrics.snapshot import Array


def counter_increase(cumulative: Array, *, from_zero: bool = False) -> tuple[Array, int]:
    """Returns the growth of a counter in each step.

    A value below the one before it is a reset to zero, after which the counter grew to that value
    (Prometheus' rule for increase()). Growth across a gap counts in the first step after the gap. The
    first value has nothing to be compared with and counts as no growth, unless the counter is known to have
    begun at zero.

    Args:
        cumulative: the counter's last value in each step, shape (n,), NaN where there is none.
        from_zero: what it counts began within the period: its first value is growth.

    Returns:
        Growth, shape (n,), NaN where the counter has no value; and the number of resets.
    """
    growth = np.full(len(cumulative), np.nan)
    known = np.flatnonzero(~np.isnan(cumulative))
    if not len(known):
        return growth, 0
    values = cumulative[known]
    if not from_zero and bool((values == values[0]).all()):
        growth[known] = 0.0
        return growth, 0
    change = np.diff(values, prepend=0.0 if from_zero else values[0])
    reset = change < 0
    growth[known] = np.where(reset, values, change)
    return growth, int(np.count_nonzero(reset))
