"""From trials to the figures by policy: all, by tercile of load and by service class. Pure."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from perfopt.backtest.bootstrap import Interval, Rows, interval, resamples
from perfopt.backtest.calibration import (
    Bools,
    Calibration,
    auc,
    brier_skill,
    calibrate,
    expected_calibration_error,
)
from perfopt.backtest.columns import Columns, UseColumns
from perfopt.backtest.trial import Trial
from perfopt.metrics.snapshot import Array

TERCILES = ("low", "middle", "high")
_DIGITS = 6
ConfidenceStatistic = Callable[[Array, Bools], float | None]


class ResourceFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One resource; all shares. None where there is nothing to take it of.

    Attributes:
        safe: share that is safe.
        waste_median, waste_mean10: over the safe ones; the mean counts each as at most 10.
        weighted_waste: sum recommended / sum needed - 1, over all.
        shortage_median: over the unsafe ones.
        slack: mean of 1 - mean use / recommended.
    """

    safe: float | None
    waste_median: float | None
    waste_mean10: float | None
    weighted_waste: float | None
    shortage_median: float | None
    slack: float | None


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a group of trials.

    Attributes:
        scored: how many the figures are of.
        accuracy: accurate / scored.
        claimed_saving, realised_saving: means; saving_kept: share with realised >= claimed - 10 points.
    """

    scored: int
    accuracy: float | None
    cpu: ResourceFigures
    memory: ResourceFigures
    claimed_saving: float | None
    realised_saving: float | None
    saving_kept: float | None


class PolicySummary(msgspec.Struct, frozen=True, kw_only=True):
    """How one policy did.

    Attributes:
        policy: its name.
        made: recommendations made; not_scored: of these, without enough of a window.
        declined: how many were not made, by reason code.
        abstention: declined / (declined + made).
        already_right: how many recommended the current state.
        in_sample: how many of those scored a model made that was trained on what they are judged on.
        all: over everything scored.
        intervals: 95 % intervals of figures, by name, from resampling services.
        terciles: by the P99 of the cpu history, "low", "middle", "high".
        classes: by service class.
        calibration: of the stated confidence, or None where the policy states none.
    """

    policy: str
    made: int
    not_scored: int
    declined: dict[str, int]
    abstention: float | None
    already_right: int
    in_sample: int
    all: Figures
    intervals: dict[str, Interval]
    terciles: dict[str, Figures]
    classes: dict[str, Figures]
    calibration: Calibration | None


def summarise(trials: Sequence[Trial]) -> tuple[PolicySummary, ...]:
    """Returns the figures of each policy, in the order in which the policies first appear."""
    bounds = tercile_bounds(trials)
    names = dict.fromkeys(trial.policy for trial in trials)
    return tuple(
        _summary(name, [trial for trial in trials if trial.policy == name], bounds) for name in names
    )


def tercile_bounds(trials: Sequence[Trial]) -> tuple[float, float] | None:
    """Returns what parts the terciles of load, over services and instants of which anything was scored."""
    levels = {
        (trial.service, trial.made_at): trial.level
        for trial in trials
        if trial.scored and trial.level is not None
    }
    if not levels:
        return None
    low, high = np.quantile(np.array(list(levels.values())), [1 / 3, 2 / 3])
    return float(low), float(high)


def _summary(name: str, trials: Sequence[Trial], bounds: tuple[float, float] | None) -> PolicySummary:
    made = [trial for trial in trials if trial.outcome != "declined"]
    columns = Columns.of(trials)
    stated = columns.stated(columns.rows())
    summary = PolicySummary(
        policy=name,
        made=len(made),
        not_scored=sum(not trial.scored for trial in made),
        declined=dict(sorted(Counter(t.code or "" for t in trials if t.outcome == "declined").items())),
        abstention=(len(trials) - len(made)) / len(trials) if trials else None,
        already_right=sum(trial.already_right for trial in made),
        in_sample=sum(trial.in_sample for trial in made),
        all=figures(columns),
        intervals=_intervals(columns),
        terciles=_groups(_by_tercile(trials, bounds)),
        classes=_groups(_by_class(trials)),
        calibration=calibrate(columns.confidence[stated], columns.accurate[stated]),
    )
    return rounded(summary)


def figures(columns: Columns) -> Figures:
    """Returns the figures of all rows."""
    rows = columns.rows()
    return Figures(
        scored=rows.size,
        accuracy=columns.accuracy(rows),
        cpu=_resource(columns.cpu, rows),
        memory=_resource(columns.memory, rows),
        claimed_saving=columns.claimed_saving(rows),
        realised_saving=columns.realised_saving(rows),
        saving_kept=columns.saving_kept(rows),
    )


def _resource(use: UseColumns, rows: Rows) -> ResourceFigures:
    return ResourceFigures(
        safe=use.safe_share(rows),
        waste_median=use.waste_median(rows),
        waste_mean10=use.waste_mean10(rows),
        weighted_waste=use.weighted_waste(rows),
        shortage_median=use.shortage_median(rows),
        slack=use.slack_mean(rows),
    )


def _intervals(columns: Columns) -> dict[str, Interval]:
    rows, samples = columns.rows(), resamples(columns.services)
    statistics: dict[str, Callable[[Rows], float | None]] = {
        "accuracy": columns.accuracy,
        "realised_saving": columns.realised_saving,
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
    found = {name: interval(statistic, rows, samples) for name, statistic in statistics.items()}
    return {name: one for name, one in found.items() if one is not None}


def _of_confidence(columns: Columns, rows: Rows, statistic: ConfidenceStatistic) -> float | None:
    stated = columns.stated(rows)
    return statistic(columns.confidence[stated], columns.accurate[stated]) if stated.size else None


def _by_tercile(trials: Sequence[Trial], bounds: tuple[float, float] | None) -> dict[str, list[Trial]]:
    groups: dict[str, list[Trial]] = {name: [] for name in TERCILES} if bounds is not None else {}
    for trial in trials:
        if bounds is not None and trial.level is not None:
            groups[TERCILES[sum(trial.level >= bound for bound in bounds)]].append(trial)
    return groups


def _by_class(trials: Sequence[Trial]) -> dict[str, list[Trial]]:
    groups: dict[str, list[Trial]] = {}
    for trial in sorted(trials, key=lambda trial: trial.service_class):
        groups.setdefault(trial.service_class, []).append(trial)
    return groups


def _groups(parts: Mapping[str, Sequence[Trial]]) -> dict[str, Figures]:
    return {name: figures(Columns.of(part)) for name, part in parts.items()}


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
