"""A canary against the pods beside it, with the false-alarm rate of its own past. Pure.

`prepare` looks at the time before the change and fixes everything that is compared; `look` may be called at
any time afterwards, as often as one likes, without the false-alarm rate rising.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from perfopt.errors import InvalidInputError
from perfopt.metrics.pods import PodHistory
from perfopt.metrics.snapshot import Array
from perfopt_api.apply.verification.bounds import ConfidenceSequence
from perfopt_api.apply.verification.counts import log_rate_ratio, rate_difference
from perfopt_api.apply.verification.differences import MIN_BLOCKS, block_length, in_blocks, mean_difference
from perfopt_api.apply.verification.harm import (
    ComparedMetric,
    HarmMargins,
    HarmVerdict,
    MetricSeries,
    compared_metrics,
    series_of,
    shown,
)
from perfopt_api.apply.verification.placebo import Calibration, calibrate, calibrate_upper
from perfopt_api.apply.verification.verdict import (
    MetricCheck,
    ToleratedHarm,
    judge,
    needed_above,
    needed_below,
)

MIN_PLACEBO_STEPS = 10
"""A shorter time before the change shows nothing of false alarms."""

_LARGEST_STEP_RATIO = 2.0
_SHRINKAGE = 5.0  # events as usual that are added to both sides of what was before
_MOSTLY = 0.5  # of a window in which a pod must have been there to be split

Flags = NDArray[np.bool_]
Rows = NDArray[np.intp]


class CanaryTest(msgspec.Struct, frozen=True, kw_only=True):
    """What a canary is tested by, fixed before the change; kept with the job, so that it survives a restart.

    Attributes:
        canary, control: names of the pods.
        metrics: compared; without any there is nothing to verify by.
        alpha: false-alarm rate of all metrics together.
        beta: probability that harm above the margin passes, of each metric.
        horizon: steps after which one wants to know.
        calibration: of the bounds of all metrics.
    """

    canary: tuple[str, ...]
    control: tuple[str, ...]
    metrics: tuple[ComparedMetric, ...]
    alpha: float
    beta: float
    horizon: int
    calibration: Calibration

    @property
    def levels(self) -> "TestLevels":
        """Returns the error rates of one metric."""
        return TestLevels(self.alpha / max(len(self.metrics), 1), self.beta, self.horizon)


@dataclass(frozen=True, slots=True)
class TestLevels:
    """What the bounds of one metric are computed for.

    Attributes:
        alpha: probability that the lower bound fails: a metric's share of the false-alarm rate (Bonferroni).
        beta: probability that the upper bound fails. All metrics must rule harm out, so each has all of it.
        horizon: steps after which one wants to know.
    """

    alpha: float
    beta: float
    horizon: int


@dataclass(frozen=True, slots=True)
class PodSplit:
    """Rows of the canary's pods and of those beside it."""

    canary: Rows
    control: Rows


def prepare(
    past: PodHistory,
    canary: Sequence[str],
    horizon: int,
    *,
    alpha: float = 0.01,
    beta: float = 0.05,
    margins: HarmMargins | None = None,
    placebos: int = 200,
) -> CanaryTest:
    """Fixes what a canary will be compared in, from the time before the change.

    The false-alarm rate is that of all metrics together: each has its share of alpha, and the bounds are
    widened until random splits of the pods in the past raise no more alarms, and their upper bounds fail no
    more often than beta.

    Args:
        past: of all pods, up to the change.
        canary: names of the pods that will be changed.
        horizon: steps the canary is to be observed for.
        alpha: the false-alarm rate, in (0, 1).
        beta: probability that harm above the margin passes, in (0, 1/2).
        margins: the harm that is accepted; None is the defaults.
        placebos: how many random splits of the past are tried.

    Raises:
        InvalidInputError: a pod is unknown, or none is left to compare with.
    """
    split = _split(past, canary)
    metrics = [
        _in_blocks(metric, past, split, horizon)
        for metric in compared_metrics(past, margins or HarmMargins(), _expected(past, split, horizon))
    ]
    series = [series_of(metric, past) for metric in metrics]
    levels = TestLevels(alpha / max(len(metrics), 1), beta, horizon)
    runs = [
        _checks(metrics, series, window, levels)
        for window in _placebo_windows(past, split.canary.size, horizon, placebos if metrics else 0)
    ]
    widening, calibration = calibrate(
        [[needed_below(one) for one in run] for run in runs], len(metrics), alpha
    )
    upper = [_upper_widening([run[at] for run in runs], beta) for at in range(len(metrics))]
    return CanaryTest(
        canary=tuple(past.pods[at] for at in split.canary),
        control=tuple(past.pods[at] for at in split.control),
        metrics=tuple(
            msgspec.structs.replace(
                metric,
                widening=float(below),
                upper_widening=above[0],
                share_widening=above[1],
                before=_baseline(metric, one, split),
            )
            for metric, one, below, above in zip(metrics, series, widening, upper, strict=True)
        ),
        alpha=alpha,
        beta=beta,
        horizon=horizon,
        calibration=calibration,
    )


