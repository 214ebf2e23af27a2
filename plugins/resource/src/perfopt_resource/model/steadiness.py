"""How far a history that hardly moves speaks for itself, beside what similar histories came to need.

Few histories of a fleet are flat, so the leaves of a forest that a flat one falls into hold others as well,
and say more often than is true that it will rise. Of 1,400 recommendations for VMs held back, spans below
0.1 rose by over 30 % in 1 of 177 cases where the forest expected 1 of 18 (docs/research/sizing-model.md).
"""

from dataclasses import dataclass
from math import erf, exp, log2, sqrt

import numpy as np

from perfopt.plugin import Array
from perfopt_resource.model.features import NAMES, RESOURCES, UseFeatures
from perfopt_resource.model.forest import CELLS, GRID

# Of greatest likelihood over the tuning half of bitbrains_rnd, out of fold.
_WEIGHT, _FADES_OVER = 0.85, 0.2
_DEVIATION, _DEVIATION_BY_SPAN = 0.03, 0.18
# Of short histories that were flat, those of new VMs, which idle below a tenth of a core until they are used,
# woke in 1 of 10 cases, those from a fifth of a core on in 3 of 191. Tuning half of bitbrains_rnd.
_SHORT, _IDLE_CORES = 0.7, 0.1
_SERIES = {"cpu": "needs", "memory": "peaks"}
_COLUMNS = {
    resource: tuple(
        NAMES.index(f"{resource}_{name}") for name in (f"{series}_top1", f"{series}_low", "v14_q0.5")
    )
    for resource, series in _SERIES.items()
}


@dataclass(frozen=True, slots=True)
class OwnEvidence:
    """What a history says of one resource by itself.

    Attributes:
        weight: beside the forest, in [0, 1).
        cells: probability of each cell of the need, shape (CELLS,).
    """

    weight: float
    cells: Array


def own_evidence(seen: UseFeatures, resource: str) -> OwnEvidence:
    """Returns what a history says of one resource by itself.

    The span is the logarithm of what the most demanding seventh of a validity needed over what the least
    demanding did; of a history shorter than two such parts, of what it needed over its median. The weight
    falls with it, and is 0 of a short history that is nearly idle.

    Args:
        seen: the features.
        resource: "cpu" or "memory".
    """
    top, low, middle = (seen.values[column] for column in _COLUMNS[resource])
    span = float(-middle if np.isnan(top) else top - low)
    if resource not in seen.references or not np.isfinite(span):
        return OwnEvidence(0.0, np.full(CELLS, 1 / CELLS))
    deviation = _DEVIATION + _DEVIATION_BY_SPAN * span
    below = [(1 + erf(edge / (deviation * sqrt(2)))) / 2 for edge in GRID]
    return OwnEvidence(_WEIGHT * _settled(seen) * exp(-span / _FADES_OVER), np.diff([0.0, *below, 1.0]))


def _settled(seen: UseFeatures) -> float:
    """Returns how far a container is in use, by the length of its history or by its use of CPU, in [0, 1]."""
    whole = (seen.known - _SHORT) / (1 - _SHORT)
    active = log2(max(seen.references.get("cpu", 0.0), _IDLE_CORES) / _IDLE_CORES)
    return float(np.clip(max(whole, active), 0, 1))


def with_own_evidence(cells: Array, seen: UseFeatures) -> Array:
    """Returns the joint distribution of needs with the own evidence of each resource mixed in.

    Args:
        cells: by the forest, shape (CELLS, CELLS): cpu by memory.
        seen: the features.
    """
    for axis, resource in enumerate(RESOURCES):
        own = own_evidence(seen, resource)
        others = cells.sum(axis=axis, keepdims=True)
        alone = np.expand_dims(own.cells, 1 - axis) * others
        cells = (1 - own.weight) * cells + own.weight * alone
    return cells
