"""A forest whose leaves hold what containers like this one came to need: of cpu and memory together.

Each leaf keeps the needs of the examples that fell into it, as cells of one grid over both resources, and
what such containers were given. The mean of the leaves that a container falls into is its distribution.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfopt.plugin import Array

GRID: Array = np.unique(
    np.round(
        np.concatenate(
            [
                np.arange(-1.6, -0.4, 0.08),
                np.arange(-0.4, 1.2, 0.04),
                np.arange(1.2, 2, 0.08),
                np.arange(2, 3.6, 0.2),
            ]
        ),
        4,
    )
)
"""Logarithms of the factors of the reference that are considered, rising."""
CELLS = len(GRID) + 1
"""Cells of one resource: above no point of the grid but the last of so many."""
_BLUR = 0.05  # of what leaves hold, as the standard deviation of its logarithm: so sizes do not jump
_UNKNOWN = -9.0  # what a feature that does not apply is taken for


@dataclass(frozen=True, slots=True)
class TreeNodes:
    """One tree.

    Attributes:
        feature: of each node, -1 of a leaf, shape (nodes,).
        threshold: up to which the left child is taken, shape (nodes,).
        left, right: children by index, shape (nodes,); of a leaf 0.
        members: node of a leaf to the cells of its examples.
        given: node of a leaf to the mean logarithm of what they were given over their reference, by resource.
    """

    feature: NDArray[np.int64]
    threshold: Array
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    members: dict[int, NDArray[np.int64]]
    given: dict[int, Array]


@dataclass(frozen=True, slots=True)
class NeedForest:
    """The trees, flattened: nodes of all trees after one another, leaves in the order of their nodes.

    Attributes:
        root: first node of each tree, shape (trees,).
        feature: of each node, 255 of a leaf, shape (nodes,).
        threshold: up to which the left child is taken, shape (nodes,).
        left, right: children, as distance from the node; of a leaf 0, shape (nodes,).
        leaf: number of the first leaf at or after a node, shape (nodes,).
        first: first member of each leaf, and the number of all, shape (leaves + 1,).
        member: cells of the grid, cpu * CELLS + memory, shape (members,).
        given: mean logarithm of what examples were given over their reference, shape (leaves, 2); NaN where
            unknown.
    """

    root: NDArray[np.int32]
    feature: NDArray[np.uint8]
    threshold: NDArray[np.float32]
    left: NDArray[np.uint16]
    right: NDArray[np.uint16]
    leaf: NDArray[np.int32]
    first: NDArray[np.int32]
    member: NDArray[np.uint16]
    given: NDArray[np.float32]

    def leaves(self, values: Array) -> NDArray[np.int64]:
        """Returns the leaf of each tree that features fall into.

        Args:
            values: shape (features,), NaN where one does not apply.
        """
        values = known(values)
        node = self.root.astype(np.int64)
        while True:
            feature = self.feature[node]
            inner = feature != _LEAF
            if not inner.any():
                return self.leaf[node].astype(np.int64)
            low = values[np.where(inner, feature, 0)] <= self.threshold[node]
            node = node + np.where(low, self.left[node], self.right[node])

    def cells(self, leaves: NDArray[np.int64]) -> Array:
        """Returns the probability of each cell, blurred a little, shape (CELLS, CELLS): cpu by memory."""
        starts, ends = self.first[leaves], self.first[leaves + 1]
        counts = ends - starts
        members = np.concatenate([self.member[a:b] for a, b in zip(starts, ends, strict=True)])
        weights = np.repeat(1 / (counts * len(leaves)), counts)
        table = np.bincount(members, weights, CELLS * CELLS).reshape(CELLS, CELLS)
        blurred: Array = _KERNEL @ table @ _KERNEL.T
        return blurred

    def typically_given(self, leaves: NDArray[np.int64]) -> Array:
        """Returns what such containers were given of each resource, over their reference; NaN unknown."""
        given = self.given[leaves].astype(np.float64)
        present = np.isfinite(given)
        with np.errstate(invalid="ignore"):
            factors: Array = np.exp(np.where(present, given, 0).sum(axis=0) / present.sum(axis=0))
        return factors


_LEAF = 255


def known(values: Array) -> Array:
    """Returns features as trees compare them."""
    filled: Array = np.where(np.isnan(values), _UNKNOWN, values).astype(np.float32)
    return filled


def cell_of(needs: Array) -> NDArray[np.int64]:
    """Returns the cells of one resource that needs lie in.

    Args:
        needs: logarithms over the reference, shape (n,).
    """
    return np.searchsorted(GRID, needs - 1e-9)


def _kernel() -> Array:
    at = np.append(GRID, GRID[-1] + (GRID[-1] - GRID[-2]))
    weights = np.exp(-0.5 * ((at[:, None] - at) / _BLUR) ** 2)
    kernel: Array = weights / weights.sum(axis=0)
    return kernel


_KERNEL = _kernel()


def flatten(trees: Sequence[TreeNodes]) -> NeedForest:
    """Returns the flat form of trees."""
    sizes = [len(tree.feature) for tree in trees]
    is_leaf = np.concatenate([tree.feature < 0 for tree in trees])
    own = [np.arange(size) for size in sizes]
    order = [(tree, node) for tree in trees for node in np.flatnonzero(tree.feature < 0)]
    members = [np.sort(tree.members[int(node)]) for tree, node in order]

    def joined(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        return np.concatenate(parts)

    return NeedForest(
        root=np.cumsum([0, *sizes[:-1]]).astype(np.int32),
        feature=np.where(is_leaf, _LEAF, joined([tree.feature for tree in trees])).astype(np.uint8),
        threshold=np.concatenate([tree.threshold for tree in trees]).astype(np.float32),
        left=np.where(is_leaf, 0, joined([t.left - at for t, at in zip(trees, own, strict=True)])).astype(
            np.uint16
        ),
        right=np.where(is_leaf, 0, joined([t.right - at for t, at in zip(trees, own, strict=True)])).astype(
            np.uint16
        ),
        leaf=(np.cumsum(is_leaf) - is_leaf).astype(np.int32),
        first=np.cumsum([0, *(len(cells) for cells in members)]).astype(np.int32),
        member=joined(members).astype(np.uint16),
        given=np.array([tree.given[int(node)] for tree, node in order]).astype(np.float32),
    )
