"""Runs rules on a proposal. Pure; the same rules run on the proposals of replays.

Order, always: rules that set the class, before the strategy; changes of ordinary packs; changes of safety
packs, until they change nothing more; then what judges the outcome (veto, approval, defer, annotate, prefer).
Within each: by layer (shipped, plugin, installation, namespace), priority and name of the pack, then as
written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import msgspec

from perfopt.domain.recommendation import Declined, Reason
from perfopt.domain.rules import ApplyConditions, FiredRule, TimeWindow
from perfopt.domain.workload import WorkloadState
from perfopt.plugin.context import AnalysisContext
from perfopt.plugin.strategy import Proposal
from perfopt.rules.changes import changed_container, changed_state
from perfopt.rules.compiled import Bound, CompiledPack, CompiledRule
from perfopt.rules.facts import RuleFacts
from perfopt.rules.fields import changes, is_knob
from perfopt.rules.knobs import put_into_force
from perfopt.rules.language import UNKNOWN, RuleExpression
from perfopt.rules.pack import DeferAction, RuleAction, VetoAction
from perfopt.rules.windows import allowed, intersection

_MAX_ROUNDS = 4  # of safety packs: bounds that do not settle by then contradict each other


@dataclass(frozen=True, slots=True)
class ActivePack:
    """A pack as it holds for one workload.

    Attributes:
        parameters: name, with "params." before it, to value.
        exchange: whose sessions its rules speak of.
    """

    compiled: CompiledPack
    parameters: Mapping[str, Any]
    exchange: str | None = None


def folded(rule: CompiledRule, pack: ActivePack) -> CompiledRule:
    """Returns a rule whose bounds that depend on parameters alone are numbers."""

    def number(bound: Bound) -> Bound:
        if not isinstance(bound, RuleExpression) or bound.reads:
            return bound
        value = bound.fixed_value(pack.parameters)
        return bound if value is UNKNOWN else float(value)

    changes = tuple(
        replace(c, at_least=number(c.at_least), at_most=number(c.at_most), to=number(c.to))
        for c in rule.changes
    )
    return replace(rule, changes=changes)


@dataclass(frozen=True)
class RuledProposal:
    """A proposal after the rules, what they did, and what they ask of whoever applies it."""

    proposal: Proposal
    rules: tuple[FiredRule, ...] = ()
    conditions: ApplyConditions = field(default_factory=ApplyConditions)


@dataclass(frozen=True, slots=True)
class _WorkloadRule:
    """A rule with the pack it is from, as it holds for the workload."""

    active: ActivePack
    compiled: CompiledRule


@dataclass
class _RuleRun:
    """One proposal on its way through the rules."""

    facts: RuleFacts
    fired: list[FiredRule] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)
    judged: list[tuple[_WorkloadRule, str | None]] = field(default_factory=list)

    def holds(self, bound: _WorkloadRule) -> bool:
        """Tells whether a rule's condition holds for the facts' present container and target."""
        self.facts.exchange = bound.active.exchange
        when = bound.compiled.when
        if when is None:
            return True
        value = when.value(self.facts, bound.active.parameters)
        return bound.compiled.rule.when_unknown == "fire" if value is UNKNOWN else bool(value)

    def change(self, bound: _WorkloadRule) -> bool:
        """Tries a rule that changes the target; tells whether it did."""
        before = self.facts.target
        moved = (
            self._containers(bound) if bound.compiled.rule.scope == "containers" else self._workload(bound)
        )
        if not moved:
            return False
        if bound.compiled.others:
            new = [
                (bound, name) for name in moved if not any(b is bound and n == name for b, n in self.judged)
            ]
            self.judged += new
        self._record(bound, before)
        return True

    def _containers(self, bound: _WorkloadRule) -> list[str | None]:
        """Changes the containers for which a rule holds; returns the names of those that moved."""
        facts, evaluate, moved = self.facts, self._evaluate(bound), list[str | None]()
        containers = list(facts.target.containers)
        for number, container in enumerate(containers):
            facts.container = container
            if not self.holds(bound):
                continue
            before = facts.target
            for change in bound.compiled.changes:
                if all(is_knob(name) for name in change.fields):
                    facts.target = changed_state(facts.target, change, evaluate, container.name)
                else:
                    facts.container = changed_container(facts.container, change, evaluate)
            if facts.container is not container or facts.target is not before:
                moved.append(container.name)
                containers[number] = facts.container
        if moved:
            facts.target = msgspec.structs.replace(facts.target, containers=tuple(containers))
        return moved

    def _workload(self, bound: _WorkloadRule) -> list[str | None]:
        """Changes the workload's own fields; returns [None] where they moved."""
        before = self.facts.target
        if not self.holds(bound):
            return []
        for change in bound.compiled.changes:
            self.facts.target = changed_state(self.facts.target, change, self._evaluate(bound))
        return [] if self.facts.target is before else [None]

    def _evaluate(self, bound: _WorkloadRule) -> Any:
        def value(expression: RuleExpression) -> Any:
            return expression.value(self.facts, bound.active.parameters)

        return value

    def _record(self, bound: _WorkloadRule, before: WorkloadState) -> None:
        rule, kind = bound.compiled.rule, "/".join(dict.fromkeys(c.kind for c in bound.compiled.changes))
        made = [
            self._fired(bound, kind, change.container, change.field, change.before, change.after)
            for change in changes(before, self.facts.target)
        ]
        self.fired += made
        done = ", ".join(
            f"{' '.join(filter(None, (f.container, f.field)))} {f.before} to {f.after}" for f in made
        )
        text = f"{rule.reason.strip().removesuffix('.')}: {done}."
        self.reasons.append(Reason(code=f"rule_{rule.name}", text=text, data=_source(bound)))

    def judge(self, bound: _WorkloadRule) -> None:
        """Tries a rule that changes nothing."""
        rule = bound.compiled.rule
        if rule.scope == "workload":
            self.judged += [(bound, None)] if self.holds(bound) else []
            return
        for container in self.facts.target.containers:
            self.facts.container = container
            self.judged += [(bound, container.name)] if self.holds(bound) else []

    def note(
        self,
        bound: _WorkloadRule,
        kind: str,
        *,
        container: str | None = None,
        field: str | None = None,
        before: Any = None,
        after: Any = None,
    ) -> None:
        """Records what a rule did beside changing the target, and says so in the reasons."""
        self.fired.append(self._fired(bound, kind, container, field, before, after))
        rule = bound.compiled.rule
        self.reasons.append(Reason(code=f"rule_{rule.name}", text=rule.reason.strip(), data=_source(bound)))

    def _fired(
        self,
        bound: _WorkloadRule,
        kind: str,
        container: str | None,
        field: str | None,
        before: Any,
        after: Any,
    ) -> FiredRule:
        pack, rule = bound.compiled.pack, bound.compiled.rule
        return FiredRule(
            pack=pack.name,
            version=pack.version,
            rule=rule.name,
            action=kind,
            reason=rule.reason.strip(),
            container=container,
            field=field,
            before=before,
            after=after,
        )


