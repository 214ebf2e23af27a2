"""Merges the proposals of one origin into one state under the rules, and scores it on what followed."""

from collections.abc import Collection
from dataclasses import dataclass, field

import msgspec

from perfopt.domain.enums import OptimizationType
from perfopt.domain.fields import BASIS, Path, all_fields, diff, is_quantity
from perfopt.domain.recommendation import Declined, Reason, ReplayWindow
from perfopt.domain.rules import ApplyConditions, FiredRule
from perfopt.domain.workload import WorkloadState
from perfopt.engine.plan.coherence import FittedState, fit_together
from perfopt.engine.plan.origins import PlanOrigin
from perfopt.engine.plan.reconcile import MergedFields, reconcile, reject_stale_knobs
from perfopt.engine.plan.scored import ScoredProposal
from perfopt.evaluation.rolling import scored_window
from perfopt.evaluation.score import score_together
from perfopt.plugin.strategy import Claim, Proposal
from perfopt.rules import RuleSet

_NO_PROPOSAL = "No strategy of the plan made a proposal at this origin."


@dataclass(frozen=True, slots=True)
class MergedState:
    """What the proposals of one origin make together.

    Attributes:
        merged: whose value was taken where, and what was rejected.
        fit: the state, adjusted so that its parts fit, after the rules.
        fired, reasons: rules that fired on the merged state, and what they say of it.
        conditions: what these ask of whoever applies it, beside what they asked of its parts.
        vetoed: the rules refuse the merged state.
    """

    merged: MergedFields
    fit: FittedState
    fired: tuple[FiredRule, ...] = ()
    reasons: tuple[Reason, ...] = ()
    conditions: ApplyConditions = field(default_factory=ApplyConditions)
    vetoed: Declined | None = None

    @property
    def state(self) -> WorkloadState:
        """The merged state."""
        return self.fit.state


def decide(origin: PlanOrigin, keys: Collection[str], rules: RuleSet) -> MergedState:
    """Reconciles the proposals of some strategies, fits the state and applies the rules to it."""
    merged = reconcile(origin.fields, [scored for scored in origin.proposals if scored.key in keys])
    if not any(is_quantity(path) for path in merged.values):
        merged.drop(BASIS)
    fit = fit_together(origin.state, merged)
    if reject_stale_knobs(merged, fit.state):
        fit = fit_together(origin.state, merged)
    return _ruled(origin, merged, fit, rules) if _is_new(fit, origin) else MergedState(merged, fit)


def _is_new(fit: FittedState, origin: PlanOrigin) -> bool:
    """Tells whether a state is none that the rules have seen already."""
    fields = all_fields(fit.state)
    return fields != origin.fields and all(fields != scored.target for scored in origin.proposals)


def _ruled(origin: PlanOrigin, merged: MergedFields, fit: FittedState, rules: RuleSet) -> MergedState:
    kinds = {scored.proposal.optimization_type for owners in merged.owners.values() for scored in owners}
    kind = OptimizationType.RESOURCE_OPTIMIZATION
    proposal = Proposal(
        optimization_type=kind if kind in kinds or not kinds else min(kinds), target=fit.state, description=""
    )
    judge = rules.whole if origin.window is None else rules.bounded
    ruled = judge(proposal, origin.context)
    if isinstance(ruled, Declined):
        return MergedState(merged, fit, vetoed=ruled)
    fit.update(diff(fit.state, ruled.proposal.target))
    return MergedState(merged, fit, ruled.rules, ruled.proposal.reasons, ruled.conditions)


def touched(origin: PlanOrigin) -> frozenset[Path]:
    """Returns the quantities that any proposal of an origin changes: every plan answers for all of them."""
    return frozenset(path for scored in origin.proposals for path in scored.changes if is_quantity(path))


def claiming(origin: PlanOrigin, merged: MergedState, keys: Collection[str]) -> frozenset[str]:
    """Returns the strategies whose claims count: of which all is in the plan."""
    rejected = {one.owner.key for one in merged.merged.rejected}
    return frozenset(
        scored.key
        for scored in origin.proposals
        if scored.key in keys and scored.key not in rejected and scored.proposal.claim != Claim()
    )


def unscored_window(origin: PlanOrigin, merged: MergedState, keys: Collection[str]) -> ReplayWindow | None:
    """Returns the window of an origin at which nothing is recommended; None where something is."""
    window = origin.window
    assert window is not None
    nothing = _NO_PROPOSAL if not any(scored.key in keys for scored in origin.proposals) else None
    nothing = nothing if merged.vetoed is None else merged.vetoed.reason
    if nothing is None:
        return None
    return ReplayWindow(
        made_at=window.grid.start, scored_until=window.grid.end, outcome="declined", reason=nothing
    )


def window_of(
    origin: PlanOrigin, merged: MergedState, claims: Collection[str], quantities: Collection[Path]
) -> ReplayWindow:
    """Scores the merged state of an origin on the window after it.

    It answers for what any of the strategies answers for, in the plan or not, so that plans of some of them
    are compared by the same measure.

    Args:
        origin: of a backtest.
        merged: the merged state.
        claims: the strategies whose claims count, from `claiming`.
        quantities: that are scored although the state leaves them as they were.
    """
    simulation = origin.simulation
    assert simulation is not None
    parts = [_part(scored, claims=scored.key in claims) for scored in origin.proposals]
    result = score_together(parts, merged.state, simulation.window, quantities, simulation)
    return scored_window(result, merged.state, simulation.window)


def staying_of(origin: PlanOrigin, quantities: Collection[Path]) -> bool | None:
    """Tells whether the state of an origin would have been accurate by that measure; None if not measured."""
    assert origin.window is not None
    parts = [_part(scored, claims=False) for scored in origin.proposals]
    if not parts:
        return None
    score = score_together(parts, origin.state, origin.window, quantities, origin.simulation)
    return score.accurate if score.scored else None


def _part(scored: ScoredProposal, *, claims: bool) -> Proposal:
    return scored.proposal if claims else msgspec.structs.replace(scored.proposal, claim=Claim())
