"""From examples to a finished model: out-of-fold replay, calibration, figures, and a forest on everything."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfopt.plugin import (
    DEFAULT_PRICE_BOOK,
    UNDER_PROVISIONING_PENALTIES,
    Array,
    InvalidInputError,
    ServiceClass,
)
from perfopt_resource.model.calibrate import ConfidenceCalibration, fit, fit_lack, reliability
from perfopt_resource.model.distribution import NeedDistribution
from perfopt_resource.model.features import RESOURCES
from perfopt_resource.model.sizing_model import FRONTIER_PENALTIES, ModelCard, SizingModel, choose, hashed
from perfopt_resource.training.examples import TrainingExamples
from perfopt_resource.training.train import FOLDS, out_of_fold, train_forest

ABSTENTION = 0.07  # share of the fleet's own out-of-fold recommendations that fall below the floor
_MAX_ASKED = 3000  # rows of out-of-fold replay: more narrow no figure and take their time
MINIMUM_SERIES = 10
_PLAIN = 1.2
"""Times the size that a history needed: calibrated as well, so that what is stated of other sizes holds."""
_STAGE = "training forests"
_SPLIT = "series never trained on (5 folds by hash of the name); weeks not kept apart"


def build(
    examples: TrainingExamples,
    *,
    name: str,
    version: str,
    data: tuple[str, ...],
    command: str,
    trained_until: str | None = None,
    progress: Callable[[str, int, int | None], object] = lambda *_: None,
    executor: Executor | None = None,
) -> SizingModel:
    """Returns a model trained on all the examples, calibrated on series out of fold.

    Args:
        examples: the calibration and figures are of those with the longest validity.
        name: of the model.
        version: of the model.
        data: source, licence and citation of each data set.
        command: that rebuilds the file.
        trained_until: end of the latest outcome, ISO 8601; None for undated data.
        progress: shows how far it is, see `TrainingRequest`.
        executor: trains the folds; the model does not depend on it.

    Raises:
        InvalidInputError: too few series, or no example of cpu or of memory.
    """
    evaluated = whole_histories(examples)
    count = len(np.unique(examples.series))
    if count < MINIMUM_SERIES:
        raise InvalidInputError(
            f"{count} series have enough history to learn from, {MINIMUM_SERIES} are needed.",
            remedy="Name more services or a longer history: a series needs 10/7 of the validity.",
        )
    replayed = examples.where(thin(evaluated, _MAX_ASKED) | thin(short_histories(examples), _MAX_ASKED))
    expected = out_of_fold(examples, replayed, lambda done: progress(_STAGE, done, FOLDS + 1), executor)
    progress("replaying choices", 0, None)
    judged = evaluate_policy(expected, replayed)
    card = ModelCard(
        name=name,
        version=version,
        trained_until=trained_until,
        data=data,
        series=count,
        examples=len(examples.at),
        split=_SPLIT,
        figures=judged.figures,
        floors=judged.floors,
        accuracies=judged.accuracies,
        seen=tuple(sorted({hashed(str(one)) for one in np.unique(examples.series)})),
        command=command,
    )
    progress(_STAGE, FOLDS, FOLDS + 1)
    return SizingModel(card, train_forest(examples), judged.calibration)


def whole_histories(examples: TrainingExamples) -> NDArray[np.bool_]:
    """Returns which rows know 10/7 of the validity or more, of the longest validity."""
    known = np.array([seen.known for seen in examples.seen])
    rows: NDArray[np.bool_] = (examples.validity == examples.validity.max()) & (known == 1)
    return rows


def short_histories(examples: TrainingExamples) -> NDArray[np.bool_]:
    """Returns which rows are of shorter histories, of the longest validity."""
    rows: NDArray[np.bool_] = (examples.validity == examples.validity.max()) & ~whole_histories(examples)
    return rows


def thin(rows: NDArray[np.bool_], most: int) -> NDArray[np.bool_]:
    """Returns at most so many of the rows, from the first on evenly spread."""
    every = max(-(-int(rows.sum()) // most), 1)
    kept: NDArray[np.bool_] = rows & ((np.cumsum(rows) - 1) % every == 0)
    return kept


@dataclass(frozen=True, slots=True)
class PolicyEvaluation:
    """What out-of-fold replay says of a forest.

    Attributes:
        calibration: of the joint probability, at the choices of all penalties and at plain sizes.
        floors: (penalty, expected utility below which none is recommended).
        accuracies: (penalty, share of accurate recommendations of those above the floor).
        figures: of what is recommended above the floor, class standard.
    """

    calibration: ConfidenceCalibration
    floors: tuple[tuple[float, float], ...]
    accuracies: tuple[tuple[float, float], ...]
    figures: dict[str, float]


def evaluate_policy(expected: Sequence[NeedDistribution], evaluated: TrainingExamples) -> PolicyEvaluation:
    """Replays the policy.

    The floors are those of whole histories: what a short one lacks is not to lower what is asked of it.

    Args:
        expected: of each row of `evaluated`, by a forest that did not see its series.
        evaluated: with outcomes; whole histories and short ones.
    """
    short = short_histories(evaluated)
    some, few = ([expected[int(row)] for row in np.flatnonzero(rows)] for rows in (~short, short))
    lacking, evaluated = evaluated.where(short), evaluated.where(~short)
    replayed = replay(some, evaluated)
    plain, plainly_safe = _at_plain_sizes(some, evaluated)
    stated = [*(one.stated for one in replayed.values()), plain]
    safe = [*(one.safe.all(axis=1) for one in replayed.values()), plainly_safe]
    # A row counts once for all its choices, which fare much alike, and half for its plain size.
    weights = [np.full(len(one.stated), 1 / len(replayed)) for one in replayed.values()]
    calibration = fit(
        np.concatenate(stated), np.concatenate(safe), np.concatenate([*weights, np.full(len(plain), 0.5)])
    )
    if few:
        calibration = _lacking(calibration, replay(few, lacking), lacking)
    return PolicyEvaluation(
        calibration,
        tuple((penalty, round(one.floor(calibration), 4)) for penalty, one in replayed.items()),
        tuple((penalty, round(one.accuracy(calibration), 4)) for penalty, one in replayed.items()),
        figures_of(replayed[UNDER_PROVISIONING_PENALTIES[ServiceClass.STANDARD]], calibration),
    )


def _at_plain_sizes(
    expected: Sequence[NeedDistribution], evaluated: TrainingExamples
) -> tuple[Array, NDArray[np.bool_]]:
    """Returns the probability of _PLAIN times what histories needed, not calibrated, and whether it was safe.

    Args:
        expected: of each row of `evaluated`.
        evaluated: with outcomes.
    """
    asked = [
        {resource: np.array([_PLAIN * size]) for resource, size in one.seen.references.items()}
        for one in expected
    ]
    stated = [one.probabilities(sizes).item() for one, sizes in zip(expected, asked, strict=True)]
    needs = np.stack([evaluated.needs[name] for name in RESOURCES], axis=1)
    return np.array(stated), (np.isnan(needs) | (needs <= np.log(_PLAIN))).all(axis=1)


def _lacking(
    calibration: ConfidenceCalibration, replayed: Mapping[float, "SizeOutcomes"], evaluated: TrainingExamples
) -> ConfidenceCalibration:
    """Returns the calibration with what short histories lack, at the choices that all penalties lead to."""
    known = np.array([seen.known for seen in evaluated.seen])
    return fit_lack(
        calibration,
        np.concatenate([one.stated for one in replayed.values()]),
        np.tile(known, len(replayed)),
        np.concatenate([one.safe.all(axis=1) for one in replayed.values()]),
    )


@dataclass(frozen=True, slots=True)
class SizeOutcomes:
    """What one penalty led to, out of fold.

    Attributes:
        penalty: of under-provisioning.
        stated: probability of both resources, before calibration, shape (n,).
        cost: in the unit of penalties, shape (n,).
        chosen, needed, current: logarithms of sizes in cores or bytes, shape (n, resources); NaN where not
            measured, or where no limit is known.
    """

    penalty: float
    stated: Array
    cost: Array
    chosen: Array
    needed: Array
    current: Array

    @property
    def safe(self) -> NDArray[np.bool_]:
        """By resource; what was not measured is safe."""
        enough: NDArray[np.bool_] = np.isnan(self.needed) | (self.needed <= self.chosen + 1e-9)
        return enough

    def utility(self, calibration: ConfidenceCalibration) -> Array:
        """Returns the expected utility of each recommendation, policy.py."""
        utility: Array = self.penalty * calibration(self.stated) - self.cost
        return utility

    def floor(self, calibration: ConfidenceCalibration) -> float:
        """Returns the utility that all but the least useful share exceed."""
        return float(np.quantile(self.utility(calibration), ABSTENTION))

    def made(self, calibration: ConfidenceCalibration) -> NDArray[np.bool_]:
        """Returns which are above the floor."""
        above: NDArray[np.bool_] = self.utility(calibration) >= self.floor(calibration)
        return above

    def accuracy(self, calibration: ConfidenceCalibration) -> float:
        """Returns the share of accurate ones of those above the floor."""
        return float(self.safe.all(axis=1)[self.made(calibration)].mean())


def replay(expected: Sequence[NeedDistribution], evaluated: TrainingExamples) -> dict[float, SizeOutcomes]:
    """Returns what the policy chooses at each penalty of the frontier, and what was needed.

    Args:
        expected: of each row of `evaluated`, not calibrated.
        evaluated: with outcomes.
    """
    choices = [choose(one, FRONTIER_PENALTIES) for one in expected]
    references = np.array(
        [[seen.references.get(name, np.nan) for name in RESOURCES] for seen in evaluated.seen]
    )
    needs = np.stack([evaluated.needs[name] for name in RESOURCES], axis=1)
    logs = np.log(references)
    outcomes = {}
    for penalty in FRONTIER_PENALTIES:
        picked = [one[penalty] for one in choices]
        sizes = [[one.cpu_cores or np.nan, one.memory_bytes or np.nan] for one in picked]
        stated = np.array([one.confidence for one in picked])
        cost = penalty * stated - np.array([one.utility for one in picked])
        outcomes[penalty] = SizeOutcomes(
            penalty, stated, cost, np.log(np.array(sizes)), needs + logs, evaluated.given + logs
        )
    return outcomes


def figures_of(outcomes: SizeOutcomes, calibration: ConfidenceCalibration) -> dict[str, float]:
    """Returns the figures of what is recommended above the floor of its own penalty, by name."""
    made = outcomes.made(calibration)
    safe = outcomes.safe
    record = reliability(calibration(outcomes.stated)[made], safe.all(axis=1)[made])
    figures = {
        "recommendations": float(record.count),
        "abstention": float(1 - made.mean()),
        "accuracy": record.rate,
        "expected_calibration_error": record.expected_error,
        "brier_skill": record.brier_skill or 0.0,
        "auc": record.auc or 0.0,
        **_savings(outcomes, made),
    }
    for column, resource in enumerate(RESOURCES):
        measured = made & np.isfinite(outcomes.needed[:, column])
        excess = (outcomes.chosen - outcomes.needed)[measured & safe[:, column], column]
        figures |= _waste(resource, excess, safe[measured, column])
    return {key: round(value, 4) for key, value in figures.items()}


def _savings(outcomes: SizeOutcomes, made: NDArray[np.bool_]) -> dict[str, float]:
    """Returns realised savings against the limits, as shares of the possible; an inaccurate one saves 0."""
    rows = made & np.isfinite(outcomes.current).all(axis=1) & np.isfinite(outcomes.needed).all(axis=1)
    if not rows.any():
        return {}
    safe = outcomes.safe.all(axis=1)[rows]
    prices = np.array([DEFAULT_PRICE_BOOK.cpu_core_hour, DEFAULT_PRICE_BOOK.memory_gib_hour / 2**30])
    chosen, needed, current = (
        np.exp(logs[rows]) for logs in (outcomes.chosen, outcomes.needed, outcomes.current)
    )
    money, least, paid = chosen @ prices, needed @ prices, current @ prices
    memory = RESOURCES.index("memory")
    return {
        "saving_money": float((safe * (paid - money)).sum() / (paid - least).sum()),
        "saving_per_service": float((safe * (1 - money / paid)).mean() / (1 - least / paid).mean()),
        "saving_memory": float(
            (safe * (1 - chosen / current)[:, memory]).mean() / (1 - needed / current)[:, memory].mean()
        ),
    }


def _waste(resource: str, excess: Array, safe: NDArray[np.bool_]) -> dict[str, float]:
    if not excess.size:
        return {}
    waste = np.expm1(excess)
    return {
        f"{resource}_safe": float(safe.mean()),
        f"{resource}_waste_median": float(np.median(waste)),
        f"{resource}_waste_mean10": float(np.minimum(waste, 10).mean()),
    }