class RuleSet:
    """The rules that hold for one workload, in order.

    Args:
        packs: in the order of their layers, priorities and names.
        clusters: name of a cluster to its labels.
    """

    def __init__(
        self, packs: Sequence[ActivePack], clusters: Mapping[str, Mapping[str, str]] | None = None
    ) -> None:
        self.packs = tuple(packs)
        self._clusters = clusters or {}
        rules = [_WorkloadRule(pack, folded(rule, pack)) for pack in packs for rule in pack.compiled.rules]
        changing = [bound for bound in rules if bound.compiled.changes]
        self._preparing = [bound for bound in rules if bound.compiled.rule.prepares]
        self._ordinary = [bound for bound in changing if not bound.compiled.pack.safety]
        self._safety = [bound for bound in changing if bound.compiled.pack.safety]
        self._judging = [
            bound for bound in rules if not bound.compiled.changes and not bound.compiled.rule.prepares
        ]

    @property
    def exchanges(self) -> tuple[str, ...]:
        """The exchanges whose sessions the rules ask for."""
        return tuple(dict.fromkeys(pack.exchange for pack in self.packs if pack.exchange is not None))

    def prepared(self, context: AnalysisContext) -> tuple[AnalysisContext, tuple[FiredRule, ...]]:
        """Returns the context that the strategy is to see: with the class that rules set."""
        if not self._preparing:
            return context, ()
        run = _RuleRun(RuleFacts(context, None, self._clusters))
        for bound in self._preparing:
            if run.holds(bound):
                self._set_class(run, bound)
        workload = run.facts.workload
        snapshot = replace(context.snapshot, workload=workload)
        return replace(context, snapshot=snapshot), tuple(run.fired)

    def _set_class(self, run: _RuleRun, bound: _WorkloadRule) -> None:
        for action in bound.compiled.others:
            if action.set_class is not None and action.set_class.to is not run.facts.workload.service_class:
                before = run.facts.workload.service_class
                run.facts.workload = msgspec.structs.replace(
                    run.facts.workload, service_class=action.set_class.to
                )
                run.note(
                    bound, "set_class", field="class", before=before.value, after=action.set_class.to.value
                )

    def apply(self, proposal: Proposal, context: AnalysisContext) -> RuledProposal | Declined:
        """Returns the proposal within the rules, or a veto with its reason."""
        run = _RuleRun(RuleFacts(context, proposal, self._clusters))
        for bound in self._ordinary:
            run.change(bound)
        return self._judged(run, proposal, context)

    def whole(self, proposal: Proposal, context: AnalysisContext) -> RuledProposal | Declined:
        """Returns a proposal merged from several that were ruled, as it may be applied, or a veto.

        The safety packs bound it once more, and what judges an outcome judges the whole: two parts that
        are within a budget each may not be together.
        """
        return self._judged(_RuleRun(RuleFacts(context, proposal, self._clusters)), proposal, context)

    def _judged(
        self, run: _RuleRun, proposal: Proposal, context: AnalysisContext
    ) -> RuledProposal | Declined:
        contradiction = self._bound(run)
        if contradiction is not None:
            return _veto(proposal, VetoAction(), contradiction)
        for bound in self._judging:
            run.judge(bound)
        conditions = _conditions(run, context)
        if isinstance(conditions, Declined):
            return conditions
        if not run.fired:
            return RuledProposal(proposal)
        return RuledProposal(_changed(proposal, run), tuple(run.fired), conditions)

    def bounded(self, proposal: Proposal, context: AnalysisContext) -> RuledProposal | Declined:
        """Returns a proposal within the safety packs alone, which nobody is asked about: one of a replay."""
        run = _RuleRun(RuleFacts(context, proposal, self._clusters))
        contradiction = self._bound(run)
        if contradiction is not None:
            return _veto(proposal, VetoAction(), contradiction)
        return (
            RuledProposal(_changed(proposal, run), tuple(run.fired)) if run.fired else RuledProposal(proposal)
        )

    def _bound(self, run: _RuleRun) -> str | None:
        """Runs the safety packs until they change nothing; says which never do."""
        moving: list[_WorkloadRule] = []
        for _ in range(_MAX_ROUNDS):
            moving = [bound for bound in self._safety if run.change(bound)]
            if not moving:
                return None
        names = ", ".join(f"{bound.compiled.pack.name}/{bound.compiled.rule.name}" for bound in moving)
        return f"No state keeps the bounds of all safety rules: {names} contradict each other."


