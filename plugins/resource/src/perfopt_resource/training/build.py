"""From examples to a finished model: out-of-fold replay, calibration, figures, and trees on everything."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfopt.plugin import UNDER_PROVISIONING_PENALTIES, Array, InvalidInputError, ServiceClass
from perfopt_resource.model.calibrate import ConfidenceCalibration, fit, fit_lack, reliability
from perfopt_resource.model.candidates import SizeCandidates
from perfopt_resource.model.features import RESOURCES
from perfopt_resource.model.policy import choose_each, worth
from perfopt_resource.model.sizing_model import FRONTIER_COSTS, ModelCard, SizingModel, hashed
from perfopt_resource.training.examples import TrainingExamples
from perfopt_resource.training.train import FOLDS, GRID, out_of_fold, train_trees

ABSTENTION = 0.055  # share of the fleet's own out-of-fold recommendations that fall below the floor
_MAX_ASKED = 4000  # rows of out-of-fold replay: more narrow no figure and take their time
MINIMUM_SERIES = 10
_STAGE = "training trees"
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
    candidates = out_of_fold(examples, replayed, lambda done: progress(_STAGE, done, FOLDS + 1))
    progress("replaying choices", 0, None)
    judged = evaluate_policy(candidates, replayed)
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
        seen=tuple(sorted({hashed(str(one)) for one in np.unique(examples.series)})),
        command=command,
    )
    progress(_STAGE, FOLDS, FOLDS + 1)
    return SizingModel(card, train_trees(examples), GRID, judged.calibration)


def whole_histories(examples: TrainingExamples) -> NDArray[np.bool_]:
    """Returns which rows know all that is looked at, of the longest validity."""
    rows: NDArray[np.bool_] = (examples.validity == examples.validity.max()) & (examples.weight == 1)
    return rows


def short_histories(examples: TrainingExamples) -> NDArray[np.bool_]:
    """Returns which rows are of short histories, of the longest validity."""
    rows: NDArray[np.bool_] = (examples.validity == examples.validity.max()) & (examples.weight < 1)
    return rows


def thin(rows: NDArray[np.bool_], most: int) -> NDArray[np.bool_]:
    """Returns at most so many of the rows, from the first on evenly spread."""
    every = max(-(-int(rows.sum()) // most), 1)
    kept: NDArray[np.bool_] = rows & ((np.cumsum(rows) - 1) % every == 0)
    return kept


@dataclass(frozen=True, slots=True)
class PolicyEvaluation:
    """What out-of-fold replay says of trees.

    Attributes:
        calibration: of the joint probability, at the choices that all costs lead to.
        floors: (penalty, worth below which a recommendation is better not made).
        figures: of what is recommended above the floor, class standard.
    """

    calibration: ConfidenceCalibration
    floors: tuple[tuple[float, float], ...]
    figures: dict[str, float]


def evaluate_policy(
    candidates: Sequence[dict[str, SizeCandidates]], evaluated: TrainingExamples
) -> PolicyEvaluation:
    """Replays the policy.

    The floors are those of whole histories: what a short one lacks is not to lower what is asked of it.

    Args:
        candidates: of each row of `evaluated`, the candidates by trees that did not see its series.
        evaluated: with outcomes; whole histories and short ones.
    """
    short = short_histories(evaluated)
    some, few = ([candidates[int(row)] for row in np.flatnonzero(rows)] for rows in (~short, short))
    lacking, evaluated = evaluated.where(short), evaluated.where(~short)
    replayed = {cost: replay(some, evaluated, cost) for cost in FRONTIER_COSTS}
    calibration = fit(
        np.concatenate([one.stated for one in replayed.values()]),
        np.concatenate([one.kept for one in replayed.values()]),
    )
    return PolicyEvaluation(
        _lacking(calibration, few, lacking) if few else calibration,
        tuple((cost, round(one.floor(calibration), 4)) for cost, one in replayed.items()),
        figures_of(replay(some, evaluated, UNDER_PROVISIONING_PENALTIES[ServiceClass.STANDARD]), calibration),
    )


def _lacking(
    calibration: ConfidenceCalibration,
    candidates: Sequence[dict[str, SizeCandidates]],
    evaluated: TrainingExamples,
) -> ConfidenceCalibration:
    """Returns the calibration with what short histories lack, at the choices that all costs lead to."""
    replayed = [replay(candidates, evaluated, cost) for cost in FRONTIER_COSTS]
    known = np.array([seen.known for seen in evaluated.seen])
    return fit_lack(
        calibration,
        np.concatenate([one.stated for one in replayed]),
        np.tile(known, len(replayed)),
        np.concatenate([one.kept for one in replayed]),
    )


@dataclass(frozen=True, slots=True)
class SizeOutcomes:
    """What one penalty led to, out of fold; all of shape (n,) or (n, resources).

    Attributes:
        cost: the penalty.
        stated: probability of both resources, before calibration.
        slack: its expected cost.
        chosen, needed: log of sizes in cores or bytes; NaN where not measured.
    """

    cost: float
    stated: Array
    slack: Array
    chosen: Array
    needed: Array

    @property
    def safe(self) -> NDArray[np.bool_]:
        """By resource; what was not measured is safe."""
        kept: NDArray[np.bool_] = np.isnan(self.needed) | (self.needed <= self.chosen + 1e-9)
        return kept

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Whether all was safe."""
        return self.safe.all(axis=1)

    def worth(self, calibration: ConfidenceCalibration) -> Array:
        """Returns what each recommendation is worth, policy.py."""
        sure = calibration(self.stated)
        return np.array([worth(p, s, self.cost) for p, s in zip(sure, self.slack, strict=True)])

    def floor(self, calibration: ConfidenceCalibration) -> float:
        """Returns the worth that all but the least worthy share exceed."""
        return float(np.quantile(self.worth(calibration), ABSTENTION))


