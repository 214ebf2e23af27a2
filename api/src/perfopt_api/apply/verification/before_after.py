"""One replica, or all changed at once: after the change against before it, at equal load. Pure.

Of each step before the change the log odds of slow (or failed) requests, or a level, is regressed on the
logarithm of the load and its square; harm is the mean residual of the steps after it. Residuals depend on
each other, so its error is the heteroskedasticity- and autocorrelation-consistent one (Newey and West
1987, as statsmodels computes it). It is ranked among the same statistic at the same hours of earlier
days, when nothing changed. That takes longer than a control beside it, and sees less: what else changed
at the same time looks like harm.
"""

from collections.abc import Sequence
from itertools import pairwise

import msgspec
import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm

from perfopt.metrics.pods import PodHistory
from perfopt.metrics.snapshot import Array
from perfopt_api.apply.verification.bounds import ConfidenceSequence
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
from perfopt_api.apply.verification.settings import MIN_STEPS
from perfopt_api.apply.verification.verdict import (
    MetricCheck,
    ToleratedHarm,
    judge,
    needed_above,
    needed_below,
)

LOOKS = (0.25, 0.5, 1.0)
"""Parts of the horizon after which one looks; each has its share of the false-alarm rate."""

_BEFORE = 4  # horizons before the change that it is compared with
_PLACEBOS = 200  # changes that were not made, a quarter of a horizon apart at least


class BeforeAfterTest(msgspec.Struct, frozen=True, kw_only=True):
    """What a change of all pods is tested by, fixed before it; kept with the job.

    Attributes:
        metrics: compared; without any there is nothing to verify by.
        alpha: false-alarm rate of all metrics and looks together.
        beta: probability that harm above the margin passes, of each metric at all looks.
        horizon: steps of observation after the change.
        calibration: of the bounds, by placebo changes at the same hours of earlier days.
    """

    metrics: tuple[ComparedMetric, ...]
    alpha: float
    beta: float
    horizon: int
    calibration: Calibration

    @property
    def levels(self) -> tuple[float, float]:
        """Returns the error rates of one metric at one look: of its lower and of its upper bound."""
        return _levels(self.alpha, self.beta, len(self.metrics))

    @property
    def before(self) -> int:
        """Steps before the change that are compared with."""
        return _BEFORE * self.horizon


def prepare_before_after(
    past: PodHistory,
    horizon: int,
    *,
    alpha: float = 0.01,
    beta: float = 0.05,
    margins: HarmMargins | None = None,
) -> BeforeAfterTest:
    """Fixes what a change of all pods will be judged by, from the time before it.

    Args:
        past: of all pods, up to the change; several days make the false-alarm rate known.
        horizon: steps the change is to be observed for.
        alpha: the false-alarm rate, in (0, 1).
        beta: probability that harm above the margin passes, in (0, 1/2).
        margins: the harm that is accepted; None is the defaults.
    """
    metrics = compared_metrics(past, margins or HarmMargins())
    series = [series_of(metric, past) for metric in metrics]
    day = round(86400 / past.grid.step_seconds)
    levels = _levels(alpha, beta, len(metrics))
    runs = []
    for at in _placebo_changes(past.grid.size, horizon, day):
        window = slice(at - _BEFORE * horizon, at + horizon)
        rows = [one.between(window.start, window.stop) for one in series]
        runs.append(_checks(metrics, rows, _load(past)[window], _BEFORE * horizon, horizon, levels))
    widening, calibration = calibrate(
        [[needed_below(one) for one in run] for run in runs], len(metrics), alpha
    )
    upper = [
        calibrate_upper([needed_above(run[at].harm) for run in runs], beta) for at in range(len(metrics))
    ]
    return BeforeAfterTest(
        metrics=tuple(
            msgspec.structs.replace(metric, widening=float(below), upper_widening=above)
            for metric, below, above in zip(metrics, widening, upper, strict=True)
        ),
        alpha=alpha,
        beta=beta,
        horizon=horizon,
        calibration=calibration,
    )


def look_before_after(test: BeforeAfterTest, history: PodHistory, changed: int) -> HarmVerdict:
    """Returns the verdict on what came since the change.

    Args:
        test: of `prepare_before_after`.
        history: of all pods, from before the change on.
        changed: the step of the history from which on the change is in force, warm-up left out.
    """
    begin = max(changed - test.before, 0)
    part = history.between(begin, history.grid.size)
    series = [series_of(metric, part) for metric in test.metrics]
    checks = _checks(test.metrics, series, _load(part), changed - begin, test.horizon, test.levels)
    judgement = judge(checks)
    return HarmVerdict(
        verdict=judgement.verdict,
        metric=judgement.metric,
        step=judgement.look,
        bounds=tuple(shown(m, c) for m, c in zip(test.metrics, checks, strict=True)),
    )


def _levels(alpha: float, beta: float, metrics: int) -> tuple[float, float]:
    return alpha / max(metrics * len(LOOKS), 1), beta / len(LOOKS)


