"""From sized containers to a proposal, with its reasons."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from perfopt.plugin import (
    SEPARATE_CONTAINERS,
    AnalysisContext,
    Basis,
    Container,
    InsufficientHistory,
    OptimizationType,
    Prior,
    Proposal,
    Reason,
    WorkloadState,
)
from perfopt_resource import text
from perfopt_resource.confidence import in_sample
from perfopt_resource.frontier import frontier
from perfopt_resource.model.sizing_model import SizingModel, SizingResult
from perfopt_resource.observed import ObservedContainer

_QUANTITIES = ("cpu_request", "memory_request", "cpu_limit", "memory_limit")
_FIELDS = {
    "cpu_request": "cpu_request_cores",
    "memory_request": "memory_request_bytes",
    "cpu_limit": "cpu_limit_cores",
    "memory_limit": "memory_limit_bytes",
}


@dataclass(frozen=True, slots=True)
class SizedContainer:
    """What came of one container.

    Attributes:
        seen: its history.
        container: as it should be.
        reasons: why.
        sizing: by the model, None where nothing of it is measured.
        confidence: that the container is sized accurately.
    """

    seen: ObservedContainer
    container: Container
    reasons: tuple[Reason, ...]
    sizing: SizingResult | None
    confidence: float


def make_proposal(
    context: AnalysisContext, sized: Sequence[SizedContainer], prior: Prior, model: SizingModel
) -> Proposal:
    """Puts a proposal together.

    Args:
        context: the question.
        sized: all containers of the pod.
        prior: the probability that all are.
        model: that sized them.
    """
    state = context.snapshot.workload.state
    containers = tuple(one.container for one in sized)
    right = containers == state.containers
    target = msgspec.structs.replace(state, containers=containers, basis=Basis.DECLARED)
    return Proposal(
        optimization_type=OptimizationType.RESOURCE_OPTIMIZATION,
        target=state if right else target,
        description=_nothing_changes(context, containers) if right else _changed(context, state, containers),
        reasons=(*_reasons(context, sized, target), *in_sample(context, model)),
        no_change_needed=right,
        prior=prior,
        merge=SEPARATE_CONTAINERS,
    )


def _reasons(
    context: AnalysisContext, sized: Sequence[SizedContainer], target: WorkloadState
) -> list[Reason]:
    state = context.snapshot.workload.state
    reasons = [reason for one in sized for reason in one.reasons]
    reasons += [
        text.not_sized(used)
        for one in sized
        for used in one.seen.use.values()
        if isinstance(used, InsufficientHistory)
    ]
    if state.keda is not None:
        reasons.append(text.keda(state.keda))
    sizings = {one.container.name: one.sizing for one in sized if one.sizing is not None}
    trade = frontier(sizings, target, state, context.price_book) if len(sizings) == len(sized) else None
    return [*reasons, *([] if trade is None else [trade])]


def _nothing_changes(context: AnalysisContext, containers: tuple[Container, ...]) -> str:
    stated = "; ".join(
        f"{container.name} {', '.join(f'{key} {value}' for key, value in container.to_map().items())}"
        for container in containers
    )
    return f"No change needed ({stated}) for the next {text.duration(context.validity)}."


def _changed(context: AnalysisContext, state: WorkloadState, containers: tuple[Container, ...]) -> str:
    moves = [move for new in containers if (move := _moves(state.container(new.name), new))]
    return f"Set {'; '.join(moves)}, for the next {text.duration(context.validity)}."


def _moves(old: Container | None, new: Container) -> str:
    parts = []
    for quantity in _QUANTITIES:
        before = None if old is None else getattr(old, _FIELDS[quantity])
        after = getattr(new, _FIELDS[quantity])
        if before != after:
            was = "" if before is None else f" from {text.quantity(quantity, before)}"
            parts.append(f"{quantity}{was} to {text.quantity(quantity, after)}")
    return f"{', '.join(parts)} on {new.name}" if parts else ""
