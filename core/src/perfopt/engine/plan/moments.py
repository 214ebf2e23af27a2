"""Instants at which proposals are reconciled: now, and each origin that they were replayed at."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from perfopt.domain.recommendation import Evidence, ReplayWindow
from perfopt.domain.workload import WorkloadState
from perfopt.engine.confidence import confidence
from perfopt.engine.messages import Outcome
from perfopt.engine.plan.bids import Bid, needed_for_slo, preferred, standing
from perfopt.evaluation.known import state_at
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.plugin.context import AnalysisContext
from perfopt.plugin.strategy import Prior, Proposal


@dataclass(frozen=True, slots=True)
class Candidate:
    """A strategy that made a proposal, and its replays.

    Attributes:
        key: of the strategy.
        prior: of the strategy, where its proposals bring none.
        outcome: with a proposal and evidence.
    """

    key: str
    prior: Prior
    outcome: Outcome

    @property
    def proposal(self) -> Proposal:
        """What it proposes now."""
        assert self.outcome.proposal is not None
        return self.outcome.proposal

    @property
    def evidence(self) -> Evidence:
        """How it did."""
        assert self.outcome.evidence is not None
        return self.outcome.evidence


@dataclass(frozen=True, slots=True)
class Moment:
    """What was known at an instant and wanted then.

    Attributes:
        context: of the strategies then.
        bids: of those that made a proposal then, by key.
        window: the data that followed; None for now.
    """

    context: AnalysisContext
    bids: tuple[Bid, ...]
    window: WorkloadSnapshot | None = None

    @property
    def state(self) -> WorkloadState:
        """What the workload had."""
        return self.context.snapshot.workload.state


def present(context: AnalysisContext, candidates: Sequence[Candidate]) -> Moment:
    """Returns the moment that the analysis is made at."""
    bids = [_bid(one, one.proposal, context, one.evidence) for one in candidates]
    return Moment(context, tuple(sorted(bids, key=lambda bid: bid.key)))


def past(context: AnalysisContext, candidates: Sequence[Candidate]) -> tuple[Moment, ...]:
    """Returns the moments that all candidates were replayed at, oldest first."""
    windows = candidates[0].evidence.windows if candidates else ()
    same = all(_instants(one) == _instants(candidates[0]) for one in candidates)
    assert same, "all strategies are replayed at the same instants"
    return tuple(_past(context, candidates, index, window) for index, window in enumerate(windows))


def _instants(candidate: Candidate) -> list[object]:
    return [window.made_at for window in candidate.evidence.windows]


def _past(
    context: AnalysisContext, candidates: Sequence[Candidate], index: int, replayed: ReplayWindow
) -> Moment:
    snapshot = context.snapshot
    begin, end = (snapshot.grid.index(at) for at in (replayed.made_at, replayed.scored_until))
    state = state_at(snapshot, begin)
    workload = msgspec.structs.replace(snapshot.workload, state=state)
    then = replace(context, snapshot=replace(snapshot.slice(0, begin), workload=workload))
    window = replace(snapshot.slice(begin, end), workload=workload)
    bids = []
    for one in candidates:
        proposal = one.outcome.replays[index]
        if proposal is not None:
            # Only what was scored by then: nothing learnt later decides between two at that time.
            known = tuple(w for w in one.evidence.windows if w.scored_until <= replayed.made_at)
            bids.append(_bid(one, proposal, then, Evidence(windows=known)))
    return Moment(then, tuple(sorted(bids, key=lambda bid: bid.key)), window)


def _bid(candidate: Candidate, proposal: Proposal, context: AnalysisContext, evidence: Evidence) -> Bid:
    workload, book = context.snapshot.workload, context.price_book
    sure, _ = confidence(evidence, proposal.prior or candidate.prior, context.validity)
    now, then = book.monthly_cost(workload.state), recommended_cost(proposal, context)
    return Bid(
        key=candidate.key,
        proposal=proposal,
        confidence=sure,
        value=preferred(
            standing(now, then, sure, workload.service_class), candidate.outcome.conditions.preference
        ),
        for_slo=needed_for_slo(proposal, context.snapshot),
    )


def recommended_cost(proposal: Proposal, context: AnalysisContext) -> float | None:
    """Returns what a target costs a month; None where requests are unknown.

    The book counts a schedule by its hours. Where an autoscaler decides over the schedule, the replicas it
    will run are not in the target: there the share of replica-hours counts that is claimed to be saved.
    """
    target, claimed = proposal.target, proposal.claim.saving_percent
    if claimed is None or (target.hpa is None and target.keda is None):
        return context.price_book.monthly_cost(target)
    current = context.snapshot.workload.state.replicas
    full = context.price_book.monthly_cost(msgspec.structs.replace(target, replicas=current))
    return None if full is None else full * (1 - claimed / 100)