def _changed(proposal: Proposal, run: _RuleRun) -> Proposal:
    target, current = run.facts.target, run.facts.current
    if msgspec.structs.replace(target, basis=current.basis) == current:
        target = current  # what nobody changes rests on what it rested on
    target = put_into_force(proposal, target)
    reasons = (*proposal.reasons, *run.reasons)
    if target == proposal.target:
        return msgspec.structs.replace(proposal, reasons=reasons)
    return msgspec.structs.replace(
        proposal,
        target=target,
        reasons=reasons,
        description=f"{proposal.description} {_in_force(proposal.target, target)}",
        no_change_needed=target == current,
    )


def _in_force(before: WorkloadState, after: WorkloadState) -> str:
    held = ", ".join(
        " ".join(filter(None, (change.container, _words(change.field), f"at {change.after}")))
        for change in changes(before, after)
    )
    return f"Rules then hold {held}."


def _words(field: str) -> str:
    return field if "." in field else field.replace("_", " ")


def _conditions(run: _RuleRun, context: AnalysisContext) -> ApplyConditions | Declined:
    """Carries out what rules without changes ask for, vetoes first."""
    assert run.facts.proposal is not None
    asked = [(bound, name, action) for bound, name in run.judged for action in bound.compiled.others]
    for bound, name, action in asked:
        if action.veto is not None:
            return _veto(run.facts.proposal, action.veto, _why(bound, name))
    conditions = ApplyConditions()
    for bound, name, action in asked:
        found = _asked(run, bound, name, action, conditions, context)
        if isinstance(found, Declined):
            return found
        conditions = found
    return conditions


def _asked(
    run: _RuleRun,
    bound: _WorkloadRule,
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
    run: _RuleRun, bound: _WorkloadRule, defer: DeferAction, so_far: ApplyConditions, context: AnalysisContext
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
        return _veto(run.facts.proposal, VetoAction(), text)
    run.note(bound, "defer", field="not_before", after=_instant(both[0].start))
    return msgspec.structs.replace(so_far, allowed_windows=both)


def _instant(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


def _veto(proposal: Proposal, veto: VetoAction, reason: str) -> Declined:
    return Declined(optimization_type=proposal.optimization_type, code=veto.code, reason=reason)


def _why(bound: _WorkloadRule, container: str | None) -> str:
    rule = bound.compiled.rule
    where = f" for the container {container}" if container else ""
    return f"{rule.reason.strip()} (rule {bound.compiled.pack.name}/{rule.name}{where})"


def _source(bound: _WorkloadRule) -> dict[str, Any]:
    return {"pack": bound.compiled.pack.name, "version": bound.compiled.pack.version}
