"""The RESOURCE_OPTIMIZATION strategy: per container, requests and limits for the validity window."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from perfopt.learn.model import read_model
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
from perfopt_resource.bounds import BoundModel, shipped_calibration
from perfopt_resource.learnt.strategy import LearntSizing
from perfopt_resource.sizing import Sized, size_cpu, size_memory
from perfopt_resource.usage import Unusable, usage

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


def _prior() -> Prior:
    shipped = shipped_calibration()
    return Prior(mean=shipped.prior_mean, strength=shipped.prior_strength, source=shipped.prior_source)


@dataclass
class ResourceStrategy:
    """Sizes each container from its own history; see perfopt_resource.bounds for the rule.

    Where the user names a sizing model (`--model`, engine.sizing_model), that takes the rule's place.

    Attributes:
        cpu_model, memory_model: what makes a bound of a history; any BoundModel, for example a learnt one.
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
    prior: Prior = field(default_factory=_prior)
    cpu_model: BoundModel = field(default_factory=lambda: shipped_calibration().cpu)
    memory_model: BoundModel = field(default_factory=lambda: shipped_calibration().memory)

    def propose(self, context: AnalysisContext) -> Proposal | Declined:
        """Returns requests and limits for [now, now + validity), or why there are none."""
        state = context.snapshot.workload.state
        if state.vpa_mode is not None and state.vpa_mode != "Off":
            return decline(
                _TYPE,
                DeclineCode.OWNED_BY_CONTROLLER,
                f"A VerticalPodAutoscaler in mode {state.vpa_mode} sets the requests of this workload;"
                " what is recommended here it would undo. Put it in mode Off to have a recommendation.",
            )
        model = context.models.get("sizing")
        if model is not None:
            return LearntSizing(read_model(model)).propose(context)
        names = [container.name for container in state.containers] or sorted(context.snapshot.containers)
        sized, skipped = [], []
        for name in names:
            container = state.container(name) or Container(name=name)
            made, unusable = self._container(context, container)
            sized.append(made)
            skipped += unusable
        if len(skipped) == 2 * len(names):
            return _declined(skipped)
        return _proposal(context, state, sized, skipped)

    def _container(self, context: AnalysisContext, container: Container) -> tuple[Sized, list[Unusable]]:
        reasons: tuple[Reason, ...] = ()
        skipped: list[Unusable] = []
        for metric, size, model in (
            ("cpu_cores", size_cpu, self.cpu_model),
            ("memory_bytes", size_memory, self.memory_model),
        ):
            used = usage(context, container.name, metric)
            if isinstance(used, Unusable):
                skipped.append(used)
                continue
            made = size(context, container, used, model)
            container = made.container
            reasons += made.reasons
            if used.image_change is not None:
                reasons += (text.image_changed(container.name, metric, used.image_change),)
        return Sized(container, reasons), skipped


def _declined(skipped: list[Unusable]) -> Declined:
    if not skipped:
        return decline(_TYPE, DeclineCode.NO_DATA, "No container of this workload is known.")
    codes = {unusable.code for unusable in skipped}
    code = next(code for code in _WORST_FIRST if code in codes)
    reason = "; ".join(unusable.reason for unusable in skipped if unusable.code is code)
    return decline(_TYPE, code, f"{reason}.")


def _proposal(
    context: AnalysisContext, state: WorkloadState, sized: list[Sized], skipped: list[Unusable]
) -> Proposal:
    containers = tuple(made.container for made in sized)
    reasons = [reason for made in sized for reason in made.reasons]
    reasons += [
        Reason(code="not_sized", text=f"{unusable.reason}; it stays as it is.") for unusable in skipped
    ]
    if state.keda is not None:
        reasons.append(text.keda(state.keda))
    if containers == state.containers:
        return Proposal(
            optimization_type=_TYPE,
            target=state,
            description=_kept(context, containers),
            reasons=tuple(reasons),
            already_right=True,
        )
    target = msgspec.structs.replace(state, containers=containers, basis=Basis.DECLARED)
    return Proposal(
        optimization_type=_TYPE,
        target=target,
        description=_changed(context, state, containers),
        reasons=tuple(reasons),
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
