"""Where the settings of a knob lie on the scale of a search: equal distances, about equal effects."""

import math

import numpy as np

from perfopt.plugin import Array

SATURATED = 0.85
"""Part of the CPU in use that no limit is thought to go under. At 1 the scale would end at saturation itself
and no search would get there in time; at 0 it would be the logarithm of the limit, and steps would be as long
beside the wall as far from it."""
_MIN_HEADROOM = 0.05


def logarithmic(values: Array, factor: float) -> Array:
    """Returns log(value) in units of a factor: shape (n,) to (n,)."""
    positions: Array = np.log(values) / math.log(factor)
    return positions


def by_headroom(limits: Array, used: float, factor: float) -> Array:
    """Returns the logarithm of what CPU limits leave to spare: log(limit / used - SATURATED).

    In a queue the wait goes as 1 / (1 - utilisation) (Kingman 1961): its logarithm is nearly a straight line
    over the logarithm of what is to spare, where over that of the limit it turns into a wall.

    Args:
        limits: in cores, shape (n,).
        used: cores in use.
        factor: between limits that are far apart.
    """
    positions: Array = np.log(np.maximum(limits / used - SATURATED, _MIN_HEADROOM)) / math.log(factor)
    return positions
