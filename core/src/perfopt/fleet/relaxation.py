"""The least that nodes for a set of pods can cost: the linear relaxation of the packing problem.

    minimise Σ price_n y_n  subject to  Σ cores_n y_n >= Σ cpu,  Σ memory_n y_n >= Σ memory,  y >= 0

Its dual has two variables, the worth of a core (a) and of a byte (b), with a cores_n + b memory_n <= price_n
for every type. For each a the best b is known, and the worth of all pods is concave in a, so a search over a
finds it; and whatever a it stops at, the worth is a bound (weak duality). Types on which no pod fits are left
out. No packing can cost less than the dearest single pod's cheapest node either.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from perfopt.domain.price import NodeType
from perfopt.fleet.pods import PodGroup

_STEPS = 200
_GOLDEN = (5**0.5 - 1) / 2


def worth(nodes: Sequence[NodeType], cpu_cores: float, memory_bytes: float) -> tuple[float, float]:
    """Returns what a core and a byte are worth at the optimum of the relaxation (a, b).

    Args:
        nodes: types to rent, with room for pods in cores and memory.
        cpu_cores: what is to be placed in total.
        memory_bytes: the same.
    """
    cores = np.array([node.cores for node in nodes])
    memory = np.array([float(node.memory_bytes) for node in nodes])
    price = np.array([node.price_hour for node in nodes])

    def byte(core: float) -> float:
        return max(float(((price - core * cores) / memory).min()), 0.0)

    def total(core: float) -> float:
        return core * cpu_cores + byte(core) * memory_bytes

    low, high = 0.0, float((price / cores).min())
    for _ in range(_STEPS):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        low, high = (left, high) if total(left) < total(right) else (low, right)
    ends = (0.0, float((price / cores).min()), low)
    best = max((*ends, *_crossings(cores, memory, price)), key=total)
    return best, byte(best)


def _crossings(
    cores: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    memory: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    price: "np.ndarray[tuple[int], np.dtype[np.float64]]",
) -> list[float]:
    """Returns where neighbouring types by cores per byte bind together: the optimum is often just there."""
    order = np.argsort(cores / memory)
    most = float((price / cores).min())
    crossings = []
    for i, j in pairwise(order.tolist()):
        determinant = cores[i] * memory[j] - cores[j] * memory[i]
        if determinant:
            core = (price[i] * memory[j] - price[j] * memory[i]) / determinant
            if 0 <= core <= most:
                crossings.append(float(core))
    return crossings


def cheapest_possible(nodes: Sequence[NodeType], groups: Sequence[PodGroup]) -> float:
    """Returns a lower bound of the price of an hour of nodes for all pods.

    Args:
        nodes: types with their room for pods.
        groups: each must fit one of the types.
    """
    placed = [group for group in groups if group.count]
    usable = [node for node in nodes if any(group.fits(node) for group in placed)]
    if not placed or not usable:
        return 0.0
    cpu = sum(group.cpu_cores * group.count for group in placed)
    memory = sum(group.memory_bytes * group.count for group in placed)
    core, byte = worth(usable, cpu, memory)
    single = max(min(node.price_hour for node in usable if group.fits(node)) for group in placed)
    return max(core * cpu + byte * memory, single)
