"""One proposal on its way through the rules: what each rule changes, and what it says of it."""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from perfopt.domain.recommendation import Reason
from perfopt.domain.rules import FiredRule
from perfopt.domain.workload import WorkloadState
from perfopt.rules.active import WorkloadRule
from perfopt.rules.changes import changed_container, changed_state
from perfopt.rules.facts import RuleFacts
from perfopt.rules.fields import changes, is_knob
from perfopt.rules.language import UNKNOWN, RuleExpression


@dataclass
class RuleRun:
    """One proposal on its way through the rules."""

    facts: RuleFacts
    fired: list[FiredRule] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)
    judged: list[tuple[WorkloadRule, str | None]] = field(default_factory=list)

    def holds(self, bound: WorkloadRule) -> bool:
        """Tells whether a rule's condition holds for the facts' present container and target."""
        self.facts.exchange = bound.active.exchange
        when = bound.compiled.when
        if when is None:
            return True
        value = when.value(self.facts, bound.active.parameters)
        return bound.compiled.rule.when_unknown == "fire" if value is UNKNOWN else bool(value)

    def change(self, bound: WorkloadRule) -> bool:
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

    def _containers(self, bound: WorkloadRule) -> list[str | None]:
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

    def _workload(self, bound: WorkloadRule) -> list[str | None]:
        """Changes the workload's own fields; returns [None] where they moved."""
        before = self.facts.target
        if not self.holds(bound):
            return []
        for change in bound.compiled.changes:
            self.facts.target = changed_state(self.facts.target, change, self._evaluate(bound))
        return [] if self.facts.target is before else [None]

    def _evaluate(self, bound: WorkloadRule) -> Any:
        def value(expression: RuleExpression) -> Any:
            return expression.value(self.facts, bound.active.parameters)

        return value

    def _record(self, bound: WorkloadRule, before: WorkloadState) -> None:
        rule, kind = bound.compiled.rule, "/".join(dict.fromkeys(c.kind for c in bound.compiled.changes))
        fired = [
            self._fired(bound, kind, change.container, change.field, change.before, change.after)
            for change in changes(before, self.facts.target)
        ]
        self.fired += fired
        values = ", ".join(
            f"{' '.join(filter(None, (f.container, f.field)))} {f.before} to {f.after}" for f in fired
        )
        text = f"{rule.reason.strip().removesuffix('.')}: {values}."
        self.reasons.append(Reason(code=f"rule_{rule.name}", text=text, data=_source(bound)))

    def judge(self, bound: WorkloadRule) -> None:
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
        bound: WorkloadRule,
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
        bound: WorkloadRule,
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


def _source(bound: WorkloadRule) -> dict[str, Any]:
    return {"pack": bound.compiled.pack.name, "version": bound.compiled.pack.version}
