"""Strategies of tests that propose one change each, and what the engine makes of several of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np

from perfopt.domain.enums import DeclineCode, OptimizationType
from perfopt.domain.recommendation import AnalysisResult, Declined, OptimizationRecommendation
from perfopt.domain.record import StrategyRecord
from perfopt.domain.workload import Container, HpaState, Slo, WorkloadState
from perfopt.engine.assembly import assemble
from perfopt.engine.messages import StrategyAnswers, StrategyOutcome
from perfopt.engine.pipeline import run_strategy
from perfopt.engine.registry import StrategyInfo
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.plugin import (
    SEPARATE_CONTAINERS,
    AnalysisContext,
    Claim,
    MergeHints,
    Prior,
    Proposal,
    Strategy,
    decline,
)
from perfopt.rules import RuleSet, default_book
from perfopt.testing import make_context, make_snapshot

RESOURCE, TUNING, SCALING, COST, LATENCY = (
    OptimizationType.RESOURCE_OPTIMIZATION,
    OptimizationType.PERFORMANCE_TUNING,
    OptimizationType.SCALING_OPTIMIZATION,
    OptimizationType.COST_OPTIMIZATION,
    OptimizationType.LATENCY_OPTIMIZATION,
)


MIB = 2**20


STATE = WorkloadState(
    containers=(
        Container(
            name="main",
            cpu_request_cores=1.0,
            memory_request_bytes=1024 * MIB,
            cpu_limit_cores=2.0,
            memory_limit_bytes=2048 * MIB,
        ),
    ),
    replicas=4,
)


RULES = default_book().rules_for(make_snapshot().workload)


SURE = Prior(mean=0.95, strength=50.0, source="a measurement")


HINTS = {
    RESOURCE: SEPARATE_CONTAINERS,
    TUNING: SEPARATE_CONTAINERS,
    SCALING: MergeHints(),
    COST: MergeHints(
        groups=(("schedule", "off_hours"), ("topology_spread_constraints",)),
        yields=("*.cpu_*", "*.memory_*", "basis"),
    ),
    LATENCY: MergeHints(
        holds=("replicas", "hpa.min_replicas", "hpa.max_replicas", "*.cpu_limit"), serves_objective=True
    ),
}


@dataclass
class Wanting:
    """Wants the same change of the state at all times."""

    optimization_type: OptimizationType
    name: str = "it"
    quantities: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    claim: Claim = field(default_factory=Claim)
    merge: MergeHints | None = None
    prior: Prior = SURE
    metrics: Sequence[str] = ()
    forecasts: Sequence[str] = ()

    def propose(self, context: AnalysisContext) -> Proposal | Declined:
        current = context.snapshot.workload.state
        containers = tuple(msgspec.structs.replace(c, **self.quantities) for c in current.containers)
        target = msgspec.structs.replace(current, containers=containers, **self.state)
        return Proposal(
            optimization_type=self.optimization_type,
            target=target,
            description="Do it.",
            claim=self.claim,
            no_change_needed=target == current,
            merge=self.merge or HINTS[self.optimization_type],
        )


class Refusing(Wanting):
    """Abstains at all times."""

    def propose(self, context: AnalysisContext) -> Proposal | Declined:
        return decline(self.optimization_type, DeclineCode.UNSTABLE, "It is not steady.")


def steady(
    cpu: float = 0.4,
    memory: float = 300 * MIB,
    *,
    state: WorkloadState = STATE,
    slo: Slo | None = None,
    days: int = 14,
    **service: float,
) -> WorkloadSnapshot:
    """Returns a history of one container in which use never changes."""
    steps = days * 288
    snapshot = make_snapshot(
        {"main": {"cpu_cores": np.full(steps, cpu), "memory_bytes": np.full(steps, float(memory))}},
        service={name: np.full(steps, value) for name, value in service.items()},
        state=state,
    )
    workload = msgspec.structs.replace(snapshot.workload, slo=slo)
    return replace(snapshot, workload=workload)


def plugin(strategy: Strategy) -> str:
    return strategy.optimization_type.value.lower().removesuffix("_optimization")


def info(strategy: Strategy) -> StrategyInfo:
    return StrategyInfo(
        plugin=plugin(strategy),
        name=strategy.name,
        version="1",
        optimization_type=strategy.optimization_type,
        metrics=(),
        forecasts=(),
        prior=strategy.prior,
    )


def analysed(*strategies: Strategy, snapshot: WorkloadSnapshot | None = None) -> AnalysisResult:
    """Returns what an analysis of these strategies makes, without forecasts and worker processes."""
    context = make_context(snapshot or steady())
    infos = [info(strategy) for strategy in strategies]
    outcomes = tuple(run_strategy(strategy, context) for strategy in strategies)
    return assemble(context, tuple(OptimizationType), infos, StrategyAnswers(outcomes), (), "None.", RULES)


def by_type(result: AnalysisResult) -> dict[OptimizationType, OptimizationRecommendation]:
    """Returns the recommendations by type."""
    return {one.optimization_type: one for one in result.recommendations}


def codes(result: AnalysisResult) -> set[tuple[str, str, str]]:
    """Returns the rejected fields: field, code and the strategy that wanted it."""
    assert result.plan is not None
    return {(one.field, one.code, one.lost_by) for one in result.plan.conflicts}


SMALLER = Wanting(RESOURCE, quantities={"memory_request_bytes": 512 * MIB})


LIMITED = Wanting(TUNING, quantities={"cpu_limit_cores": 1.5})


def merged(
    *made: tuple[Strategy, StrategyOutcome], rules: RuleSet = RULES, record: StrategyRecord | None = None
) -> AnalysisResult:
    """Assembles outcomes that rules have left their marks on already."""
    infos = [info(strategy) for strategy, _ in made]
    outcomes = StrategyAnswers(tuple(outcome for _, outcome in made))
    context = make_context(steady())
    return assemble(context, tuple(OptimizationType), infos, outcomes, (), "None.", rules, record)


# Violated at each origin, where staying is not: by far more than it saves.
LOW = Prior(mean=0.5, strength=1.0)


RECKLESS = Wanting(COST, quantities={"cpu_request_cores": 0.3}, prior=LOW)


HPA = HpaState(min_replicas=2, max_replicas=10, target_cpu_utilization_percent=60)


SCALED = msgspec.structs.replace(STATE, hpa=HPA)
