"""Trains a sizing model on a fleet. Needs scikit-learn; what it makes does not.

For each resource, boosted trees learn P(need <= e^x * reference | features, x) from examples paired
with several x each, rising in x by constraint. x also enters relative to what the history needed at its
worst, to its limit and in units of its spread: that, more than anything else, lets few series teach.
"""

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfopt.plugin import Array, InvalidInputError
from perfopt_resource.model.candidates import SizeCandidates, candidates
from perfopt_resource.model.curves import BoostedTrees, TreeColumns, flatten
from perfopt_resource.model.features import NAMES, RESOURCES, UseFeatures
from perfopt_resource.training.examples import TrainingExamples

GRID: Array = np.unique(
    np.round(
        np.concatenate(
            [
                np.arange(-1.6, -0.2, 0.1),
                np.arange(-0.2, 1, 0.04),
                np.arange(1, 2, 0.1),
                np.arange(2, 3.6, 0.25),
            ]
        ),
        4,
    )
)
"""Logarithms of the factors of the reference that are considered."""
_PAIRS, _PAIRS_NEAR = 6, 2
_SEED = 0
FOLDS = 5
"""Parts that the series fall into: each is judged by trees that were not trained on it."""
_NEED_RANGE = (-1.6, 3.4)
_LIMIT_HIDDEN = 0.15  # share of examples whose limits are hidden, so that unknown limits are no surprise
_PLAIN = ("level", "needs_std", "needs_step", "hill0.98", "hill0.9", "limit", "q0.5", "roughness")
_MARGINS = (
    *("limit", "q0.998", "q1.0", "needs_top1", "needs_top2", "needs_top3"),
    *("v1_q1.0", "v7_q1.0", "v1_q0.99", "before_q1.0", "before_q0.99"),
)
_SCALED = (
    *(("needs_mid", "needs_std"), ("needs_top1", "needs_step")),
    *(("q1.0", "hill0.98"), ("q0.9", "hill0.9")),
)


def columns(resource: str) -> TreeColumns:
    """Returns what the trees of a resource see."""
    plain = (*_PLAIN, "needs_mid", "needs_shift", "blocks")
    return TreeColumns(
        plain=(*(f"{resource}_{name}" for name in plain), "validity"),
        margins=(*((f"{resource}_{name}", 1) for name in _MARGINS), (f"{resource}_level", -1)),
        scaled=tuple((f"{resource}_{centre}", f"{resource}_{spread}") for centre, spread in _SCALED),
    )


def train_trees(examples: TrainingExamples) -> dict[str, BoostedTrees]:
    """Returns the trees of both resources.

    Args:
        examples: of both resources.

    Raises:
        InvalidInputError: no example of a resource.
    """
    features = _hide_limits(examples.features)
    return {
        resource: flatten(columns(resource), *_boosted(examples, features, resource))
        for resource in RESOURCES
    }


def _hide_limits(features: Array) -> Array:
    hidden = np.random.default_rng(5).random(len(features)) < _LIMIT_HIDDEN
    features = features.copy()
    for index, name in enumerate(NAMES):
        if name.endswith("_limit"):
            features[hidden, index] = np.nan
    return features


