"""Training of the sizing model, as `perfopt train --what sizing` runs it."""

from collections.abc import Sequence
from dataclasses import dataclass

from perfopt.plugin import InvalidInputError, TrainedModel, TrainingRequest, WorkloadSnapshot
from perfopt_resource.training.examples import ContainerSeries, collect, samplings
from perfopt_resource.training.fleet import METRICS, containers_of


@dataclass(frozen=True)
class SizingTrainer:
    """Learns from the containers of a fleet how much room a history calls for."""

    metrics: frozenset[str] = METRICS
    modules: Sequence[str] = ("sklearn",)
    options: None = None

    def examples(self, snapshot: WorkloadSnapshot) -> list[ContainerSeries]:
        """Returns the containers of a workload that measure cpu or memory."""
        return list(containers_of(snapshot))

    def train(self, examples: Sequence[ContainerSeries], request: TrainingRequest) -> TrainedModel:
        """Trains a sizing model.

        Raises:
            InvalidInputError: too few containers, or none that measures cpu or memory.
        """
        from perfopt_resource.training.build import build

        until = None
        if request.trained_until is not None:
            until = request.trained_until.isoformat().replace("+00:00", "Z")
        collected = collect(request.each(examples, "collecting examples"), samplings(request.validity))
        if not len(collected.at):
            raise InvalidInputError(
                f"There is nothing to learn from: none of {len(examples)} containers has a history and an"
                " outcome with enough samples.",
                field="--source",
                remedy="Give a longer history, of weeks, and more services.",
            )
        model = build(
            collected,
            name=request.name,
            version=request.version,
            data=request.data,
            command=request.command,
            trained_until=until,
            progress=request.progress,
            executor=request.executor,
        )
        card = model.card
        floors = {f"minimum worth at penalty {penalty:g}": worth for penalty, worth in card.floors}
        counts = {"containers": float(card.series), "examples": float(card.examples)}
        return TrainedModel(
            content=model.dumps(), figures={**counts, **card.figures, **floors}, measured=card.split
        )
