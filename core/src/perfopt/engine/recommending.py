"""From what a merge leaves of a proposal to the recommendation that users see. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from perfopt.domain.recommendation import Conflict, OptimizationRecommendation
from perfopt.domain.workload import Container
from perfopt.engine.confidence import confidence
from perfopt.engine.improvement import expected_improvement, rounded
from perfopt.engine.messages import Predictions, StrategyOutcome
from perfopt.engine.plan import text
from perfopt.engine.plan.merge import MergedProposal
from perfopt.engine.plan.origins import recommended_cost
from perfopt.engine.registry import StrategyInfo
from perfopt.plugin.context import AnalysisContext


def recommendation(
    part: MergedProposal,
    info: StrategyInfo,
    rejected: Sequence[Conflict],
    context: AnalysisContext,
    models: Mapping[str, str],
    predictions: Predictions | None,
) -> OptimizationRecommendation:
    """Returns the recommendation of one strategy, at the plan's values; its id is given with its rank.

    Args:
        part: its proposal after the merge.
        info: of the strategy.
        rejected: fields of any strategy that the plan does not take.
        context: what the strategies were given.
        models: kind to SHA-256 of the models that the strategies were given.
        predictions: the forecasts, where they were asked for.
    """
    proposal = msgspec.structs.replace(part.scored.proposal, target=part.target)
    own = tuple(one for one in rejected if one.lost_by == part.scored.key)
    snapshot, book, outcome = context.snapshot, context.price_book, part.strategy.outcome
    workload = snapshot.workload
    current, recommended = book.monthly_cost(workload.state), recommended_cost(proposal, context)
    probability, detail = confidence(part.evidence, part.prior, context.validity)
    improvement, reasons = expected_improvement(proposal.claim, snapshot, current, recommended, probability)
    stated = OptimizationRecommendation(
        recommendation_id="",
        service_name=workload.service_name,
        optimization_type=proposal.optimization_type,
        description=f"{proposal.description} {text.left_out(own)}" if own else proposal.description,
        current_state=workload.state.to_map(),
        recommended_state=proposal.target.to_map(),
        expected_improvement=improvement,
        workload=str(workload.id),
        plugin=info.key,
        plugin_version=info.version,
        models={kind: models[kind] for kind in outcome.models if kind in models},
        claim=proposal.claim.to_map(),
        made_at=context.now,
        valid_until=context.now + context.validity,
        no_change_needed=proposal.no_change_needed,
        reasons=(*proposal.reasons, *part.reasons, *reasons),
        confidence_detail=detail,
        evidence=part.evidence,
        price_book=book.name,
        currency=book.currency,
        monthly_cost_current=rounded(current),
        monthly_cost_recommended=rounded(recommended),
        coverage=dict(snapshot.coverage),
        predictions=predictions,
        conflicts=own,
        service_class=workload.service_class,
        heap_containers=_heap_containers(workload.state.containers),
    )
    return _under_rules(stated, outcome, context.now)


def _under_rules(
    recommendation: OptimizationRecommendation, outcome: StrategyOutcome, now: datetime
) -> OptimizationRecommendation:
    """Returns it with the rules that fired and the conditions that they set."""
    conditions = outcome.conditions
    return msgspec.structs.replace(
        recommendation,
        rules_fired=tuple(dict.fromkeys(rule.rule for rule in outcome.rules)),
        rules=outcome.rules,
        requires_approval=conditions.requires_approval,
        not_before=conditions.not_before(now),
        allowed_windows=conditions.allowed_windows,
        annotations=conditions.annotations,
        preference=conditions.preference,
    )


_HEAPS = frozenset({"jvm", "node", "python"})
_HEAP_VARIABLES = frozenset({"JAVA_TOOL_OPTIONS", "JAVA_OPTS", "JDK_JAVA_OPTIONS", "NODE_OPTIONS"})


def _heap_containers(containers: Sequence[Container]) -> tuple[str, ...]:
    """Returns the containers that show a runtime with a heap of its own, by metrics or variables."""
    return tuple(
        one.name
        for one in containers
        if _HEAPS & one.runtimes.keys() or _HEAP_VARIABLES & (one.env or {}).keys()
    )
