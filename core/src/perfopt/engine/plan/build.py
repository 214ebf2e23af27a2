"""From a merge to the plan that users see."""

from collections.abc import Collection, Mapping, Sequence

from perfopt.domain.fields import BASIS, SCHEDULE, Path, Values, all_fields, diff, label, print_value
from perfopt.domain.recommendation import Conflict, OptimizationRecommendation, Plan, PlanStep
from perfopt.domain.workload import WorkloadState
from perfopt.engine.confidence import confidence
from perfopt.engine.improvement import expected_improvement, rounded
from perfopt.engine.plan import conditions, text
from perfopt.engine.plan.decide import MergedState
from perfopt.engine.plan.merge import MergedPlan, MergedProposal
from perfopt.engine.plan.reconcile import DEPENDENT_FIELD, SAME_FIELD
from perfopt.engine.plan.search import plan_cost
from perfopt.plugin.context import AnalysisContext
from perfopt.plugin.strategy import Claim


def conflicts(merged: MergedState, context: AnalysisContext) -> tuple[Conflict, ...]:
    """Returns all rejected fields, by strategy, the field that decided first.

    A dependent field whose value is the plan's anyway is left out.
    """
    values, slo = all_fields(merged.state), context.snapshot.workload.slo
    pairs = [
        text.conflict(one, values, slo, context.price_book.currency)
        for one in merged.merged.rejected
        if one.path != BASIS and not (one.code == DEPENDENT_FIELD and values.get(one.path) == one.wanted)
    ]
    return tuple(sorted(pairs, key=lambda one: (one.lost_by, one.code != SAME_FIELD, one.field)))


def make_plan(
    plan: MergedPlan, recommendations: Mapping[str, OptimizationRecommendation], context: AnalysisContext
) -> Plan | None:
    """Returns the plan of a merge.

    None where nothing is to be changed, rules refuse the whole, or its parts share no window of time.

    Args:
        plan: the merged proposals.
        recommendations: the recommendations that are made, by strategy.
        context: what the strategies were given.
    """
    state, workload = plan.state, context.snapshot.workload
    changes = _without_basis(diff(workload.state, state.state))
    inside = parts_of(plan, recommendations)
    if not changes or not inside or state.vetoed is not None:
        return None
    required = conditions.conditions(inside, state)
    if required is None:
        return None
    rules = conditions.fired(inside, state)
    book = context.price_book
    current, recommended = book.monthly_cost(workload.state), plan_cost(state, context)
    probability, detail = confidence(plan.evidence, plan.prior, context.validity)
    improvement, reasons = expected_improvement(
        _claim(inside, state), context.snapshot, current, recommended, probability
    )
    return Plan(
        description=text.plan(changes, all_fields(workload.state), context.validity, len(inside)),
        current_state=workload.state.to_map(),
        recommended_state=state.state.to_map(),
        expected_improvement=improvement,
        confidence_detail=detail,
        evidence=plan.evidence,
        price_book=book.name,
        currency=book.currency,
        monthly_cost_current=rounded(current),
        monthly_cost_recommended=rounded(recommended),
        steps=_steps(inside, recommendations, state, changes),
        conflicts=conflicts(state, context),
        reasons=(*state.fit.reasons.values(), *state.reasons, *reasons),
        rules_fired=tuple(dict.fromkeys(rule.rule for rule in rules)),
        rules=rules,
        requires_approval=required.requires_approval,
        not_before=required.not_before(context.now),
        allowed_windows=required.allowed_windows,
        annotations=required.annotations,
    )


def parts_of(plan: MergedPlan, proposals: Collection[str]) -> list[MergedProposal]:
    """Returns the parts that a value of the plan is from, of the strategies whose recommendation is made."""
    return [
        part
        for part in plan.proposals
        if part.scored.key in proposals and plan.state.merged.owned_by(part.scored)
    ]


def _without_basis(values: Values) -> dict[Path, object]:
    return {path: value for path, value in values.items() if path != BASIS}


def _claim(parts: Sequence[MergedProposal], state: MergedState) -> Claim:
    """Returns the claim on latency of the whole: of the part that leads, where all of it is in the plan."""
    rejected = {one.owner.key for one in state.merged.rejected}
    whole = [part.scored for part in parts if part.scored.key not in rejected]
    leading = sorted(whole, key=lambda one: (not one.for_objective, -one.confidence, one.key))
    claims = [one.proposal.claim for one in leading]
    return next((claim for claim in claims if claim.latency_ms is not None), Claim())


def _steps(
    parts: Sequence[MergedProposal],
    recommendations: Mapping[str, OptimizationRecommendation],
    state: MergedState,
    changes: Values,
) -> tuple[PlanStep, ...]:
    """Returns the parts in the order to apply them in: what adds capacity before what takes it away."""
    current = state.fit.current
    ordered = sorted(parts, key=lambda part: _position(part, current, recommendations[part.scored.key]))
    left = dict(changes)
    dearer = {part.scored.key: _dearer(part, current, recommendations[part.scored.key]) for part in parts}
    steps = []
    for part in ordered:
        recommendation = recommendations[part.scored.key]
        own = set(state.merged.owned_by(part.scored)) | _adjusted(part, changes)
        if part is ordered[-1]:  # what was adjusted so that all parts fit is in force with the last of them
            own = set(left)
        taken = {path: left.pop(path) for path in list(left) if path in own}
        step = PlanStep(
            recommendation_id=recommendation.recommendation_id,
            optimization_type=recommendation.optimization_type,
            changes={label(path): print_value(path, value) for path, value in taken.items()},
            reason=text.step(
                follows_demand=follows_demand(part),
                for_objective=part.scored.for_objective,
                dearer=dearer[part.scored.key],
                others=[one for key, one in dearer.items() if key != part.scored.key],
            ),
        )
        steps.append(step)
    return tuple(step for step in steps if step.changes)


def _adjusted(part: MergedProposal, changes: Values) -> set[Path]:
    """Returns the plan's changes that a part needs for itself, though nobody wanted them."""
    own = all_fields(part.target)
    proposed = all_fields(part.scored.proposal.target)
    return {path for path, value in changes.items() if own.get(path) == value != proposed.get(path)}


def _position(
    part: MergedProposal, current: WorkloadState, recommendation: OptimizationRecommendation
) -> tuple[object, ...]:
    dearer = _dearer(part, current, recommendation)
    capacity = 0 if dearer else 1 if dearer is None else 2
    follows = follows_demand(part)
    key = part.scored.key
    return (not part.scored.for_objective, capacity, not follows, recommendation.optimization_type.value, key)


def follows_demand(part: MergedProposal) -> bool:
    """Tells whether replicas follow the demand by a part of the plan."""
    return any(path[0] == "hpa" or path == SCHEDULE for path in part.scored.changes)


def _dearer(
    part: MergedProposal, current: WorkloadState, recommendation: OptimizationRecommendation
) -> bool | None:
    """Tells whether a recommendation adds to what is paid for; None where it does not change it.

    Where costs are unknown, requested CPU stands for them.
    """
    paid, planned = recommendation.monthly_cost_current, recommendation.monthly_cost_recommended
    if paid is None or planned is None:
        paid, planned = _requested(current), _requested(part.target)
    return None if paid is None or planned is None or paid == planned else planned > paid


def _requested(state: WorkloadState) -> float | None:
    each = state.total("cpu_request_cores")
    return None if each is None else each * (state.replicas if state.replicas is not None else 1)
