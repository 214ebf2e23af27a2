"""The histograms of the Kubernetes autoscaler: a percentile is the end of the bucket it falls into.

Rules from vertical-pod-autoscaler/pkg/recommender/util/{histogram,histogram_options}.go.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from perfopt.metrics.snapshot import Array

Buckets = NDArray[np.int64]


class BucketScale(Protocol):
    """How values are parted in buckets."""

    def bucket(self, values: Array) -> Buckets:
        """Returns the bucket of each value."""
        ...

    def end(self, bucket: int) -> float:
        """Returns where a bucket ends: the start of the next, or its own start for the last one."""
        ...


@dataclass(frozen=True, slots=True)
class ExponentialScale:
    """Each bucket is wider than the one before by a ratio; the first starts at 0.

    Attributes:
        first: width of the first bucket.
        ratio: of widths.
        largest: the largest value; what is above it counts into the last bucket.
    """

    first: float
    ratio: float
    largest: float

    def bucket(self, values: Array) -> Buckets:
        """Returns the bucket of each value."""
        numbers = np.floor(np.log(values * (self.ratio - 1) / self.first + 1) / math.log(self.ratio))
        return np.minimum(np.where(values < self.first, 0, numbers), self._last).astype(np.int64)

    def end(self, bucket: int) -> float:
        """Returns where a bucket ends."""
        exponent = min(bucket + 1, self._last)
        return self.first * (self.ratio**exponent - 1) / (self.ratio - 1)

    @property
    def _last(self) -> int:
        return math.ceil(math.log(self.largest * (self.ratio - 1) / self.first + 1) / math.log(self.ratio))


@dataclass(frozen=True, slots=True)
class LinearScale:
    """Buckets of equal width.

    Attributes:
        width: of each.
        largest: the largest value; what is above it counts into the last bucket.
    """

    width: float
    largest: float

    def bucket(self, values: Array) -> Buckets:
        """Returns the bucket of each value."""
        return np.minimum(np.floor(values / self.width), self._last).astype(np.int64)

    def end(self, bucket: int) -> float:
        """Returns where a bucket ends."""
        return min(bucket + 1, self._last) * self.width

    @property
    def _last(self) -> int:
        return math.ceil(self.largest / self.width)


def weighted_percentile(values: Array, weights: Array, share: float, scale: BucketScale) -> float:
    """Returns the end of the first bucket up to which at least a share of the weight lies.

    Args:
        values: shape (n,), none negative, at least one.
        weights: shape (n,), positive.
        share: in [0, 1].
        scale: the buckets.
    """
    sums = np.bincount(scale.bucket(values), weights=weights)
    reached = np.cumsum(sums)
    occupied = np.flatnonzero(sums)
    over = np.flatnonzero(reached >= share * reached[-1])
    first = max(int(over[0]), int(occupied[0]))
    return scale.end(min(first, int(occupied[-1])))
