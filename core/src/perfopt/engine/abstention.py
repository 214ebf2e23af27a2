"""An abstention binds: where one type lacks the evidence for a field, no other type lowers it. Pure."""

from collections.abc import Iterable, Sequence
from datetime import timedelta

import msgspec

from perfopt.domain import fields
from perfopt.domain.enums import DeclineCode
from perfopt.domain.recommendation import Declined
from perfopt.domain.workload import WorkloadState
from perfopt.engine.confidence import confidence
from perfopt.engine.messages import StrategyOutcome
from perfopt.engine.registry import StrategyInfo
from perfopt.plugin.context import AnalysisContext
from perfopt.plugin.strategy import Proposal

Results = Sequence[tuple[StrategyInfo, StrategyOutcome]]


def bound_by_abstentions(
    results: Results, current: WorkloadState
) -> list[tuple[StrategyInfo, StrategyOutcome]]:
    """Returns the outcomes with proposals that lower a held field declined.

    A field is held by strategies of other types that abstain from it, unless one of their type proposes.

    Args:
        results: what the strategies gave.
        current: the state of the workload.
    """
    proposing = {info.optimization_type for info, outcome in results if outcome.status == "ok"}
    holding = [
        outcome.declined
        for info, outcome in results
        if outcome.declined is not None and outcome.declined.holds and info.optimization_type not in proposing
    ]
    return [(info, _bound(outcome, holding, current)) for info, outcome in results] if holding else [*results]


def confident_enough(
    info: StrategyInfo, outcome: StrategyOutcome, minimum: float, validity: timedelta
) -> StrategyOutcome:
    """Returns an outcome with a change whose confidence is under a minimum declined.

    Args:
        info: of the strategy.
        outcome: with its evidence.
        minimum: of the confidence; 0 lets everything pass.
        validity: how long the recommendation must hold.
    """
    proposal = outcome.proposal
    if proposal is None or proposal.no_change_needed or outcome.evidence is None or minimum <= 0:
        return outcome
    stated, _ = confidence(outcome.evidence, proposal.prior or info.prior, validity)
    if stated >= minimum:
        return outcome
    declined = Declined(
        optimization_type=info.optimization_type,
        code=DeclineCode.LOW_CONFIDENCE,
        reason=f"Its confidence is {stated:.2f}; engine.minimum_confidence is {minimum:g}.",
        plugin=info.key,
        holds=info.holds,
    )
    return StrategyOutcome(status="declined", declined=declined, rules=outcome.rules, models=outcome.models)


def not_refuted(info: StrategyInfo, outcome: StrategyOutcome, context: AnalysisContext) -> StrategyOutcome:
    """Returns an outcome that lowers a quantity declined where all its own past windows were inaccurate.

    Windows that cover less than one validity refute nothing, and what only raises is better than to stay.

    Args:
        info: of the strategy.
        outcome: with its evidence.
        context: of the analysis.
    """
    proposal, evidence = outcome.proposal, outcome.evidence
    if proposal is None or evidence is None or proposal.no_change_needed:
        return outcome
    _, detail = confidence(evidence, proposal.prior or info.prior, context.validity)
    if detail.accurate_share != 0 or detail.n_effective < 1:
        return outcome
    lowered = [fields.label(path) for path in _lowered_paths(proposal, context.snapshot.workload.state)]
    if not lowered:
        return outcome
    scored = sum(window.accurate is not None for window in evidence.windows)
    declined = Declined(
        optimization_type=info.optimization_type,
        code=DeclineCode.LOW_CONFIDENCE,
        reason=(
            f"It would lower {', '.join(lowered)}, and all {scored} recommendations that it would have made"
            " in this history were inaccurate: use outgrew each of them. A longer history or a shorter"
            " validity would show whether it settles."
        ),
        plugin=info.key,
        holds=info.holds,
    )
    return StrategyOutcome(status="declined", declined=declined, rules=outcome.rules, models=outcome.models)


def lowered_quantities(outcomes: Iterable[StrategyOutcome], current: WorkloadState) -> frozenset[str]:
    """Returns the quantities ("cpu_request") that proposals lower on any container."""
    lowered = {
        path[2]
        for outcome in outcomes
        if outcome.proposal is not None
        for path in _lowered_paths(outcome.proposal, current)
    }
    return frozenset(name for name, field in fields.QUANTITY_OF_NAME.items() if field in lowered)


def abstentions(results: Results) -> list[tuple[StrategyInfo, StrategyOutcome]]:
    """Returns the results that abstain, of types of which no strategy proposes."""
    proposing = {info.optimization_type for info, outcome in results if outcome.status == "ok"}
    return [
        (info, outcome)
        for info, outcome in results
        if outcome.status == "declined" and info.optimization_type not in proposing
    ]


def _bound(outcome: StrategyOutcome, holding: Sequence[Declined], current: WorkloadState) -> StrategyOutcome:
    proposal = outcome.proposal
    if proposal is None:
        return outcome
    for declined in holding:
        lowered = _lowered(proposal, declined, current)
        if lowered:
            reason = (
                f"It would lower {', '.join(lowered)}, and {declined.optimization_type} abstains from that:"
                f" {declined.reason}"
            )
            kind = proposal.optimization_type
            refusal = Declined(optimization_type=kind, code=DeclineCode.LOW_CONFIDENCE, reason=reason)
            return msgspec.structs.replace(outcome, status="declined", proposal=None, declined=refusal)
    return outcome


def _lowered(proposal: Proposal, declined: Declined, current: WorkloadState) -> list[str]:
    """Returns the labels of held fields that a proposal lowers."""
    held = {fields.QUANTITY_OF_NAME[name] for name in declined.holds if name in fields.QUANTITY_OF_NAME}
    return [fields.label(path) for path in _lowered_paths(proposal, current) if path[2] in held]


def _lowered_paths(proposal: Proposal, current: WorkloadState) -> list[fields.Path]:
    """Returns the quantities of containers that a proposal lowers, in order."""
    before = fields.all_fields(current)
    return [
        path
        for path, value in sorted(fields.diff(current, proposal.target).items())
        if fields.is_quantity(path)
        and value is not None
        and before.get(path) is not None
        and value < before[path]
    ]
