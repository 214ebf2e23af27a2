"""What rules that change nothing ask for: a veto, approval, a later time, a preference or a note."""

from datetime import datetime

import msgspec

from perfopt.domain.recommendation import Declined
from perfopt.domain.rules import ApplyConditions, TimeWindow
from perfopt.plugin.context import AnalysisContext
from perfopt.plugin.strategy import Proposal
from perfopt.rules.active import WorkloadRule
from perfopt.rules.pack import DeferAction, RuleAction, VetoAction
from perfopt.rules.run import RuleRun
from perfopt.rules.windows import allowed, intersection


def apply_conditions(run: RuleRun, context: AnalysisContext) -> ApplyConditions | Declined:
    """Carries out what rules without changes ask for, vetoes first."""
    assert run.facts.proposal is not None
    actions = [(bound, name, action) for bound, name in run.judged for action in bound.compiled.others]
    for bound, name, action in actions:
        if action.veto is not None:
            return veto(run.facts.proposal, action.veto, _why(bound, name))
    so_far = ApplyConditions()
    for bound, name, action in actions:
        narrowed = _narrowed(run, bound, name, action, so_far, context)
        if isinstance(narrowed, Declined):
            return narrowed
        so_far = narrowed
    return so_far


def _narrowed(
    run: RuleRun,
    bound: WorkloadRule,
    name: str | None,
    action: RuleAction,
    so_far: ApplyConditions,
    context: AnalysisContext,
) -> ApplyConditions | Declined:
    if action.require_approval is not None:
        run.note(bound, "require_approval", container=name)
        return msgspec.structs.replace(so_far, requires_approval=True)
    if action.prefer is not None:
        weight = so_far.preference * action.prefer.weight
        run.note(bound, "prefer", before=so_far.preference, after=weight)
        return msgspec.structs.replace(so_far, preference=weight)
    if action.annotate is not None:
        for key, text in action.annotate.items():
            run.note(bound, "annotate", container=name, field=key, after=text)
        return msgspec.structs.replace(so_far, annotations={**so_far.annotations, **action.annotate})
    assert action.defer is not None
    return _deferred(run, bound, action.defer, so_far, context)


def _deferred(
    run: RuleRun, bound: WorkloadRule, defer: DeferAction, so_far: ApplyConditions, context: AnalysisContext
) -> ApplyConditions | Declined:
    """Narrows the windows. Where they can't be known, a person has to agree instead."""
    start, end = context.now, context.now + context.validity
    windows = allowed(defer, bound.active.parameters, context.sessions, start, end)
    if windows is None:
        run.note(bound, "require_approval")
        return msgspec.structs.replace(so_far, requires_approval=True)
    before = so_far.allowed_windows or (TimeWindow(start=start, end=end),)
    both = intersection(before, windows)
    if not both:
        assert run.facts.proposal is not None
        text = f"{_why(bound, None)} No such time is left before it expires."
        return veto(run.facts.proposal, VetoAction(), text)
    run.note(bound, "defer", field="not_before", after=_instant(both[0].start))
    return msgspec.structs.replace(so_far, allowed_windows=both)


def _instant(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


def veto(proposal: Proposal, action: VetoAction, reason: str) -> Declined:
    """Returns the abstention that a veto comes to."""
    return Declined(optimization_type=proposal.optimization_type, code=action.code, reason=reason)


def _why(bound: WorkloadRule, container: str | None) -> str:
    rule = bound.compiled.rule
    where = f" for the container {container}" if container else ""
    return f"{rule.reason.strip()} (rule {bound.compiled.pack.name}/{rule.name}{where})"
