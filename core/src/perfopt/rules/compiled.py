"""Packs with their expressions compiled: what is run. Compiling is also the check of a pack's rules."""

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from perfopt.config.paths import KeyPath
from perfopt.errors import InvalidInputError
from perfopt.rules.errors import RulePackError
from perfopt.rules.fields import canonical, unit
from perfopt.rules.language import RuleExpression, RuleLanguage
from perfopt.rules.pack import PackParameter, PackRule, RuleAction, RulePack
from perfopt.rules.units import CORES, is_literal, parse_literal, parse_parameter
from perfopt.rules.windows import check_defer

Bound = RuleExpression | float | None
_RULE_NAME = re.compile(r"[a-z][a-z0-9_]*")
_KEY = re.compile(r"[a-z0-9]([a-z0-9._/-]*[a-z0-9])?")
_NOT_IN_SAFETY = ("round", "set_class", "prefer")
_NOT_FOR_CONTAINERS = ("set_class", "prefer", "defer")


class RuleProblemError(Exception):
    """What is wrong with a rule.

    Attributes:
        path: from the rule to the key at fault.
        error: says what and what to write instead.
    """

    def __init__(self, path: KeyPath, error: InvalidInputError) -> None:
        super().__init__(str(error))
        self.path = path
        self.error = error


