"""The PERFORMANCE_TUNING strategy: knobs by formula first, then one step of search."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from perfopt.plugin import (
    SEPARATE_CONTAINERS,
    AnalysisContext,
    Claim,
    Container,
    DeclineCode,
    Declined,
    OptimizationType,
    Prior,
    Proposal,
    WorkloadState,
    decline,
)
from perfopt_tuning import text
from perfopt_tuning.history import MetricHistory
from perfopt_tuning.knobs.decide import ContainerFacts, KnobDecision, decide
from perfopt_tuning.knobs.detect import Version, runtimes_of
from perfopt_tuning.knobs.manifest import ManifestChanges
from perfopt_tuning.knobs.read import metrics_of, shipped_catalogue
from perfopt_tuning.knobs.schema import KnobCatalogue
from perfopt_tuning.knobs.values import plain
from perfopt_tuning.search.step import search
from perfopt_tuning.settings import TuningSettings

SEARCH_ANNOTATION = "perfopt.io/search"
_TYPE = OptimizationType.PERFORMANCE_TUNING
_ALWAYS = (
    "cpu_cores",
    "memory_bytes",
    "replicas",
    "requests_per_second",
    "latency_avg_ms",
    "latency_p50_ms",
    "latency_p90_ms",
    "latency_p95_ms",
    "latency_p99_ms",
)
_LIMITS = {"cpu_limit_cores": "cpu_limit", "memory_limit_bytes": "memory_limit"}  # variable to field
SEARCH_PRIOR = Prior(
    mean=0.83,
    strength=8.0,
    source="stated prior: claimed steps on a testbed of three services (docs/research/tuning.md)",
)
"""Of a step of search that claims a latency; nothing was measured for values by formula."""
ContainerDecisions = list[tuple[str, KnobDecision]]


def _metrics() -> Sequence[str]:
    return tuple(sorted({*_ALWAYS, *metrics_of(shipped_catalogue())}))


@dataclass
class KnobTuning:
    """Decides the knobs of each container; see docs/reference/tuning.md.

    The catalogue that the user names (plugins.tuning.knob_catalogue) is added to the shipped one.

    Attributes:
        catalogue: the shipped one.
    """

    name: str = "knobs"
    optimization_type: OptimizationType = _TYPE
    metrics: Sequence[str] = field(default_factory=_metrics)
    forecasts: Sequence[str] = ()
    prior: Prior = field(default_factory=Prior)
    catalogue: KnobCatalogue = field(default_factory=shipped_catalogue)

    def propose(self, context: AnalysisContext) -> Proposal | Declined:
        """Returns values for the knobs that need a change, that none does, or why none can be decided."""
        catalogue = context.settings_as(TuningSettings).catalogue(self.catalogue)
        workload = context.snapshot.workload
        containers = [one for one in workload.state.containers if not one.sidecar]
        versions = {one.name: runtimes_of(one, context.snapshot, catalogue) for one in containers}
        history = MetricHistory(context)
        decisions = _decisions(history, catalogue, containers, versions)
        decisions, claim = _searched(history, catalogue, containers, versions, decisions)
        changed = [(name, decision) for name, decision in decisions if decision.value is not None]
        if changed:
            return _proposal(context, changed, decisions, claim)
        if any(decision.no_change for _, decision in decisions):
            return Proposal(
                optimization_type=_TYPE,
                target=workload.state,
                description=text.no_change(workload.service_name, decisions),
                reasons=tuple(decision.reason for _, decision in decisions),
                no_change_needed=True,
            )
        if decisions:
            return decline(_TYPE, DeclineCode.NO_DATA, text.nothing_decided(decisions))
        return decline(_TYPE, DeclineCode.UNKNOWN_STATE, text.nothing_known(workload.service_name))


def _decisions(
    history: MetricHistory,
    catalogue: KnobCatalogue,
    containers: Sequence[Container],
    versions: dict[str, dict[str, Version | None]],
) -> ContainerDecisions:
    return [
        (one.name, decision)
        for one in containers
        for decision in decide(ContainerFacts(catalogue, history, one, versions[one.name]))
    ]


def _searched(
    history: MetricHistory,
    catalogue: KnobCatalogue,
    containers: Sequence[Container],
    versions: dict[str, dict[str, Version | None]],
    decisions: ContainerDecisions,
) -> tuple[ContainerDecisions, Claim]:
    """Puts a step of search in the place of the formulas of the knob that the workload wants searched.

    One knob in one container, and only once no formula has anything to set: one change at a time, or
    its effect could not be told from that of the others.
    """
    requested = history.context.snapshot.workload.annotations.get(SEARCH_ANNOTATION)
    knob = catalogue.knobs.get(requested or "")
    if knob is None or knob.entry.search is None:
        return decisions, Claim()
    rest = [(name, decision) for name, decision in decisions if decision.knob.name != knob.name]
    if any(decision.value is not None for _, decision in rest):
        return rest, Claim()
    for one in containers:
        if knob.entry.runtime in versions[one.name]:
            step = search(knob, history, one.name)
            return [(one.name, step.decision), *rest], step.claim
    return rest, Claim()


def _proposal(
    context: AnalysisContext, changed: ContainerDecisions, decisions: ContainerDecisions, claim: Claim
) -> Proposal:
    workload = context.snapshot.workload
    return Proposal(
        optimization_type=_TYPE,
        target=_target(workload.state, changed),
        description=text.change(workload.service_name, changed),
        reasons=tuple(decision.reason for _, decision in decisions),
        claim=claim,
        prior=SEARCH_PRIOR if claim.latency_ms is not None and _steps(changed) else None,
        data={"knob_templates": _templates(workload.state, changed)},
        merge=msgspec.structs.replace(SEPARATE_CONTAINERS, depends_on=_limits_read(changed)),
    )


def _steps(changed: ContainerDecisions) -> bool:
    """Returns whether the change is a step of search to a value that was not tried before."""
    return any(decision.reason.code == "search_step" for _, decision in changed)


def _limits_read(changed: ContainerDecisions) -> tuple[str, ...]:
    """Returns the limits that the formulas of the knobs read, such as "main.memory_limit"."""
    texts = [(name, decision.knob.formula.text) for name, decision in changed if decision.knob.formula]
    return tuple(
        dict.fromkeys(
            f"{name}.{label}" for name, text in texts for limit, label in _LIMITS.items() if limit in text
        )
    )


def _templates(state: WorkloadState, changed: ContainerDecisions) -> dict[str, dict[str, object]]:
    """Returns how the knobs are set with `__KNOB__` in place of each value, for rules that move one."""
    settings: dict[str, ManifestChanges] = {}
    for name, decision in changed:
        container = state.container(name)
        assert container is not None
        if decision.knob.entry.set.resource is None:
            settings.setdefault(name, ManifestChanges(container)).add(
                decision.knob, f"__{decision.knob.name}__"
            )
    return {name: setting.to_map() for name, setting in settings.items()}


def _target(state: WorkloadState, changed: ContainerDecisions) -> WorkloadState:
    """Returns the state with the knobs, and how to set each of them."""
    knobs: dict[str, dict[str, Any]] = {}
    settings: dict[str, ManifestChanges] = {}
    for name, decision in changed:
        container = state.container(name)
        assert container is not None
        assert decision.value is not None
        knobs.setdefault(name, {})[decision.knob.name] = plain(decision.value)
        settings.setdefault(name, ManifestChanges(container)).add(decision.knob, decision.value)
    how = {name: setting.to_map() for name, setting in settings.items()}
    limits = {
        name: setting.cpu_limit_cores
        for name, setting in settings.items()
        if setting.cpu_limit_cores is not None
    }
    return msgspec.structs.replace(
        state,
        containers=tuple(
            msgspec.structs.replace(one, cpu_limit_cores=limits[one.name]) if one.name in limits else one
            for one in state.containers
        ),
        extra={**state.extra, "knobs": knobs, "knob_settings": how},
    )
