"""Confidence sequences: bounds that hold at all looks at once, however often one looks. Pure."""

from dataclasses import dataclass

import numpy as np

from perfopt.metrics.snapshot import Array


@dataclass(frozen=True, slots=True)
class ConfidenceSequence:
    """An effect at each look, with bounds; arrays of shape (looks,).

    Attributes:
        estimate: of the effect; NaN where nothing is known yet.
        lower: with probability 1 - alpha the effect is above it at every look.
        upper: with probability 1 - beta the effect is below it at every look. Both are infinite where nothing
            is known yet.
    """

    estimate: Array
    lower: Array
    upper: Array

    def widened(self, below: float, above: float) -> "ConfidenceSequence":
        """Returns the bounds moved away from the estimate, each by its factor."""
        return ConfidenceSequence(
            self.estimate, self._moved(self.lower, below), self._moved(self.upper, above)
        )

    def running(self) -> "ConfidenceSequence":
        """Returns the tightest bounds seen up to each look: what held once still holds."""
        return ConfidenceSequence(
            self.estimate, np.maximum.accumulate(self.lower), np.minimum.accumulate(self.upper)
        )

    def _moved(self, bound: Array, factor: float) -> Array:
        finite = np.isfinite(bound)
        moved = self.estimate + factor * (bound - self.estimate)
        return np.where(finite, moved, bound)
