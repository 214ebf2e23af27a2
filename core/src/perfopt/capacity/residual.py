"""What production adds to the law: a monotone correction by utilisation, learned at its own limit."""

from dataclasses import dataclass

import numpy as np

from perfopt.capacity.observations import GroupedObservations
from perfopt.metrics.snapshot import Array

_TYPICAL = (
    0.1  # standard deviation of what the law leaves unexplained of a service, before anything is measured
)
_MAX = 0.3


@dataclass(frozen=True, slots=True)
class LatencyResidual:
    """log(measured / law) at LEVELS as a function of utilisation, non-decreasing in it.

    Attributes:
        utilisation: where it is known, increasing; shape (groups,). In between it is linear, beyond constant.
        values: shape (groups, 4).
    """

    utilisation: Array
    values: Array

    def at(self, utilisation: Array) -> Array:
        """Returns the residual at utilisations of any shape, shape (..., 4)."""
        columns = [np.interp(utilisation, self.utilisation, column) for column in self.values.T]
        return np.stack(columns, -1)


def fit_residual(observed: GroupedObservations, misses: Array, deviation: Array) -> LatencyResidual:
    """Learns the residual from log(measured / law) by group and level, NaN where not measured.

    Pool-adjacent-violators (Ayer et al. 1955) by level, shrunk towards nothing as far as it may be chance.

    Args:
        observed: the groups.
        misses: shape (groups, 4).
        deviation: standard deviation of the measured by chance, of the shape of the misses.
    """
    believed = _TYPICAL**2 / (_TYPICAL**2 + deviation**2)
    known = np.where(np.isfinite(misses), misses, 0.0) * believed
    columns = [_isotonic(column, observed.windows) for column in known.T]
    values = np.clip(np.stack(columns, -1), -_MAX, _MAX)
    return LatencyResidual(observed.load.utilisation, values)


def _isotonic(values: Array, weights: Array) -> Array:
    """Returns the non-decreasing sequence nearest to the values in weighted squares."""
    blocks: list[tuple[float, float, int]] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        block = (value, weight, 1)
        while blocks and blocks[-1][0] > block[0]:
            mean, mass, count = blocks.pop()
            total = mass + block[1]
            block = ((mean * mass + block[0] * block[1]) / total, total, count + block[2])
        blocks.append(block)
    return np.repeat([mean for mean, _, _ in blocks], [count for _, _, count in blocks])
