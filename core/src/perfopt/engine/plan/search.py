"""The plan is the subset of proposals with the highest expected utility under the rules.

Starting with all, the plan gives way to the best admissible plan without some of its proposals, as long
as one is worth more. All subsets are looked at, not only those without one proposal: two may help only
together. A bound tells which of them need not be scored. A subset is admissible where none is left out that
must be in:

- who wins a contested field is decided by rank and utility (`reconcile`), so a proposal gives a field up to
  another only where the backtest is violated with it;
- what a missed objective needs is always in;
- what adds capacity is in, unless it is the cause of violations together with the rest, or the rest adds
  replicas and is accurate as often without it: that staying held in a few windows says little against what a
  strategy forecasts, and under-provisioning costs more than capacity.

Where rules refuse a plan, as few proposals are left out as make them accept it, whatever these are.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from perfopt.domain.enums import OptimizationType
from perfopt.domain.fields import SCHEDULE, Values, all_fields, is_knob
from perfopt.domain.recommendation import Declined, Evidence, ExpectedValue, ReplayWindow
from perfopt.domain.record import StrategyRecord
from perfopt.engine.plan.decide import (
    MergedState,
    claiming,
    decide,
    staying_of,
    touched,
    unscored_window,
    window_of,
)
from perfopt.engine.plan.origins import PlanOrigin, ProposingStrategy, recommended_cost
from perfopt.engine.plan.scored import ScoredProposal
from perfopt.engine.plan.utility import expected_value
from perfopt.plugin.context import AnalysisContext
from perfopt.plugin.strategy import Claim, Prior, Proposal
from perfopt.rules import RuleSet

Keys = frozenset[str]
_MAX_SUBSETS = 128  # all of 7 proposals; of more, those without the fewest
_TOLERANCE = 1e-6  # money: less is no difference
_UNKNOWN_COST = ExpectedValue(saving=0.0, risk=0.0, total=0.0)


@dataclass(frozen=True, slots=True)
class ScoredPlan:
    """The plan of a subset of the strategies.

    Attributes:
        keys: of the strategies in it.
        state: at the analysis.
        states: at the origins of the backtest.
        evidence: of the states.
    """

    keys: Keys
    state: MergedState
    states: tuple[MergedState, ...]
    evidence: Evidence


@dataclass
class PlanSearch:
    """Finds the plan of an analysis.

    Attributes:
        analysis: the origin of the analysis.
        origins: of the backtest.
        strategies: that made a proposal.
        rules: that every merged state passes.
        record: recorded outcomes of plans, which move the confidence of one.
    """

    analysis: PlanOrigin
    origins: tuple[PlanOrigin, ...]
    strategies: Sequence[ProposingStrategy]
    rules: RuleSet
    record: StrategyRecord | None
    _states: dict[Keys, MergedState] = field(default_factory=dict)
    _states_at: dict[tuple[int, Keys], MergedState] = field(default_factory=dict)
    _plans: dict[Keys, ScoredPlan] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._windows: list[list[tuple[Values, Keys, ReplayWindow]]] = [[] for _ in self.origins]
        self._accurate = tuple(
            ReplayWindow(
                made_at=origin.window.grid.start,
                scored_until=origin.window.grid.end,
                outcome="accurate",
                accurate=True,
            )
            for origin in self.origins
            if origin.window is not None
        )
        self._touched = [touched(origin) for origin in self.origins]
        pairs = zip(self.origins, self._touched, strict=True)
        self._staying = tuple(staying_of(origin, quantities) for origin, quantities in pairs)

    @property
    def all_keys(self) -> Keys:
        """Keys of all strategies."""
        return frozenset(one.key for one in self.strategies)

    def best(self) -> ScoredPlan:
        """Returns the plan from which leaving out any more proposals makes it worth no more."""
        best = self._accepted(self.plan(self.all_keys))
        while (fewer := self._better(best)) is not None:
            best = fewer
        return best

    def _accepted(self, plan: ScoredPlan) -> ScoredPlan:
        """Returns the plan that rules accept with as many proposals as they do; of several the best."""
        if plan.state.vetoed is None:
            return plan
        prior = self.prior_of(plan.keys)
        for without in _groups([scored.key for scored in self._inside(plan)]):
            accepted = [keys for group in without if self._state(keys := plan.keys - group).vetoed is None]
            if accepted:
                plans = [self.plan(keys) for keys in accepted]
                return max(plans, key=lambda one: self._preference(one, prior))
        return self.plan(frozenset())

    def _preference(self, plan: ScoredPlan, prior: Prior) -> tuple[int, float]:
        needed = sum(scored.for_objective for scored in self._inside(plan))
        return needed, self.value(plan.state, plan.evidence, prior).total

    def _better(self, plan: ScoredPlan) -> ScoredPlan | None:
        """Returns the best admissible plan without some of the proposals; None where none is worth more.

        Two are valued with the prior of all that contributes to either, so that only cost and record tell
        them apart: a proposal does not lose its value because another, of a lower prior, is left out with it.
        """
        best = plan
        optional = [one for one in self._inside(plan) if one.changes_something and not one.for_objective]
        for groups in _groups([scored.key for scored in optional]):
            for without in groups:
                keys = plan.keys - without
                prior = self._common_prior(keys, best.keys)
                most = self.value(best.state, best.evidence, prior).total + _TOLERANCE
                if not self._may_be_better(keys, plan, prior, most):
                    continue
                fewer = self.plan(keys)
                total = self.value(fewer.state, fewer.evidence, prior).total
                if total > most and self._admissible(fewer):
                    best = fewer
        return None if best is plan else best

    def _common_prior(self, one: Keys, other: Keys) -> Prior:
        both = [contributing(self._state(keys)) for keys in (one, other)]
        return self.prior_of(frozenset().union(*both))

    def _may_be_better(self, keys: Keys, plan: ScoredPlan, prior: Prior, most: float) -> bool:
        """Tells, before it is scored, whether a plan without some of the proposals of another can be better.

        What adds capacity, and what sets a field that others set then, is left out for violations only.

        Args:
            keys: of the proposals that stay.
            plan: the other.
            prior: of both.
            most: what the plan must be worth.
        """
        violated = [number for number, one in enumerate(plan.evidence.windows) if one.accurate is False]
        adds_replicas = any(one.adds_replicas for one in self._inside(plan) if one.key in keys)
        without = [scored for scored in self._inside(plan) if scored.key not in keys]
        needed = any(one.additions and not (one.raises_cpu_only and adds_replicas) for one in without)
        if needed and not violated:
            return False
        state = self._state(keys)
        if state.vetoed is not None or self._bound(keys, prior) <= most:
            return False
        needed = needed or any(_gives_up_a_field(one, plan.state, state) for one in without)
        return not needed or any(self._window(number, keys).accurate for number in violated)

    def _bound(self, keys: Keys, prior: Prior) -> float:
        """Returns what a plan is worth at most: if it were accurate in all windows."""
        return self.value(self._state(keys), Evidence(windows=self._accurate), prior).total

    def prior_of(self, keys: Keys) -> Prior:
        """Returns the prior of a plan: that all its parts are accurate, each independently.

        How plans of several did is mapped by their own record, and by no record of a part.
        """
        priors = [one.proposal.prior or one.prior for one in self.strategies if one.key in keys]
        if len(priors) == 1:
            return priors[0]
        sources = "; ".join(dict.fromkeys(prior.source for prior in priors))
        return Prior(
            mean=math.prod(prior.mean for prior in priors),
            strength=min((prior.strength for prior in priors), default=Prior().strength),
            record=self.record,
            source=f"product of its parts' priors: {sources}",
        )

    def plan(self, keys: Keys) -> ScoredPlan:
        """Returns the plan of some strategies, scored."""
        if keys not in self._plans:
            self._plans[keys] = self._scored(keys)
        return self._plans[keys]

    def _scored(self, keys: Keys) -> ScoredPlan:
        indices = range(len(self.origins))
        states = tuple(self._state_at(index, keys) for index in indices)
        evidence = Evidence(windows=tuple(self._window(index, keys) for index in indices))
        return ScoredPlan(keys, self._state(keys), states, evidence)

    def _state_at(self, index: int, keys: Keys) -> MergedState:
        if (index, keys) not in self._states_at:
            self._states_at[index, keys] = decide(self.origins[index], keys, self.rules)
        return self._states_at[index, keys]

    def _window(self, index: int, keys: Keys) -> ReplayWindow:
        """Returns the score of a state; a single strategy's own window is known already."""
        origin, state = self.origins[index], self._state_at(index, keys)
        nothing = unscored_window(origin, state, keys)
        if nothing is not None:
            return nothing
        targets = [scored.proposal.target for scored in origin.proposals if scored.key in keys]
        if len(self.strategies) == 1 and targets == [state.state]:
            return self.strategies[0].evidence.windows[index]
        return self._scored_window(index, state, claiming(origin, state, keys))

    def _scored_window(self, index: int, merged: MergedState, claims: Keys) -> ReplayWindow:
        """Scores a state once: subsets often make the same, but for knobs, which the backtest can't see."""
        fields = {path: value for path, value in all_fields(merged.state).items() if not is_knob(path)}
        for known, claimed, window in self._windows[index]:
            if claimed == claims and known == fields:
                return window
        window = window_of(self.origins[index], merged, claims, self._touched[index])
        self._windows[index].append((fields, claims, window))
        return window

    def _state(self, keys: Keys) -> MergedState:
        if keys not in self._states:
            self._states[keys] = decide(self.analysis, keys, self.rules)
        return self._states[keys]

    def value(self, state: MergedState, evidence: Evidence, prior: Prior) -> ExpectedValue:
        """Returns the expected value of a merged state against staying as it is."""
        context = self.analysis.context
        current = context.price_book.monthly_cost(self.analysis.state)
        cost = plan_cost(state, context)
        return expected_value(current, cost, evidence, self._staying, prior, context) or _UNKNOWN_COST

    def _admissible(self, plan: ScoredPlan) -> bool:
        return all(self.may_be_left_out(scored, plan) for scored in self.left_out(plan))

    def left_out(self, plan: ScoredPlan) -> list[ScoredProposal]:
        """Returns the proposals that are not in a plan."""
        return [scored for scored in self.analysis.proposals if scored.key not in plan.keys]

    def may_be_left_out(self, scored: ScoredProposal, plan: ScoredPlan) -> bool:
        """Tells whether a plan without a proposal is admissible."""
        fuller = self.plan(plan.keys | {scored.key})
        pairs = list(zip(fuller.evidence.windows, plan.evidence.windows, strict=True))
        if _gives_up_a_field(scored, fuller.state, plan.state) and not any(
            more.accurate is False and fewer.accurate for more, fewer in pairs
        ):
            return False
        if not scored.additions:
            return True
        if any(more.accurate and not fewer.accurate for more, fewer in pairs):
            return False
        return self.violates_jointly(scored, plan) or (
            scored.raises_cpu_only and any(one.adds_replicas for one in self._inside(plan))
        )

    def violates_jointly(self, scored: ScoredProposal, plan: ScoredPlan) -> bool:
        """Tells whether a proposal is accurate by itself in a window in which it makes a plan violated."""
        fuller = self.plan(plan.keys | {scored.key})
        alone = next(one.evidence for one in self.strategies if one.key == scored.key)
        windows = zip(fuller.evidence.windows, plan.evidence.windows, alone.windows, strict=True)
        return any(
            more.accurate is False and fewer.accurate is True and own.accurate is not False
            for more, fewer, own in windows
        )

    def vetoed_with(self, scored: ScoredProposal, plan: ScoredPlan) -> Declined | None:
        """Returns why rules refuse a plan with a proposal that it leaves out; None where they accept it."""
        return self._state(plan.keys | {scored.key}).vetoed

    def difference(self, scored: ScoredProposal, plan: ScoredPlan) -> ExpectedValue:
        """Returns what a plan would be worth more with a proposal that it leaves out."""
        keys = plan.keys | {scored.key}
        fuller, prior = self.plan(keys), self.prior_of(keys)
        more, less = (self.value(one.state, one.evidence, prior) for one in (fuller, plan))
        return ExpectedValue(
            saving=more.saving - less.saving, risk=more.risk - less.risk, total=more.total - less.total
        )

    def _inside(self, plan: ScoredPlan) -> list[ScoredProposal]:
        return [scored for scored in self.analysis.proposals if scored.key in plan.keys]


