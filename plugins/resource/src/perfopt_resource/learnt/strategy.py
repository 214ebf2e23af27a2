"""The sizing of containers by a learnt model, under the same rules as without one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from perfopt.learn.model import SHORTAGE_COSTS, Sizing, SizingModel
from perfopt.plugin import (
    AnalysisContext,
    Basis,
    Container,
    DeclineCode,
    Declined,
    OptimizationType,
    Prior,
    Proposal,
    Reason,
    WorkloadState,
    decline,
)
from perfopt_resource import text
from perfopt_resource.learnt.belief import floor_of, in_sample, not_sure, prior
from perfopt_resource.learnt.frontier import frontier
from perfopt_resource.learnt.observed import METRICS, Observed, observe
from perfopt_resource.learnt.sizing import size_cpu, size_memory
from perfopt_resource.usage import Unusable

_TYPE = OptimizationType.RESOURCE_OPTIMIZATION
_QUANTITIES = ("cpu_request", "memory_request", "cpu_limit", "memory_limit")
_FIELDS = {
    "cpu_request": "cpu_request_cores",
    "memory_request": "memory_request_bytes",
    "cpu_limit": "cpu_limit_cores",
    "memory_limit": "memory_limit_bytes",
}
# What stopped most is what the user can do something about.
_WORST_FIRST = (DeclineCode.SHORT_HISTORY, DeclineCode.LOW_COVERAGE, DeclineCode.NO_DATA)


@dataclass(frozen=True, slots=True)
class _Made:
    """What came of one container."""

    seen: Observed
    container: Container
    reasons: tuple[Reason, ...]
    sizing: Sizing | None
    confidence: float


@dataclass(frozen=True, slots=True)
class LearntSizing:
    """Sizes each container by a model learnt across a fleet, then by the rules of .sizing.

    Attributes:
        model: the model.
    """

    model: SizingModel

    def propose(self, context: AnalysisContext) -> Proposal | Declined:
        """Returns requests and limits for [now, now + validity), or why there are none."""
        state, model = context.snapshot.workload.state, self.model
        names = [container.name for container in state.containers] or sorted(context.snapshot.containers)
        containers = [state.container(name) or Container(name=name) for name in names]
        seen = [observe(context, container) for container in containers]
        if not any(one.features.references for one in seen):
            return _declined([u for one in seen for u in one.use.values() if isinstance(u, Unusable)])
        made = _size(context, containers, seen, model)
        sure = math.prod(one.confidence for one in made)
        floor = floor_of(model, context.snapshot.workload.service_class)
        # Where a container was seen to have too little, any more is better than to leave it so.
        if sure < floor and not any(one.short for one in seen):
            asked = [pair for pair in zip(containers, seen, strict=True) if pair[1].features.references]
            reason = not_sure(context, model, sure, floor, asked)
            return decline(_TYPE, DeclineCode.LOW_CONFIDENCE, reason)
        return _proposal(context, made, prior(model, sure), in_sample(context, model))


def _size(
    context: AnalysisContext, containers: Sequence[Container], seen: Sequence[Observed], model: SizingModel
) -> list[_Made]:
    """Sizes the containers of a pod. It holds only if all do, so of many each is sized more surely."""
    service_class = context.snapshot.workload.service_class
    count = sum(bool(one.features.references) for one in seen)
    share = floor_of(model, service_class) ** (1 / count) if count > 1 else None
    made = []
    for container, one in zip(containers, seen, strict=True):
        if not one.features.references:
            made.append(_Made(one, container, (), None, 1.0))
            continue
        sizing = model.size(one.features, SHORTAGE_COSTS[service_class], share)
        made.append(_apply(context, container, one, sizing))
    return made


def _apply(context: AnalysisContext, container: Container, seen: Observed, sizing: Sizing) -> _Made:
    """Returns the container with the rules applied, and how surely what came of them is accurate."""
    reasons: tuple[Reason, ...] = ()
    sure_as: dict[str, float] = {}
    wanted = {"cpu": sizing.recommended.cpu_cores, "memory": sizing.recommended.memory_bytes}
    for resource, size in (("cpu", size_cpu), ("memory", size_memory)):
        value, used = wanted[resource], seen.use[resource]
        if value is None or isinstance(used, Unusable):
            continue
        sized = size(context, container, seen, value)
        container, sure_as[resource] = sized.container, sized.sure_as
        reasons += sized.reasons
        if used.image_change is not None:
            reasons += (text.image_changed(container.name, METRICS[resource], used.image_change),)
    return _Made(seen, container, reasons, sizing, sizing.outlook.confidence(sure_as))


def _declined(skipped: list[Unusable]) -> Declined:
    if not skipped:
        return decline(_TYPE, DeclineCode.NO_DATA, "No container of this workload is known.")
    codes = {unusable.code for unusable in skipped}
    code = next(code for code in _WORST_FIRST if code in codes)
    reason = "; ".join(unusable.reason for unusable in skipped if unusable.code is code)
    return decline(_TYPE, code, f"{reason}.")


def _proposal(
    context: AnalysisContext, made: list[_Made], believed: Prior, caveats: list[Reason]
) -> Proposal:
    state = context.snapshot.workload.state
    containers = tuple(one.container for one in made)
    target = msgspec.structs.replace(state, containers=containers, basis=Basis.DECLARED)
    reasons = [reason for one in made for reason in one.reasons]
    reasons += [
        Reason(code="not_sized", text=f"{used.reason}; it stays as it is.")
        for one in made
        for used in one.seen.use.values()
        if isinstance(used, Unusable)
    ]
    if state.keda is not None:
        reasons.append(text.keda(state.keda))
    sizings = [one.sizing for one in made if one.sizing is not None]
    trade = frontier(sizings, target, state, context.price_book) if len(sizings) == len(made) else None
    reasons += [*([] if trade is None else [trade]), *caveats]
    right = containers == state.containers
    return Proposal(
        optimization_type=_TYPE,
        target=state if right else target,
        description=_kept(context, containers) if right else _changed(context, state, containers),
        reasons=tuple(reasons),
        already_right=right,
        prior=believed,
    )


def _kept(context: AnalysisContext, containers: tuple[Container, ...]) -> str:
    stated = "; ".join(
        f"{container.name} {', '.join(f'{key} {value}' for key, value in container.to_map().items())}"
        for container in containers
    )
    return f"Keep what is set ({stated}): it is right for the next {text.duration(context.validity)}."


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
