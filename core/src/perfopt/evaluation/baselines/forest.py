"""A forest's predictive distribution of need, and the sizes of best expected saving under it.

Random forests on log(need / maximum of the history) of cpu and of memory; what training examples share a leaf
with a history are the distribution of its need. The sizes are those of the largest
P(both safe) - cost, capped at the current limits, where the cost of a size is half the money it takes of
the money now and half of its share of the current request.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfopt.evaluation.baselines.fitted import RESOURCES, FleetExample
from perfopt.metrics.snapshot import Array

TREES, LEAF, FEATURES = 400, 8, 1 / 3
MIXED = 0.5  # weight of a size's share of the current request beside its share of the money
SAFETY = 1.0  # what a safe size is worth, where all that is paid now costs 1
SEED = 20130701
FACTORS: Array = np.exp(np.linspace(np.log(0.05), np.log(8.0), 120))
MIN_EXAMPLES = 50
Leaves = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class NeedForest:
    """The distribution of the need of one resource over the maximum of the history.

    Attributes:
        trees: of a fitted scikit-learn forest.
        leaves: of the training examples by tree, shape (examples, trees).
        targets: log(need / maximum) of each, shape (examples,).
    """

    trees: Sequence[Any]
    leaves: Leaves
    targets: Array

    @classmethod
    def fit(cls, features: Array, targets: Array, processes: int) -> "NeedForest":
        """Fits a forest; needs scikit-learn, of the extra `perfopt[train]`."""
        from sklearn.ensemble import RandomForestRegressor

        forest = RandomForestRegressor(
            n_estimators=TREES,
            min_samples_leaf=LEAF,
            max_features=FEATURES,
            random_state=SEED,
            n_jobs=processes,
        ).fit(features, targets)
        trees = [tree.tree_ for tree in forest.estimators_]
        return cls(trees, _leaves(trees, features), targets)

    def safe(self, features: Array) -> Array:
        """Returns P(need <= factor x maximum) at each of FACTORS, shape (120,)."""
        same = self.leaves == _leaves(self.trees, features[None])
        weights = (same / same.sum(axis=0)).mean(axis=1)
        order = np.argsort(self.targets)
        reached = np.concatenate([[0.0], np.cumsum(weights[order])])
        places = np.searchsorted(self.targets[order], np.log(FACTORS), side="right")
        shares: Array = reached[places]
        return shares


def _leaves(trees: Sequence[Any], features: Array) -> Leaves:
    """Returns the leaf of each row in each tree, shape (rows, trees)."""
    rows = features.astype(np.float32)
    return np.stack([tree.apply(rows) for tree in trees], axis=1)


@dataclass(frozen=True, slots=True)
class FleetForest:
    """The forests of both resources.

    Attributes:
        needs: cpu, memory.
    """

    needs: tuple[NeedForest, ...]

    @classmethod
    def fit(cls, examples: Sequence[FleetExample], processes: int) -> "FleetForest":
        """Fits both forests to at least MIN_EXAMPLES examples."""
        features = np.array([one.features for one in examples])
        logs = np.log(np.array([one.needs / one.peaks for one in examples]))
        return cls(tuple(NeedForest.fit(features, logs[:, at], processes) for at in range(len(RESOURCES))))

    def sizes(self, seen: FleetExample) -> tuple[float, float]:
        """Returns cores and bytes; of the example only what was known at the origin is read."""
        safe = [forest.safe(seen.features) for forest in self.needs]
        limited = zip(seen.peaks, seen.limits, strict=True)
        sizes = [np.minimum(FACTORS * peak, limit) for peak, limit in limited]
        shares = [size / now for size, now in zip(sizes, seen.current, strict=True)]
        money = seen.costs / seen.costs.sum()
        prices = [
            ((1 - MIXED) * part + MIXED / len(RESOURCES)) * share
            for part, share in zip(money, shares, strict=True)
        ]
        worth = SAFETY * np.outer(safe[0], safe[1]) - prices[0][:, None] - prices[1][None, :]
        cpu, memory = np.unravel_index(int(worth.argmax()), worth.shape)
        return float(sizes[0][cpu]), float(sizes[1][memory])
