"""Whether one way of recommending beats another on the same windows of the same services. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from perfopt.backtest.bootstrap import ConfidenceInterval, Rows, interval, resamples
from perfopt.backtest.calibration import Bools
from perfopt.backtest.evaluated import EvaluatedRecommendation
from perfopt.backtest.summary import rounded
from perfopt.metrics.snapshot import Array

MIN_SERVICES, MIN_WINDOWS = 5, 20
# Accuracy counts as not lower while the 95 % interval of its change stays above -1 point, waste as no more
# while that of what is granted stays below +1 %: none at all could never be shown.
ACCURACY_MARGIN, GRANTED_MARGIN = 0.01, 0.01
# Abstaining from what is hard does not count as accuracy.
ABSTENTION_MARGIN = 0.02
RULE = (
    "better is: accuracy higher at no more waste, or accuracy not lower and waste lower, each by the 95 %"
    " interval over services, without abstaining more often"
)


class ComparedPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How one of the two did.

    Attributes:
        made, scored: recommendations, and those of them whose window was scored.
        accuracy: accurate / scored.
        abstention: declined / (declined + made).
        cpu_waste_median, memory_waste_median: over the safe ones.
    """

    made: int
    scored: int
    accuracy: float | None
    abstention: float | None
    cpu_waste_median: float | None
    memory_waste_median: float | None