def _boosted(
    examples: TrainingExamples, features: Array, resource: str
) -> tuple[float, list[dict[str, Any]]]:
    """Returns the baseline and the trees of gradient boosting."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    measured = np.isfinite(examples.needs[resource])
    if not measured.any():
        raise InvalidInputError(
            f"There is not enough {resource} to learn from.", remedy="Add services that measure it."
        )
    needs, features = examples.needs[resource][measured], features[measured]
    at = _draw(needs, np.random.default_rng(_SEED))
    seen = columns(resource)
    rising = np.zeros(seen.count, dtype=int)
    rising[len(seen.plain) :] = 1
    booster = HistGradientBoostingClassifier(
        max_iter=240,
        learning_rate=0.06,
        max_leaf_nodes=5,
        min_samples_leaf=_leaf(len(needs)),
        l2_regularization=20.0,
        max_features=0.3,
        max_bins=64,
        monotonic_cst=rising,
        early_stopping=False,
        random_state=_SEED,
    )
    enough = needs[:, None] <= at + 1e-9
    rows = _design(seen, features, at)
    rows[:, np.isnan(rows).all(axis=0)] = 0  # scikit-learn can't bin a column that nobody has, such as limits
    booster.fit(rows, enough.ravel(), np.repeat(examples.weight[measured], _PAIRS))
    trees = [_tree(iteration[0].nodes) for iteration in booster._predictors]
    return float(booster._baseline_prediction.item()), trees


def _leaf(examples: int) -> int:
    """Returns the least pairs of a leaf: 1,200 for a fleet of hundreds, fewer where there are few."""
    return min(1200, max(examples * _PAIRS // 60, 20))


def _draw(needs: Array, rng: np.random.Generator) -> Array:
    """Returns the x of each example: some near needs of others, the rest from the grid; shape (n, pairs)."""
    few, rest = (len(needs), _PAIRS_NEAR), (len(needs), _PAIRS - _PAIRS_NEAR)
    near = rng.choice(np.clip(needs, *_NEED_RANGE), size=few) + rng.normal(0, 0.05, few)
    drawn = np.concatenate([near, rng.choice(GRID, size=rest)], axis=1)
    clipped: Array = np.clip(drawn, _NEED_RANGE[0] - 0.1, _NEED_RANGE[1] + 0.1)
    return clipped


def _design(seen: TreeColumns, features: Array, at: Array) -> NDArray[np.float32]:
    """Returns one row for each pair of example and x: slope * x + offset."""
    slopes, offsets = seen.affine(features)
    rows = slopes[:, None, :] * at[:, :, None] + offsets[:, None, :]
    flat: NDArray[np.float32] = rows.reshape(-1, seen.count).astype(np.float32)
    return flat


def _tree(nodes: NDArray[np.void]) -> dict[str, Any]:
    wanted = ("feature_idx", "num_threshold", "missing_go_to_left", "left", "right", "is_leaf", "value")
    return {name: nodes[name] for name in wanted}


def out_of_fold(
    examples: TrainingExamples,
    evaluated: TrainingExamples,
    begun: Callable[[int], object] = lambda _: None,
) -> list[dict[str, SizeCandidates]]:
    """Returns the sizes that each might be given, from models that did not see the series.

    Args:
        examples: to train on.
        evaluated: to predict, of the same series.
        begun: takes how many folds are done, before each.

    Returns:
        One a row of evaluated: resource to candidates.
    """
    fold = fold_of(evaluated.series, FOLDS)
    trained_fold = fold_of(examples.series, FOLDS)
    found: dict[int, dict[str, SizeCandidates]] = {}
    for held in range(FOLDS):
        begun(held)
        if not (fold == held).any():
            continue
        trees = train_trees(examples.where(trained_fold != held))
        found |= {int(row): offered(trees, evaluated.seen[row]) for row in np.flatnonzero(fold == held)}
    return [found[row] for row in range(len(fold))]


def offered(trees: Mapping[str, BoostedTrees], seen: UseFeatures) -> dict[str, SizeCandidates]:
    """Returns the candidates of each resource that was measured."""
    return {
        resource: candidates(
            resource, trees[resource].curve(seen.values), reference, GRID, seen.ceilings.get(resource)
        )
        for resource, reference in seen.references.items()
    }


def fold_of(names: NDArray[np.str_], folds: int) -> NDArray[np.int64]:
    """Returns the fold of each series: by the hash of its name, so that it never depends on the others."""
    unique, inverse = np.unique(names, return_inverse=True)
    hashed = np.array([zlib.crc32(str(name).encode()) % folds for name in unique], dtype=np.int64)
    return hashed[inverse]
