"""From the bounds of several metrics to one verdict. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from perfopt_api.apply.verification.bounds import ConfidenceSequence


class Verdict(StrEnum):
    """What a verification came to."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class ToleratedHarm:
    """Bounds of a harm and the harm that is accepted, in one unit."""

    bounds: ConfidenceSequence
    margin: float

    def ruled_out_at(self) -> int | None:
        """Returns the first look at which more harm than the margin was ruled out; never without data."""
        below = self.bounds.running().upper < self.margin
        return int(below.argmax()) if below.any() else None


@dataclass(frozen=True, slots=True)
class MetricCheck:
    """One metric of canary and control.

    Attributes:
        name: of the metric.
        harm: against the control; above zero the canary does worse.
        otherwise: other tolerances of which one is enough to call the canary harmless: of a rate so low that
            its ratio stays unknown, the rate itself.
    """

    name: str
    harm: ToleratedHarm
    otherwise: tuple[ToleratedHarm, ...] = ()

    def harmful_at(self) -> int | None:
        """Returns the first look at which harm was shown, and is above the margin by the estimate."""
        bounds = self.harm.bounds.running()
        shown = (bounds.lower > 0) & (bounds.estimate > self.harm.margin)
        return int(shown.argmax()) if shown.any() else None

    def harmless_at(self) -> int | None:
        """Returns the first look at which harm above a margin was ruled out; never without data."""
        looks = [at for way in (self.harm, *self.otherwise) if (at := way.ruled_out_at()) is not None]
        return min(looks, default=None)


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict, the look at which it was reached (the last where it is inconclusive), and the metric."""

    verdict: Verdict
    look: int
    metric: str | None = None


def judge(checks: Sequence[MetricCheck]) -> Judgement:
    """Returns the verdict over all metrics up to the last look.

    Harm shown in one metric fails, and that stays: a failure latches. All must rule harm out to pass. What
    has no data rules nothing out, so that no data is no pass.

    Args:
        checks: of the same looks; without any nothing is known.
    """
    if not checks or not checks[0].harm.bounds.estimate.size:
        return Judgement(Verdict.INCONCLUSIVE, 0)
    harmful = [(at, check.name) for check in checks if (at := check.harmful_at()) is not None]
    harmless = [check.harmless_at() for check in checks]
    passed = None if None in harmless else max(at for at in harmless if at is not None)
    if harmful and (passed is None or min(harmful)[0] <= passed):
        return Judgement(Verdict.FAILED, *min(harmful))
    if passed is not None:
        return Judgement(Verdict.PASSED, passed)
    return Judgement(Verdict.INCONCLUSIVE, checks[0].harm.bounds.estimate.size - 1)


def needed_above(harm: ToleratedHarm) -> float:
    """Returns by which factor the upper bound had to be moved up to hold no harm at every look."""
    bounds = harm.bounds
    low = np.isfinite(bounds.upper) & (bounds.estimate < 0)
    below = np.where(low, -bounds.estimate, 0.0)
    distance = np.where(low, bounds.upper - bounds.estimate, 1.0)
    return float((below / np.maximum(distance, 1e-300)).max(initial=0.0))


def needed_below(check: MetricCheck) -> float:
    """Returns by which factor the lower bound had to be moved down to show no harm at any look."""
    bounds, margin = check.harm.bounds, check.harm.margin
    with np.errstate(invalid="ignore", divide="ignore"):
        factors = np.where(
            np.isfinite(bounds.lower) & (bounds.estimate > 0),
            bounds.estimate / (bounds.estimate - bounds.lower),
            0.0,
        )
    alarms = np.maximum.accumulate(factors)[bounds.estimate > margin]
    return float(alarms.max(initial=0.0))
