"""The fleet network: one small quantile network for all series, run in numpy.

It is trained by `perfopt train --what forecast` in TensorFlow, on features of the history and of the
step asked for, with the quantile (pinball) loss: a direct multi-horizon quantile network whose decoder
runs apart for each step, as in TiDE (Das et al. 2023). Members of different seeds are averaged before the
last non-linearity. The weights are a file in the package, so that TensorFlow is needed for training only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfopt.forecast.conformal import mixing, probits
from perfopt.forecast.experts import LEVELS
from perfopt.forecast.features import NetworkInputs, Steps, features
from perfopt.forecast.folding import FoldedHistory
from perfopt.metrics.snapshot import Array
from perfopt.plugin.calendar import Bools

Singles = NDArray[np.float32]
_CLIP = 4.0  # standard deviations: what was never seen in training counts as the farthest that was
_MAX_TRUST = 60.0  # its exponential is still a number
_MAX_Z = 14.0  # 600,000 mean deviations
_COARSE_SECONDS = 600  # beyond a day: finer steps cost time and no loss (docs/research/forecasts.md)
_BUCKETS = (3600, 86_400)  # horizons up to an hour, up to a day, beyond
_LONG_DAYS = 10  # history from which on intervals are a class of their own: they are narrower
GROUPS = 2 * 2 * 2 * (len(_BUCKETS) + 1)


@dataclass(frozen=True, slots=True)
class FleetNetwork:
    """Weights of the members and the calibration of their mean.

    Attributes:
        mean, deviation: of each feature, shape (features,).
        layers: (weights, bias) of each layer, with a leading axis for the member.
        theta: levels to read for each level by group, shape (GROUPS, levels); see conformal.py.
    """

    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]
    layers: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]
    theta: Array

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "FleetNetwork":
        """Returns the network whose `arrays` a training run wrote."""
        count = sum(name.startswith("weights_") for name in arrays)
        return cls(
            mean=arrays["mean"],
            deviation=arrays["deviation"],
            layers=tuple((arrays[f"weights_{i}"], arrays[f"bias_{i}"]) for i in range(count)),
            theta=arrays["theta"],
        )

    def z_quantiles(self, inputs: NetworkInputs) -> Array:
        """Returns uncalibrated quantiles in z, non-decreasing in the level, shape (n, levels)."""
        scaled = np.clip((inputs.features - self.mean) / self.deviation, -_CLIP, _CLIP)
        *inner, (last, last_bias) = self.layers
        raw = np.zeros((len(scaled), last.shape[2]), np.float32)
        for member in range(len(last)):
            hidden = scaled
            for weights, bias in inner:
                hidden = hidden @ weights[member]
                hidden += bias[member]
                np.maximum(hidden, 0.0, out=hidden)
            raw += hidden @ last[member]
        raw /= len(last)
        raw += last_bias.mean(axis=0)
        mixed = _mixed(raw[:, len(LEVELS) :], inputs.experts, _own_quantiles(raw[:, : len(LEVELS)], inputs))
        result: Array = np.clip(np.sort(mixed, axis=1), -_MAX_Z, _MAX_Z).astype(np.float64)
        return result

    def forecast(self, folded: FoldedHistory, rest: Bools, levels: tuple[float, ...]) -> Array:
        """Forecasts the steps right after a history.

        Args:
            folded: the history.
            rest: which of the steps lie on a weekend or closed day, shape (n,).
            levels: quantile levels, increasing.

        Returns:
            Values of shape (len(levels), n), non-decreasing along the first axis.
        """
        leads = _positions(rest.size, folded.step)
        inputs = features(folded, rest[leads], leads)
        quantiles = self.z_quantiles(inputs)
        groups = group_of(leads * folded.step, inputs, len(folded.z))
        z = np.empty((len(levels), leads.size))
        for group in np.unique(groups):
            chosen = groups == group
            z[:, chosen] = (quantiles[chosen] @ self._to_levels(int(group), levels)).T
        return folded.scaling.to_values(_between(np.sort(z, axis=0), leads, rest.size))

    def _to_levels(self, group: int, levels: tuple[float, ...]) -> Array:
        """Returns the matrix from the network's quantiles to calibrated ones at the levels asked for."""
        scores = np.interp(probits(levels), probits(LEVELS), probits(self.theta[group]))
        return mixing(LEVELS, scores)


def _mixed(raw: Singles, experts: Singles, own: Singles) -> Singles:
    """Returns the mean of what is offered, weighted by trust in it (softmax over the offers), by level."""
    trust = np.exp(np.minimum(raw, _MAX_TRUST)).reshape(len(raw), -1, len(LEVELS))
    total = trust[:, -1].copy()
    result = total * own
    for number in range(experts.shape[1]):
        result += trust[:, number] * experts[:, number]
        total += trust[:, number]
    result /= total
    return result


def _own_quantiles(raw: Singles, inputs: NetworkInputs) -> Singles:
    """Returns the quantiles that the network makes itself: a centre, and gaps between levels, in units."""
    gaps = np.logaddexp(np.float32(0.0), raw)
    middle = len(LEVELS) // 2
    centre = raw[:, middle : middle + 1]
    below = np.cumsum(gaps[:, middle - 1 :: -1], axis=1)[:, ::-1]
    above = np.cumsum(gaps[:, middle + 1 :], axis=1)
    steps = np.concatenate([centre - below, centre, centre + above], axis=1)
    steps *= inputs.unit.astype(np.float32)[:, None]
    steps += inputs.base.astype(np.float32)[:, None]
    return steps


def _positions(count: int, step: int) -> Steps:
    """Returns the steps that the network is asked for: all of the first day, later one in ten minutes."""
    first = min(-(-_BUCKETS[-1] // step), count)
    later = np.arange(first, count, max(_COARSE_SECONDS // step, 1))
    return np.unique(np.concatenate([np.arange(first), later, [count - 1]]))


def _between(z: Array, leads: Steps, count: int) -> Array:
    """Returns the quantiles of all steps, (levels, count), from those of some: the straight line between."""
    if leads.size == count:
        return z
    steps = np.arange(count)
    right = np.maximum(np.searchsorted(leads, steps), 1)
    left = right - 1
    share = (steps - leads[left]) / (leads[right] - leads[left])
    result: Array = z[:, left] * (1 - share) + z[:, right] * share
    return result


def group_of(seconds: Steps, inputs: NetworkInputs, days: int | Steps) -> NDArray[np.int64]:
    """Returns the calibration group of each step.

    By horizon, busy or quiet time of day, whether the series often stands still (an interval that begins
    or ends at a value that is often repeated covers more than its share), and short or long history.

    Args:
        seconds: from the origin to the step, shape (n,).
        inputs: of the steps; a time of day is busy above the median of the history, which is 0 in z.
        days: of history, one number or shape (n,).
    """
    long = np.asarray(days) >= _LONG_DAYS
    busy, still = inputs.base > 0, inputs.still()
    result: NDArray[np.int64] = np.digitize(seconds, _BUCKETS) * 8 + still * 4 + busy * 2 + long
    return result