class PolicyComparison(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate against an incumbent.

    Attributes:
        services: that had windows.
        windows: that both were scored on.
        incumbent, candidate: how each did.
        accuracy_change: candidate less incumbent, each over what it made.
        granted_change: what the candidate grants relative to the incumbent on the windows that both were
            scored on, less 1: the geometric mean over windows of the ratio, CPU and memory weighing the
            same. The need is the same, so this is the relative change of 1 + waste.
        abstention_change: candidate less incumbent.
        better: by the rule.
        verdict: one sentence that says why.
        rule: what better means.
    """

    services: int
    windows: int
    incumbent: ComparedPolicy
    candidate: ComparedPolicy
    accuracy_change: ConfidenceInterval | None
    granted_change: ConfidenceInterval | None
    abstention_change: ConfidenceInterval | None
    better: bool
    verdict: str
    rule: str = RULE


def compare(
    incumbent: Sequence[EvaluatedRecommendation], candidate: Sequence[EvaluatedRecommendation]
) -> PolicyComparison:
    """Compares two sets of recommendations of the same origins for the same services.

    Raises:
        ValueError: they are not of the same origins and services.
    """
    pairs = _PairedScores.of(incumbent, candidate)
    rows, samples = pairs.rows(), resamples(pairs.services)
    accuracy = interval(pairs.accuracy_change, rows, samples)
    granted = interval(pairs.granted_change, rows, samples)
    abstention = interval(pairs.abstention_change, rows, samples)
    services, windows = len(set(pairs.services)), int(np.isfinite(pairs.log_ratio).sum())
    better, verdict = _verdict(services, windows, accuracy, granted, abstention)
    return rounded(
        PolicyComparison(
            services=services,
            windows=windows,
            incumbent=_side(incumbent),
            candidate=_side(candidate),
            accuracy_change=accuracy,
            granted_change=granted,
            abstention_change=abstention,
            better=better,
            verdict=verdict,
        )
    )


@dataclass(frozen=True, slots=True)
class _PairedScores:
    """One row a service and instant; `first` is of the incumbent, `second` of the candidate."""

    services: tuple[str, ...]
    first: "_PairedOutcomes"
    second: "_PairedOutcomes"
    log_ratio: Array

    @classmethod
    def of(
        cls, incumbent: Sequence[EvaluatedRecommendation], candidate: Sequence[EvaluatedRecommendation]
    ) -> "_PairedScores":
        before, after = _by_case(incumbent), _by_case(candidate)
        if before.keys() != after.keys():
            raise ValueError("the two have other origins or services")
        keys = sorted(before)
        first, second = [before[key] for key in keys], [after[key] for key in keys]
        ratios = [_log_ratio(one, other) for one, other in zip(first, second, strict=True)]
        return cls(
            services=tuple(row.service for row in first),
            first=_PairedOutcomes.of(first),
            second=_PairedOutcomes.of(second),
            log_ratio=np.array(ratios, dtype=np.float64),
        )

    def rows(self) -> Rows:
        return np.arange(len(self.services), dtype=np.intp)

    def accuracy_change(self, rows: Rows) -> float | None:
        return _difference(self.first.accuracy, self.second.accuracy, rows)

    def abstention_change(self, rows: Rows) -> float | None:
        return _difference(self.first.abstention, self.second.abstention, rows)

    def granted_change(self, rows: Rows) -> float | None:
        known = self.log_ratio[rows]
        known = known[np.isfinite(known)]
        return float(np.expm1(known.mean())) if known.size else None


@dataclass(frozen=True, slots=True)
class _PairedOutcomes:
    scored: Bools
    accurate: Bools
    declined: Bools

    @classmethod
    def of(cls, rows: Sequence[EvaluatedRecommendation]) -> "_PairedOutcomes":
        return cls(
            scored=np.array([row.scored for row in rows], dtype=np.bool_),
            accurate=np.array([row.outcome == "accurate" for row in rows], dtype=np.bool_),
            declined=np.array([row.outcome == "declined" for row in rows], dtype=np.bool_),
        )

    def accuracy(self, rows: Rows) -> float | None:
        chosen = self.accurate[rows][self.scored[rows]]
        return float(chosen.mean()) if chosen.size else None

    def abstention(self, rows: Rows) -> float | None:
        return float(self.declined[rows].mean()) if rows.size else None


def _by_case(rows: Sequence[EvaluatedRecommendation]) -> dict[tuple[str, str, str], EvaluatedRecommendation]:
    return {(row.service, row.made_at.isoformat(), row.policy): row for row in rows}


def _log_ratio(one: EvaluatedRecommendation, other: EvaluatedRecommendation) -> float:
    """Returns the mean over resources of log(other's grant / one's); NaN unless both were scored."""
    pairs = [
        (before.recommended, after.recommended)
        for before, after in ((one.cpu, other.cpu), (one.memory, other.memory))
        if before is not None and after is not None
    ]
    if not pairs:
        return float("nan")
    return float(np.mean([np.log(after / before) for before, after in pairs]))


def _difference(
    first: Callable[[Rows], float | None], second: Callable[[Rows], float | None], rows: Rows
) -> float | None:
    before, after = first(rows), second(rows)
    return None if before is None or after is None else after - before


def _side(rows: Sequence[EvaluatedRecommendation]) -> ComparedPolicy:
    proposed = [row for row in rows if row.outcome != "declined"]
    scored = [row for row in rows if row.scored]
    return ComparedPolicy(
        made=len(proposed),
        scored=len(scored),
        accuracy=_mean([row.outcome == "accurate" for row in scored]),
        abstention=(len(rows) - len(proposed)) / len(rows) if rows else None,
        cpu_waste_median=_median([t.cpu.waste for t in scored if t.cpu is not None and t.cpu.safe]),
        memory_waste_median=_median(
            [t.memory.waste for t in scored if t.memory is not None and t.memory.safe]
        ),
    )


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None


def _verdict(
    services: int,
    windows: int,
    accuracy: ConfidenceInterval | None,
    granted: ConfidenceInterval | None,
    abstention: ConfidenceInterval | None,
) -> tuple[bool, str]:
    bounds = _bounds(accuracy, granted, abstention)
    if services < MIN_SERVICES or windows < MIN_WINDOWS or bounds is None:
        return False, (
            f"Too few windows to compare: {windows} windows of {services} services, and at least"
            f" {MIN_WINDOWS} of {MIN_SERVICES} are needed."
        )
    accuracy_low, granted_high, abstention_high = bounds
    if abstention_high > ABSTENTION_MARGIN:
        return False, "The candidate may abstain more often than the incumbent."
    if accuracy_low > 0 and granted_high <= GRANTED_MARGIN:
        return True, "The candidate is more accurate at no more waste."
    if accuracy_low >= -ACCURACY_MARGIN and granted_high < 0:
        return True, "The candidate wastes less and is no less accurate."
    if accuracy_low < -ACCURACY_MARGIN:
        return False, "The candidate may be less accurate than the incumbent."
    return False, "The candidate is not shown to waste less, nor to be more accurate at no more waste."


def _bounds(
    accuracy: ConfidenceInterval | None,
    granted: ConfidenceInterval | None,
    abstention: ConfidenceInterval | None,
) -> tuple[float, float, float] | None:
    if accuracy is None or granted is None or abstention is None:
        return None
    if accuracy.low is None or granted.high is None or abstention.high is None:
        return None
    return accuracy.low, granted.high, abstention.high
