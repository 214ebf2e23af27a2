"""From a merge to the plan that users see."""

from collections.abc import Collection, Mapping, Sequence

from perfopt.domain.enums import OptimizationType
from perfopt.domain.fields import BASIS, Path, Values, all_fields, diff, label, print_value
from perfopt.domain.recommendation import Conflict, OptimizationRecommendation, Plan, PlanStep
from perfopt.domain.workload import WorkloadState
from perfopt.engine.confidence import confidence
from perfopt.engine.improvement import expected_improvement, rounded
from perfopt.engine.plan import conditions, text
from perfopt.engine.plan.merge import Decision, Merged, Part, plan_cost
from perfopt.engine.plan.reconcile import GOES_TOGETHER, SAME_FIELD
from perfopt.plugin.context import AnalysisContext
from perfopt.plugin.strategy import Claim


def conflicts(decision: Decision, context: AnalysisContext) -> tuple[Conflict, ...]:
    """Returns all that was lost, by strategy, the field that decided first.

    A value that went with others and is the plan's anyway is not worth a word.
    """
    values, slo = all_fields(decision.state), context.snapshot.workload.slo
    found = [
        text.conflict(loss, values, slo, context.price_book.currency)
        for loss in decision.agreed.losses
        if loss.path != BASIS and not (loss.code == GOES_TOGETHER and values.get(loss.path) == loss.wanted)
    ]
    return tuple(sorted(found, key=lambda one: (one.lost_by, one.code != SAME_FIELD, one.field)))


def make_plan(
    merged: Merged, made: Mapping[str, OptimizationRecommendation], context: AnalysisContext
) -> Plan | None:
    """Returns the plan of a merge.

    None where nothing is to be changed, rules refuse the whole, or its parts share no window of time.

    Args:
        merged: the merge.
        made: the recommendations that are made, by strategy.
        context: what the strategies were given.
    """
    decision, workload = merged.decision, context.snapshot.workload
    changes = _without_basis(diff(workload.state, decision.state))
    inside = parts_of(merged, made)
    if not changes or not inside or decision.vetoed is not None:
        return None
    asked = conditions.conditions(inside, decision)
    if asked is None:
        return None
    rules = conditions.fired(inside, decision)
    book = context.price_book
    now, then = book.monthly_cost(workload.state), plan_cost(decision, context)
    sure, detail = confidence(merged.evidence, merged.prior, context.validity)
    improvement, reasons = expected_improvement(_claim(inside, decision), context.snapshot, now, then, sure)
    return Plan(
        description=text.plan(changes, all_fields(workload.state), context.validity, len(inside)),
        current_state=workload.state.to_map(),
        recommended_state=decision.state.to_map(),
        expected_improvement=improvement,
        confidence_detail=detail,
        evidence=merged.evidence,
        price_book=book.name,
        currency=book.currency,
        monthly_cost_current=rounded(now),
        monthly_cost_recommended=rounded(then),
        steps=_steps(inside, made, decision, changes),
        conflicts=conflicts(decision, context),
        reasons=(*decision.fit.reasons.values(), *decision.reasons, *reasons),
        rules_fired=tuple(dict.fromkeys(rule.rule for rule in rules)),
        rules=rules,
        requires_approval=asked.requires_approval,
        not_before=asked.not_before(context.now),
        allowed_windows=asked.allowed_windows,
        annotations=asked.annotations,
    )


def parts_of(merged: Merged, made: Collection[str]) -> list[Part]:
    """Returns the parts that a value of the plan is from, of the strategies whose recommendation is made."""
    return [
        part for part in merged.parts if part.bid.key in made and merged.decision.agreed.owned_by(part.bid)
    ]


def _without_basis(values: Values) -> dict[Path, object]:
    return {path: value for path, value in values.items() if path != BASIS}


def _claim(parts: Sequence[Part], decision: Decision) -> Claim:
    """Returns the claim on latency of the whole: of the part that leads, where all of it is in the plan."""
    lost = {loss.lost_by.key for loss in decision.agreed.losses}
    leading = sorted(parts, key=lambda part: (not part.bid.for_slo, -part.bid.confidence, part.bid.key))
    claims = [part.bid.proposal.claim for part in leading if part.bid.key not in lost]
    return next((claim for claim in claims if claim.latency_ms is not None), Claim())


def _steps(
    parts: Sequence[Part],
    made: Mapping[str, OptimizationRecommendation],
    decision: Decision,
    changes: Values,
) -> tuple[PlanStep, ...]:
    """Returns the parts in the order to apply them in: what adds capacity before what takes it away."""
    current = decision.fit.current
    ordered = sorted(parts, key=lambda part: _position(part, current, made[part.bid.key]))
    left = dict(changes)
    dearer = {part.bid.key: _dearer(part, current, made[part.bid.key]) for part in parts}
    steps = []
    for part in ordered:
        recommendation = made[part.bid.key]
        own = set(decision.agreed.owned_by(part.bid)) | _adjusted(part, changes)
        if part is ordered[-1]:  # what was adjusted so that all parts fit is in force with the last of them
            own = set(left)
        taken = {path: left.pop(path) for path in list(left) if path in own}
        step = PlanStep(
            recommendation_id=recommendation.recommendation_id,
            optimization_type=recommendation.optimization_type,
            changes={label(path): print_value(path, value) for path, value in taken.items()},
            reason=text.step(
                recommendation.optimization_type,
                for_slo=part.bid.for_slo,
                dearer=dearer[part.bid.key],
                others=[one for key, one in dearer.items() if key != part.bid.key],
            ),
        )
        steps.append(step)
    return tuple(step for step in steps if step.changes)


def _adjusted(part: Part, changes: Values) -> set[Path]:
    """Returns the plan's changes that a part needs for itself, though nobody wanted them."""
    own = all_fields(part.target)
    wanted = all_fields(part.bid.proposal.target)
    return {path for path, value in changes.items() if own.get(path) == value != wanted.get(path)}


def _position(part: Part, current: WorkloadState, made: OptimizationRecommendation) -> tuple[object, ...]:
    dearer = _dearer(part, current, made)
    capacity = 0 if dearer else 1 if dearer is None else 2
    scaling = made.optimization_type is OptimizationType.SCALING_OPTIMIZATION
    return (not part.bid.for_slo, capacity, not scaling, made.optimization_type.value, part.bid.key)


def _dearer(part: Part, current: WorkloadState, made: OptimizationRecommendation) -> bool | None:
    """Tells whether a recommendation adds to what is paid for; None where it does not change it.

    Where costs are unknown, requested CPU stands for them.
    """
    now, then = made.monthly_cost_current, made.monthly_cost_recommended
    if now is None or then is None:
        now, then = _requested(current), _requested(part.target)
    return None if now is None or then is None or now == then else then > now


def _requested(state: WorkloadState) -> float | None:
    each = state.total("cpu_request_cores")
    return None if each is None else each * (state.replicas if state.replicas is not None else 1)
