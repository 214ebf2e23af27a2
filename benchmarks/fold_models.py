"""Sizing models that have seen neither a series nor, where asked, any outcome after an instant.

Five folds over the series of bitbrains_rnd, by hash of the name. `series`: one model a fold, of all weeks.
`later`: one model a fold and a day of UNTIL, from outcomes that ended before that day; a recommendation is
made by the latest such model. Calibration and floor of a fold's models come from what the models of the
other folds said of series that those had not seen, up to the same day.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from train_sizing import series_of

from perfopt_resource.model.sizing_model import ModelCard, SizingModel
from perfopt_resource.training.build import judge, short_histories, thin, whole_histories
from perfopt_resource.training.examples import Examples, collect
from perfopt_resource.training.train import GRID, fold_of, offered, train_trees

Kind = Literal["later", "series"]
FOLDS = 5
UNTIL = (28, 35, 42, 49, 56, 63, 70)  # days since the first sample of the trace
_DAY = 86400
_MAX_JUDGED = 2500


@dataclass(frozen=True)
class FoldModels:
    """Models by fold and by the instant before which all that they saw had ended."""

    models: dict[tuple[int, float], SizingModel]

    def model_for(self, series: str, at: float) -> SizingModel | None:
        """Returns the latest model that has not seen the series, nor an outcome after the instant."""
        (fold,) = fold_of(np.array([series]), FOLDS)
        known = [until for of, until in self.models if of == fold and until <= at]
        return self.models[int(fold), max(known)] if known else None


@lru_cache(maxsize=1)
def examples_of(traces: Path) -> Examples:
    """Returns the examples of all series."""
    return collect(series_of(traces / "bitbrains_rnd.parquet", None))


@lru_cache(maxsize=2)
def fold_models(traces: Path, kind: Kind) -> FoldModels:
    """Trains them: eight minutes on one core for `later`, two for `series`."""
    examples = examples_of(traces)
    start = float(examples.at.min()) // _DAY * _DAY - 3 * _DAY
    models: dict[tuple[int, float], SizingModel] = {}
    for until in [start + day * _DAY for day in UNTIL] if kind == "later" else [np.inf]:
        ended = examples.where(examples.at + examples.validity <= until)
        since = until if kind == "later" else -np.inf
        models |= {(fold, since): model for fold, model in enumerate(_of_time(ended))}
    return FoldModels(models)


def _of_time(examples: Examples) -> list[SizingModel]:
    fold = fold_of(examples.series, FOLDS)
    trees = [train_trees(examples.where(fold != held)) for held in range(FOLDS)]
    asked = thin(whole_histories(examples), _MAX_JUDGED) | thin(short_histories(examples), _MAX_JUDGED)
    judged, owner = examples.where(asked), fold[asked]
    found = [offered(trees[of], seen) for of, seen in zip(owner, judged.seen, strict=True)]
    models = []
    for held in range(FOLDS):
        kept = owner != held
        result = judge([found[row] for row in np.flatnonzero(kept)], judged.where(kept))
        card = ModelCard(
            name=f"fold-{held}",
            version="0",
            trained_until=None,
            data=(),
            series=len(np.unique(examples.series[fold != held])),
            examples=int((fold != held).sum()),
            split="other folds",
            figures=result.figures,
            floors=result.floors,
            seen=(),
            command="python benchmarks/resource_accuracy.py --traces DIR",
        )
        models.append(SizingModel(card, trees[held], GRID, result.calibration))
    return models
