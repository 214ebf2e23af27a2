"""From the outcomes of strategies to the one ranked list of an analysis, and its plan. Pure."""

from collections.abc import Collection, Sequence

from perfopt.domain.enums import DeclineCode, OptimizationType
from perfopt.domain.recommendation import AnalysisResult, AnalysisWarning, Conflict, Declined
from perfopt.domain.record import StrategyRecord
from perfopt.engine.isolation import Answers
from perfopt.engine.plan import text
from perfopt.engine.plan.build import conflicts, make_plan, parts_of
from perfopt.engine.plan.conditions import conditions
from perfopt.engine.plan.merge import Merged, Part, merge
from perfopt.engine.plan.moments import Candidate
from perfopt.engine.plan.reconcile import NOT_WORTH_IT
from perfopt.engine.ranking import ranked
from perfopt.engine.recommending import Made, recommendation
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
    answers: Answers,
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
        no_strategy: what to tell a user about a type that no installed plugin makes, after the type.
        rules: those of the workload; the merged state must pass the safety packs among them once more.
        plan_record: what the recorded outcomes of plans say of the confidence of one.
        by_itself: one strategy is to be judged, so what it says is shown whatever it is worth.
    """
    context, _ = rules.prepared(context)  # the class that rules set counts for what a breach costs
    made = [Made(info, outcome) for info, outcome in zip(infos, answers.outcomes, strict=True)]
    proposed = [one for one in made if one.outcome.status == "ok"]
    merged = _merged(context, proposed, rules, plan_record, by_itself=by_itself)
    parts = [] if merged is None else list(zip(merged.parts, proposed, strict=True))
    lost = () if merged is None else conflicts(merged.decision, context)
    recommendations = ranked(
        [(part, recommendation(part, one, lost, context, answers)) for part, one in parts if part.taken],
        context,
    )
    declined = [declined for kind in types for declined in _declined(kind, made, no_strategy)]
    declined += [_out_of_plan(part, lost) for part, _ in parts if not part.taken]
    workload = context.snapshot.workload
    by_plugin = {one.plugin: one for one in recommendations}
    return AnalysisResult(
        service_name=workload.service_name,
        workload=str(workload.id),
        recommendations=recommendations,
        declined=tuple(declined),
        warnings=(*warnings, *_failures(made), *_prediction_failure(answers), *_no_plan(merged, by_plugin)),
        plan=None if merged is None else make_plan(merged, by_plugin, context),
    )


def _merged(
    context: AnalysisContext,
    made: Sequence[Made],
    rules: RuleSet,
    record: StrategyRecord | None,
    *,
    by_itself: bool,
) -> Merged | None:
    candidates = [Candidate(one.info.key, one.info.prior, one.outcome) for one in made]
    return merge(context, candidates, rules, record, by_itself=by_itself) if candidates else None


def _out_of_plan(part: Part, lost: Sequence[Conflict]) -> Declined:
    own = [one for one in lost if one.lost_by == part.bid.key]
    idle = any(one.code == NOT_WORTH_IT for one in own)
    code = DeclineCode.NOT_WORTH_IT if idle else DeclineCode.CONFLICT
    return _decline(part.bid.proposal.optimization_type, code, text.declined(own))


def _no_plan(merged: Merged | None, made: Collection[str]) -> list[AnalysisWarning]:
    """Says why what is recommended makes no plan together."""
    if merged is None:
        return []
    vetoed = merged.decision.vetoed
    if vetoed is not None:
        message = f"There is no plan: rules refuse what the recommendations make together. {vetoed.reason}"
        return [AnalysisWarning(code="plan_vetoed", message=message)]
    if conditions(parts_of(merged, made), merged.decision) is not None:
        return []
    message = (
        "There is no plan: rules allow the recommendations to be applied at times that never meet. Apply each"
        " at its own, which `allowed_windows` of it has."
    )
    return [AnalysisWarning(code="plan_has_no_window", message=message)]


def _declined(kind: OptimizationType, made: Sequence[Made], no_strategy: str) -> list[Declined]:
    own = [one for one in made if one.info.optimization_type is kind]
    if any(one.outcome.status == "ok" for one in own):
        return []
    given = [one.outcome.declined for one in own if one.outcome.declined is not None]
    if given:
        return list(dict.fromkeys(given))
    if not own:
        return [_decline(kind, DeclineCode.NO_STRATEGY, f"No installed plugin makes {kind}. {no_strategy}")]
    failed = "; ".join(f"{one.info.key} {one.outcome.error}" for one in own)
    return [_decline(kind, DeclineCode.STRATEGY_FAILED, f"No strategy gave an answer: {failed}.")]


def _decline(kind: OptimizationType, code: DeclineCode, reason: str) -> Declined:
    return Declined(optimization_type=kind, code=code, reason=reason)


def _failures(made: Sequence[Made]) -> list[AnalysisWarning]:
    return [
        AnalysisWarning(
            code=_WARNING_CODES[one.outcome.status],
            message=f"The plugin {one.info.key} {one.info.version} {one.outcome.error}.",
            plugin=one.info.key,
        )
        for one in made
        if one.outcome.status in _WARNING_CODES
    ]


def _prediction_failure(answers: Answers) -> list[AnalysisWarning]:
    if answers.predictions_error is None:
        return []
    return [
        AnalysisWarning(
            code="predictions_failed", message=f"Making the forecasts {answers.predictions_error}."
        )
    ]
