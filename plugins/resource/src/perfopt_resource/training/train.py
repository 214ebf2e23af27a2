"""Trains a forest of needs on a fleet. Needs scikit-learn; what it makes does not."""

import zlib
from collections.abc import Callable
from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray

from perfopt.plugin import Array, InvalidInputError
from perfopt_resource.model.calibrate import ConfidenceCalibration
from perfopt_resource.model.distribution import NeedDistribution
from perfopt_resource.model.features import NAMES, RESOURCES
from perfopt_resource.model.forest import CELLS, NeedForest, TreeNodes, cell_of, flatten, known
from perfopt_resource.training.examples import TrainingExamples

TREES = 50
_LEAF = 8
_SHARE = 0.63  # of the examples that a tree is grown on; all of them then fill its leaves
_HIDDEN = 0.05  # share of a tree's examples from which a resource is hidden, so that one alone is no surprise
_NEED_RANGE = (-1.6, 2.5)
_SEED = 0
FOLDS = 5
"""Parts that the series fall into: each is judged by a forest that was not trained on it."""


def train_forest(examples: TrainingExamples, trees: int = TREES) -> NeedForest:
    """Returns a forest of extremely randomised trees (Geurts et al. 2006) on the needs of both resources.

    Args:
        examples: of both resources; those that lack one are left out.
        trees: how many.

    Raises:
        InvalidInputError: no example of a resource.
    """
    for resource in RESOURCES:
        if not np.isfinite(examples.needs[resource]).any():
            raise InvalidInputError(
                f"There is not enough {resource} to learn from.", remedy="Add services that measure it."
            )
    examples = examples.where(np.isfinite(np.stack([examples.needs[name] for name in RESOURCES])).all(axis=0))
    needs = np.stack([examples.needs[name] for name in RESOURCES], axis=1)
    cells = cell_of(needs[:, 0]) * CELLS + cell_of(needs[:, 1])
    rng = np.random.default_rng(_SEED)
    return flatten([_grown(examples, needs, cells, rng) for _ in range(trees)])


def _grown(
    examples: TrainingExamples, needs: Array, cells: NDArray[np.int64], rng: np.random.Generator
) -> TreeNodes:
    """Returns one tree."""
    from sklearn.tree import ExtraTreeRegressor

    count = len(needs)
    size = max(round(_SHARE * count), 2)
    drawn = rng.choice(count, size, replace=False)
    rows = examples.features[drawn].copy()
    _hide(rows, rng)
    grown = ExtraTreeRegressor(
        min_samples_leaf=_LEAF, max_features=1.0, random_state=int(rng.integers(2**31))
    )
    grown.fit(known(rows), np.clip(needs[drawn], *_NEED_RANGE))
    tree = grown.tree_
    # all examples fill the leaves, and a leaf that only hidden ones reach has those
    groups = _by_leaf(grown.apply(known(rows)), drawn) | _by_leaf(
        grown.apply(known(examples.features)), np.arange(count)
    )
    return TreeNodes(
        feature=tree.feature,
        threshold=tree.threshold,
        left=tree.children_left,
        right=tree.children_right,
        members={node: cells[rows] for node, rows in groups.items()},
        given={node: _mean_given(examples.given[rows]) for node, rows in groups.items()},
    )


def _by_leaf(leaf: NDArray[np.int64], rows: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
    """Returns the rows that fell into each leaf."""
    order = np.argsort(leaf, kind="stable")
    nodes, starts = np.unique(leaf[order], return_index=True)
    return dict(zip(nodes.tolist(), np.split(rows[order], starts[1:]), strict=True))


def _hide(rows: Array, rng: np.random.Generator) -> None:
    """Hides a resource from some examples."""
    for resource in RESOURCES:
        hidden = rng.random(len(rows)) < _HIDDEN
        columns = np.array([name.startswith(resource) for name in NAMES])
        rows[np.ix_(hidden, columns)] = np.nan


def _mean_given(given: Array) -> Array:
    """Returns the mean of what is known in each column, to a hundredth."""
    present = np.isfinite(given)
    with np.errstate(invalid="ignore"):
        mean: Array = np.where(present, given, 0).sum(axis=0) / present.sum(axis=0)
    return np.round(mean, 2)


def out_of_fold(
    examples: TrainingExamples,
    evaluated: TrainingExamples,
    begun: Callable[[int], object] = lambda _: None,
    executor: Executor | None = None,
) -> list[NeedDistribution]:
    """Returns what is expected of each example, by forests that did not see its series.

    Args:
        examples: to train on.
        evaluated: to predict, of the same series.
        begun: takes how many folds are done, before each.
        executor: trains the folds; None trains them here.
    """
    fold, trained_fold = fold_of(evaluated.series, FOLDS), fold_of(examples.series, FOLDS)
    held = [number for number in range(FOLDS) if (fold == number).any()]
    parts = [examples.where(trained_fold != number) for number in held]
    trained = map(train_forest, parts) if executor is None else executor.map(train_forest, parts)
    expected: dict[int, NeedDistribution] = {}
    begun(0)
    for number, forest in zip(held, trained, strict=True):
        rows = np.flatnonzero(fold == number)
        expected |= {int(row): _expected(forest, evaluated, int(row)) for row in rows}
        begun(number + 1)
    return [expected[row] for row in range(len(fold))]


def _expected(forest: NeedForest, evaluated: TrainingExamples, row: int) -> NeedDistribution:
    seen = evaluated.seen[row]
    leaves = forest.leaves(seen.values)
    return NeedDistribution(
        forest.cells(leaves), forest.typically_given(leaves), seen, ConfidenceCalibration()
    )


def fold_of(names: NDArray[np.str_], folds: int) -> NDArray[np.int64]:
    """Returns the fold of each series: by the hash of its name, so that it never depends on the others."""
    unique, inverse = np.unique(names, return_inverse=True)
    hashed = np.array([zlib.crc32(str(name).encode()) % folds for name in unique], dtype=np.int64)
    return hashed[inverse]
