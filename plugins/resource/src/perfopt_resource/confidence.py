"""How confident a model is of a recommendation, and where that is not enough."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from perfopt.plugin import AnalysisContext, Container, Prior, Reason
from perfopt_resource.model.sizing_model import ModelCard, SizingModel, SizingResult
from perfopt_resource.text import duration, mebibytes, quantity

# How many validity windows of a service's own record weigh as much as the model's probability: of greatest
# likelihood over recommendations whose VMs the models had not seen, to which the record adds next to nothing.
# docs/research/sizing-model.md
RECORD_STRENGTH = 40.0


class HasSizing(Protocol):
    """A container as it should be, with its sizing by the model."""

    @property
    def container(self) -> Container:
        """The container."""

    @property
    def sizing(self) -> SizingResult | None:
        """The sizing by the model; None where nothing of it is measured."""


def prior(model: SizingModel, confidence: float) -> Prior:
    """Returns a probability as a model gave it, with where it is from."""
    return Prior(mean=confidence, strength=RECORD_STRENGTH, source=f"{label(model)}: {_record(model.card)}")


def fleet_prior(model: SizingModel) -> Prior:
    """Returns the share that were accurate over the fleet that a model was learnt from, with its source."""
    return prior(model, model.card.figures["accuracy"])


def label(model: SizingModel) -> str:
    """Returns the model's name, version and the beginning of its hash."""
    digest = f" (sha256 {model.sha256[:12]})" if model.sha256 else ""
    return f"the sizing model {model.card.name} {model.card.version}{digest}"


def _record(card: ModelCard) -> str:
    figures = {name: card.figures.get(name, math.nan) for name in ("recommendations", "accuracy")}
    return (
        f"accuracy {figures['accuracy']:.1%} in {figures['recommendations']:.0f} recommendations for"
        f" {card.split}; rebuilt by `{card.command}`"
    )


def in_sample(context: AnalysisContext, model: SizingModel) -> list[Reason]:
    """Says so where the model was trained on this service at a time that the history reaches back to."""
    workload, card = context.snapshot.workload, model.card
    names = {
        workload.service_name,
        str(workload.id),
        *(f"{workload.id}/{name}" for name in context.snapshot.containers),
    }
    if card.trained_until is None or not any(card.saw(name) for name in names):
        return []
    if datetime.fromisoformat(card.trained_until) <= context.snapshot.grid.start:
        return []
    return [
        Reason(
            code="in_sample",
            text=(
                f"IN-SAMPLE: {label(model)} was trained on this service, on outcomes until"
                f" {card.trained_until[:10]}; its replays, and a confidence stated for a time before that,"
                " are better than they would be elsewhere."
            ),
            data={"trained_until": card.trained_until},
        )
    ]


def not_confident(
    context: AnalysisContext, model: SizingModel, confidence: float, sized: Sequence[HasSizing]
) -> str:
    """Says that the interval of what is needed is too wide, and what would narrow it."""
    needs, sizes = [], []
    for one in sized:
        if one.sizing is None:
            continue
        choice, distribution = one.sizing.recommended, one.sizing.distribution
        for resource, size in (("cpu", choice.cpu_cores), ("memory", choice.memory_bytes)):
            if size is not None:
                low, high = (_shown(resource, edge) for edge in distribution.interval(resource))
                needs.append(f"{one.container.name} {resource} {low} to {high}")
                sizes.append(f"{one.container.name} {resource} {_shown(resource, size)}")
    return (
        f"The 80 % interval of what the next {duration(context.validity)} need is too wide"
        f" ({'; '.join(needs)}). {', '.join(sizes)} would be safe with probability"
        f" {confidence:.2f}, mostly unused. A longer history, a shorter validity, or a model trained on this"
        f" fleet instead of {label(model)} would narrow it."
    )


def _shown(resource: str, size: float) -> str:
    return quantity("cpu", size) if resource == "cpu" else mebibytes(size)
