"""Whether a stated confidence means what it says: reliability, ECE, Brier skill, AUC. Pure."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from perfopt.metrics.snapshot import Array

BINS = 10
MIN_CALIBRATION = 1000
"""Recommendations from which on the reliability of a confidence is shown: with fewer it is mostly chance."""
Bools = NDArray[np.bool_]


class ReliabilityBin(msgspec.Struct, frozen=True, kw_only=True):
    """Recommendations of about one confidence.

    Attributes:
        count: how many.
        low, high: least and largest confidence.
        confidence: mean; accuracy: share that was accurate.
    """

    count: int
    low: float
    high: float
    confidence: float
    accuracy: float


class CalibrationFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How well confidence was calibrated.

    Attributes:
        count: recommendations with a confidence that were scored.
        bins: equal-mass reliability bins; equal confidences share a bin.
        ece: expected calibration error, the mean over recommendations of |confidence - accuracy| of the bin.
        brier: mean squared error.
        brier_skill: 1 - brier / that of the constant base rate; None where all had the same outcome.
        auc: probability that an accurate one had more confidence than an inaccurate one, ties counting
            half; None where all had the same outcome.
    """

    count: int
    bins: tuple[ReliabilityBin, ...]
    ece: float
    brier: float
    brier_skill: float | None
    auc: float | None


def calibrate(confidence: Array, accurate: Bools) -> CalibrationFigures | None:
    """Returns the calibration, or None without any confidence; both of shape (n,)."""
    if not confidence.size:
        return None
    return CalibrationFigures(
        count=confidence.size,
        bins=reliability(confidence, accurate),
        ece=expected_calibration_error(confidence, accurate),
        brier=float(np.mean((confidence - accurate) ** 2)),
        brier_skill=brier_skill(confidence, accurate),
        auc=auc(confidence, accurate),
    )


def reliability(confidence: Array, accurate: Bools, bins: int = BINS) -> tuple[ReliabilityBin, ...]:
    """Returns at most so many bins of about equal mass, by increasing confidence.

    A boundary that would part equal confidences moves up behind them, so the bins do not depend on the
    order of the input.
    """
    order = np.argsort(confidence, kind="stable")
    stated, right = confidence[order], accurate[order]
    return tuple(
        ReliabilityBin(
            count=end - begin,
            low=float(stated[begin]),
            high=float(stated[end - 1]),
            confidence=float(stated[begin:end].mean()),
            accuracy=float(right[begin:end].mean()),
        )
        for begin, end in _parts(stated, bins)
    )


def _parts(ordered: Array, bins: int) -> list[tuple[int, int]]:
    ends: list[int] = []
    for number in range(1, bins + 1):
        end = ordered.size * number // bins
        if end:
            ends.append(int(np.searchsorted(ordered, ordered[end - 1], side="right")))
    ends = sorted(set(ends))
    return list(zip([0, *ends[:-1]], ends, strict=True))


def expected_calibration_error(confidence: Array, accurate: Bools, bins: int = BINS) -> float:
    """Returns the mean over recommendations of their bin's |mean confidence - share accurate|."""
    order = np.argsort(confidence, kind="stable")
    stated, right = confidence[order], accurate[order]
    parts = _parts(stated, bins)
    gaps = [abs(float(stated[b:e].sum()) - float(np.count_nonzero(right[b:e]))) for b, e in parts]
    return sum(gaps) / stated.size


def brier_skill(confidence: Array, accurate: Bools) -> float | None:
    """Returns 1 - Brier score / Brier score of the base rate; None where all outcomes are the same."""
    base = float(np.mean(accurate))
    if base in (0.0, 1.0):
        return None
    return 1 - float(np.mean((confidence - accurate) ** 2)) / (base * (1 - base))


def auc(confidence: Array, accurate: Bools) -> float | None:
    """Returns the area under the ROC curve by mid-ranks (Mann-Whitney); None without both outcomes."""
    positives = int(np.count_nonzero(accurate))
    negatives = accurate.size - positives
    if not positives or not negatives:
        return None
    _, group, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    middle = ends - (counts - 1) / 2
    ranks = float(middle[group][accurate].sum())
    return (ranks - positives * (positives + 1) / 2) / (positives * negatives)
