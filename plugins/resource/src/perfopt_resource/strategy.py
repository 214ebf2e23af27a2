"""The RESOURCE_OPTIMIZATION strategy: per container, requests and limits for the validity window."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from perfopt.plugin import (
    UNDER_PROVISIONING_PENALTIES,
    AnalysisContext,
    Container,
    DeclineCode,
    Declined,
    InsufficientHistory,
    OptimizationType,
    Prior,
    Proposal,
    Reason,
    ServiceClass,
    decline,
    requests_owner,
)
from perfopt_resource import text
from perfopt_resource.confidence import fleet_prior, not_confident, prior
from perfopt_resource.model.sizing_model import SizingModel, SizingResult, read_model, shipped_model
from perfopt_resource.observed import METRICS, ObservedContainer, observe
from perfopt_resource.proposal import SizedContainer, make_proposal
from perfopt_resource.runs import ENOUGH_RUNS, whole_runs
from perfopt_resource.settings import ResourceSettings
from perfopt_resource.sizing import size_cpu, size_memory

_TYPE = OptimizationType.RESOURCE_OPTIMIZATION
_QUANTITIES = ("cpu_request", "memory_request", "cpu_limit", "memory_limit")
# What stopped most is what the user can do something about.
_WORST_FIRST = (DeclineCode.SHORT_HISTORY, DeclineCode.LOW_COVERAGE, DeclineCode.NO_DATA)


@dataclass
class ResourceStrategy:
    """Sizes each container by a model learnt across a fleet.

    Attributes:
        model: where the user names none (`--model`, plugins.resource.model); the one that comes with perfopt.
    """

    name: str = "resource"
    optimization_type: OptimizationType = _TYPE
    metrics: Sequence[str] = (
        "cpu_cores",
        "memory_bytes",
        "cpu_throttled_fraction",
        "oom_kills",
        "memory_limit_bytes",
    )
    forecasts: Sequence[str] = ()
    holds: Sequence[str] = _QUANTITIES
    model: SizingModel = field(default_factory=shipped_model, repr=False)
    prior: Prior = field(init=False)

    def __post_init__(self) -> None:
        """Takes the share that were accurate over the fleet that the model was learnt from."""
        self.prior = fleet_prior(self.model)

    def propose(self, context: AnalysisContext) -> Proposal | Declined:
        """Returns requests and limits for [now, now + validity), or why there are none."""
        owner = requests_owner(context.snapshot.workload.state)
        if owner is not None:
            return decline(
                _TYPE,
                DeclineCode.OWNED_BY_CONTROLLER,
                f"A {owner} sets the requests of this workload;"
                " what is recommended here it would undo. Put it in mode Off to have a recommendation.",
            )
        given = context.models.get("sizing")
        return recommend(context, self.model if given is None else read_model(given))


def recommend(context: AnalysisContext, model: SizingModel) -> Proposal | Declined:
    """Returns requests and limits by a model, where they are worth it, or why there are none."""
    state = context.snapshot.workload.state
    names = [container.name for container in state.containers] or sorted(context.snapshot.containers)
    containers = [state.container(name) or Container(name=name) for name in names]
    seen = [observe(context, container) for container in containers]
    if not any(one.features.references for one in seen):
        return _declined(
            [use for one in seen for use in one.use.values() if isinstance(use, InsufficientHistory)]
        )
    # Each container is sized as if it were alone: a sidecar changes nothing of what the others need.
    penalty = _penalty(context, model)
    sized = _size(context, containers, seen, model, penalty)
    confidence = math.prod(one.confidence for one in sized)
    utilities = [one.sizing.recommended.utility for one in sized if one.sizing is not None]
    runs = whole_runs(context.snapshot)
    if runs is not None:
        confidence = min(confidence, (runs + 1) / (runs + 2))  # Laplace: of runs that all were as expected
    doubtful = bool(np.mean(utilities) < model.card.floor(penalty))
    # Where a container was seen to have too little, any more is better than to leave it so.
    if doubtful and not any(one.short for one in seen) and (runs or 0) < ENOUGH_RUNS:
        reason = not_confident(context, model, confidence, sized)
        reason += "" if runs is None else f" {text.too_few_runs(runs)}"
        return decline(_TYPE, DeclineCode.LOW_CONFIDENCE, reason, holds=_QUANTITIES)
    proposal = make_proposal(context, sized, prior(model, confidence), model)
    if runs is None or not (doubtful or runs <= ENOUGH_RUNS):
        return proposal
    return msgspec.structs.replace(proposal, reasons=(*proposal.reasons, text.sized_by_runs(runs)))


def _penalty(context: AnalysisContext, model: SizingModel) -> float:
    """Returns the penalty of the service's class, scaled so that the standard reaches the fleet accuracy."""
    asked = context.settings_as(ResourceSettings).fleet_accuracy
    standard = UNDER_PROVISIONING_PENALTIES[ServiceClass.STANDARD]
    return model.card.penalty_for(asked) * context.under_provisioning_penalty / standard


def _size(
    context: AnalysisContext,
    containers: Sequence[Container],
    seen: Sequence[ObservedContainer],
    model: SizingModel,
    penalty: float,
) -> list[SizedContainer]:
    """Sizes each container of a pod at an under-provisioning penalty."""
    sized = []
    for container, one in zip(containers, seen, strict=True):
        if one.features.references:
            sized.append(
                _apply(context, container, one, model.size(one.features, penalty, context.price_book))
            )
        else:
            sized.append(SizedContainer(one, container, (), None, 1.0))
    return sized


def _apply(
    context: AnalysisContext, container: Container, seen: ObservedContainer, sizing: SizingResult
) -> SizedContainer:
    """Returns the container with the rules applied, and how surely what came of them is accurate."""
    reasons: tuple[Reason, ...] = ()
    requests: dict[str, float] = {}
    targets = {"cpu": sizing.recommended.cpu_cores, "memory": sizing.recommended.memory_bytes}
    current_requests = {"cpu": container.cpu_request_cores, "memory": container.memory_request_bytes}
    for resource, size in (("cpu", size_cpu), ("memory", size_memory)):
        value, used = targets[resource], seen.use[resource]
        if value is None or isinstance(used, InsufficientHistory):
            continue
        current = current_requests[resource]
        enough = 1.0 if current is None else sizing.distribution.enough(resource, current)
        sized = size(context, container, seen, value, enough)
        container, requests[resource] = sized.container, sized.request
        reasons += sized.reasons
        if used.image_change is not None:
            reasons += (text.image_changed(container.name, METRICS[resource], used.image_change),)
        if used.leak_ended is not None:
            reasons += (text.leak_ended(container.name, used.leak_ended),)
    reasons += (text.need(container.name, sizing.distribution),)
    return SizedContainer(seen, container, reasons, sizing, sizing.distribution.confidence(requests))


def _declined(skipped: list[InsufficientHistory]) -> Declined:
    if not skipped:
        return decline(_TYPE, DeclineCode.NO_DATA, "No container of this workload is known.")
    codes = {lacking.code for lacking in skipped}
    code = next(code for code in _WORST_FIRST if code in codes)
    reason = " ".join(lacking.reason for lacking in skipped if lacking.code is code)
    return decline(_TYPE, code, reason, holds=_QUANTITIES)
