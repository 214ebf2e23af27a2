"""From the outcomes of strategies to the one ranked list of an analysis, and its plan. Pure."""

from collections.abc import Collection, Sequence

import msgspec

from perfopt.domain.enums import DeclineCode, OptimizationType
from perfopt.domain.recommendation import (
    AnalysisResult,
    AnalysisWarning,
    Conflict,
    Declined,
    OptimizationRecommendation,
)
from perfopt.domain.record import StrategyRecord
from perfopt.engine.abstention import Results, bound_by_abstentions
from perfopt.engine.messages import StrategyAnswers
from perfopt.engine.plan import text
from perfopt.engine.plan.build import conflicts, make_plan, parts_of
from perfopt.engine.plan.conditions import conditions
from perfopt.engine.plan.merge import MergedPlan, MergedProposal, merge
from perfopt.engine.plan.origins import ProposingStrategy
from perfopt.engine.plan.reconcile import NO_NET_BENEFIT
from perfopt.engine.ranking import ranked
from perfopt.engine.recommending import recommendation
from perfopt.engine.registry import StrategyInfo
from perfopt.plugin.context import AnalysisContext
from perfopt.rules import RuleSet

_WARNING_CODES = {
    "failed": "plugin_failed",
    "timed_out": "plugin_timed_out",
    "crashed": "plugin_crashed",
    "memory": "plugin_memory",
    "set_aside": "plugin_set_aside",
}


def assemble(
    context: AnalysisContext,
    types: Sequence[OptimizationType],
    infos: Sequence[StrategyInfo],
    answers: StrategyAnswers,
    warnings: Sequence[AnalysisWarning],
    no_strategy: str,
    rules: RuleSet,
    plan_record: StrategyRecord | None = None,
    *,
    by_itself: bool = False,
) -> AnalysisResult:
    """Returns the result of one analysis: one list that holds together.

    Args:
        context: what the strategies were given.
        types: asked for, in the order asked.
        infos: the strategies, in the order of `answers.outcomes`.
        answers: what they gave.
        warnings: of the source and the engine, to stand before those of plugins.
        no_strategy: follows the sentence that no installed plugin makes a type.
        rules: those of the workload; the merged state must pass the safety packs among them once more.
        plan_record: recorded outcomes of plans, which move the confidence of one.
        by_itself: one strategy is evaluated, so its proposal is kept whatever its value.
    """
    context, _ = rules.prepared(context)  # the class that rules set counts for the penalty
    current = context.snapshot.workload.state
    results = bound_by_abstentions(list(zip(infos, answers.outcomes, strict=True)), current)
    merged = _merged(context, results, rules, plan_record, by_itself=by_itself)
    parts = [] if merged is None else list(merged.proposals)
    rejected = () if merged is None else conflicts(merged.state, context)
    recommendations = _ranked(context, infos, answers, parts, rejected)
    declined = [declined for kind in types for declined in _declined(kind, results, no_strategy)]
    declined += [_out_of_plan(part, rejected) for part in parts if not part.taken]
    workload = context.snapshot.workload
    by_plugin = {one.plugin: one for one in recommendations}
    return AnalysisResult(
        service_name=workload.service_name,
        workload=str(workload.id),
        recommendations=recommendations,
        declined=tuple(declined),
        warnings=(
            *warnings,
            *_failures(results),
            *_prediction_failure(answers),
            *_no_plan(merged, by_plugin),
        ),
        plan=None if merged is None else make_plan(merged, by_plugin, context),
    )


def _ranked(
    context: AnalysisContext,
    infos: Sequence[StrategyInfo],
    answers: StrategyAnswers,
    parts: Sequence[MergedProposal],
    rejected: Sequence[Conflict],
) -> tuple[OptimizationRecommendation, ...]:
    """Returns the recommendations of the proposals that the plan takes, best first."""
    by_key = {info.key: info for info in infos}
    models, predictions = answers.models, answers.predictions
    recommendations = [
        (part, recommendation(part, by_key[part.scored.key], rejected, context, models, predictions))
        for part in parts
        if part.taken
    ]
    return ranked(recommendations, context)


def _merged(
    context: AnalysisContext,
    results: Results,
    rules: RuleSet,
    record: StrategyRecord | None,
    *,
    by_itself: bool,
) -> MergedPlan | None:
    proposing = [
        ProposingStrategy(info.key, info.prior, outcome)
        for info, outcome in results
        if outcome.status == "ok"
    ]
    return merge(context, proposing, rules, record, by_itself=by_itself) if proposing else None


def _out_of_plan(part: MergedProposal, rejected: Sequence[Conflict]) -> Declined:
    own = [one for one in rejected if one.lost_by == part.scored.key]
    no_benefit = any(one.code == NO_NET_BENEFIT for one in own)
    code = DeclineCode.NO_NET_BENEFIT if no_benefit else DeclineCode.CONFLICT
    kind = part.scored.proposal.optimization_type
    return _decline(kind, code, text.rejection(own), part.scored.key)


def _no_plan(merged: MergedPlan | None, recommendations: Collection[str]) -> list[AnalysisWarning]:
    """Warns where the recommendations make no plan together."""
    if merged is None:
        return []
    vetoed = merged.state.vetoed
    if vetoed is not None:
        message = f"No plan: rules refuse the merged recommendations. {vetoed.reason}"
        return [AnalysisWarning(code="plan_vetoed", message=message)]
    if conditions(parts_of(merged, recommendations), merged.state) is not None:
        return []
    message = (
        "No plan: the allowed windows of the recommendations do not overlap. Apply each recommendation within"
        " its own `allowed_windows`."
    )
    return [AnalysisWarning(code="plan_has_no_window", message=message)]


def _declined(kind: OptimizationType, results: Results, no_strategy: str) -> list[Declined]:
    own = [(info, outcome) for info, outcome in results if info.optimization_type is kind]
    if any(outcome.status == "ok" for _, outcome in own):
        return []
    given = [
        msgspec.structs.replace(outcome.declined, plugin=info.key)
        for info, outcome in own
        if outcome.declined is not None
    ]
    if given:
        return given
    if not own:
        return [_decline(kind, DeclineCode.NO_STRATEGY, f"No installed plugin makes {kind}. {no_strategy}")]
    failed = "; ".join(f"{info.key} {outcome.error}" for info, outcome in own)
    plugin = own[0][0].key if len(own) == 1 else None
    return [_decline(kind, DeclineCode.STRATEGY_FAILED, f"All strategies failed: {failed}.", plugin)]


def _decline(kind: OptimizationType, code: DeclineCode, reason: str, plugin: str | None = None) -> Declined:
    return Declined(optimization_type=kind, code=code, reason=reason, plugin=plugin)


def _failures(results: Results) -> list[AnalysisWarning]:
    return [
        AnalysisWarning(
            code=_WARNING_CODES[outcome.status],
            message=f"The plugin {info.key} {info.version} {outcome.error}.",
            plugin=info.key,
        )
        for info, outcome in results
        if outcome.status in _WARNING_CODES
    ]


def _prediction_failure(answers: StrategyAnswers) -> list[AnalysisWarning]:
    if answers.predictions_error is None:
        return []
    return [AnalysisWarning(code="predictions_failed", message=f"Forecasting {answers.predictions_error}.")]