@dataclass(frozen=True, slots=True)
class CompiledChange:
    """A clamp or round, compiled.

    Attributes:
        fields: by their canonical names, all of one unit.
        to, direction: of a round; None of a clamp.
    """

    kind: str
    fields: tuple[str, ...]
    unit: str
    at_least: Bound = None
    at_most: Bound = None
    to: Bound = None
    direction: str = "up"


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule whose expressions are compiled; `others` are its actions that change no field."""

    pack: RulePack
    rule: PackRule
    when: RuleExpression | None
    changes: tuple[CompiledChange, ...]
    others: tuple[RuleAction, ...]


@dataclass(frozen=True, slots=True)
class CompiledPack:
    """A pack whose rules are compiled."""

    pack: RulePack
    rules: tuple[CompiledRule, ...]

    @property
    def metrics(self) -> frozenset[str]:
        """Names of the metrics that its expressions read, beside those read for every analysis."""
        bounds = [b for r in self.rules for c in r.changes for b in (c.at_least, c.at_most, c.to)]
        expressions = [*(rule.when for rule in self.rules), *bounds]
        read = [variable for e in expressions if isinstance(e, RuleExpression) for variable in e.reads]
        return frozenset(variable.metric for variable in read if variable.metric)


class RuleCompiler:
    """Compiles the rules of one pack."""

    def __init__(self, pack: RulePack) -> None:
        self._pack = pack
        self._languages: dict[tuple[str, bool], RuleLanguage] = {}

    def compile(self, rule: PackRule) -> CompiledRule:
        """Compiles one rule.

        Raises:
            RuleProblemError: anything that is wrong with it.
        """
        self._check_name(rule)
        self._check_actions(rule)
        language = self._language(rule)
        when = (
            None
            if rule.when is None
            else _at(("when",), lambda: language.compile(rule.when or "", into="bool"))
        )
        changes = []
        for number, action in enumerate(rule.actions):
            change = self._change(action, rule, language, ("actions", number))
            changes += [change] if change is not None else []
        others = tuple(action for action in rule.actions if action.kind not in ("clamp", "round"))
        return CompiledRule(self._pack, rule, when, tuple(changes), others)

    def _language(self, rule: PackRule) -> RuleLanguage:
        key = (rule.scope, rule.prepares)
        if key not in self._languages:
            self._languages[key] = RuleLanguage(
                rule.scope, prepares=rule.prepares, parameters=self._pack.parameters
            )
        return self._languages[key]

    def _check_name(self, rule: PackRule) -> None:
        if not _RULE_NAME.fullmatch(rule.name):
            _fail(("name",), f"{rule.name!r} is no name of a rule.", "Use a-z, 0-9 and _, a letter first.")
        if not rule.reason.strip():
            _fail(("reason",), "The reason is empty.", "Write one sentence for the operator.")

    def _check_actions(self, rule: PackRule) -> None:
        if not rule.actions:
            _fail(("actions",), "The rule does nothing.", "Give it an action.")
        for number, action in enumerate(rule.actions):
            path: KeyPath = ("actions", number)
            given = [name for name in action.__struct_fields__ if getattr(action, name) is not None]
            if len(given) != 1:
                _fail(
                    path, f"{len(given)} actions stand where one does.", "Start each with a dash of its own."
                )
            self._check_place(rule, action.kind, (*path, action.kind))
            _at((*path, action.kind), lambda action=action: self._check_action(action))

    def _check_place(self, rule: PackRule, kind: str, path: KeyPath) -> None:
        if self._pack.safety and kind in _NOT_IN_SAFETY:
            _fail(path, f"A safety pack bounds, and {kind} does not.", "Put it into a pack of its own.")
        if rule.scope == "containers" and kind in _NOT_FOR_CONTAINERS:
            _fail(path, f"{kind} is for the whole workload.", "Leave `for: containers` out.")
        if rule.prepares and kind not in ("set_class", "annotate"):
            _fail(
                path,
                f"{kind} comes after the strategy, and set_class before it.",
                "Write two rules.",
            )

    def _check_action(self, action: RuleAction) -> None:
        if action.prefer is not None and not 0 < action.prefer.weight <= 100:
            raise RulePackError("A weight is more than 0 and at most 100.")
        if action.annotate is not None:
            wrong = next((key for key in action.annotate if not _KEY.fullmatch(key)), None)
            if wrong is not None or not action.annotate:
                raise RulePackError(f"{wrong or ''!r} is no key.", remedy="Use a-z, 0-9 and ._/- between.")
        if action.defer is not None:
            check_defer(action.defer, self._pack.parameters)

    def _change(
        self, action: RuleAction, rule: PackRule, language: RuleLanguage, at: KeyPath
    ) -> CompiledChange | None:
        spec = action.clamp if action.clamp is not None else action.round
        if spec is None:
            return None
        path = (*at, action.kind)
        fields, unit = _fields(spec.fields, rule.scope, (*path, "fields"))

        def bound(name: str) -> Bound:
            value = getattr(spec, name)
            return None if value is None else _at((*path, name), lambda: _bound(value, unit, language))

        if action.round is not None:
            to = bound("to")
            if isinstance(to, float | int) and to <= 0:
                _fail((*path, "to"), "A multiple is more than 0.", "Write a quantity, such as 50m.")
            return CompiledChange("round", fields, unit, to=to, direction=action.round.direction)
        low, high = bound("at_least"), bound("at_most")
        if low is None and high is None:
            _fail(path, "The clamp has no bound.", "Give at_least, at_most or both.")
        if isinstance(low, float | int) and isinstance(high, float | int) and low > high:
            _fail(path, "at_least is above at_most.", "Swap them.")
        return CompiledChange("clamp", fields, unit, at_least=low, at_most=high)


def compile_pack(pack: RulePack) -> CompiledPack:
    """Compiles a pack that was read before.

    Raises:
        RuleProblemError: a rule is wrong.
    """
    compiler = RuleCompiler(pack)
    return CompiledPack(pack, tuple(compiler.compile(rule) for rule in pack.rules))


def check_parameter(declared: PackParameter) -> PackParameter:
    """Returns a parameter with its default in its type.

    Raises:
        InvalidInputError: a default of another type, or a direction that the type does not have.
    """
    ordered = declared.type in ("cpu", "memory", "duration", "number", "integer")
    if declared.tighten == "more" and declared.type != "texts":
        raise RulePackError('Only texts can be tightened to "more".', remedy="Use higher or lower.")
    if declared.tighten in ("higher", "lower") and not ordered:
        raise RulePackError(f"A {declared.type} is neither higher nor lower.", remedy="Leave tighten out.")
    return msgspec.structs.replace(declared, default=parse_parameter(declared, declared.default))


def _fields(given: tuple[str, ...], scope: str, path: KeyPath) -> tuple[tuple[str, ...], str]:
    """Returns the fields of a change by the names that they go by, and their unit."""
    fields = tuple(_at(path, lambda field=field: canonical(field, scope)) for field in given)
    units = {unit(field) for field in fields}
    if len(units) != 1:
        _fail(path, "The fields have not one unit.", "Write a clamp for CPU and one for memory.")
    return fields, units.pop()


def _bound(value: Any, unit: str, language: RuleLanguage) -> RuleExpression | float:
    if is_literal(value):
        return parse_literal(value, unit)
    return language.compile(str(value), into="number", unit=unit if unit in (CORES, "bytes") else None)


def _at(path: KeyPath, work: Any) -> Any:
    try:
        return work()
    except InvalidInputError as error:
        raise RuleProblemError(path, error) from error


def _fail(path: KeyPath, problem: str, remedy: str) -> None:
    raise RuleProblemError(path, RulePackError(problem, remedy=remedy))
