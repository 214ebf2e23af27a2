"""Boosted trees as what they are for one container: a curve of probability over sizes.

A tree model of P(need <= e^x * reference | features, x) splits on features, which are fixed for a
container, and on columns that are affine in x with a positive slope (x itself, x minus a feature, x
standardised by two features). So every split is a threshold on x, every leaf an interval of x, and
the whole curve comes from interval arithmetic over the leaves: exact, and some ten times faster than
walking the trees for each x.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from perfopt.plugin import Array
from perfopt_resource.model.features import NAMES

Indices = NDArray[np.int32]
_SPREAD_FLOOR, _SPREAD_MORE = 0.01, 0.03  # a constant history must not divide by zero


class TreeColumns(msgspec.Struct, frozen=True):
    """What a resource's trees see: columns in this order, all but the plain ones rising in x.

    Attributes:
        plain: names of features, as they are.
        margins: (feature, sign): x - sign * feature. After x itself.
        scaled: (centre, spread): (x - centre) / (max(spread, 0.01) + 0.03).
    """

    plain: tuple[str, ...]
    margins: tuple[tuple[str, int], ...]
    scaled: tuple[tuple[str, str], ...]

    @property
    def count(self) -> int:
        """Number of columns."""
        return len(self.plain) + 1 + len(self.margins) + len(self.scaled)

    def affine(self, values: Array) -> tuple[Array, Array]:
        """Returns slope and offset in x of each column: two arrays of shape (..., count).

        Args:
            values: features, shape (..., len(NAMES)). Plain columns have slope 0.
        """
        at = {name: values[..., i] for i, name in enumerate(NAMES)}
        one = np.ones(values.shape[:-1])
        slopes = [0 * one] * len(self.plain) + [one] * (1 + len(self.margins))
        offsets = [at[name] for name in self.plain] + [0 * one]
        offsets += [-sign * at[name] for name, sign in self.margins]
        for centre, spread in self.scaled:
            slopes.append(1 / (np.maximum(at[spread], _SPREAD_FLOOR) + _SPREAD_MORE))
            offsets.append(-at[centre] * slopes[-1])
        return np.stack(slopes, axis=-1), np.stack(offsets, axis=-1)


@dataclass(frozen=True, slots=True)
class SafetyCurve:
    """What the trees say of one container, for any x.

    Attributes:
        baseline: log-odds that the trees start from.
        above, below: the interval of x that ends in a leaf, shape (leaves,).
        value: of the leaf, shape (leaves,).
    """

    baseline: float
    above: Array
    below: Array
    value: Array

    def probabilities(self, at: Array) -> Array:
        """Returns P(need <= reference * e^x) at each x (increasing)."""
        size = len(at) + 1
        starts = np.searchsorted(at, self.above, side="right")
        ends = np.searchsorted(at, self.below, side="right")
        change = np.bincount(starts, self.value, size) - np.bincount(ends, self.value, size)
        odds = np.cumsum(change)[:-1] + self.baseline
        curve: Array = 1 / (1 + np.exp(-odds))
        return curve


@dataclass(frozen=True, slots=True)
class BoostedTrees:
    """The trees of one resource, flattened.

    Attributes:
        columns: what the trees see.
        baseline: log-odds that the trees start from, of no dimension.
        split_column, split_value, split_missing_left: of every split, shape (splits,).
        leaf_value: of every leaf, shape (leaves,).
        leaf_left, leaf_right: splits on the way to the leaf that are passed on the left (x below the
            value) and on the right, padded with -1, shape (leaves, depth).
    """

    columns: TreeColumns
    baseline: Array
    split_column: Indices
    split_value: Array
    split_missing_left: NDArray[np.bool_]
    leaf_value: Array
    leaf_left: Indices
    leaf_right: Indices

    def probabilities(self, values: Array, at: Array) -> Array:
        """Returns P(need <= reference * e^x) at each x.

        Args:
            values: features, shape (len(NAMES),).
            at: x, increasing.
        """
        return self.curve(values).probabilities(at)

    def curve(self, values: Array) -> "SafetyCurve":
        """Returns the probability as a function of x: the leaves that any x reaches, with their intervals.

        Args:
            values: features, shape (len(NAMES),).
        """
        bounds = self._bounds(values)
        below = np.append(bounds, np.inf)[self.leaf_left].min(axis=1)  # index -1 is the padding
        above = np.append(bounds, -np.inf)[self.leaf_right].max(axis=1)
        live = above < below
        return SafetyCurve(float(self.baseline), above[live], below[live], self.leaf_value[live])

    def _bounds(self, values: Array) -> Array:
        """Returns the x up to which each split goes left: plus or minus infinity where x is not asked."""
        slopes, offsets = self.columns.affine(values)
        slope, offset = slopes[self.split_column], offsets[self.split_column]
        with np.errstate(divide="ignore", invalid="ignore"):
            bounds = (self.split_value - offset) / slope
        fixed = np.where(offset <= self.split_value, np.inf, -np.inf)
        bounds = np.where(slope == 0, fixed, bounds)
        unknown = np.isnan(offset) | np.isnan(slope)
        result: Array = np.where(unknown, np.where(self.split_missing_left, np.inf, -np.inf), bounds)
        return result

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Returns what a model file keeps beside the columns, by name."""
        return {name: getattr(self, name) for name in TREE_ARRAYS}