def replay(
    candidates: Sequence[dict[str, SizeCandidates]], evaluated: TrainingExamples, cost: float
) -> SizeOutcomes:
    """Returns what the policy chooses of the candidates, and what was needed.

    Args:
        candidates: candidates of each row of `evaluated`.
        evaluated: with outcomes.
        cost: the penalty.
    """
    stated, slack = np.ones(len(candidates)), np.zeros(len(candidates))
    chosen, needed = (np.full((len(candidates), len(RESOURCES)), np.nan) for _ in range(2))
    for row, offered in enumerate(candidates):
        parts = list(offered.values())
        (pick,) = choose_each([p.probabilities for p in parts], [p.slacks for p in parts], [cost])
        for (resource, part), index in zip(offered.items(), pick, strict=True):
            column = RESOURCES.index(resource)
            stated[row] *= part.probabilities[index]
            slack[row] += part.slacks[index]
            chosen[row, column] = np.log(part.sizes[index])
            reference = evaluated.seen[row].references[resource]
            needed[row, column] = evaluated.needs[resource][row] + np.log(reference)
    return SizeOutcomes(cost, stated, slack, chosen, needed)


def figures_of(outcomes: SizeOutcomes, calibration: ConfidenceCalibration) -> dict[str, float]:
    """Returns the figures of what is recommended above the floor of its own cost, by name."""
    made = outcomes.worth(calibration) >= outcomes.floor(calibration)
    record = reliability(calibration(outcomes.stated)[made], outcomes.kept[made])
    figures = {
        "recommendations": float(record.count),
        "abstention": float(1 - made.mean()),
        "accuracy": record.rate,
        "expected_calibration_error": record.expected_error,
        "brier_skill": record.brier_skill or 0.0,
        "auc": record.auc or 0.0,
    }
    for column, resource in enumerate(RESOURCES):
        known = made & np.isfinite(outcomes.needed[:, column])
        safe = outcomes.safe[:, column]
        figures |= _waste(resource, (outcomes.chosen - outcomes.needed)[known & safe, column], safe[known])
    return {key: round(value, 4) for key, value in figures.items()}


def _waste(resource: str, excess: Array, safe: NDArray[np.bool_]) -> dict[str, float]:
    if not excess.size:
        return {}
    waste = np.expm1(excess)
    return {
        f"{resource}_safe": float(safe.mean()),
        f"{resource}_waste_median": float(np.median(waste)),
        f"{resource}_waste_mean10": float(np.minimum(waste, 10).mean()),
    }
