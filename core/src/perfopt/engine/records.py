"""From recorded outcomes to what they say of stated probabilities. Pure.

The map of `StrategyRecord` is the one of greatest posterior probability: weighted Bernoulli likelihood of
the outcomes, the intercept normal around 0 (standard deviation 1/2), log(slope) around 0 (1/4). With no
outcome it is the identity, a handful moves it a little, and hundreds decide it; so there is no number of
outcomes at which confidence jumps.

Beside this long record a fast one notices that weeks went otherwise: the shift of the intercept that the
outcomes of the last weeks call for on top of the map, normal around 0 (DRIFT_DEVIATION), their weight halved
every week. Workloads of a fleet move together, so outcomes that end together count as no more than
1 / TOGETHER independent ones (the design effect of cluster sampling, Kish 1965).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from perfopt.domain.record import StrategyRecord
from perfopt.metrics.snapshot import Array

PLAN = "plan"
"""What plans of several recommendations go by beside the keys of strategies."""
HALF_LIFE = timedelta(days=90)
RECENT_HALF_LIFE = timedelta(days=7)
DRIFT_DEVIATION = 0.4
TOGETHER = 0.05
"""Correlation of outcomes whose windows end on one day."""
OTHER_VERSION = 0.25
"""Weight of an outcome of another version of the strategy than the one that runs now."""
_INTERCEPT_VARIANCE, _LOG_SLOPE_VARIANCE = 0.25, 0.0625
_STEPS, _HALVINGS, _ENOUGH = 50, 30, 1e-10
_EDGE = 1e-4


@dataclass(frozen=True, slots=True)
class RecordedOutcome:
    """How one recommendation did.

    Attributes:
        strategy: its key, `plugin/name`; version: of the plugin.
        workload: identity of the workload.
        made_at, valid_until: the window it was scored on.
        stated: the probability before any record was taken into account.
        accurate: whether it was, by its outcome.
        recorded_at: when it was scored; files may tell of times long gone.
    """

    strategy: str
    version: str | None
    workload: str
    made_at: datetime
    valid_until: datetime
    stated: float
    accurate: bool
    recorded_at: datetime


def strategy_records(
    outcomes: Iterable[RecordedOutcome], versions: Mapping[str, str], now: datetime
) -> dict[str, StrategyRecord]:
    """Returns the record of each strategy that has outcomes.

    Recommendations of one workload whose windows overlap share the weight of the time that they cover
    together, as replays do; the weight halves every 90 days, and is a quarter for another version.

    Args:
        outcomes: in any order; the result does not depend on it.
        versions: strategy to the version that runs now; others are left out.
        now: ages are counted from here.
    """
    by_strategy: dict[str, list[RecordedOutcome]] = {}
    for one in outcomes:
        if one.strategy in versions:
            by_strategy.setdefault(one.strategy, []).append(one)
    return {
        strategy: _record(sorted(own, key=_order), versions[strategy], now)
        for strategy, own in sorted(by_strategy.items())
    }


def _order(one: RecordedOutcome) -> tuple[str, datetime, datetime, float]:
    return one.workload, one.made_at, one.valid_until, one.stated


def _record(outcomes: Sequence[RecordedOutcome], version: str, now: datetime) -> StrategyRecord:
    weights = _weights(outcomes, version, now)
    stated = np.clip([one.stated for one in outcomes], _EDGE, 1 - _EDGE)
    accurate = np.array([one.accurate for one in outcomes], dtype=np.float64)
    log_odds = np.log(stated / (1 - stated))
    slope, intercept = fit(log_odds, accurate, weights)
    return StrategyRecord(
        slope=slope,
        intercept=intercept,
        shift=drift(slope * log_odds + intercept, accurate, weights * _recent(outcomes, now)),
        outcomes=float(weights.sum()),
        accuracy=float(np.average(accurate, weights=weights)),
        stated=float(np.average(stated, weights=weights)),
    )


def _weights(outcomes: Sequence[RecordedOutcome], version: str, now: datetime) -> Array:
    weights = np.empty(len(outcomes))
    by_workload: dict[str, list[int]] = {}
    for index, one in enumerate(outcomes):
        by_workload.setdefault(one.workload, []).append(index)
        age = max(now - one.recorded_at, timedelta(0)) / HALF_LIFE
        weights[index] = 0.5**age * (1.0 if one.version == version else OTHER_VERSION)
    for own in by_workload.values():
        for group in _overlapping(outcomes, own):
            first, last = outcomes[group[0]].made_at, max(outcomes[i].valid_until for i in group)
            total = sum((outcomes[i].valid_until - outcomes[i].made_at for i in group), timedelta(0))
            weights[group] *= (last - first) / total
    return weights


def _overlapping(outcomes: Sequence[RecordedOutcome], own: Sequence[int]) -> list[list[int]]:
    """Groups indices, in order of begin, by windows that overlap in a chain."""
    groups: list[list[int]] = []
    end: datetime | None = None
    for index in own:
        one = outcomes[index]
        if end is None or one.made_at >= end:
            groups.append([])
            end = one.valid_until
        groups[-1].append(index)
        end = max(end, one.valid_until)
    return groups


def _recent(outcomes: Sequence[RecordedOutcome], now: datetime) -> Array:
    """Returns the weights of the fast record beside those of the long one, shape (n,)."""
    ages = np.array([max(now - one.recorded_at, timedelta(0)) / RECENT_HALF_LIFE for one in outcomes])
    days = [one.valid_until.date() for one in outcomes]
    sizes = {day: days.count(day) for day in set(days)}
    together = np.array([1 + TOGETHER * (sizes[day] - 1) for day in days])
    weights: Array = 0.5**ages / together
    return weights


def drift(log_odds: Array, accurate: Array, weights: Array) -> float:
    """Returns the shift of log-odds of greatest posterior probability, by Newton's method.

    Args:
        log_odds: of what the long record states, shape (n,).
        accurate: 0 or 1, shape (n,).
        weights: of the outcomes in the fast record, shape (n,).
    """
    shift = 0.0
    for _ in range(_STEPS):
        probability = (1 + np.tanh((log_odds + shift) / 2)) / 2
        gradient = float(weights @ (probability - accurate)) + shift / DRIFT_DEVIATION**2
        curvature = float(weights @ (probability * (1 - probability))) + 1 / DRIFT_DEVIATION**2
        step = min(max(gradient / curvature, -1.0), 1.0)
        shift -= step
        if abs(step) < _ENOUGH:
            break
    return shift


def fit(log_odds: Array, accurate: Array, weights: Array) -> tuple[float, float]:
    """Returns slope and intercept of greatest posterior probability, by Newton's method with halved steps.

    Args:
        log_odds: of what was stated, shape (n,).
        accurate: 0 or 1, shape (n,).
        weights: of the outcomes, shape (n,).
    """
    at = np.zeros(2)  # log(slope), intercept
    value = _loss(at, log_odds, accurate, weights)
    for _ in range(_STEPS):
        gradient, curvature = _derivatives(at, log_odds, accurate, weights)
        step = np.clip(np.linalg.solve(curvature, gradient), -1, 1)
        for _ in range(_HALVINGS):
            following = _loss(at - step, log_odds, accurate, weights)
            if following <= value:
                break
            step = step / 2
        if value - following < _ENOUGH:
            break
        at, value = at - step, following
    return float(np.exp(at[0])), float(at[1])


def _loss(at: Array, log_odds: Array, accurate: Array, weights: Array) -> float:
    odds = np.exp(at[0]) * log_odds + at[1]
    likelihood = weights @ (np.logaddexp(0.0, odds) - accurate * odds)
    return float(likelihood + at[0] ** 2 / (2 * _LOG_SLOPE_VARIANCE) + at[1] ** 2 / (2 * _INTERCEPT_VARIANCE))


def _derivatives(at: Array, log_odds: Array, accurate: Array, weights: Array) -> tuple[Array, Array]:
    """Returns the gradient and the Gauss-Newton curvature, which is positive definite."""
    scaled = np.exp(at[0]) * log_odds
    probability = (1 + np.tanh((scaled + at[1]) / 2)) / 2
    inner = np.stack([scaled, np.ones_like(scaled)])
    prior = np.array([1 / _LOG_SLOPE_VARIANCE, 1 / _INTERCEPT_VARIANCE])
    gradient = inner @ (weights * (probability - accurate)) + prior * at
    curvature = (inner * (weights * probability * (1 - probability))) @ inner.T + np.diag(prior)
    return gradient, curvature
