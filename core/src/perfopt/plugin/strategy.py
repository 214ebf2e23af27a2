"""What a strategy is and what it gives back."""

import math
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import msgspec

from perfopt.domain.enums import DeclineCode, OptimizationType
from perfopt.domain.recommendation import Declined, Reason
from perfopt.domain.record import StrategyRecord
from perfopt.domain.workload import WorkloadState
from perfopt.plugin.context import AnalysisContext
from perfopt.plugin.forecasting import ForecastSpec


class Prior(msgspec.Struct, frozen=True, kw_only=True):
    """The expected hit rate before the service's own record: Beta(mean*strength, (1-mean)*strength).

    Attributes:
        mean: probability that a recommendation is accurate.
        strength: weight, in validity windows.
        source: the measurement it is from.
        record: recorded outcomes at such probabilities; the engine sets it.
    """

    mean: float = 0.5
    strength: float = 2.0
    source: str = "uniform: this strategy was not measured"
    record: StrategyRecord | None = None

    @property
    def possible(self) -> bool:
        """Whether the mean is a probability and the strength positive."""
        return 0 <= self.mean <= 1 and 0 < self.strength < math.inf


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """The effects that a proposal claims beside safe resources. All None: nothing but safety.

    Attributes:
        latency_ms: predicted latency at the SLO's quantile with the target in force, and its interval.
        latency_now_ms: what it is predicted to be over the validity if nothing changes.
        latency_now_interval_ms: the interval of that prediction, at most half of the prediction wide. In a
            replay the target was not in force, so this is what history can check: it comes from the model
            that latency_ms comes from. What is realised is `perfopt.plugin.realised_latency`.
        saving_percent: of the replica-hours, which a schedule saves over the validity.
        simulated_saving_percent: of the replica-hours, by stepping the recommended autoscaler through the
            latest history; negative where more run. The engine sets it, and costs by it. It is not scored.
        performance_gain_percent: relative fall of predicted p99 latency.
    """

    latency_ms: float | None = None
    latency_interval_ms: tuple[float, float] | None = None
    latency_now_ms: float | None = None
    latency_now_interval_ms: tuple[float, float] | None = None
    saving_percent: float | None = None
    simulated_saving_percent: float | None = None
    performance_gain_percent: float | None = None

    def to_map(self) -> dict[str, Any]:
        """Returns the claimed effects by field; what is not claimed is absent."""
        return {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}


class MergeHints(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the engine must know to merge a proposal with those of other strategies.

    Fields are named by patterns (`fnmatch`) on their labels: "main.cpu_request", "replicas",
    "hpa.min_replicas", "knobs.main.GOMAXPROCS", "schedule". `{container}` stands for each container in turn.

    Attributes:
        groups: changes that make sense without the rest of the proposal; those of one group go together.
            Changes in no group go together.
        yields: a group of changes with no field outside these gives way to other proposals.
        holds: fields of the target that the proposal was computed with: less of any breaks what it claims.
        enough: label of a held field to the least value with which the claim still holds, where less than the
            target's is enough.
        depends_on: limits that runtime knobs were computed from, such as "main.memory_limit": knobs are not
            taken where the plan sets another limit. None is all limits of their container.
        computed_for: field to the limit that knobs were computed for, where it is not the target's; set by
            the engine, which asks once more for knobs where the plan moves a limit.
        serves_objective: the proposal serves to meet the latency objective. While that is missed, or
            predicted to be, it goes before all others, and only in that case `holds` counts.
    """

    groups: tuple[tuple[str, ...], ...] = ()
    yields: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()
    enough: dict[str, float] = {}
    serves_objective: bool = False
    depends_on: tuple[str, ...] | None = None
    computed_for: dict[str, float | None] = {}


SEPARATE_CONTAINERS = MergeHints(
    groups=(
        ("{container}.cpu_*", "knobs.{container}.*", "knob_settings.{container}"),
        ("{container}.memory_*",),
        ("basis",),
    )
)
"""Hints of a proposal whose cpu (with runtime knobs) and memory may be taken container by container."""


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A target state for one workload.

    Attributes:
        optimization_type: must be the strategy's own.
        target: the complete state; what does not change is repeated.
        description: one sentence an operator can act on.
        reasons: why the values are what they are.
        claim: the effects that it claims.
        no_change_needed: the target is the current state because a move would not be worth making.
        already_right: an older name of the argument `no_change_needed`; always False afterwards.
        prior: expected hit rate of this proposal, where it differs from that of the strategy's proposals in
            general; None is the strategy's prior.
        merge: how it may be merged with other proposals; by default it is taken whole or not at all.
    """

    optimization_type: OptimizationType
    target: WorkloadState
    description: str
    reasons: tuple[Reason, ...] = ()
    claim: Claim = Claim()
    no_change_needed: bool = False
    prior: Prior | None = None
    data: dict[str, Any] = {}
    merge: MergeHints = MergeHints()
    already_right: bool = False

    def __post_init__(self) -> None:
        """Takes the older name of the flag for the flag."""
        if self.already_right:
            msgspec.structs.force_setattr(self, "no_change_needed", True)
            msgspec.structs.force_setattr(self, "already_right", False)


@runtime_checkable
class Strategy(Protocol):
    """Computes proposals of one type. Stateless, deterministic, picklable; no I/O, no clock.

    A strategy that abstains with `decline(..., holds=...)` may list those quantities in an attribute `holds`
    as well. It is then consulted whenever a strategy of another type would lower one of them, also where its
    own type was not requested.

    Attributes:
        name: unique within its plugin, [a-z0-9_-]+.
        optimization_type: what it proposes.
        metrics: names from the metric catalogue it reads.
        prior: its expected hit rate before a service's own record.
    """

    name: str
    optimization_type: OptimizationType
    metrics: Sequence[str]
    prior: Prior

    @property
    def forecasts(self) -> Sequence[str | ForecastSpec]:
        """What it wants forecast: names from the metric catalogue, or a `ForecastSpec` each."""

    def propose(self, context: AnalysisContext) -> Proposal | Declined:
        """Returns a proposal, or a reason why there is none. Must not raise for any snapshot."""


def decline(
    optimization_type: OptimizationType, code: DeclineCode, reason: str, *, holds: Sequence[str] = ()
) -> Declined:
    """Returns "no recommendation", with its reason as one sentence.

    Args:
        optimization_type: of the strategy.
        code: why.
        reason: the same as a sentence.
        holds: quantities of containers ("cpu_request") for which the evidence is not enough, so that no
            strategy of another type may lower them.
    """
    return Declined(optimization_type=optimization_type, code=code, reason=reason, holds=tuple(holds))
