"""What a backtest evaluates: strategies through the engine, the merged plan, and baselines."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from perfopt.backtest.controllers import CONTROLLERS, LIVE, replicas_of
from perfopt.backtest.evaluated import OriginCase, PolicyDecision
from perfopt.domain.enums import DeclineCode, OptimizationType
from perfopt.domain.fields import parse_state
from perfopt.domain.recommendation import AnalysisResult, Declined
from perfopt.domain.workload import WorkloadState
from perfopt.engine import Engine
from perfopt.errors import NotFoundError
from perfopt.evaluation.baselines import BASELINES, FITTED, ToolPolicy, baseline_of
from perfopt.evaluation.proposals import proposal_of
from perfopt.plugin.context import AnalysisContext
from perfopt.plugin.strategy import Proposal, decline

OURS = "perfopt"
"""Names every installed strategy, and the merged plan of several types."""
PLAN = "plan"
CURRENT = "current"
ABOUT_PLAN = "The merged plan of the installed strategies"
_SIZES, _REPLICAS = OptimizationType.RESOURCE_OPTIMIZATION, OptimizationType.SCALING_OPTIMIZATION
_KEPT = (_SIZES, _REPLICAS, OptimizationType.COST_OPTIMIZATION)


class Policy(Protocol):
    """A way of recommending that a backtest can evaluate."""

    @property
    def name(self) -> str:
        """Of its row, unique within the type."""
        ...

    @property
    def optimization_type(self) -> OptimizationType | None:
        """Of its recommendations, which says how they are scored; None is a merged plan."""
        ...

    @property
    def about(self) -> str:
        """One line on what it does."""
        ...

    def recommend(self, case: OriginCase) -> PolicyDecision | Declined:
        """Returns what it recommends from what was known at the origin; pure, and may block.

        Only a controller, which decides as it goes, reads the window after the origin, and of it at each
        step only what came before that step.
        """
        ...


@dataclass(frozen=True, slots=True)
class StrategyPolicy:
    """A strategy of an installed plugin, through the engine with its rules: what others want does not count.

    Attributes:
        engine: runs it.
        key: of the strategy, `plugin/name`, which is the policy's name.
        backtested: without, it recommends without a backtest on the workload's own history.
    """

    engine: Engine
    key: str
    optimization_type: OptimizationType
    backtested: bool = True

    @property
    def name(self) -> str:
        """The strategy's key."""
        return self.key

    @property
    def about(self) -> str:
        """One line on what it does."""
        return f"The strategy {self.key} with the engine's safety rules"

    def recommend(self, case: OriginCase) -> PolicyDecision | Declined:
        """Analyses what was known with this strategy alone."""
        kind = self.optimization_type
        result = self.engine.analyze(
            case.known, (kind,), case.validity, only=self.key, backtested=self.backtested
        )
        recommendation = next((one for one in result.recommendations if one.plugin == self.key), None)
        if recommendation is None:
            return _reason(result, kind, self.key)
        proposal, detail = proposal_of(recommendation), recommendation.confidence_detail
        return PolicyDecision(
            target=proposal.target,
            proposals=(proposal,),
            confidence=recommendation.expected_improvement.confidence,
            own_hit_rate=detail.accurate_share,
            no_change=recommendation.no_change_needed,
            in_sample=any(reason.code == "in_sample" for reason in recommendation.reasons),
        )


