"""From the outcomes of strategies to the ranked result of an analysis. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from perfopt.domain.enums import Basis, DeclineCode, OptimizationType
from perfopt.domain.recommendation import (
    AnalysisResult,
    AnalysisWarning,
    Declined,
    ExpectedImprovement,
    OptimizationRecommendation,
    Reason,
)
from perfopt.engine.confidence import confidence
from perfopt.engine.isolation import Answers
from perfopt.engine.messages import Outcome
from perfopt.engine.registry import StrategyInfo
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.plugin.context import AnalysisContext
from perfopt.plugin.strategy import Claim

_WARNING_CODES = {
    "failed": "plugin_failed",
    "timed_out": "plugin_timed_out",
    "crashed": "plugin_crashed",
    "memory": "plugin_memory",
    "set_aside": "plugin_set_aside",
}


@dataclass(frozen=True)
class Made:
    """A strategy and what came of it."""

    info: StrategyInfo
    outcome: Outcome


def assemble(
    context: AnalysisContext,
    types: Sequence[OptimizationType],
    infos: Sequence[StrategyInfo],
    answers: Answers,
    warnings: Sequence[AnalysisWarning],
    no_strategy: str,
) -> AnalysisResult:
    """Returns the result of one analysis.

    Args:
        context: what the strategies were given.
        types: asked for, in the order asked.
        infos: the strategies, in the order of `answers.outcomes`.
        answers: what they gave.
        warnings: of the source and the engine, to stand before those of plugins.
        no_strategy: what to tell a user about a type that no installed plugin makes, after the type.
    """
    made = [Made(info, outcome) for info, outcome in zip(infos, answers.outcomes, strict=True)]
    recommended = [_recommendation(one, context, answers) for one in made if one.outcome.status == "ok"]
    declined = [declined for kind in types for declined in _declined(kind, made, no_strategy)]
    workload = context.snapshot.workload
    return AnalysisResult(
        service_name=workload.service_name,
        workload=str(workload.id),
        recommendations=_ranked(recommended),
        declined=tuple(declined),
        warnings=(*warnings, *_failures(made), *_prediction_failure(answers)),
    )


def _recommendation(made: Made, context: AnalysisContext, answers: Answers) -> OptimizationRecommendation:
    proposal, evidence, asked = made.outcome.proposal, made.outcome.evidence, made.outcome.conditions
    assert proposal is not None
    assert evidence is not None
    snapshot, book = context.snapshot, context.price_book
    workload = snapshot.workload
    now, then = book.monthly_cost(workload.state), book.monthly_cost(proposal.target)
    sure, detail = confidence(evidence, proposal.prior or made.info.prior, context.validity)
    improvement, reasons = expected_improvement(proposal.claim, snapshot, now, then, sure)
    return OptimizationRecommendation(
        recommendation_id="",
        service_name=workload.service_name,
        optimization_type=proposal.optimization_type,
        description=proposal.description,
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
        reasons=(*proposal.reasons, *reasons),
        confidence_detail=detail,
        evidence=evidence,
        price_book=book.name,
        currency=book.currency,
        monthly_cost_current=_rounded(now),
        monthly_cost_recommended=_rounded(then),
        coverage=dict(snapshot.coverage),
        rules_fired=tuple(dict.fromkeys(rule.rule for rule in made.outcome.rules)),
        rules=made.outcome.rules,
        requires_approval=asked.requires_approval,
        not_before=asked.not_before(context.now),
        allowed_windows=asked.allowed_windows,
        annotations=asked.annotations,
        preference=asked.preference,
        predictions=answers.predictions,
    )


def expected_improvement(
    claim: Claim, snapshot: WorkloadSnapshot, now: float | None, then: float | None, sure: float
) -> tuple[ExpectedImprovement, tuple[Reason, ...]]:
    """Computes the claim of a recommendation, and says why a part of it is zero.

    Args:
        claim: what the strategy promises of latency.
        snapshot: tells whether there is latency data.
        now: monthly cost of the current state; None is unknown.
        then: monthly cost of the recommended state; None is unknown.
        sure: the confidence.
    """
    reasons: list[Reason] = []
    cost = 0.0
    if now is None or then is None or now <= 0:
        text = "The saving is given as 0: the current requests are not known, so there is no cost to compare."
        reasons.append(Reason(code="cost_unknown", text=text))
    else:
        cost = 100 * (now - then) / now
    if snapshot.workload.state.basis is Basis.ASSUMED_FROM_LIMIT:
        text = "The source knows limits only; the saving compares with requests as high as the limits."
        reasons.append(Reason(code="baseline_assumed_from_limit", text=text))
    fall = None
    if claim.latency_now_ms is not None and claim.latency_ms is not None:
        fall = claim.latency_now_ms - claim.latency_ms
    if fall is None and claim.performance_gain_percent is None:
        reasons.append(_no_latency(snapshot))
    improvement = ExpectedImprovement(
        performance_gain_percent=round(claim.performance_gain_percent or 0.0, 2),
        cost_reduction_percent=round(cost, 2) + 0.0,  # never -0.0
        latency_reduction_ms=round(fall or 0.0, 3),
        confidence=sure,
    )
    return improvement, tuple(reasons)


def _no_latency(snapshot: WorkloadSnapshot) -> Reason:
    if any(name.startswith("latency_") for name in snapshot.service):
        return Reason(code="no_latency_claim", text="No change of latency is claimed.")
    return Reason(
        code="no_latency_data", text="No change of latency is claimed: the source has no latency data."
    )


def _ranked(made: list[OptimizationRecommendation]) -> tuple[OptimizationRecommendation, ...]:
    """Sorts by expected monthly saving, then by name, and numbers by rank within this result."""
    order = sorted(made, key=lambda one: (-_expected_saving(one), one.optimization_type.value, one.plugin))
    return tuple(_numbered(one, rank) for rank, one in enumerate(order, start=1))


def _expected_saving(made: OptimizationRecommendation) -> float:
    if made.monthly_cost_current is None or made.monthly_cost_recommended is None:
        return 0.0
    saving = made.monthly_cost_current - made.monthly_cost_recommended
    return saving * made.expected_improvement.confidence * made.preference


def _numbered(made: OptimizationRecommendation, rank: int) -> OptimizationRecommendation:
    changes: dict[str, Any] = {"recommendation_id": f"opt_{made.made_at:%Y%m%d}_{rank:03d}"}
    return msgspec.structs.replace(made, **changes)


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


def _rounded(money: float | None) -> float | None:
    return None if money is None else round(money, 4)
