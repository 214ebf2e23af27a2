"""From what a merge leaves of a proposal to the recommendation that users see. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from perfopt.domain.recommendation import Conflict, OptimizationRecommendation
from perfopt.engine.confidence import confidence
from perfopt.engine.improvement import expected_improvement, rounded
from perfopt.engine.isolation import Answers
from perfopt.engine.messages import Outcome
from perfopt.engine.plan import text
from perfopt.engine.plan.merge import Part
from perfopt.engine.plan.moments import recommended_cost
from perfopt.engine.registry import StrategyInfo
from perfopt.plugin.context import AnalysisContext


@dataclass(frozen=True)
class Made:
    """A strategy and what came of it."""

    info: StrategyInfo
    outcome: Outcome


def recommendation(
    part: Part, made: Made, lost: Sequence[Conflict], context: AnalysisContext, answers: Answers
) -> OptimizationRecommendation:
    """Returns the recommendation of one strategy, at the plan's values; its id is given with its rank.

    Args:
        part: its proposal after the merge.
        made: the strategy, and the proposal as it came.
        lost: what was lost by any strategy.
        context: what the strategies were given.
        answers: what they gave.
    """
    proposal = msgspec.structs.replace(part.bid.proposal, target=part.target)
    own = tuple(one for one in lost if one.lost_by == part.bid.key)
    snapshot, book, asked = context.snapshot, context.price_book, made.outcome.conditions
    workload = snapshot.workload
    now, then = book.monthly_cost(workload.state), recommended_cost(proposal, context)
    sure, detail = confidence(part.evidence, proposal.prior or made.info.prior, context.validity)
    improvement, reasons = expected_improvement(proposal.claim, snapshot, now, then, sure)
    return OptimizationRecommendation(
        recommendation_id="",
        service_name=workload.service_name,
        optimization_type=proposal.optimization_type,
        description=f"{proposal.description} {text.left_out(own)}" if own else proposal.description,
        current_state=workload.state.to_map(),
        recommended_state=proposal.target.to_map(),
        expected_improvement=improvement,
        workload=str(workload.id),
        plugin=made.info.key,
        plugin_version=made.info.version,
        models={kind: answers.models[kind] for kind in made.outcome.models if kind in answers.models},
        claim=proposal.claim.to_map(),
        made_at=context.now,
        valid_until=context.now + context.validity,
        already_right=proposal.already_right,
        reasons=(*proposal.reasons, *part.reasons, *reasons),
        confidence_detail=detail,
        evidence=part.evidence,
        price_book=book.name,
        currency=book.currency,
        monthly_cost_current=rounded(now),
        monthly_cost_recommended=rounded(then),
        coverage=dict(snapshot.coverage),
        rules_fired=tuple(dict.fromkeys(rule.rule for rule in made.outcome.rules)),
        rules=made.outcome.rules,
        requires_approval=asked.requires_approval,
        not_before=asked.not_before(context.now),
        allowed_windows=asked.allowed_windows,
        annotations=asked.annotations,
        preference=asked.preference,
        predictions=answers.predictions,
        conflicts=own,
    )
