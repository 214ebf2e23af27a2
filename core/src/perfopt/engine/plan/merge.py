"""Merges the proposals of an analysis into one state, backtested where the proposals were."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from perfopt.domain.fields import all_fields
from perfopt.domain.recommendation import Evidence, Reason, ReplayWindow
from perfopt.domain.record import StrategyRecord
from perfopt.domain.workload import WorkloadState
from perfopt.engine.plan.coherence import AUTOSCALER_TARGETS, fit_alone
from perfopt.engine.plan.decide import MergedState
from perfopt.engine.plan.origins import PlanOrigin, ProposingStrategy, analysis_origin, backtest_origins
from perfopt.engine.plan.reconcile import (
    JOINT_VIOLATION,
    NO_NET_BENEFIT,
    REDUNDANT,
    REFUSED_BY_RULES,
    reject_all,
)
from perfopt.engine.plan.scored import ScoredProposal
from perfopt.engine.plan.search import PlanSearch, ScoredPlan, contributing
from perfopt.evaluation.rolling import scored_window
from perfopt.evaluation.score import score, score_staying
from perfopt.plugin.context import AnalysisContext
from perfopt.plugin.strategy import Prior
from perfopt.rules import RuleSet


@dataclass(frozen=True, slots=True)
class MergedProposal:
    """What the plan leaves of one proposal.

    Attributes:
        target: its own changes at the plan's values, fit for being applied alone.
        evidence: of the target as it is now.
        taken: whether any of its changes is in the plan, or it has none.
        staying: whether the current state was accurate, one a window of the evidence.
        reasons: what was adjusted in the target so that it fits.
    """

    strategy: ProposingStrategy
    scored: ScoredProposal
    target: WorkloadState
    evidence: Evidence
    taken: bool
    staying: tuple[bool | None, ...]
    reasons: tuple[Reason, ...] = ()

    @property
    def prior(self) -> Prior:
        """Of the proposal."""
        return self.scored.proposal.prior or self.strategy.prior


@dataclass(frozen=True, slots=True)
class MergedPlan:
    """The proposals of one analysis as one.

    Attributes:
        state: of the analysis.
        proposals: one a strategy, in their order.
        evidence: of the merged state; empty where nothing is to be changed.
        prior: of the merged state.
    """

    state: MergedState
    proposals: tuple[MergedProposal, ...]
    evidence: Evidence
    prior: Prior


def merge(
    context: AnalysisContext,
    strategies: Sequence[ProposingStrategy],
    rules: RuleSet,
    record: StrategyRecord | None = None,
    *,
    by_itself: bool = False,
) -> MergedPlan:
    """Returns one state for all proposals, with its evidence and what is left of each.

    Args:
        context: what the strategies were given.
        strategies: that made a proposal; their order does not matter.
        rules: the merged state must pass the safety packs among them, and all that judge, once more.
        record: what the recorded outcomes of plans say of the confidence of one.
        by_itself: the only strategy is to be judged, so it takes part whatever it is worth.
    """
    analysis, origins = analysis_origin(context, strategies), backtest_origins(context, strategies)
    search = PlanSearch(analysis, origins, strategies, rules, record)
    plan = search.plan(search.all_keys) if by_itself else search.best()
    for scored in search.left_out(plan):
        _explain(scored, plan, search)
    proposals = tuple(_merged_proposal(one, plan, analysis, origins) for one in strategies)
    return MergedPlan(plan.state, proposals, plan.evidence, search.prior_of(contributing(plan.state)))


def _explain(scored: ScoredProposal, plan: ScoredPlan, search: PlanSearch) -> None:
    """Notes why a proposal is left out: by the difference that it makes, or by the refusal of rules."""
    refused = search.vetoed_with(scored, plan)
    if refused is not None:
        reject_all(plan.state.merged, scored, REFUSED_BY_RULES, None, refusal=refused.reason)
        return
    difference = search.difference(scored, plan)
    winner = max(
        (one for one in search.analysis.proposals if one.key in plan.keys and one.changes_something),
        key=lambda one: (one.for_objective, one.adds_replicas, one.utility, one.confidence),
        default=None,
    )
    code = NO_NET_BENEFIT
    if winner is not None and search.violates_jointly(scored, plan):
        code = JOINT_VIOLATION
    elif winner is not None and scored.additions:
        code = REDUNDANT
    reject_all(plan.state.merged, scored, code, None if code == NO_NET_BENEFIT else winner, difference)


def _merged_proposal(
    strategy: ProposingStrategy, plan: ScoredPlan, analysis: PlanOrigin, origins: Sequence[PlanOrigin]
) -> MergedProposal:
    scored = analysis.proposal_of(strategy.key)
    assert scored is not None
    target, reasons, taken = _own_target(scored, analysis, plan.state)
    evidence = strategy.evidence
    if taken and target is not scored.proposal.target:
        tested = zip(origins, plan.states, evidence.windows, strict=True)
        evidence = Evidence(windows=tuple(_own_window(strategy.key, *one) for one in tested))
    staying = tuple(_stayed(strategy.key, origin) for origin in origins)
    return MergedProposal(strategy, scored, target, evidence, taken, staying, reasons)


def _stayed(key: str, origin: PlanOrigin) -> bool | None:
    scored = origin.proposal_of(key)
    if scored is None or origin.window is None:
        return None
    return score_staying(scored.proposal, origin.window, origin.simulation)


def _own_target(
    scored: ScoredProposal, origin: PlanOrigin, merged: MergedState
) -> tuple[WorkloadState, tuple[Reason, ...], bool]:
    """Returns a proposal's changes at the plan's values, what was adjusted in them, and if any was taken."""
    own = scored.proposal.target
    if merged.vetoed is not None or not scored.changes_something:
        return own, (), True
    there = all_fields(merged.state)
    values = {path: there.get(path) for path in scored.changes}
    mine = [path for path in AUTOSCALER_TARGETS if path in values and merged.merged.owners.get(path)]
    mine = [path for path in mine if merged.merged.owners[path][0] is scored]
    values |= {path: scored.target[path] for path in mine}  # a share of its own requests, not the plan's
    alone = fit_alone(origin.state, values, own if mine else merged.state)
    reasons = {
        path: why for path, why in merged.fit.reasons.items() if path in scored.changes and path not in mine
    } | alone.reasons
    taken = bool(merged.merged.owned_by(scored))
    if all_fields(alone.state) == scored.target:
        return own, (), taken
    return alone.state, tuple(reasons.values()), taken


def _own_window(key: str, origin: PlanOrigin, merged: MergedState, tested: ReplayWindow) -> ReplayWindow:
    scored = origin.proposal_of(key)
    if scored is None or origin.window is None:
        return tested
    target, _, _ = _own_target(scored, origin, merged)
    if target is scored.proposal.target:
        return tested
    adjusted = msgspec.structs.replace(scored.proposal, target=target)
    return scored_window(score(adjusted, origin.window, origin.simulation), target, origin.window)