def look(test: CanaryTest, since: PodHistory) -> HarmVerdict:
    """Returns the verdict on what came since the change. OOM kills and restarts are for the caller to judge.

    Args:
        test: of `prepare`.
        since: of the pods from the change on.
    """
    rows = np.array([pod in set(test.canary) for pod in since.pods], dtype=np.bool_)
    split = PodSplit(np.flatnonzero(rows), np.flatnonzero(~rows))
    checks = []
    if split.canary.size and split.control.size:
        checks = [_check(metric, series_of(metric, since), split, test.levels) for metric in test.metrics]
    judgement = judge(checks)
    return HarmVerdict(
        verdict=judgement.verdict,
        metric=judgement.metric,
        step=judgement.look,
        bounds=tuple(shown(m, c) for m, c in zip(test.metrics, checks, strict=False)),
    )


def _split(history: PodHistory, canary: Sequence[str]) -> PodSplit:
    unknown = sorted(set(canary) - set(history.pods))
    if unknown or not canary:
        raise InvalidInputError(
            f"{', '.join(unknown) or 'No pod'} is not among the pods: {', '.join(history.pods)}.",
            field="canary",
            remedy="Name one or more of them.",
        )
    chosen = np.array([pod in set(canary) for pod in history.pods])
    if chosen.all():
        raise InvalidInputError(
            "There is no pod beside the canary to compare it with.",
            field="canary",
            remedy="Leave at least one pod unchanged.",
        )
    return PodSplit(np.flatnonzero(chosen), np.flatnonzero(~chosen))


def _expected(past: PodHistory, split: PodSplit, horizon: int) -> float:
    """Returns the requests until the deadline that tell canary and control apart: c k / (c + k)."""
    if past.requests is None:
        return np.inf
    served = [float(np.nansum(past.requests[rows])) for rows in (split.canary, split.control)]
    return horizon / max(past.grid.size, 1) * served[0] * served[1] / max(sum(served), 1.0)


def _upper_widening(runs: Sequence[MetricCheck], beta: float) -> tuple[float, float]:
    """Returns the factors of the upper bounds of a metric: of its harm, and of its difference of shares."""
    harm = calibrate_upper([needed_above(run.harm) for run in runs], beta)
    return harm, calibrate_upper([needed_above(run.otherwise[0]) for run in runs if run.otherwise], beta)


