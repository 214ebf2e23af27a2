"""The plan is the subset of proposals with the highest expected utility under the rules.

Starting with all, the proposal without which the plan is worth most is left out, as long as the plan is worth
more; a bound tells which subsets need not be scored. A subset is admissible where none is left out that must
be in:

- who wins a contested field is decided by rank and utility (`reconcile`), so a proposal gives a field up to
  another only where the backtest is violated with it;
- what a missed objective needs is always in;
- what adds capacity is in, unless it is the cause of violations together with the rest, or the rest adds
  replicas and is accurate as often without it: that staying held in a few windows says little against what a
  strategy forecasts, and under-provisioning costs more than capacity.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from perfopt.domain.enums import OptimizationType
from perfopt.domain.fields import SCHEDULE, Values, all_fields, is_knob
from perfopt.domain.recommendation import Evidence, ExpectedValue, ReplayWindow
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
from perfopt.engine.plan.origins import Origin, ProposingStrategy, recommended_cost
from perfopt.engine.plan.scored import ScoredProposal
from perfopt.engine.plan.utility import expected_value
from perfopt.plugin.context import AnalysisContext
from perfopt.plugin.strategy import Claim, Prior, Proposal
from perfopt.rules import RuleSet

Keys = frozenset[str]
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

    analysis: Origin
    origins: tuple[Origin, ...]
    strategies: Sequence[ProposingStrategy]
    rules: RuleSet
    record: StrategyRecord | None
    _states: dict[Keys, MergedState] = field(default_factory=dict)
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
        """Returns the plan from which leaving out one more makes it worth no more."""
        best = self.plan(self.all_keys)
        while best.state.vetoed is None and (fewer := self._better(best)) is not None:
            best = fewer
        return best

    def _better(self, plan: ScoredPlan) -> ScoredPlan | None:
        """Returns the best admissible plan without one of the strategies; None where none is worth more.

        All are valued with the prior of the plan, so that only cost and record tell them apart.
        """
        prior = self.prior_of(plan.keys)
        found, most = None, self.value(plan.state, plan.evidence, prior).total + _TOLERANCE
        for scored in self._inside(plan):
            keys = plan.keys - {scored.key}
            if scored.for_objective or not scored.changes_something or self._bound(keys, prior) <= most:
                continue
            fewer = self.plan(keys)
            total = self.value(fewer.state, fewer.evidence, prior).total
            if total > most and self._admissible(fewer):
                found, most = fewer, total + _TOLERANCE
        return found

    def _bound(self, keys: Keys, prior: Prior) -> float:
        """Returns what a plan is worth at most: were it accurate in all windows."""
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
        state = self._state(keys)
        states = tuple(decide(origin, keys, self.rules) for origin in self.origins)
        windows = tuple(self._window(index, made, keys) for index, made in enumerate(states))
        return ScoredPlan(keys, state, states, Evidence(windows=windows))

    def _window(self, index: int, made: MergedState, keys: Keys) -> ReplayWindow:
        """Scores a state; a single strategy's own window is known already."""
        origin = self.origins[index]
        nothing = unscored_window(origin, made, keys)
        if nothing is not None:
            return nothing
        targets = [scored.proposal.target for scored in origin.proposals if scored.key in keys]
        if len(self.strategies) == 1 and targets == [made.state]:
            return self.strategies[0].evidence.windows[index]
        return self._scored_window(index, made, claiming(origin, made, keys))

    def _scored_window(self, index: int, made: MergedState, claims: Keys) -> ReplayWindow:
        """Scores a state once: subsets often make the same, but for knobs, which the backtest can't see."""
        fields = {path: value for path, value in all_fields(made.state).items() if not is_knob(path)}
        for known, claimed, window in self._windows[index]:
            if claimed == claims and known == fields:
                return window
        window = window_of(self.origins[index], made, claims, self._touched[index])
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
        if self._gives_up_a_field(scored, fuller, plan) and not any(
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

    def _gives_up_a_field(self, scored: ScoredProposal, fuller: ScoredPlan, plan: ScoredPlan) -> bool:
        """Tells whether another proposal sets a field that this one sets where it is in the plan."""
        return any(path in plan.state.merged.values for path in fuller.state.merged.owned_by(scored))

    def violates_jointly(self, scored: ScoredProposal, plan: ScoredPlan) -> bool:
        """Tells whether a proposal is accurate by itself in a window in which it makes a plan violated."""
        fuller = self.plan(plan.keys | {scored.key})
        alone = next(one.evidence for one in self.strategies if one.key == scored.key)
        windows = zip(fuller.evidence.windows, plan.evidence.windows, alone.windows, strict=True)
        return any(
            more.accurate is False and fewer.accurate is True and own.accurate is not False
            for more, fewer, own in windows
        )

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
