"""How probable it is that a size is enough: by history, load, variation and how far the size is cut.

logit P(need <= size) = weights · (1, log r, log(size / bound), floor / size, spread), where r is how many of
the bound's margins the size is above the expected need, and spread are the standardised features of the
history (its variation, level and length). Fitted by `perfopt train --what cost` on windows of workloads that
the bounds were not fitted on, for sizes from half of the bound to four times it, none below the floor. A
limit that use never passed counts as enough with AT_THE_LIMIT, and so does a larger size.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from perfopt.plugin import Array

MARGINS_CLIP = (0.1, 10.0)
AT_THE_LIMIT = 0.99


@dataclass(frozen=True, slots=True)
class ConfidenceModel:
    """The weights of one resource: of 1, log r, log(size / bound), floor / size and the spread."""

    weights: Array

    def usable(self, features: int) -> bool:
        """Tells whether the weights are finite and of so many features of the spread."""
        return self.weights.shape == (4 + features,) and bool(np.isfinite(self.weights).all())


@dataclass(frozen=True, slots=True)
class SizeConfidence:
    """The model for one history.

    Attributes:
        model: of the resource.
        spread: standardised features, shape (features,).
        expected: logarithm of the expected need.
        margin: of the bound above it, a logarithm.
        floor: the least size there is.
        limit: that use never passed, in the unit of the size; None where there is none.
    """

    model: ConfidenceModel
    spread: Array
    expected: float
    margin: float
    floor: float
    limit: float | None = None

    def probability(self, size: float) -> float:
        """Returns the probability that a size covers the next window."""
        size = max(size, self.floor)
        above, margin = np.array([math.log(size) - self.expected]), np.array([self.margin])
        (features,) = rows(above, margin, np.array([self.floor / size]), self.spread[None])
        calibrated = 1 / (1 + math.exp(-min(max(float(self.model.weights @ features), -50.0), 50.0)))
        return max(calibrated, AT_THE_LIMIT) if self.limit is not None and size >= self.limit else calibrated

    def below(self, limit: float) -> "SizeConfidence":
        """Returns the same for a history that never passed a limit."""
        return replace(self, limit=limit)


def rows(above: Array, margin: Array, floor_share: Array, spread: Array) -> Array:
    """Returns the features of sizes, shape (n, 4 + features).

    Args:
        above: logarithm of a size over the expected need, shape (n,).
        margin: the same of the bound, shape (n,).
        floor_share: the least size there is over the size, shape (n,).
        spread: standardised features, shape (n, features).
    """
    margins = np.log(np.clip(above / margin, *MARGINS_CLIP))
    return np.column_stack([np.ones(above.size), margins, above - margin, floor_share, spread])
