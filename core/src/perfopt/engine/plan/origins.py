"""Instants at which proposals are merged: the analysis itself, and each origin of its backtest."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from perfopt.domain.fields import Values, all_fields
from perfopt.domain.recommendation import Evidence, ReplayWindow
from perfopt.domain.workload import WorkloadState
from perfopt.engine.confidence import confidence
from perfopt.engine.messages import StrategyOutcome
from perfopt.engine.plan.scored import ScoredProposal, misses_objective
from perfopt.engine.plan.utility import expected_utility, preferred
from perfopt.evaluation.known import state_at
from perfopt.evaluation.scaling import ReplicaSimulation
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.plugin.context import AnalysisContext
from perfopt.plugin.strategy import Prior, Proposal


@dataclass(frozen=True, slots=True)
class ProposingStrategy:
    """A strategy that made a proposal, and its backtest.

    Attributes:
        key: of the strategy.
        prior: of the strategy, where its proposals bring none.
        outcome: with a proposal and evidence.
    """

    key: str
    prior: Prior
    outcome: StrategyOutcome

    @property
    def proposal(self) -> Proposal:
        """What it proposes."""
        assert self.outcome.proposal is not None
        return self.outcome.proposal

    @property
    def evidence(self) -> Evidence:
        """Its backtest."""
        assert self.outcome.evidence is not None
        return self.outcome.evidence


@dataclass(frozen=True, slots=True)
class PlanOrigin:
    """What was known at an instant, and proposed.

    Attributes:
        context: of the strategies.
        fields: of the state that the workload had.
        proposals: by key.
        simulation: of replicas on the data that followed; None for the analysis itself.
    """

    context: AnalysisContext
    fields: Values
    proposals: tuple[ScoredProposal, ...]
    simulation: ReplicaSimulation | None = None

    @property
    def window(self) -> WorkloadSnapshot | None:
        """The data that followed; None for the analysis itself."""
        return None if self.simulation is None else self.simulation.window

    @property
    def state(self) -> WorkloadState:
        """What the workload had."""
        return self.context.snapshot.workload.state

    def proposal_of(self, key: str) -> ScoredProposal | None:
        """Returns what a strategy proposed here, if it did."""
        return next((scored for scored in self.proposals if scored.key == key), None)


def analysis_origin(context: AnalysisContext, strategies: Sequence[ProposingStrategy]) -> PlanOrigin:
    """Returns the origin that the analysis is made at."""
    fields = all_fields(context.snapshot.workload.state)
    scored = [_scored(one, one.proposal, context, fields, one.evidence) for one in strategies]
    return PlanOrigin(context, fields, tuple(sorted(scored, key=lambda one: one.key)))


def backtest_origins(
    context: AnalysisContext, strategies: Sequence[ProposingStrategy]
) -> tuple[PlanOrigin, ...]:
    """Returns the origins that all strategies were backtested at, oldest first."""
    windows = strategies[0].evidence.windows if strategies else ()
    same = all(_instants(one) == _instants(strategies[0]) for one in strategies)
    assert same, "all strategies are backtested at the same origins"
    return tuple(_origin(context, strategies, index, window) for index, window in enumerate(windows))


def _instants(strategy: ProposingStrategy) -> list[object]:
    return [window.made_at for window in strategy.evidence.windows]


def _origin(
    context: AnalysisContext, strategies: Sequence[ProposingStrategy], index: int, tested: ReplayWindow
) -> PlanOrigin:
    snapshot = context.snapshot
    begin, end = (snapshot.grid.index(at) for at in (tested.made_at, tested.scored_until))
    state = state_at(snapshot, begin)
    workload = msgspec.structs.replace(snapshot.workload, state=state)
    known = replace(context, snapshot=replace(snapshot.slice(0, begin), workload=workload))
    window = replace(snapshot.slice(begin, end), workload=workload)
    fields = all_fields(state)
    scored = []
    for one in strategies:
        proposal = one.outcome.replays[index]
        if proposal is not None:
            # Only what was scored by then: nothing learnt later decides between two at that time.
            past = tuple(w for w in one.evidence.windows if w.scored_until <= tested.made_at)
            scored.append(_scored(one, proposal, known, fields, Evidence(windows=past)))
    return PlanOrigin(
        known, fields, tuple(sorted(scored, key=lambda one: one.key)), ReplicaSimulation(window)
    )


def _scored(
    strategy: ProposingStrategy,
    proposal: Proposal,
    context: AnalysisContext,
    fields: Values,
    evidence: Evidence,
) -> ScoredProposal:
    probability, _ = confidence(evidence, proposal.prior or strategy.prior, context.validity)
    return ScoredProposal(
        key=strategy.key,
        proposal=proposal,
        confidence=probability,
        utility=preferred(_utility(proposal, context, probability), strategy.outcome.conditions.preference),
        current=fields,
        for_objective=misses_objective(proposal, context.snapshot),
    )


def _utility(proposal: Proposal, context: AnalysisContext, probability: float) -> float:
    recommended = recommended_cost(proposal, context)
    if recommended is None:
        return 0.0
    current = context.price_book.monthly_cost(context.snapshot.workload.state)
    paid = recommended if current is None else current  # no saving is known where the present cost is not
    return expected_utility(paid, recommended, probability, context.under_provisioning_penalty)


def recommended_cost(proposal: Proposal, context: AnalysisContext) -> float | None:
    """Returns what a target costs a month; None where requests are unknown.

    The book counts a schedule by its hours. Where an autoscaler decides over the schedule, the replicas it
    will run are not in the target: there the share of replica-hours counts that is simulated or else claimed
    to be saved.
    """
    target, claim = proposal.target, proposal.claim
    saved = claim.saving_percent if claim.simulated_saving_percent is None else claim.simulated_saving_percent
    if saved is None or (target.hpa is None and target.keda is None):
        return context.price_book.monthly_cost(target)
    current = context.snapshot.workload.state.replicas
    full = context.price_book.monthly_cost(msgspec.structs.replace(target, replicas=current))
    return None if full is None else full * (1 - saved / 100)
