"""Training of the fleet network, as `perfopt train --what forecast` runs it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np

from perfopt.errors import InvalidInputError
from perfopt.forecast.experts import COUNT, LEVELS
from perfopt.forecast.training.series import LOADS, OTHERS, TrainingSeries, series_of
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.plugin.array_file import write_arrays
from perfopt.plugin.models import TrainedModel, TrainingRequest

MIN_SERIES = 8


class ForecastOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of training the fleet network.

    Attributes:
        networks: how many are averaged.
        epochs: how often each row is trained on.
        origins: of all series of a load together; of memory and network traffic a quarter as many.
        generated: how many generated series are learnt beside the measured ones.
    """

    networks: Annotated[int, msgspec.Meta(ge=1, le=20)] = 3
    epochs: Annotated[int, msgspec.Meta(ge=1, le=100)] = 8
    origins: Annotated[int, msgspec.Meta(ge=10, le=1_000_000)] = 3700
    generated: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 1160


@dataclass(frozen=True)
class ForecastTrainer:
    """Learns from the series of a fleet what histories like theirs are followed by."""

    metrics: frozenset[str] = frozenset((*LOADS, *OTHERS))
    modules: Sequence[str] = ("tensorflow", "scipy")
    options: type[ForecastOptions] = ForecastOptions

    def examples(self, snapshot: WorkloadSnapshot) -> list[TrainingSeries]:
        """Returns the measured series of a workload."""
        return list(series_of(snapshot))

    def train(self, examples: Sequence[TrainingSeries], request: TrainingRequest) -> TrainedModel:
        """Trains and calibrates the network.

        Raises:
            InvalidInputError: too few series with days of history and of outcomes.
        """
        from perfopt.forecast.training.calibrate import FOLDS, out_of_fold
        from perfopt.forecast.training.fit import EnsembleFit, ensemble, row_weights
        from perfopt.forecast.training.generated import generated_series
        from perfopt.forecast.training.rows import collect

        options: ForecastOptions = request.options
        measured = [one for one in examples if one.values.size * one.step >= _MIN_SECONDS]
        if len(measured) < MIN_SERIES:
            raise InvalidInputError(
                f"{len(measured)} series have enough history to learn from, {MIN_SERIES} are needed.",
                remedy="Add services, or history: four days or more of each.",
            )
        series = [*measured, *generated_series(options.generated)]
        rows = collect(series, options.origins, lambda some: request.each(some, "collecting examples"))
        weights = row_weights(rows)
        every = np.arange(rows.series.size)
        epochs = iter(request.each(range(options.networks * options.epochs * (FOLDS + 1)), "training epochs"))
        fit = EnsembleFit(options.networks, options.epochs, lambda: next(epochs, None), request.once)
        arrays = ensemble(rows, weights, every, fit, 7, part="all")
        held_out = out_of_fold(rows, weights, fit)
        counts = {metric: len(rows.of(metric)) for metric in rows.metrics}
        losses = {f"loss {name}": loss for name, loss in held_out.losses.items()}
        shipped = {f"loss {name}, shipped network": loss for name, loss in held_out.losses_of_shipped.items()}
        card = _card(request, counts, losses)
        content = write_arrays(arrays | {"theta": held_out.theta}, card)
        return TrainedModel(
            content=content,
            figures={"series": float(sum(counts.values())), "rows": float(every.size), **losses, **shipped},
            measured=f"services that networks were not trained on ({FOLDS} folds): quantile loss over the"
            " error of the usual day; the shipped network may have seen them",
        )


_MIN_SECONDS = 4 * 86_400


def _card(request: TrainingRequest, counts: dict[str, int], losses: dict[str, float]) -> dict[str, Any]:
    until = request.trained_until
    options: ForecastOptions = request.options
    return {
        "name": request.name,
        "version": request.version,
        "data": list(request.data),
        "trained_until": None if until is None else until.isoformat().replace("+00:00", "Z"),
        "measured_series": counts,
        "generated_series": options.generated,
        "networks": options.networks,
        "levels": list(LEVELS),
        "distributions": COUNT,
        "figures": {name: round(loss, 4) for name, loss in losses.items()},
        "command": request.command,
    }
