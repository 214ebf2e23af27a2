"""Walks one service through its history: baselines in one pass, perfopt through the engine."""

from collections.abc import Iterator, Sequence
from typing import Any

from perfopt.backtest.plan import Plan
from perfopt.backtest.policies import OURS
from perfopt.backtest.trial import Case, Trial, case_at
from perfopt.domain.enums import DeclineCode, OptimizationType
from perfopt.domain.fields import REPLICAS, parse_quantities, with_fields
from perfopt.domain.price import PriceBook
from perfopt.domain.recommendation import AnalysisResult, Declined
from perfopt.domain.workload import WorkloadState
from perfopt.engine import Engine
from perfopt.evaluation.baselines import BASELINES
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.plugin.context import AnalysisContext

# What a replay can score: rules 1 and 2 of DESIGN.md section 5 speak of resources.
TYPE = OptimizationType.RESOURCE_OPTIMIZATION


def cases(snapshot: WorkloadSnapshot, plan: Plan, book: PriceBook) -> Iterator[Case]:
    """Yields the cases of one service, oldest first; instants at which it had no history are left out."""
    step = snapshot.grid.step
    history, window = max(plan.history // step, 1), max(plan.validity // step, 1)
    for cut in plan.cuts:
        case = case_at(snapshot, cut, history, window, book)
        if case is not None:
            yield case


def walk_baselines(
    snapshot: WorkloadSnapshot, plan: Plan, policies: Sequence[str], book: PriceBook
) -> list[Trial]:
    """Returns what each baseline would have said at each cut, and how that did.

    Args:
        snapshot: the whole history.
        plan: when.
        policies: names of baselines.
        book: prices.
    """
    return [
        case.trial(name, BASELINES[name].decide(AnalysisContext(case.known, plan.validity, book)))
        for case in cases(snapshot, plan, book)
        for name in policies
    ]


def walk_engine(snapshot: WorkloadSnapshot, plan: Plan, engine: Engine, book: PriceBook) -> list[Trial]:
    """Returns what the installed strategies would have said at each cut, and how that did; blocks.

    With one strategy its policy is `perfopt`; with several each is `perfopt:<plugin>/<strategy>`, asked by
    itself: what the others want does not count.
    """
    keys = [info.key for info in engine.registry.of_types((TYPE,))]
    names = {key: OURS if len(keys) == 1 else f"{OURS}:{key}" for key in keys}
    found: list[Trial] = []
    for case in cases(snapshot, plan, book):
        for key, name in names.items():
            result = engine.analyze(case.known, (TYPE,), plan.validity, only=key)
            found.append(_trial(case, name, key, result))
    return found


def _trial(case: Case, name: str, key: str, result: AnalysisResult) -> Trial:
    for made in result.recommendations:
        if made.plugin == key:
            return case.trial(
                name,
                _target(made.recommended_state, case.known.workload.state),
                confidence=made.expected_improvement.confidence,
                already_right=made.already_right,
                in_sample=any(reason.code == "in_sample" for reason in made.reasons),
            )
    return case.trial(name, _declined(key, result))


def _declined(key: str, result: AnalysisResult) -> Declined:
    failed = next((warning for warning in result.warnings if warning.plugin == key), None)
    if failed is not None:
        return Declined(optimization_type=TYPE, code=DeclineCode.STRATEGY_FAILED, reason=failed.message)
    return result.declined[0]


def _target(recommended: dict[str, Any], current: WorkloadState) -> WorkloadState:
    """Returns the state that applying a recommendation sets, quantities as Kubernetes stores them."""
    values = parse_quantities(recommended) | {REPLICAS: recommended.get("replicas", current.replicas)}
    return with_fields(current, values)
