"""Conditions and bounds: CEL, by the project's own library (docs/adr/0010), with our variables and units.

Expressions are checked against typed variables when a pack is read. They have no side effects, no loops but
macros over lists under an iteration budget, and no access to anything but the variables.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from cel_expr_python import cel

from perfopt.domain.quantity import parse_cpu, parse_memory
from perfopt.errors import InvalidInputError
from perfopt.rules.errors import RulePackError
from perfopt.rules.facts import RuleFacts
from perfopt.rules.pack import PackParameter, ParameterValue
from perfopt.rules.units import parse_literal, unit_of
from perfopt.rules.variable import RuleVariable
from perfopt.rules.variables import VARIABLES, variables_for

_TYPES = {
    "double": cel.Type.DOUBLE,
    "int": cel.Type.INT,
    "string": cel.Type.STRING,
    "bool": cel.Type.BOOL,
    "timestamp": cel.Type.TIMESTAMP,
    "list": cel.Type.List(cel.Type.STRING),
    "map": cel.Type.Map(cel.Type.STRING, cel.Type.STRING),
    "duration": cel.Type.DURATION,
}
_KIND_OF_PARAMETER = {
    "cpu": "double",
    "memory": "double",
    "duration": "duration",
    "number": "double",
    "integer": "int",
    "text": "string",
    "texts": "list",
    "boolean": "bool",
}
_ERROR = re.compile(r"ERROR: <input>:(?P<line>\d+):(?P<column>\d+): (?P<text>.*)")
_UNDECLARED = re.compile(r"undeclared reference to '(?P<name>[^']*)'")
_CONTAINER = re.compile(r" \(in container '[^']*'\)")
_NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_STRING = re.compile(r"""("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')""")
_QUANTITY_CALL = re.compile(r"""\b(?P<name>cpu|memory)\(\s*["'](?P<text>[^"']*)["']\s*\)""")
_UNITS = {"cpu": "cores", "memory": "bytes"}
_KNOWN_VALUES = 1000  # of one expression

UNKNOWN = object()
"""The value of an expression that reads something that is not known."""