@dataclass(frozen=True, slots=True)
class PlanPolicy:
    """The merged plan of all strategies of some types, as `perfopt analyze` shows it.

    Attributes:
        engine: runs them.
        types: of the analysis.
    """

    engine: Engine
    types: tuple[OptimizationType, ...]
    name: str = PLAN
    optimization_type: None = None
    about: str = ABOUT_PLAN

    def recommend(self, case: OriginCase) -> PolicyDecision | Declined:
        """Analyses what was known with all strategies; without anything to change the current state stays."""
        result = self.engine.analyze(case.known, self.types, case.validity)
        if not result.recommendations:
            return _reason(result, self.types[0])
        parts = tuple(proposal_of(one, with_claim=not one.conflicts) for one in result.recommendations)
        in_sample = any(
            reason.code == "in_sample" for one in result.recommendations for reason in one.reasons
        )
        plan = result.plan
        if plan is None:
            unchanged = tuple(part for part in parts if part.no_change_needed)
            if not unchanged:
                reason = "No change has a positive net value."
                return decline(self.types[0], DeclineCode.NO_NET_BENEFIT, reason)
            return PolicyDecision(case.known.workload.state, unchanged, no_change=True, in_sample=in_sample)
        return PolicyDecision(
            target=parse_state(plan.recommended_state),
            proposals=parts,
            confidence=plan.expected_improvement.confidence,
            in_sample=in_sample,
        )


@dataclass(frozen=True, slots=True)
class BaselinePolicy:
    """A policy that needs no engine: another tool's, a controller, or keeping what is set."""

    name: str
    optimization_type: OptimizationType
    about: str
    decide: Callable[[OriginCase], PolicyDecision | Declined]

    def __reduce__(self) -> "tuple[Callable[..., BaselinePolicy], tuple[OptimizationType, str]]":
        """Pickles as its type and name."""
        return baseline_policy, (self.optimization_type, self.name)

    def recommend(self, case: OriginCase) -> PolicyDecision | Declined:
        """Applies the rule."""
        return self.decide(case)


def _reason(result: AnalysisResult, kind: OptimizationType, key: str | None = None) -> Declined:
    failed = next((one for one in result.warnings if key is not None and one.plugin == key), None)
    if failed is not None:
        return decline(kind, DeclineCode.STRATEGY_FAILED, failed.message)
    return next((one for one in result.declined if one.optimization_type is kind), result.declined[0])


def _sized(baseline: ToolPolicy) -> BaselinePolicy:
    def decide(case: OriginCase) -> PolicyDecision | Declined:
        target = baseline.decide(AnalysisContext(case.known, case.validity, case.book))
        return target if isinstance(target, Declined) else _decision(_SIZES, target)

    return BaselinePolicy(baseline.name, _SIZES, baseline.about, decide)


def _controlled(name: str) -> BaselinePolicy:
    def decide(case: OriginCase) -> PolicyDecision | Declined:
        replicas = replicas_of(case, name)
        if isinstance(replicas, str):
            return decline(_REPLICAS, DeclineCode.NO_DATA, replicas)
        proposal = _decision(_REPLICAS, case.known.workload.state)
        return PolicyDecision(proposal.target, proposal.proposals, replicas=replicas)

    return BaselinePolicy(name, _REPLICAS, CONTROLLERS[name], decide)


def _current(kind: OptimizationType) -> BaselinePolicy:
    def decide(case: OriginCase) -> PolicyDecision | Declined:
        return _decision(kind, case.known.workload.state, no_change=True)

    return BaselinePolicy(CURRENT, kind, "What is set now, unchanged", decide)


def _decision(kind: OptimizationType, target: WorkloadState, *, no_change: bool = False) -> PolicyDecision:
    proposal = Proposal(optimization_type=kind, target=target, description="", no_change_needed=no_change)
    return PolicyDecision(target, (proposal,), no_change=no_change)


_BASELINES: Mapping[tuple[OptimizationType, str], BaselinePolicy] = {
    (policy.optimization_type, policy.name): policy
    for policy in (
        *(_current(kind) for kind in _KEPT),
        *(_sized(baseline) for baseline in BASELINES.values()),
        *(_controlled(name) for name in CONTROLLERS),
    )
}


def baseline_policy(kind: OptimizationType, name: str) -> BaselinePolicy:
    """Returns the baseline of a type by its name.

    Raises:
        KeyError: there is none.
    """
    baseline = find_baseline(kind, name)
    if baseline is None:
        raise KeyError(name)
    return baseline


