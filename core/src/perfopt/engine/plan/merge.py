"""Merges the proposals of an analysis into one state, and replays that state where the proposals were."""

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from perfopt.domain.enums import OptimizationType
from perfopt.domain.fields import BASIS, SCHEDULE, all_fields, diff, is_quantity
from perfopt.domain.recommendation import Declined, Evidence, ExpectedValue, Reason, ReplayWindow
from perfopt.domain.record import StrategyRecord
from perfopt.domain.rules import Conditions, FiredRule
from perfopt.domain.workload import WorkloadState
from perfopt.engine.confidence import confidence
from perfopt.engine.plan.bids import FOR_SLO, Bid, groups, standing
from perfopt.engine.plan.coherence import Fitted, fitted, fitted_alone
from perfopt.engine.plan.moments import Candidate, Moment, past, present, recommended_cost
from perfopt.engine.plan.reconcile import (
    BREACHES_TOGETHER,
    ENOUGH_WITHOUT,
    Agreed,
    lose_all,
    lose_stale_knobs,
    lose_to_staying,
    reconcile,
)
from perfopt.engine.plan.worth import not_worth_it, spare
from perfopt.evaluation.rolling import scored_window
from perfopt.evaluation.score import score, score_staying, score_together
from perfopt.plugin.context import AnalysisContext
from perfopt.plugin.strategy import Claim, Prior, Proposal
from perfopt.rules import RuleSet

_NOBODY = "No strategy made a proposal then."


@dataclass(frozen=True, slots=True)
class Decision:
    """What came of the bids of one moment.

    Attributes:
        agreed: whose value was taken where, and what was lost.
        fit: the state, adjusted so that its parts fit, after the rules.
        fired, reasons: rules that fired on the merged state, and what they say of it.
        conditions: what these ask of whoever applies it, beside what they asked of its parts.
        vetoed: the rules refuse the merged state.
    """

    agreed: Agreed
    fit: Fitted
    fired: tuple[FiredRule, ...] = ()
    reasons: tuple[Reason, ...] = ()
    conditions: Conditions = field(default_factory=Conditions)
    vetoed: Declined | None = None

    @property
    def state(self) -> WorkloadState:
        """The merged state."""
        return self.fit.state


@dataclass(frozen=True, slots=True)
class Part:
    """What the merge leaves of one proposal.

    Attributes:
        target: its own changes at the plan's values, fit for being applied alone.
        evidence: of the target as it is now.
        taken: whether any of its changes is in the plan, or it has none.
        stayed: whether staying as it was would have done, one a window of the evidence.
        reasons: what was adjusted in the target so that it fits.
    """

    candidate: Candidate
    bid: Bid
    target: WorkloadState
    evidence: Evidence
    taken: bool
    stayed: tuple[bool | None, ...]
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Merged:
    """The proposals of one analysis as one.

    Attributes:
        decision: of now.
        parts: one a candidate, in their order.
        evidence: of the merged state; empty where nothing is to be changed.
        prior: of the merged state.
    """

    decision: Decision
    parts: tuple[Part, ...]
    evidence: Evidence
    prior: Prior


def merge(
    context: AnalysisContext,
    candidates: Sequence[Candidate],
    rules: RuleSet,
    record: StrategyRecord | None = None,
    *,
    by_itself: bool = False,
) -> Merged:
    """Returns one state for all proposals, with its evidence and what is left of each.

    A proposal that is worth less than staying as it is does not take part.
    Where the merged state breaches in windows in which each proposal held alone, the proposal that stands
    for least is left out, as long as that makes the rest worth more. So is a larger request beside more
    replicas where the words of both were kept as often without it.

    Args:
        context: what the strategies were given.
        candidates: the strategies that made a proposal; their order does not matter.
        rules: the merged state must pass the safety packs among them, and all that judge, once more.
        record: what the recorded outcomes of plans say of the confidence of one.
        by_itself: the only candidate is to be judged, so it takes part whatever it is worth.
    """
    now, moments = present(context, candidates), past(context, candidates)
    stayed = {one.key: tuple(_stayed(one.key, moment) for moment in moments) for one in candidates}
    idle = {} if by_itself else _not_worth_it(now, candidates, stayed)
    best = _best(
        _without(now, idle),
        tuple(_without(moment, idle) for moment in moments),
        [one for one in candidates if one.key not in idle],
        rules,
        record,
    )
    for bid in now.bids:
        if bid.key in idle:
            lose_to_staying(best.decision.agreed, bid, idle[bid.key], now.state)
    parts = tuple(_part(one, best, now, stayed[one.key]) for one in candidates)
    return Merged(best.decision, parts, best.evidence, best.prior)


