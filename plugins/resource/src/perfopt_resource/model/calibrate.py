"""Makes a probability mean what it says: fitted on series that the model was not trained on."""

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from perfopt.plugin import Array

_CLIP = 1e-6
_SLOPE_PRECISION = 25.0  # beforehand, a slope is 1 with a standard deviation of a fifth


class ConfidenceCalibration(msgspec.Struct, frozen=True):
    """Platt's map of log-odds (Platt 1999), less what a short history lacks.

    sigmoid(slope * logit(p) + offset + lack * log(known)), known being the share of the history asked for
    that there is. `lack` is not below 0: of less history never more is said.
    """

    slope: float = 1.0
    offset: float = 0.0
    lack: float = 0.0

    def __call__(self, probability: Array, known: Array | float = 1.0) -> Array:
        """Returns the calibrated probabilities; rising, since the slope is above 0.

        Args:
            probability: shape (n,).
            known: share of the history asked for that there is, in (0, 1]; shape (n,) or of all.
        """
        odds = self.slope * _logit(probability) + self.offset + self.lack * np.log(known)
        calibrated: Array = 1 / (1 + np.exp(-odds))
        return calibrated


class ConfidenceReliability(msgspec.Struct, frozen=True):
    """How well probabilities did.

    Attributes:
        count: number of outcomes.
        rate: share that came true.
        expected_error: expected calibration error over ten equal-mass bins.
        brier_skill: 1 - Brier score / that of always saying the rate; None if all outcomes are alike.
        auc: chance that a true one had the higher probability; None if all outcomes are alike.
        bins: (mean probability, share that came true, count) of each bin.
    """

    count: int
    rate: float
    expected_error: float
    brier_skill: float | None
    auc: float | None
    bins: tuple[tuple[float, float, int], ...]


def _logit(probability: Array) -> Array:
    clipped = np.clip(probability, _CLIP, 1 - _CLIP)
    logit: Array = np.log(clipped / (1 - clipped))
    return logit


def fit(
    probability: Array, accurate: NDArray[np.bool_], weight: Array | None = None
) -> ConfidenceCalibration:
    """Returns the calibration of greatest likelihood, by Newton's method.

    Args:
        probability: as predicted for series not trained on, shape (n,).
        accurate: what came true, shape (n,).
        weight: of each outcome; alike if None.
    """
    weight = np.ones(len(accurate)) if weight is None else weight
    design = np.stack([_logit(probability), np.ones(len(accurate))], axis=1)
    # Platt's targets: one pseudo-outcome on either side keeps separable data finite
    positives, negatives = weight[accurate].sum(), weight[~accurate].sum()
    target = np.where(accurate, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    theta = np.array([1.0, 0.0])
    for _ in range(50):
        predicted = 1 / (1 + np.exp(-(design @ theta)))
        gradient = design.T @ (weight * (target - predicted)) - np.array(
            [_SLOPE_PRECISION * (theta[0] - 1), 0.0]
        )
        curvature = (design * (weight * predicted * (1 - predicted))[:, None]).T @ design + np.diag(
            [_SLOPE_PRECISION, 1e-6]
        )
        move = np.linalg.solve(curvature, gradient)
        theta = theta + np.clip(move, -1, 1)
        if np.abs(move).max() < 1e-9:
            break
    return ConfidenceCalibration(max(float(theta[0]), 0.05), float(theta[1]))


def fit_lack(
    calibration: ConfidenceCalibration, probability: Array, known: Array, accurate: NDArray[np.bool_]
) -> ConfidenceCalibration:
    """Returns the calibration with the lack of greatest likelihood; what it says of a whole history stays.

    Args:
        calibration: fitted on whole histories.
        probability: as predicted for series not trained on, from short histories, shape (n,).
        known: share of the history asked for that there was, shape (n,).
        accurate: what came true, shape (n,).
    """
    stated = calibration.slope * _logit(probability) + calibration.offset
    short = np.log(known)
    lack = 0.0
    for _ in range(50):
        predicted = 1 / (1 + np.exp(-(stated + lack * short)))
        # a lack of 1 either way is a standard deviation beforehand: few outcomes move it little
        gradient = float(short @ (accurate - predicted)) - lack
        move = gradient / (float(short**2 @ (predicted * (1 - predicted))) + 1)
        lack += min(max(move, -1.0), 1.0)
        if abs(move) < 1e-9:
            break
    return msgspec.structs.replace(calibration, lack=max(lack, 0.0))


def reliability(probability: Array, accurate: NDArray[np.bool_], bins: int = 10) -> ConfidenceReliability:
    """Returns the reliability of probabilities: expected calibration error, Brier skill and AUC.

    Args:
        probability: shape (n,), n at least 1.
        accurate: what came true, shape (n,).
        bins: number of equal-mass bins.
    """
    order = np.argsort(probability, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    table = tuple((float(probability[p].mean()), float(accurate[p].mean()), len(p)) for p in parts)
    error = sum(abs(stated - was) * size for stated, was, size in table) / len(accurate)
    rate = float(accurate.mean())
    spread = rate * (1 - rate)
    brier = float(((probability - accurate) ** 2).mean())
    mixed = spread > 0
    return ConfidenceReliability(
        count=len(accurate),
        rate=rate,
        expected_error=error,
        brier_skill=1 - brier / spread if mixed else None,
        auc=_auc(probability, accurate) if mixed else None,
        bins=table,
    )


def _auc(probability: Array, accurate: NDArray[np.bool_]) -> float:
    """Returns the area under the ROC curve by mean ranks (Mann-Whitney)."""
    _, inverse, counts = np.unique(probability, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positives = int(accurate.sum())
    negatives = len(accurate) - positives
    above = float(ranks[accurate].sum()) - positives * (positives + 1) / 2
    return above / (positives * negatives) if not math.isclose(negatives, 0) else math.nan
