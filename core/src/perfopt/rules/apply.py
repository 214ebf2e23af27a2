"""Runs rules on a proposal. Pure; the same rules run on the proposals of replays.

Order, always: rules that set the class, before the strategy; changes of ordinary packs; changes of safety
packs, until they change nothing more; then what judges the outcome (veto, approval, defer, annotate, prefer).
Within each: by layer (shipped, plugin, installation, namespace), priority and name of the pack, then as
written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from perfopt.domain.fields import QUANTITY_OF_NAME
from perfopt.domain.recommendation import Declined
from perfopt.domain.rules import ApplyConditions, FiredRule
from perfopt.domain.workload import WorkloadState
from perfopt.plugin.context import AnalysisContext
from perfopt.plugin.strategy import Proposal
from perfopt.rules.active import ActivePack, WorkloadRule, folded
from perfopt.rules.conditions import apply_conditions, veto
from perfopt.rules.contradiction import contradiction
from perfopt.rules.facts import RuleFacts
from perfopt.rules.fields import changes
from perfopt.rules.knobs import put_into_force
from perfopt.rules.pack import VetoAction
from perfopt.rules.run import RuleRun

_MAX_ROUNDS = 4  # of safety packs: bounds that do not settle by then contradict each other


@dataclass(frozen=True)
class RuledProposal:
    """A proposal after the rules, what they did, and what they ask of whoever applies it."""

    proposal: Proposal
    rules: tuple[FiredRule, ...] = ()
    conditions: ApplyConditions = field(default_factory=ApplyConditions)


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
        rules = [WorkloadRule(pack, folded(rule, pack)) for pack in packs for rule in pack.compiled.rules]
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
        run = RuleRun(RuleFacts(context, None, self._clusters))
        for bound in self._preparing:
            if run.holds(bound):
                self._set_class(run, bound)
        workload = run.facts.workload
        snapshot = replace(context.snapshot, workload=workload)
        return replace(context, snapshot=snapshot), tuple(run.fired)

    def _set_class(self, run: RuleRun, bound: WorkloadRule) -> None:
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
        run = RuleRun(RuleFacts(context, proposal, self._clusters))
        for bound in self._ordinary:
            run.change(bound)
        return self._judged(run, proposal, context)

    def whole(self, proposal: Proposal, context: AnalysisContext) -> RuledProposal | Declined:
        """Returns a proposal merged from several that were ruled, as it may be applied, or a veto.

        The safety packs bound it once more, and what judges an outcome judges the whole: two parts that
        are within a budget each may not be together.
        """
        return self._judged(RuleRun(RuleFacts(context, proposal, self._clusters)), proposal, context)

    def _judged(self, run: RuleRun, proposal: Proposal, context: AnalysisContext) -> RuledProposal | Declined:
        opposed = self._bound(run)
        if opposed is not None:
            return _without_state(proposal, opposed)
        for bound in self._judging:
            run.judge(bound)
        conditions = apply_conditions(run, context)
        if isinstance(conditions, Declined):
            return conditions
        if not run.fired:
            return RuledProposal(proposal)
        return RuledProposal(_changed(proposal, run), tuple(run.fired), conditions)

    def bounded(self, proposal: Proposal, context: AnalysisContext) -> RuledProposal | Declined:
        """Returns a proposal within the safety packs alone, which nobody is asked about: one of a replay."""
        run = RuleRun(RuleFacts(context, proposal, self._clusters))
        opposed = self._bound(run)
        if opposed is not None:
            return _without_state(proposal, opposed)
        return (
            RuledProposal(_changed(proposal, run), tuple(run.fired)) if run.fired else RuledProposal(proposal)
        )

    def _bound(self, run: RuleRun) -> str | None:
        """Runs the safety packs until they change nothing; says which never do."""
        moving: list[WorkloadRule] = []
        before = 0
        for _ in range(_MAX_ROUNDS):
            before = len(run.fired)
            moving = [bound for bound in self._safety if run.change(bound)]
            if not moving:
                return None
        return contradiction(moving, run.fired[before:])


def _without_state(proposal: Proposal, opposed: str) -> Declined:
    """Returns that no state is right for a proposal, which then holds what it sizes."""
    names = (
        name
        for name, attribute in QUANTITY_OF_NAME.items()
        if any(getattr(one, attribute) for one in proposal.target.containers)
    )
    return msgspec.structs.replace(veto(proposal, VetoAction(), opposed), holds=tuple(names))


def _changed(proposal: Proposal, run: RuleRun) -> Proposal:
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