def _in_blocks(metric: ComparedMetric, past: PodHistory, split: PodSplit, horizon: int) -> ComparedMetric:
    if metric.counted:
        return metric
    apart = difference(past.levels[metric.name], split.canary, split.control)
    return msgspec.structs.replace(metric, block=block_length(apart, horizon // MIN_BLOCKS))


def _baseline(metric: ComparedMetric, before: MetricSeries, split: PodSplit) -> float:
    """Returns how canary and control compared before: a ratio of rates, or a difference of levels."""
    if before.requests is None:
        apart = difference(before.values, split.canary, split.control)
        enough = np.isfinite(apart).sum() >= MIN_BLOCKS * metric.block
        return float(np.nanmean(apart)) if enough else 0.0
    bad, served = before.values.sum(axis=1), before.requests.sum(axis=1)
    pods = np.concatenate((split.canary, split.control))
    if not served[pods].sum():
        return 1.0
    usual = bad[pods].sum() / served[pods].sum()
    sides = [
        (bad[rows].sum() + _SHRINKAGE) / (served[rows].sum() * usual + _SHRINKAGE)
        for rows in (split.canary, split.control)
    ]
    return float(sides[0] / sides[1])


def _checks(
    metrics: Sequence[ComparedMetric],
    series: Sequence[MetricSeries],
    window: tuple[PodSplit, int, int],
    levels: TestLevels,
) -> list[MetricCheck]:
    """Compares a split in a window of the past, by what its pods did before."""
    split, begin, end = window
    checks = []
    for metric, one in zip(metrics, series, strict=True):
        before = _baseline(metric, one.between(0, begin), split)
        compared = msgspec.structs.replace(metric, before=before)
        checks.append(_check(compared, one.between(begin, end), split, levels))
    return checks


def _check(metric: ComparedMetric, since: MetricSeries, split: PodSplit, levels: TestLevels) -> MetricCheck:
    if since.requests is None:
        apart = difference(since.values, split.canary, split.control)
        bounds = _level_harm(metric, apart, levels).widened(metric.widening, metric.upper_widening)
        return MetricCheck(metric.label, ToleratedHarm(bounds, metric.margin))
    bad, others = (since.values[rows].sum(axis=0) for rows in (split.canary, split.control))
    served, beside = (since.requests[rows].sum(axis=0) for rows in (split.canary, split.control))
    limited = _limited(bad, others, metric.before * served, beside)
    bounds = log_rate_ratio(
        limited, others, metric.before * served, beside, levels.alpha, levels.beta
    ).widened(metric.widening, metric.upper_widening)
    harm = ToleratedHarm(bounds, metric.margin)
    if metric.accepted_share is None:
        return MetricCheck(metric.label, harm)
    shares = rate_difference(bad, others, served, beside, levels.beta, metric.usual_share)
    accepted = ToleratedHarm(shares.widened(1.0, metric.share_widening), metric.accepted_share)
    return MetricCheck(metric.label, harm, (accepted,))


def _limited(canary: Array, control: Array, served: Array, beside: Array) -> Array:
    """Returns the canary's counts, in no step more than a few times what the control's rate would make.

    One pod that stalls for a minute is no harm of a change; one that is worse all the time is found as well.
    """
    expected = control * served / np.maximum(beside, 1.0)
    return np.minimum(canary, _LARGEST_STEP_RATIO * np.maximum(expected, 1.0))


def _level_harm(metric: ComparedMetric, apart: Array, levels: TestLevels) -> ConfidenceSequence:
    """Compares block by block; what was known after the last whole block is known until the next."""
    blocks = in_blocks(apart, metric.block) - metric.before
    bounds = mean_difference(blocks, levels.alpha, levels.beta, max(levels.horizon // metric.block, 1))
    finished = (np.arange(apart.size) + 1) // metric.block
    return ConfidenceSequence(
        np.append(np.nan, bounds.estimate)[finished],
        np.append(-np.inf, bounds.lower)[finished],
        np.append(np.inf, bounds.upper)[finished],
    )


def difference(values: Array, canary: Rows, control: Rows) -> Array:
    """Returns the mean of the canary's pods minus that of the others at each step, NaN without either."""
    sides = []
    for rows in (canary, control):
        known = np.isfinite(values[rows])
        total = np.where(known, values[rows], 0.0).sum(axis=0)
        with np.errstate(invalid="ignore"):
            sides.append(np.where(known.any(axis=0), total / known.sum(axis=0), np.nan))
    result: Array = sides[0] - sides[1]
    return result


def _placebo_windows(
    past: PodHistory, canaries: int, horizon: int, count: int
) -> Iterator[tuple[PodSplit, int, int]]:
    """Draws splits of the pods and windows of the past, each as long as the observation.

    A third of the past where there is less of it. A pod takes part where it was there for most of the time.
    """
    length = min(horizon, past.grid.size // 3)
    if not count or length < MIN_PLACEBO_STEPS:
        return
    rng = np.random.default_rng(zlib.crc32(" ".join(past.pods).encode()))
    measured = np.cumsum(_measured(past), axis=1)
    for _ in range(count):
        first = int(rng.integers(length, past.grid.size - length + 1))
        there = np.flatnonzero(measured[:, first + length - 1] >= _MOSTLY * (first + length))
        if there.size <= canaries:
            continue
        pods = rng.permutation(there)
        yield PodSplit(pods[:canaries], pods[canaries:]), first, first + length


def _measured(history: PodHistory) -> Flags:
    known = [a for a in (history.requests, *history.levels.values()) if a is not None]
    result: Flags = np.logical_or.reduce([np.isfinite(values) for values in known])
    return result
