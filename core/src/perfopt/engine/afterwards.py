"""Asks for knobs once more where the plan moves the limits that they were computed for. Pure."""

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from perfopt.domain.fields import (
    KNOBS,
    REQUEST_LIMIT_PAIRS,
    container_path,
    diff,
    is_knob,
    label,
    parse_quantities,
    with_fields,
)
from perfopt.domain.recommendation import AnalysisResult, Plan
from perfopt.domain.workload import WorkloadState
from perfopt.engine.messages import StrategyOutcome
from perfopt.engine.plan.reconcile import DEPENDENT_FIELD
from perfopt.plugin.context import AnalysisContext

_LIMITS = tuple(limit for _, limit in REQUEST_LIMIT_PAIRS)


def with_stale_knobs(result: AnalysisResult) -> tuple[str, ...]:
    """Returns the strategies whose knobs the plan leaves out because it sets other limits."""
    conflicts = () if result.plan is None else result.plan.conflicts
    stale = (one.lost_by for one in conflicts if one.code == DEPENDENT_FIELD and one.field.startswith(KNOBS))
    return tuple(dict.fromkeys(stale))


def with_limits_of(plan: Plan, context: AnalysisContext) -> AnalysisContext:
    """Returns the context as it will be once the plan's requests and limits are in force."""
    workload = context.snapshot.workload
    state = with_fields(workload.state, parse_quantities(plan.recommended_state))
    workload = msgspec.structs.replace(workload, state=state)
    return replace(context, snapshot=replace(context.snapshot, workload=workload))


def for_the_plan(
    outcomes: Sequence[StrategyOutcome],
    second: Sequence[StrategyOutcome | None],
    current: WorkloadState,
    planned: WorkloadState,
) -> tuple[StrategyOutcome, ...]:
    """Returns the outcomes with the knobs of the second answers in place of those of the first.

    Args:
        outcomes: of all strategies.
        second: what those said that were asked again, None for the others.
        current: the current state.
        planned: the state that they were asked about.
    """
    return tuple(
        first if again is None else _recomputed(first, again, current, planned)
        for first, again in zip(outcomes, second, strict=True)
    )


def _recomputed(
    first: StrategyOutcome, again: StrategyOutcome, current: WorkloadState, planned: WorkloadState
) -> StrategyOutcome:
    if again.proposal is None or first.proposal is None:
        return first
    knobs = {path: value for path, value in diff(planned, again.proposal.target).items() if is_knob(path)}
    if not knobs:
        return first
    limits = {
        label(container_path(container.name, limit)): getattr(container, limit)
        for container in planned.containers
        for limit in _LIMITS
    }
    proposal = msgspec.structs.replace(
        again.proposal,
        target=with_fields(current, knobs),
        merge=msgspec.structs.replace(again.proposal.merge, computed_for=limits),
        prior=first.proposal.prior,
    )
    return msgspec.structs.replace(first, proposal=proposal, rules=again.rules, conditions=again.conditions)