TREE_ARRAYS = (
    *("baseline", "split_column", "split_value", "split_missing_left"),
    *("leaf_value", "leaf_left", "leaf_right"),
)


def flatten(columns: TreeColumns, baseline: float, trees: Sequence[Mapping[str, Array]]) -> BoostedTrees:
    """Returns the flat form of binary trees.

    Args:
        columns: what the trees see.
        baseline: log-odds that they start from.
        trees: each maps "feature_idx", "num_threshold",
            "missing_go_to_left", "left", "right", "is_leaf" and "value" to arrays over its nodes,
            root first, as scikit-learn's histogram gradient boosting keeps them.
    """
    splits: list[tuple[int, float, bool]] = []
    leaves: list[tuple[float, list[int], list[int]]] = []
    for tree in trees:
        _add_tree(tree, splits, leaves)
    depth = max(len(side) for _, *sides in leaves for side in sides)

    def padded(sides: Sequence[list[int]]) -> Indices:
        rows = [[*side, *[-1] * (depth - len(side))] for side in sides]
        return np.array(rows, dtype=np.int32).reshape(len(leaves), depth)

    return BoostedTrees(
        columns=columns,
        baseline=np.array(baseline),
        split_column=np.array([s[0] for s in splits], dtype=np.int32),
        split_value=np.array([s[1] for s in splits]),
        split_missing_left=np.array([s[2] for s in splits], dtype=np.bool_),
        leaf_value=np.array([leaf[0] for leaf in leaves]),
        leaf_left=padded([left for _, left, _ in leaves]),
        leaf_right=padded([right for _, _, right in leaves]),
    )


def _add_tree(
    tree: Mapping[str, Array],
    splits: list[tuple[int, float, bool]],
    leaves: list[tuple[float, list[int], list[int]]],
) -> None:
    """Adds the splits and leaves of one tree."""
    waiting: list[tuple[int, list[int], list[int]]] = [(0, [], [])]
    while waiting:
        node, lefts, rights = waiting.pop()
        if tree["is_leaf"][node]:
            leaves.append((float(tree["value"][node]), lefts, rights))
            continue
        split = len(splits)
        splits.append(
            (
                int(tree["feature_idx"][node]),
                float(tree["num_threshold"][node]),
                bool(tree["missing_go_to_left"][node]),
            )
        )
        waiting.append((int(tree["left"][node]), [*lefts, split], rights))
        waiting.append((int(tree["right"][node]), lefts, [*rights, split]))