def _placebo_changes(size: int, horizon: int, day: int) -> list[int]:
    """Returns steps of the past at which nothing changed, those nearest to the hour of the change to come."""
    quarter = max(horizon // 4, 1)
    steps = np.arange(size - horizon, _BEFORE * horizon - 1, -quarter)
    apart = np.abs((size - steps + day // 2) % day - day // 2)
    return [int(at) for at in steps[np.argsort(apart, kind="stable")][:_PLACEBOS]]


def _checks(
    metrics: Sequence[ComparedMetric],
    series: Sequence[MetricSeries],
    load: Array,
    changed: int,
    horizon: int,
    levels: tuple[float, float],
) -> list[MetricCheck]:
    checks = []
    for metric, one in zip(metrics, series, strict=True):
        bounds = _bounds(_response(one), load, changed, horizon, levels)
        widened = bounds.widened(metric.widening, metric.upper_widening)
        harm, otherwise = ToleratedHarm(widened, metric.margin), _as_share(metric, one, widened, changed)
        checks.append(MetricCheck(metric.label, harm, otherwise))
    return checks


def _as_share(
    metric: ComparedMetric, series: MetricSeries, bounds: ConfidenceSequence, changed: int
) -> tuple[ToleratedHarm, ...]:
    """Returns the bounds of log odds as those of requests that fail more, as a share; where one is accepted.

    It holds at the share of before the change, and needs no error rate of its own: it is the same bound.
    """
    if metric.accepted_share is None or series.requests is None:
        return ()
    known = np.isfinite(series.values[:, :changed]) & np.isfinite(series.requests[:, :changed])
    bad = series.values[:, :changed][known].sum()
    served = series.requests[:, :changed][known].sum()
    usual = (bad + 0.5) / (served + 1)

    def more(log_odds: Array) -> Array:
        shares: Array = expit(logit(usual) + log_odds) - usual
        return shares

    shares = ConfidenceSequence(more(bounds.estimate), more(bounds.lower), more(bounds.upper))
    return (ToleratedHarm(shares, metric.accepted_share),)


def _bounds(
    response: Array, load: Array, changed: int, horizon: int, levels: tuple[float, float]
) -> ConfidenceSequence:
    """Returns bounds of the harm at each step since the change: new at each look, the last in between."""
    size = max(response.size - changed, 0)
    estimate, lower, upper = np.full(size, np.nan), np.full(size, -np.inf), np.full(size, np.inf)
    down, up = norm.isf(levels)
    looks = [at for part in LOOKS if (at := max(round(part * horizon), 1)) <= size]
    for at, until in pairwise([*looks, size + 1]):
        effect, error = _effect(response[: changed + at], load[: changed + at], changed)
        held = slice(at - 1, until - 1)
        estimate[held], lower[held], upper[held] = effect, effect - down * error, effect + up * error
    unknown = ~np.isfinite(estimate)
    lower[unknown], upper[unknown] = -np.inf, np.inf
    return ConfidenceSequence(estimate, lower, upper)


def _effect(response: Array, load: Array, changed: int) -> tuple[float, float]:
    """Returns the effect of the change at equal load and its standard error; NaN with too few steps.

    The error is that of the steps before alone: a change that makes latency erratic must not hide in its own
    noise. It is of the mean of the steps after, and of what the model expects at their load.
    """
    after = np.arange(response.size) >= changed
    known = np.isfinite(response) & np.isfinite(load)
    before, since = known & ~after, known & after
    if min(since.sum(), before.sum()) < MIN_STEPS:
        return np.nan, np.nan
    design = np.stack([np.ones(response.size), load, load**2], axis=1)
    rank = np.linalg.matrix_rank(design[before])  # a load of one or two values has no curve
    fitted, shifted = design[before, :rank], design[since, :rank]
    lags = max(int(known.sum() ** (1 / 3)), 1) * 2
    expected, covariance, residuals = _autocorrelated(response[before], fitted, lags)
    _, of_mean, _ = _autocorrelated(residuals, np.ones((residuals.size, 1)), lags)
    mean = shifted.mean(axis=0)
    variance = of_mean[0, 0] * residuals.size / since.sum() + mean @ covariance @ mean
    return float(response[since].mean() - mean @ expected), float(np.sqrt(max(variance, 0.0)))


def _autocorrelated(values: Array, design: Array, lags: int) -> tuple[Array, Array, Array]:
    """Returns coefficients of a regression, their covariance under autocorrelation, and the residuals."""
    from statsmodels.regression.linear_model import OLS  # slow to import, and few changes need it

    fit = OLS(values, design).fit(cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": True})
    return fit.params, fit.cov_params(), fit.resid


def _response(series: MetricSeries) -> Array:
    """Returns what is regressed, shape (steps,): log odds of bad requests, or the mean level, or NaN."""
    if series.requests is None:
        known = np.isfinite(series.values)
        total = np.where(known, series.values, 0.0).sum(axis=0)
        return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)
    bad, served = series.values.sum(axis=0), series.requests.sum(axis=0)
    odds = np.log((bad + 0.5) / (np.maximum(served - bad, 0.0) + 0.5))
    return np.where(served > 0, odds, np.nan)


def _load(history: PodHistory) -> Array:
    """Returns the logarithm of the load of a pod about its mean, shape (steps,); 0 where it is unknown."""
    if history.requests is None:
        return np.zeros(history.grid.size)
    pods = np.isfinite(history.requests).sum(axis=0)
    load = np.log(np.maximum(np.nansum(history.requests, axis=0) / np.maximum(pods, 1), 1.0))
    about: Array = load - load.mean()
    return about
