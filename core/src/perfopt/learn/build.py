"""From examples to a finished model: out-of-fold replay, calibration, figures, and trees on everything."""

import numpy as np
from numpy.typing import NDArray

from perfopt.domain.enums import ServiceClass
from perfopt.errors import InvalidInputError
from perfopt.learn.calibrate import Calibration, reliability
from perfopt.learn.examples import Examples
from perfopt.learn.features import RESOURCES
from perfopt.learn.model import SHORTAGE_COSTS, ModelCard, SizingModel
from perfopt.learn.train import GRID, choices, fit_calibration, out_of_fold, outcome, train_trees
from perfopt.metrics.snapshot import Array

ABSTENTION = 0.02  # share of the fleet's own out-of-fold recommendations that fall below the floor
MINIMUM_SERIES = 10
_SPLIT = "series never trained on (5 folds by hash of the name); weeks not kept apart"


def build(
    examples: Examples,
    *,
    name: str,
    version: str,
    data: tuple[str, ...],
    command: str,
    trained_until: str | None = None,
    bags: int = 2,
) -> SizingModel:
    """Returns a model trained on all the examples, calibrated on series out of fold.

    Args:
        examples: the calibration and figures are of those with the longest validity.
        name: of the model.
        version: of the model.
        data: source, licence and citation of each data set.
        command: that rebuilds the file.
        trained_until: end of the latest outcome, ISO 8601; None for undated data.
        bags: how many times to train, each on other pairs; their curves are averaged.

    Raises:
        InvalidInputError: too few series, or no example of cpu or of memory.
    """
    asked = examples.where(examples.validity == examples.validity.max())
    count = len(np.unique(examples.series))
    if count < MINIMUM_SERIES:
        raise InvalidInputError(
            f"{count} series have enough history to learn from, {MINIMUM_SERIES} are needed.",
            remedy="Name more services or a longer history: a series needs 10/7 of the validity.",
        )
    curves = out_of_fold(examples, asked, bags=bags)
    calibration = fit_calibration(curves, asked, tuple(SHORTAGE_COSTS.values()))
    floor, figures = _replay(curves, asked, calibration)
    card = ModelCard(
        name=name,
        version=version,
        trained_until=trained_until,
        data=data,
        series=count,
        examples=len(examples.at),
        split=_SPLIT,
        figures=figures,
        confidence_floor=floor,
        command=command,
    )
    return SizingModel(card, train_trees(examples, bags), GRID, calibration)


def _replay(
    curves: dict[str, Array], asked: Examples, calibration: Calibration
) -> tuple[float, dict[str, float]]:
    """Returns the confidence floor and the figures of what is recommended above it, class standard."""
    cost = SHORTAGE_COSTS[ServiceClass.STANDARD]
    picks = choices(curves, cost)
    said, kept = outcome(curves, asked, picks)
    confidence = calibration(said)
    floor = float(np.quantile(confidence, ABSTENTION))
    made = confidence >= floor
    record = reliability(confidence[made], kept[made])
    figures = {
        "recommendations": float(record.count),
        "abstention": float(1 - made.mean()),
        "accuracy": record.rate,
        "expected_calibration_error": record.expected_error,
        "brier_skill": record.brier_skill or 0.0,
        "auc": record.auc or 0.0,
    }
    for index, resource in enumerate(RESOURCES):
        chosen = GRID[picks[:, index]]
        figures |= _waste(resource, chosen[made], asked.needs[resource][made])
    return floor, {key: round(value, 4) for key, value in figures.items()}


def _waste(resource: str, chosen: Array, needs: Array) -> dict[str, float]:
    safe: NDArray[np.bool_] = needs <= chosen + 1e-9
    waste = np.exp(chosen - needs)[safe] - 1
    if not waste.size:
        return {}
    return {
        f"{resource}_safe": float(safe[np.isfinite(needs)].mean()),
        f"{resource}_waste_median": float(np.median(waste)),
        f"{resource}_waste_mean10": float(np.minimum(waste, 10).mean()),
    }
