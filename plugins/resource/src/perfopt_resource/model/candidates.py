"""The sizes a container may be given, with what each would cost and the probability that it is safe."""

import math
from dataclasses import dataclass

import numpy as np

from perfopt.plugin import Array
from perfopt_resource.model.curves import SafetyCurve
from perfopt_resource.model.features import FLOORS, SizeCeiling
from perfopt_resource.model.policy import expected_slack

_PART = 1e-9
_UNITS = {"cpu": 1e-3, "memory": 1.0}


@dataclass(frozen=True, slots=True)
class SizeCandidates:
    """Sizes of one resource, rising.

    Attributes:
        sizes: whole millicores (in cores) or bytes, shape (sizes,).
        probabilities: that each is enough, shape (sizes,).
        slacks: the expected cost of slack of each (policy.py), shape (sizes,).
    """

    sizes: Array
    probabilities: Array
    slacks: Array


def candidates(
    resource: str, curve: SafetyCurve, reference: float, grid: Array, ceiling: SizeCeiling | None
) -> SizeCandidates:
    """Returns the sizes of a grid, none below the floor and none above the ceiling.

    Args:
        resource: "cpu" or "memory".
        curve: P(need <= e^x * reference).
        reference: in cores or bytes.
        grid: logarithms of factors of the reference, rising.
        ceiling: a size that is enough whatever the curve says.
    """
    unit = _UNITS[resource]
    wanted = reference * np.exp(grid)
    if ceiling is not None:
        wanted = np.minimum(wanted, ceiling.size)
    sizes = np.unique(np.maximum(np.ceil(np.round(wanted / unit, 6)) * unit, FLOORS[resource]))
    at = np.log(sizes / reference)
    probabilities = curve.probabilities(at + _PART)
    if ceiling is not None and sizes[-1] >= ceiling.size:
        probabilities[-1] = max(probabilities[-1], ceiling.held)
    return SizeCandidates(sizes, probabilities, expected_slack(probabilities, at))


def probability(
    resource: str, curve: SafetyCurve, reference: float, size: float, ceiling: SizeCeiling | None
) -> float:
    """Returns the probability that a given size, in cores or bytes, is enough."""
    at = math.log(max(size, FLOORS[resource]) / reference)
    stated = float(curve.probabilities(np.array([at + _PART]))[0])
    return max(stated, ceiling.held) if ceiling is not None and size >= ceiling.size else stated
