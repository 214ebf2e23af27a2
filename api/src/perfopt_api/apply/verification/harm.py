"""What a change is judged by: failed and slow requests, throttling; and the harm that is accepted. Pure."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from perfopt.metrics.pods import PodHistory
from perfopt.metrics.snapshot import Array
from perfopt_api.apply.verification.latency import slow, slow_bounds
from perfopt_api.apply.verification.verdict import MetricCheck, ToleratedHarm, Verdict

_FAILED, _SLOW = "failed_requests", "slow_requests"
SHARE = "_share"


class HarmMargins(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The harm that is accepted of a change.

    Attributes:
        latency_increase: of every request's latency, as a share: 0.1 is a tenth.
        failure_increase: of failed requests, as a share of the control's.
        failed_share: of failed requests, above the control's share of them, as a share of all requests.
        throttled: CPU throttling above the control's, in points of the share of periods.
    """

    latency_increase: Annotated[float, Meta(gt=0, le=10)] = 0.15
    failure_increase: Annotated[float, Meta(gt=0, le=100)] = 0.25
    failed_share: Annotated[float, Meta(ge=0, le=1)] = 0.001
    throttled: Annotated[float, Meta(gt=0, le=1)] = 0.02


class ComparedMetric(msgspec.Struct, frozen=True, kw_only=True):
    """One metric and how canary and control compared in it before the change.

    Attributes:
        name: "failed_requests", "slow_requests" or a level ("cpu_throttled_fraction").
        margin: the harm that is accepted: a log ratio of rates, or a difference of levels.
        bound_seconds: from where on a request counts as slow; None for other metrics.
        accepted_share: of requests, above the control's share, that is harmless whatever the ratio; None
            without one.
        usual_share: of requests that were bad in the past, above 0; where a share is accepted.
        block: steps averaged to one observation, of levels.
        widening: factor on the distance of the lower bound from the estimate, from placebo runs.
        upper_widening: the same of the upper bound.
        share_widening: the same of the upper bound of the difference of shares.
        before: ratio of the canary's rate to the control's, or difference of their levels, before the change:
            no two pods are quite alike.
    """

    name: str
    margin: float
    bound_seconds: float | None = None
    accepted_share: float | None = None
    usual_share: float = 1.0
    block: int = 1
    widening: float = 1.0
    upper_widening: float = 1.0
    share_widening: float = 1.0
    before: float = 0.0

    @property
    def counted(self) -> bool:
        """Whether it counts requests; else it is a level."""
        return self.name in (_FAILED, _SLOW)

    @property
    def label(self) -> str:
        """Returns the name with the bound."""
        if self.bound_seconds is None:
            return self.name
        return f"{self.name}_over_{self.bound_seconds * 1000:g}ms"


class MetricBounds(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the harm in one metric at the last look.

    Attributes:
        name: of the metric, with the latency from which on a request counts as slow.
        estimate, lower, upper: of the harm; None where nothing is known. Ratios of rates (1 is no harm) for
            counts, differences for levels and for shares of requests.
        margin: the harm that is accepted, in the same unit.
    """

    name: str
    estimate: float | None
    lower: float | None
    upper: float | None
    margin: float


class HarmVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a comparison came to.

    Attributes:
        verdict: passed, failed or inconclusive.
        metric: that decided it; None where it is inconclusive.
        step: the look at which it was reached, counted from the change.
        bounds: of each metric.
    """

    verdict: Verdict
    metric: str | None
    step: int
    bounds: tuple[MetricBounds, ...]


@dataclass(frozen=True, slots=True)
class MetricSeries:
    """One metric of all pods; rows of pods, columns of steps.

    Attributes:
        values: bad requests, or the level.
        requests: of those, 0 where none was measured; None for a level.
    """

    values: Array
    requests: Array | None = None

    def between(self, begin: int, end: int) -> "MetricSeries":
        """Returns the steps [begin, end) only."""
        requests = None if self.requests is None else self.requests[:, begin:end]
        return MetricSeries(self.values[:, begin:end], requests)


def compared_metrics(
    past: PodHistory, margins: HarmMargins, expected: float = np.inf
) -> list[ComparedMetric]:
    """Returns what a change can be judged by: what the series of the past show.

    Args:
        past: of all pods, up to the change.
        margins: the harm that is accepted.
        expected: requests until the deadline, as `slow_bounds` counts them.
    """
    compared = []
    if past.requests is not None and np.nansum(past.requests) > 0:
        if past.failed is not None:
            margin = float(np.log1p(margins.failure_increase))
            usual = (float(np.nansum(past.failed)) + 1) / (float(np.nansum(past.requests)) + 1)
            failures = ComparedMetric(
                name=_FAILED, margin=margin, accepted_share=margins.failed_share, usual_share=min(usual, 1.0)
            )
            compared.append(failures)
        if past.latency is not None:
            for bound in slow_bounds(past.latency, past.requests, margins.latency_increase, expected):
                compared.append(ComparedMetric(name=_SLOW, margin=bound.margin, bound_seconds=bound.seconds))
    for name, values in sorted(past.levels.items()):
        if np.isfinite(values).any():
            compared.append(ComparedMetric(name=name, margin=margins.throttled))
    return compared


def series_of(metric: ComparedMetric, history: PodHistory) -> MetricSeries:
    """Returns a metric's series; of counts 0 where none was measured."""
    shape = len(history.pods), history.grid.size
    if not metric.counted:
        return MetricSeries(history.levels.get(metric.name, np.full(shape, np.nan)))
    requests = history.requests if history.requests is not None else np.full(shape, np.nan)
    bad: Array | None = history.failed
    if metric.bound_seconds is not None:
        bad = None if history.latency is None else slow(history.latency, requests, metric.bound_seconds)
    if bad is None:
        return MetricSeries(np.zeros(shape), np.zeros(shape))
    known = np.isfinite(bad) & np.isfinite(requests)
    return MetricSeries(np.where(known, bad, 0.0), np.where(known, requests, 0.0))


def shown(metric: ComparedMetric, check: MetricCheck) -> MetricBounds:
    """Returns what a check knows at its last look.

    Where not the ratio but the share of requests ruled harm out, it is the share, named so.
    """
    way = next((one for one in check.otherwise if one.ruled_out_at() is not None), None)
    if way is not None and check.harm.ruled_out_at() is None:
        return _shown(f"{metric.label}{SHARE}", way, lambda value: value)
    return _shown(metric.label, check.harm, math.exp if metric.counted else lambda value: value)


def _shown(name: str, harm: ToleratedHarm, unit: Callable[[float], float]) -> MetricBounds:
    bounds = harm.bounds
    last = bounds.estimate.size - 1

    def at(values: Array) -> float | None:
        return None if last < 0 or not np.isfinite(values[last]) else float(unit(float(values[last])))

    tightest = bounds.running()
    return MetricBounds(
        name=name,
        estimate=at(bounds.estimate),
        lower=at(tightest.lower),
        upper=at(tightest.upper),
        margin=float(unit(harm.margin)),
    )