def _without(moment: Moment, keys: Container[str]) -> Moment:
    return replace(moment, bids=tuple(bid for bid in moment.bids if bid.key not in keys))


def _not_worth_it(
    now: Moment, candidates: Sequence[Candidate], stayed: Mapping[str, Sequence[bool | None]]
) -> dict[str, ExpectedValue]:
    by_key = {one.key: one for one in candidates}
    found = {
        bid.key: not_worth_it(by_key[bid.key], bid, now, stayed[bid.key])
        for bid in now.bids
        if diff(now.state, bid.proposal.target).keys() - {BASIS}
    }
    return {key: value for key, value in found.items() if value is not None}


def _best(
    now: Moment,
    moments: tuple[Moment, ...],
    candidates: Sequence[Candidate],
    rules: RuleSet,
    record: StrategyRecord | None,
) -> "_Attempt":
    def attempt(dropped: Mapping[str, str]) -> _Attempt:
        return _attempt(now, moments, candidates, dropped, rules, record)

    best = attempt({})
    while (weakest := _weakest(best)) is not None and _breaches_together(best, candidates):
        fewer = attempt({**best.dropped, weakest.key: BREACHES_TOGETHER})
        if _worth(fewer) <= _worth(best):
            break
        best = fewer
    spared = [
        attempt({**best.dropped, bid.key: ENOUGH_WITHOUT}) for bid in spare(best.now, best.decision.agreed)
    ]
    enough = [one for one in spared if _keeps_as_often(one, best)]
    return max((best, *enough), key=_worth)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A merge with some proposals left out: `dropped` says which, and with which code."""

    now: Moment
    moments: tuple[Moment, ...]
    dropped: Mapping[str, str]
    decision: Decision
    decisions: tuple[Decision, ...]
    evidence: Evidence
    prior: Prior


def _attempt(
    now: Moment,
    moments: tuple[Moment, ...],
    candidates: Sequence[Candidate],
    dropped: Mapping[str, str],
    rules: RuleSet,
    record: StrategyRecord | None,
) -> _Attempt:
    decision = decide(now, dropped, rules)
    decisions = tuple(decide(moment, dropped, rules) for moment in moments)
    alone = candidates[0].evidence.windows if len(candidates) == 1 else (None,) * len(moments)
    windows = [
        _window(moment, made, dropped, known)
        for moment, made, known in zip(moments, decisions, alone, strict=True)
    ]
    prior = _joint_prior(candidates, decision, record)
    return _Attempt(now, moments, dropped, decision, decisions, Evidence(windows=tuple(windows)), prior)


def decide(moment: Moment, dropped: Mapping[str, str], rules: RuleSet) -> Decision:
    """Reconciles the bids of a moment without those dropped, fits the state and applies the rules to it."""
    kept = [bid for bid in moment.bids if bid.key not in dropped]
    agreed = reconcile(moment.state, kept)
    for bid in moment.bids:
        if bid.key in dropped and (winner := _strongest(kept)) is not None:
            lose_all(agreed, bid, winner, moment.state, dropped[bid.key])
    if not any(is_quantity(path) for path in agreed.values):
        agreed.values.pop(BASIS, None)
        agreed.owners.pop(BASIS, None)
    fit = fitted(moment.state, agreed)
    if lose_stale_knobs(agreed, fit.state):
        fit = fitted(moment.state, agreed)
    return _ruled(moment, agreed, fit, rules) if _is_new(fit, moment) else Decision(agreed, fit)


def _is_new(fit: Fitted, moment: Moment) -> bool:
    """Tells whether a state is none that the rules have seen already."""
    state = all_fields(fit.state)
    return all(
        state != all_fields(seen) for seen in (moment.state, *(b.proposal.target for b in moment.bids))
    )


def _ruled(moment: Moment, agreed: Agreed, fit: Fitted, rules: RuleSet) -> Decision:
    kinds = {bid.proposal.optimization_type for owners in agreed.owners.values() for bid in owners}
    kind = OptimizationType.RESOURCE_OPTIMIZATION
    proposal = Proposal(
        optimization_type=kind if kind in kinds else min(kinds), target=fit.state, description=""
    )
    judge = rules.whole if moment.window is None else rules.bounded
    ruled = judge(proposal, moment.context)
    if isinstance(ruled, Declined):
        return Decision(agreed, fit, vetoed=ruled)
    fit.update(diff(fit.state, ruled.proposal.target))
    return Decision(agreed, fit, ruled.rules, ruled.proposal.reasons, ruled.conditions)


def _window(
    moment: Moment, made: Decision, dropped: Mapping[str, str], known: ReplayWindow | None
) -> ReplayWindow:
    """Scores the merged state of a moment; `known` is how the only candidate did there."""
    window = moment.window
    assert window is not None
    parts = _answering(moment, made, dropped)
    nothing = _NOBODY if not parts else made.vetoed.reason if made.vetoed else None
    if nothing is not None:
        return ReplayWindow(
            made_at=window.grid.start, scored_until=window.grid.end, outcome="declined", reason=nothing
        )
    if known is not None and all_fields(parts[0].target) == all_fields(made.state):
        return known
    return scored_window(score_together(parts, made.state, window), made.state, window)


def _answering(moment: Moment, made: Decision, dropped: Mapping[str, str]) -> list[Proposal]:
    """Returns the proposals that the merged state is held to.

    Those in it, those that want no change, and those that it is said to be enough without.

    What one promised of latency or saving it promised of all its changes: who lost one promises nothing.
    """
    lost = {loss.lost_by.key for loss in made.agreed.losses}
    return [
        msgspec.structs.replace(bid.proposal, claim=Claim()) if bid.key in lost else bid.proposal
        for bid in moment.bids
        if dropped.get(bid.key) == ENOUGH_WITHOUT
        or (
            bid.key not in dropped
            and (made.agreed.owned_by(bid) or not diff(moment.state, bid.proposal.target))
        )
    ]


def _joint_prior(candidates: Sequence[Candidate], decision: Decision, record: StrategyRecord | None) -> Prior:
    """Returns what is believed of the merged state: that all its parts keep their word, each by itself.

    How plans of several did is mapped by their own record, and by no record of a part.
    """
    agreed = decision.agreed
    owners = {bid.key for bids in agreed.owners.values() for bid in bids if agreed.owned_by(bid)}
    priors = [one.proposal.prior or one.prior for one in candidates if one.key in owners]
    if len(priors) == 1:
        return priors[0]
    return Prior(
        mean=math.prod(prior.mean for prior in priors),
        strength=min((prior.strength for prior in priors), default=Prior().strength),
        record=record,
        source="product of its parts' priors: " + "; ".join(dict.fromkeys(prior.source for prior in priors)),
    )


def _weakest(attempt: _Attempt) -> Bid | None:
    """Returns the bid in the plan that stands for least; None where none can be left out."""
    current = attempt.now.state
    ranked = sorted(
        (group for bid in attempt.now.bids for group in groups(bid, current)), key=lambda g: g.order
    )
    inside = [group for group in ranked if attempt.decision.agreed.owned_by(group.bid)]
    strongest_first = list(dict.fromkeys(group.bid.key for group in inside))
    if len(strongest_first) < 2:
        return None
    last = next(group for group in inside if group.bid.key == strongest_first[-1])
    return None if last.rank == FOR_SLO else last.bid


def _strongest(bids: Sequence[Bid]) -> Bid | None:
    return max(bids, key=lambda bid: (bid.for_slo, bid.value, bid.confidence), default=None)


def _breaches_together(attempt: _Attempt, candidates: Sequence[Candidate]) -> bool:
    inside = [one for one in candidates if one.key not in attempt.dropped]
    return any(
        merged.accurate is False and all(one.evidence.windows[index].accurate is not False for one in inside)
        for index, merged in enumerate(attempt.evidence.windows)
    )


def _keeps_as_often(fewer: _Attempt, whole: _Attempt) -> bool:
    pairs = zip(fewer.evidence.windows, whole.evidence.windows, strict=True)
    return all(less.accurate or not more.accurate for less, more in pairs)


def _worth(attempt: _Attempt) -> float:
    context = attempt.now.context
    workload, book = context.snapshot.workload, context.price_book
    sure, _ = confidence(attempt.evidence, attempt.prior, context.validity)
    then = plan_cost(attempt.decision, context)
    return standing(book.monthly_cost(workload.state), then, sure, workload.service_class)


def plan_cost(decision: Decision, context: AnalysisContext) -> float | None:
    """Returns what the merged state costs a month; a schedule by what its owner claims that it saves."""
    owner = next(iter(decision.agreed.owners.get(SCHEDULE, ())), None)
    claim = Claim() if owner is None else owner.proposal.claim
    merged = Proposal(
        optimization_type=OptimizationType.COST_OPTIMIZATION,
        target=decision.state,
        description="",
        claim=claim,
    )
    return recommended_cost(merged, context)


def _part(candidate: Candidate, attempt: _Attempt, now: Moment, stayed: tuple[bool | None, ...]) -> Part:
    bid = next(bid for bid in now.bids if bid.key == candidate.key)
    target, reasons, taken = _own(bid, attempt.now, attempt.decision)
    evidence = candidate.evidence
    if taken and target is not bid.proposal.target:
        windows = [
            _own_window(candidate.key, moment, decision, replayed)
            for moment, decision, replayed in zip(
                attempt.moments, attempt.decisions, evidence.windows, strict=True
            )
        ]
        evidence = Evidence(windows=tuple(windows))
    return Part(candidate, bid, target, evidence, taken, stayed, reasons)


def _stayed(key: str, moment: Moment) -> bool | None:
    bid = next((bid for bid in moment.bids if bid.key == key), None)
    if bid is None or moment.window is None:
        return None
    return score_staying(bid.proposal, moment.window)


def _own(bid: Bid, moment: Moment, decision: Decision) -> tuple[WorkloadState, tuple[Reason, ...], bool]:
    """Returns a bid's changes at the plan's values, what was adjusted in them, and whether any was taken."""
    wanted = diff(moment.state, bid.proposal.target)
    if decision.vetoed is not None or wanted.keys() <= {BASIS}:
        return bid.proposal.target, (), True
    there = all_fields(decision.state)
    alone = fitted_alone(moment.state, {path: there.get(path) for path in wanted})
    reasons = {path: why for path, why in decision.fit.reasons.items() if path in wanted} | alone.reasons
    taken = bool(decision.agreed.owned_by(bid))
    if all_fields(alone.state) == all_fields(bid.proposal.target):
        return bid.proposal.target, (), taken
    return alone.state, tuple(reasons.values()), taken


def _own_window(key: str, moment: Moment, decision: Decision, replayed: ReplayWindow) -> ReplayWindow:
    bid = next((bid for bid in moment.bids if bid.key == key), None)
    if bid is None or moment.window is None:
        return replayed
    target, _, _ = _own(bid, moment, decision)
    if target is bid.proposal.target:
        return replayed
    made = msgspec.structs.replace(bid.proposal, target=target)
    return scored_window(score(made, moment.window), target, moment.window)