def find_baseline(kind: OptimizationType, name: str) -> BaselinePolicy | None:
    """Returns the baseline of a type by its name; one of sizes may have a margin or a cap ("vpa+20%+cap")."""
    baseline = _BASELINES.get((kind, name))
    if baseline is not None or kind is not _SIZES:
        return baseline
    sized = baseline_of(name)
    return None if sized is None else _sized(sized)


def is_baseline(kind: OptimizationType, name: str) -> bool:
    """Tells whether a policy is neither an installed strategy nor perfopt's own controller."""
    fitted = kind is _SIZES and name in FITTED
    return fitted or (name != LIVE and find_baseline(kind, name) is not None)


def baselines_of(types: Sequence[OptimizationType]) -> tuple[BaselinePolicy, ...]:
    """Returns the baselines of the types, in the order of the table."""
    return tuple(policy for kind in types for (of, _), policy in _BASELINES.items() if of is kind)


def engine_policies(engine: Engine, types: Sequence[OptimizationType]) -> tuple[Policy, ...]:
    """Returns each installed strategy of the types, and where there are several their merged plan."""
    policies: list[Policy] = [
        StrategyPolicy(engine, info.key, kind) for kind in types for info in engine.registry.of_types((kind,))
    ]
    return (*policies, PlanPolicy(engine, tuple(types))) if len(policies) > 1 else tuple(policies)


def _variants(names: Sequence[str], types: Sequence[OptimizationType]) -> list[BaselinePolicy]:
    """Returns the baselines of sizes with a margin or a cap that are named."""
    new = [name for name in dict.fromkeys(names) if (_SIZES, name) not in _BASELINES]
    return [one for name in new if _SIZES in types and (one := find_baseline(_SIZES, name)) is not None]


def choose_policies(
    names: Sequence[str], types: Sequence[OptimizationType], ours: Sequence[Policy]
) -> tuple[Policy, ...]:
    """Returns the policies named, by type and in the order of the table; all where none is named.

    Args:
        names: of policies; `perfopt` is all of ours.
        types: of recommendations.
        ours: the policies of the engine.

    Raises:
        NotFoundError: a name is no policy of these types; lists them.
    """
    policies: tuple[Policy, ...] = (*ours, *baselines_of(types), *_variants(names, types))
    fitted = FITTED if _SIZES in types else ()
    known = tuple(dict.fromkeys((OURS, *(policy.name for policy in policies), *fitted)))
    for name in names:
        if name not in known:
            raise _unknown(name, types, known)
    chosen = [one for one in policies if not names or one.name in names or (OURS in names and one in ours)]
    order: dict[OptimizationType | None, int] = {kind: place for place, kind in enumerate(types)}
    return tuple(sorted(chosen, key=lambda one: order.get(one.optimization_type, len(order))))


def _unknown(name: str, types: Sequence[OptimizationType], known: tuple[str, ...]) -> NotFoundError:
    base, plus, _ = name.partition("+")
    problem, remedy = f"There is no policy {name!r} of {', '.join(types)}.", f"Known: {', '.join(known)}."
    if plus and base in known:
        problem = f"There is no policy {name!r}: {base!r} has no such variant."
        remedy = (
            'A margin ("+20%") and a cap at the current limit ("+cap") go with baselines of sizes only,'
            " such as krr-simple+20%+cap."
        )
    return NotFoundError(problem, field="policy", remedy=remedy, candidates=known)


def about(kind: OptimizationType | None, name: str) -> str:
    """Returns one line on what a policy does, by its type and name."""
    if kind is None:
        return ABOUT_PLAN
    if kind is _SIZES and name in FITTED:
        return FITTED[name]
    baseline = find_baseline(kind, name)
    return baseline.about if baseline is not None else f"The strategy {name} with the engine's safety rules"
