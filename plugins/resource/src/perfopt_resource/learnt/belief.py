"""How far a model is to be believed about a recommendation, and where it is not sure enough."""

import math
from collections.abc import Sequence
from datetime import datetime

from perfopt.learn.model import SHORTAGE_COSTS, ModelCard, SizingModel
from perfopt.plugin import AnalysisContext, Container, Prior, Reason, ServiceClass
from perfopt_resource.learnt.observed import Observed
from perfopt_resource.text import duration, quantity

# How many validity windows of a service's own record weigh as much as the model's word about it: of greatest
# likelihood over 2505 recommendations whose VMs the models had not seen. The record adds next to nothing (log
# loss 0.2246 with it, 0.2249 without). `python benchmarks/learnt_accuracy.py --traces DIR --files
# bitbrains_rnd --record`
RECORD_STRENGTH = 63.0


def floor_of(model: SizingModel, service_class: ServiceClass) -> float:
    """Returns the confidence below which nothing is recommended; a batch service takes what it gets."""
    return 0.0 if service_class is ServiceClass.BATCH else model.card.confidence_floor


def prior(model: SizingModel, sure: float) -> Prior:
    """Returns a probability as a model gave it, with where it is from."""
    return Prior(mean=sure, strength=RECORD_STRENGTH, source=f"{label(model)}: {_record(model.card)}")


def label(model: SizingModel) -> str:
    """Returns the model's name, version and the beginning of its hash."""
    digest = f" (sha256 {model.sha256[:12]})" if model.sha256 else ""
    return f"the sizing model {model.card.name} {model.card.version}{digest}"


def _record(card: ModelCard) -> str:
    said = {name: card.figures.get(name, math.nan) for name in ("recommendations", "accuracy")}
    return (
        f"accuracy {said['accuracy']:.1%} in {said['recommendations']:.0f} recommendations for"
        f" {card.split}; rebuilt by `{card.command}`"
    )


def in_sample(context: AnalysisContext, model: SizingModel) -> list[Reason]:
    """Says where the model may have seen what the recommendation is judged on."""
    if model.card.trained_until is None:
        return []
    until = datetime.fromisoformat(model.card.trained_until)
    if until <= context.snapshot.grid.start:
        return []
    seen = "its replays and its confidence are" if until > context.now else "its replays are"
    return [
        Reason(
            code="in_sample",
            text=(
                f"IN-SAMPLE: {label(model)} learnt from outcomes until {until:%Y-%m-%d}; if this service was"
                f" among what it learnt from, {seen} better than they would be elsewhere."
            ),
            data={"trained_until": model.card.trained_until},
        )
    ]


def not_sure(
    context: AnalysisContext,
    model: SizingModel,
    sure: float,
    floor: float,
    asked: Sequence[tuple[Container, Observed]],
) -> str:
    """Says that a recommendation would not be sure enough, and what would make it so."""
    service_class = context.snapshot.workload.service_class
    share = floor ** (1 / len(asked))
    cost = SHORTAGE_COSTS[service_class]
    surer = []
    for container, seen in asked:
        choice = model.size(seen.features, cost, share).recommended
        sizes = []
        if choice.cpu_cores is not None:
            sizes.append(f"cpu {quantity('cpu', choice.cpu_cores)}")
        if choice.memory_bytes is not None:
            sizes.append(f"memory {choice.memory_bytes / 2**20:,.0f} MiB")
        surer.append(f"{container.name} {' and '.join(sizes)} ({choice.confidence:.2f})")
    return (
        f"What suits a {service_class.value} service best would hold for {duration(context.validity)} with a"
        f" probability of {sure:.2f}, below the {floor:.2f} that {label(model)} is to be trusted from. Sure"
        f" enough would be {'; '.join(surer)}, a shorter validity, or a longer or steadier history."
    )