@dataclass(frozen=True, slots=True)
class RuleExpression:
    """A compiled expression.

    Attributes:
        text: as written.
        reads: the variables it may read.
        parameters: names of the parameters it may read.
        compiled: of the library.
    """

    text: str
    reads: tuple[RuleVariable, ...]
    parameters: tuple[str, ...]
    compiled: Any
    _known: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    def value(self, facts: RuleFacts, parameters: Mapping[str, Any]) -> Any:
        """Returns its value; UNKNOWN where it needs something not known, a key not there or a division by 0.

        Args:
            facts: to read variables from.
            parameters: name, with "params." before it, to value.
        """
        if len(self.reads) == 1 and self.text.strip() == self.reads[0].name:  # most bounds are one variable
            return _number(self.reads[0].read(facts))
        data = self._given(parameters)
        for variable in self.reads:
            read = variable.read(facts)
            if read is not None:
                data[variable.name] = read
        return self._value(data)

    def fixed_value(self, parameters: Mapping[str, Any]) -> Any:
        """Returns the value of an expression that reads parameters only."""
        return self._value(self._given(parameters))

    def _given(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {name: parameters[name] for name in self.parameters}

    def _value(self, data: dict[str, Any]) -> Any:
        """Returns the value for data, computed once for each: states that are merged differ in little."""
        key = _key(data)
        value = self._known.get(key)
        if value is None:
            if len(self._known) >= _KNOWN_VALUES:
                self._known.clear()
            value = self._known[key] = self._evaluated(data)
        return value

    def _evaluated(self, data: dict[str, Any]) -> Any:
        try:
            value = self.compiled.eval(data=data).value()
        except RuntimeError:  # the library's only exception
            return UNKNOWN
        return _number(value)


def _key(value: Any) -> Any:
    """Returns what tells data apart, with the type of each part: 1, 1.0 and True are equal to Python."""
    if isinstance(value, Mapping):
        return tuple((name, _key(part)) for name, part in value.items())
    if isinstance(value, list | tuple):
        return (list, *map(_key, value))
    return type(value), value


def _number(value: Any) -> Any:
    """Returns a truth value or number; most errors come as values, whose text stands where one would."""
    return value if isinstance(value, bool | int | float) else UNKNOWN


class RuleLanguage:
    """Compiles the expressions of one pack for one kind of rule.

    Args:
        scope: of the rules.
        prepares: the rules come before the strategy.
        parameters: of the pack.
    """

    def __init__(self, scope: str, *, prepares: bool, parameters: Mapping[str, PackParameter]) -> None:
        self._variables = variables_for(scope, prepares=prepares)
        self._parameters = parameters
        kinds = {name: variable.kind for name, variable in self._variables.items()}
        kinds |= {f"params.{name}": _KIND_OF_PARAMETER[p.type] for name, p in parameters.items()}
        self._names = tuple(kinds)
        self._environment = cel.NewEnv(
            variables={name: _TYPES[kind] for name, kind in kinds.items()}, functions=_functions()
        )

    def compile(self, text: str, *, into: str, unit: str | None = None) -> RuleExpression:
        """Compiles an expression.

        Args:
            text: of the expression.
            into: the type of its value: "bool" for conditions, "number" for bounds.
            unit: of the field that it bounds: "cores", "bytes" or "count".

        Raises:
            RulePackError: syntax, an unknown variable, a wrong type or unit; says where in the text.
        """
        try:
            compiled = self._environment.compile(text)
        except RuntimeError as error:
            raise self._explained(str(error), text) from error
        kind = compiled.return_type().name().lower()
        if kind not in ({"bool"} if into == "bool" else {"int", "double"}):
            raise RulePackError(
                f"The expression {text!r} gives {kind}, and a {into} is needed.",
                remedy="Compare with something, such as `proposal.replicas > 1`." if into == "bool" else None,
            )
        _check_calls(text)
        names = _names_in(text)
        reads = tuple(variable for name, variable in self._variables.items() if name in names)
        parameters = tuple(name for name in self._parameters if f"params.{name}" in names)
        self._check_unit(text, reads, parameters, unit)
        return RuleExpression(text, reads, tuple(f"params.{name}" for name in parameters), compiled)

    def _check_unit(
        self, text: str, reads: tuple[RuleVariable, ...], parameters: tuple[str, ...], unit: str | None
    ) -> None:
        """Refuses a bound that reads quantities, none of which has the field's unit."""
        units = {variable.name: variable.unit for variable in reads}
        units |= {f"params.{name}": unit_of(self._parameters[name].type) or "" for name in parameters}
        units |= {call["name"] + "()": _UNITS[call["name"]] for call in _QUANTITY_CALL.finditer(text)}
        other = {
            name: measured_in
            for name, measured_in in units.items()
            if measured_in in ("cores", "bytes") and measured_in != unit
        }
        if unit is not None and other and unit not in units.values():
            name, measured_in = next(iter(other.items()))
            raise RulePackError(f"{name} is in {measured_in}, and the field in {unit}: wrong units.")

    def _explained(self, message: str, text: str) -> RulePackError:
        first = _ERROR.search(message)
        if first is None:
            return RulePackError(f"The expression {text!r} cannot be compiled: {message}")
        problem = _CONTAINER.sub("", first["text"]).removesuffix(" [INVALID_ARGUMENT]")
        place = (
            f"character {first['column']}"
            if "\n" not in text.strip()
            else f"line {first['line']}, character {first['column']}"
        )
        return RulePackError(f"{problem} at {place} of {text.strip()!r}.", remedy=self._remedy(problem))

    def _remedy(self, problem: str) -> str:
        undeclared = _UNDECLARED.search(problem)
        if undeclared is None:
            if "no matching overload" in problem and "double" in problem and "int" in problem:
                return "Quantities are doubles: write 1.0 for 1, or double(x) for a count."
            return "See docs/reference/rules.md for what may stand in an expression."
        name = undeclared["name"]
        if name in VARIABLES:
            where = "`for: containers`" if name.startswith("container.") else "a rule without set_class"
            return f"{name} is known in {where} only."
        near = difflib.get_close_matches(name, self._names, n=1)
        if near:
            return f"Did you mean {near[0]}?"
        head = name.partition(".")[0]
        family = [known for known in self._names if known.partition(".")[0] == head]
        known = family or sorted({name.partition(".")[0] for name in self._names})
        return f"Known: {', '.join(known)}."


def plain_parameters(values: Mapping[str, ParameterValue]) -> dict[str, Any]:
    """Returns parameters by the name that expressions read, in the types that the library takes."""
    return {
        f"params.{name}": list(value) if isinstance(value, tuple) else value for name, value in values.items()
    }


def _names_in(text: str) -> set[str]:
    """Returns the dotted names in an expression and their beginnings; more than it reads, never less."""
    names: set[str] = set()
    for name in _NAME.findall(_STRING.sub('""', text)):
        steps = name.split(".")
        names |= {".".join(steps[:length]) for length in range(1, len(steps) + 1)}
    return names


def _check_calls(text: str) -> None:
    """Checks the quantities in cpu("...") and memory("..."), which CEL takes for mere text."""
    for call in _QUANTITY_CALL.finditer(text):
        try:
            parse_literal(call["text"], _UNITS[call["name"]])
        except InvalidInputError as error:
            problem = f"{error.message.removesuffix('.')} at character {call.start() + 1} of {text!r}."
            raise RulePackError(problem, remedy=error.remedy) from error


@lru_cache(maxsize=1)
def _functions() -> list[Any]:
    return [
        cel.FunctionDecl(
            name,
            [cel.Overload(f"{name}_string", cel.Type.DOUBLE, [cel.Type.STRING], impl=implementation)],
        )
        for name, implementation in (
            ("cpu", lambda t: float(parse_cpu(t))),
            ("memory", lambda t: float(parse_memory(t))),
        )
    ]