def contributing(state: MergedState) -> Keys:
    """Returns the keys of the strategies that a value of a merged state is from."""
    merged = state.merged
    return frozenset(one.key for owned in merged.owners.values() for one in owned if merged.owned_by(one))


def _gives_up_a_field(scored: ScoredProposal, fuller: MergedState, fewer: MergedState) -> bool:
    """Tells whether another proposal sets a field that this one sets where it is in the plan."""
    return any(path in fewer.merged.values for path in fuller.merged.owned_by(scored))


def _groups(keys: Sequence[str]) -> Iterator[list[Keys]]:
    """Yields the groups that may be left out, by their size, until there are more than can be tried."""
    tried = 0
    for size in range(1, len(keys) + 1):
        tried += math.comb(len(keys), size)
        if size > 1 and tried > _MAX_SUBSETS:
            return
        yield [frozenset(group) for group in combinations(keys, size)]


def plan_cost(state: MergedState, context: AnalysisContext) -> float | None:
    """Returns what the merged state costs a month; a schedule by what its owner claims that it saves."""
    owner = next(iter(state.merged.owners.get(SCHEDULE, ())), None)
    claim = Claim() if owner is None else owner.proposal.claim
    merged = Proposal(
        optimization_type=OptimizationType.COST_OPTIMIZATION,
        target=state.state,
        description="",
        claim=claim,
    )
    return recommended_cost(merged, context)
