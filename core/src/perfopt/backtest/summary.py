"""From evaluated recommendations to the figures by policy: all, by load and by service class. Pure."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from perfopt.backtest.bootstrap import ConfidenceInterval, Rows, interval, resamples
from perfopt.backtest.calibration import (
    Bools,
    CalibrationFigures,
    auc,
    brier_skill,
    calibrate,
    expected_calibration_error,
)
from perfopt.backtest.columns import PolicyColumns, ResourceColumns
from perfopt.backtest.conditional import ConfidenceGroup, conditional_calibration
from perfopt.backtest.evaluated import EvaluatedRecommendation
from perfopt.backtest.policies import is_baseline
from perfopt.backtest.stability import StabilityFigures, stability
from perfopt.domain.enums import OptimizationType
from perfopt.metrics.snapshot import Array

TERCILES = ("low", "middle", "high")
_DIGITS = 6
ConfidenceStatistic = Callable[[Array, Bools], float | None]


class ResourceFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One resource; all shares. None where there is nothing to take it of.

    Attributes:
        count: how many set the resource and were measured.
        safe: share that is safe.
        waste_median, waste_mean10: over the safe ones; the mean counts each as at most 10.
        weighted_waste: sum recommended / sum needed - 1, over all.
        shortage_median: over the unsafe ones.
        slack: mean of 1 - mean use / recommended.
    """

    count: int
    safe: float | None
    waste_median: float | None
    waste_mean10: float | None
    weighted_waste: float | None
    shortage_median: float | None
    slack: float | None


class AccuracyFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a group of recommendations; all but `scored` are shares, None where not defined.

    Attributes:
        scored: how many the figures are of.
        accuracy: accurate / scored.
        no_change: share that needed no change.
        claims_met: share whose expected latency or saving was realised, of those that state one.
        expected_saving: mean fall of the cost of requests.
        realised_saving: sum over the accurate of (current - recommended cost) / sum over all of (current -
            cost of the smallest accurate value).
        realised_saving_by_service: mean of each service's relative saving / mean of the possible one.
        realised_memory_saving: the same of requested memory alone.
        cost_over_minimum: median of recommended / minimum cost - 1, over the accurate ones.
        confidence: mean of the stated.
    """

    scored: int
    accuracy: float | None
    no_change: float | None
    claims_met: float | None
    cpu: ResourceFigures
    memory: ResourceFigures
    expected_saving: float | None
    realised_saving: float | None
    realised_saving_by_service: float | None
    realised_memory_saving: float | None
    cost_over_minimum: float | None
    confidence: float | None


class PolicySummary(msgspec.Struct, frozen=True, kw_only=True):
    """The results of one policy.

    Attributes:
        policy: its name.
        optimization_type: of its recommendations; None is the merged plan.
        baseline: it is not of an installed plugin.
        made: recommendations made; not_scored: of these, how many could not be judged.
        not_scored_reasons: why, with how many of each.
        declined: how many were not made, by reason code.
        abstention: declined / (declined + made).
        in_sample: how many of those scored a model made that was trained on the services they are for.
        assumed: how many of those scored start from requests that were taken from limits.
        all: over everything scored.
        intervals: 95 % intervals of figures, by name, from resampling services.
        terciles: by the P99 of the cpu history, "low", "middle", "high".
        classes: by service class.
        calibration: of the stated confidence, or None where the policy states none.
        conditional: the same within groups, by what they are of; empty where the policy states none.
        stability: of sizes from one day to the next; None where no two origins are a day apart.
    """

    policy: str
    optimization_type: OptimizationType | None
    baseline: bool
    made: int
    not_scored: int
    not_scored_reasons: dict[str, int]
    declined: dict[str, int]
    abstention: float | None
    in_sample: int
    assumed: int
    all: AccuracyFigures
    intervals: dict[str, ConfidenceInterval]
    terciles: dict[str, AccuracyFigures]
    classes: dict[str, AccuracyFigures]
    calibration: CalibrationFigures | None
    conditional: dict[str, dict[str, ConfidenceGroup]]
    stability: StabilityFigures | None = None


def summarise(evaluated: Sequence[EvaluatedRecommendation]) -> tuple[PolicySummary, ...]:
    """Returns the figures of each policy, by type, in the order in which the policies first appear."""
    bounds = tercile_bounds(evaluated)
    rows: dict[tuple[OptimizationType | None, str], list[EvaluatedRecommendation]] = {}
    for one in evaluated:
        rows.setdefault((one.optimization_type, one.policy), []).append(one)
    types = list(dict.fromkeys(kind for kind, _ in rows if kind is not None))
    order = {kind: place for place, kind in enumerate([*types, None])}
    keys = sorted(rows, key=lambda key: order[key[0]])
    return tuple(_summary(*key, rows[key], bounds) for key in keys)


def tercile_bounds(evaluated: Sequence[EvaluatedRecommendation]) -> tuple[float, float] | None:
    """Returns what parts the terciles of load, over services and origins of which anything was scored."""
    levels = {
        (one.service, one.made_at): one.level for one in evaluated if one.scored and one.level is not None
    }
    if not levels:
        return None
    low, high = np.quantile(np.array(list(levels.values())), [1 / 3, 2 / 3])
    return float(low), float(high)


def _summary(
    kind: OptimizationType | None,
    name: str,
    rows: Sequence[EvaluatedRecommendation],
    bounds: tuple[float, float] | None,
) -> PolicySummary:
    proposed = [one for one in rows if one.outcome != "declined"]
    columns = PolicyColumns.of(rows)
    stated = columns.stated(columns.rows())
    summary = PolicySummary(
        policy=name,
        optimization_type=kind,
        baseline=kind is not None and is_baseline(kind, name),
        made=len(proposed),
        not_scored=sum(not one.scored for one in proposed),
        not_scored_reasons=dict(
            sorted(Counter(one.reason or "" for one in proposed if not one.scored).items())
        ),
        declined=dict(sorted(Counter(one.code or "" for one in rows if one.outcome == "declined").items())),
        abstention=(len(rows) - len(proposed)) / len(rows) if rows else None,
        in_sample=sum(one.in_sample for one in proposed),
        assumed=sum(one.assumed for one in proposed if one.scored),
        all=figures(columns),
        intervals=_intervals(columns),
        terciles=_groups(_by_tercile(rows, bounds)),
        classes=_groups(_by_class(rows)),
        calibration=calibrate(columns.confidence[stated], columns.accurate[stated]),
        conditional=conditional_calibration(rows, lambda one: _tercile(one, bounds)),
        stability=stability(rows),
    )
    return rounded(summary)


def figures(columns: PolicyColumns) -> AccuracyFigures:
    """Returns the figures of all rows."""
    rows = columns.rows()
    return AccuracyFigures(
        scored=rows.size,
        accuracy=columns.accuracy(rows),
        no_change=columns.no_change_share(rows),
        claims_met=columns.claims_met(rows),
        cpu=_resource(columns.cpu, rows),
        memory=_resource(columns.memory, rows),
        expected_saving=columns.mean_expected_saving(rows),
        realised_saving=columns.realised_saving(rows),
        realised_saving_by_service=columns.realised_saving_by_service(rows),
        realised_memory_saving=columns.realised_memory_saving(rows),
        cost_over_minimum=columns.cost_over_minimum(rows),
        confidence=columns.mean_confidence(rows),
    )


def _resource(use: ResourceColumns, rows: Rows) -> ResourceFigures:
    return ResourceFigures(
        count=int(np.count_nonzero(use.present[rows])),
        safe=use.safe_share(rows),
        waste_median=use.waste_median(rows),
        waste_mean10=use.waste_mean10(rows),
        weighted_waste=use.weighted_waste(rows),
        shortage_median=use.shortage_median(rows),
        slack=use.slack_mean(rows),
    )


def _intervals(columns: PolicyColumns) -> dict[str, ConfidenceInterval]:
    rows, samples = columns.rows(), resamples(columns.tiers)
    statistics: dict[str, Callable[[Rows], float | None]] = {
        "accuracy": columns.accuracy,
        "realised_saving": columns.realised_saving,
        "realised_saving_by_service": columns.realised_saving_by_service,
        "realised_memory_saving": columns.realised_memory_saving,
        "cost_over_minimum": columns.cost_over_minimum,
    }
    for name, use in (("cpu", columns.cpu), ("memory", columns.memory)):
        statistics |= {
            f"{name}_safe": use.safe_share,
            f"{name}_waste_median": use.waste_median,
            f"{name}_waste_mean10": use.waste_mean10,
            f"{name}_weighted_waste": use.weighted_waste,
        }
    if columns.stated(rows).size:
        statistics |= {
            "ece": lambda chosen: _of_confidence(columns, chosen, expected_calibration_error),
            "brier_skill": lambda chosen: _of_confidence(columns, chosen, brier_skill),
            "auc": lambda chosen: _of_confidence(columns, chosen, auc),
        }
    intervals = {name: interval(statistic, rows, samples) for name, statistic in statistics.items()}
    return {name: one for name, one in intervals.items() if one is not None}


def _of_confidence(columns: PolicyColumns, rows: Rows, statistic: ConfidenceStatistic) -> float | None:
    stated = columns.stated(rows)
    return statistic(columns.confidence[stated], columns.accurate[stated]) if stated.size else None


def _by_tercile(
    rows: Sequence[EvaluatedRecommendation], bounds: tuple[float, float] | None
) -> dict[str, list[EvaluatedRecommendation]]:
    groups: dict[str, list[EvaluatedRecommendation]] = (
        {name: [] for name in TERCILES} if bounds is not None else {}
    )
    for one in rows:
        tercile = _tercile(one, bounds)
        if tercile is not None:
            groups[tercile].append(one)
    return groups


def _tercile(one: EvaluatedRecommendation, bounds: tuple[float, float] | None) -> str | None:
    level = one.level
    return None if bounds is None or level is None else TERCILES[sum(level >= bound for bound in bounds)]


def _by_class(rows: Sequence[EvaluatedRecommendation]) -> dict[str, list[EvaluatedRecommendation]]:
    groups: dict[str, list[EvaluatedRecommendation]] = {}
    for one in sorted(rows, key=lambda one: one.service_class):
        groups.setdefault(one.service_class, []).append(one)
    return groups


def _groups(parts: Mapping[str, Sequence[EvaluatedRecommendation]]) -> dict[str, AccuracyFigures]:
    return {name: figures(PolicyColumns.of(part)) for name, part in parts.items()}


def rounded[S: msgspec.Struct](value: S) -> S:
    """Returns a struct with its numbers rounded to 6 digits: sums in another order give the same bytes."""
    plain = _rounded(msgspec.to_builtins(value))
    return msgspec.convert(plain, type(value))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DIGITS) + 0.0  # never -0.0
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
