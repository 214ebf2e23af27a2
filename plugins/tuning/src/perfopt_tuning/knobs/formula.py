"""Formulas of a catalogue: arithmetic on named facts, parsed by Python's own parser and nothing more.

Allowed are numbers, names, + - * / // %, comparisons, `and`, `or`, `not`, `a if b else c`, and the
functions ceil, floor, round, min, max, abs, known(fact), and last(metric), p99(metric), peak(metric),
mean(metric) of a metric's history. Anything else is refused when the catalogue is read.
"""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, Protocol

Value = float | str | bool

OF_NUMBERS: Mapping[str, Callable[..., float]] = {
    "ceil": lambda value: math.ceil(value - 1e-9),  # 2.0000000001 cores of single precision are two
    "floor": lambda value: math.floor(value + 1e-9),
    "round": round,
    "min": min,
    "max": max,
    "abs": abs,
}
OF_METRICS = ("last", "p99", "peak", "mean")
CONSTANTS: Mapping[str, float] = {"KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}
_OPERATORS: Mapping[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_MAX_LENGTH = 1000


class FormulaError(Exception):
    """A formula is wrong; the message is one sentence for who wrote it."""


class MissingFactError(Exception):
    """A formula needs a fact that is not known; the message is the fact's name."""


class FormulaFacts(Protocol):
    """FormulaFacts that formulas may use."""

    def fact(self, name: str) -> Value | None:
        """Returns a fact by name, None where it is not known."""
        ...

    def measured(self, function: str, metric: str) -> float | None:
        """Returns last, p99, peak or mean of a metric, None without a sample."""
        ...


class KnobFormula:
    """A checked formula.

    Args:
        text: the formula.

    Raises:
        FormulaError: it is not one.
    """

    __slots__ = ("_tree", "text")

    def __init__(self, text: str) -> None:
        self.text = " ".join(text.split())
        if len(self.text) > _MAX_LENGTH:
            raise FormulaError(f"A formula has at most {_MAX_LENGTH} characters.")
        try:
            self._tree = ast.parse(self.text, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise FormulaError(f"{self.text!r} is not a formula.") from error
        for node in ast.walk(self._tree):
            _check(node)

    def __reduce__(self) -> tuple[type["KnobFormula"], tuple[str]]:
        return KnobFormula, (self.text,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KnobFormula) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    @property
    def calls(self) -> tuple[tuple[str, str], ...]:
        """The (function, metric) pairs whose history it uses, in its order."""
        return tuple(
            dict.fromkeys(
                (_function(node), _name(node.args[0]))
                for node in ast.walk(self._tree)
                if isinstance(node, ast.Call) and _function(node) in OF_METRICS
            )
        )

    @property
    def metrics(self) -> frozenset[str]:
        """The metrics whose history it uses."""
        return frozenset(metric for _, metric in self.calls)

    @property
    def names(self) -> frozenset[str]:
        """The facts it uses."""
        taken: set[int] = set()
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Call):
                taken.add(id(node.func))
                if _function(node) in OF_METRICS:
                    taken.add(id(node.args[0]))
        return frozenset(
            node.id
            for node in ast.walk(self._tree)
            if isinstance(node, ast.Name) and id(node) not in taken and node.id not in CONSTANTS
        )

    def value(self, facts: FormulaFacts) -> Value:
        """Computes it.

        Raises:
            MissingFactError: a fact that it comes to is not known.
            FormulaError: a division by zero, or numbers and text mixed.
        """
        try:
            result: Value = _value(self._tree, facts)
        except (ZeroDivisionError, TypeError, OverflowError, ValueError) as error:
            raise FormulaError(f"{self.text} cannot be computed: {error}.") from error
        return result


def _check(node: ast.AST) -> None:
    if isinstance(node, ast.Call):
        _check_call(node)
    elif isinstance(node, ast.Constant):
        if not isinstance(node.value, int | float | str) or isinstance(node.value, bool):
            raise FormulaError(f"{node.value!r} is neither a number nor text.")
    elif not isinstance(
        node,
        ast.Name | ast.expr_context | ast.BinOp | ast.UnaryOp | ast.BoolOp | ast.Compare | ast.IfExp
        | ast.USub | ast.UAdd | ast.Not | ast.And | ast.Or,
    ) and type(node) not in _OPERATORS:  # fmt: skip
        raise FormulaError(f"{type(node).__name__} has no place in a formula.")


def _check_call(node: ast.Call) -> None:
    name = _function(node)
    if name not in OF_NUMBERS and name not in OF_METRICS and name != "known":
        known = ", ".join((*OF_NUMBERS, *OF_METRICS, "known"))
        raise FormulaError(f"There is no function {name!r}: there are {known}.")
    if node.keywords or not node.args:
        raise FormulaError(f"{name} takes arguments without names.")
    if (name in OF_METRICS or name == "known") and (
        len(node.args) != 1 or not isinstance(node.args[0], ast.Name)
    ):
        raise FormulaError(f"{name} takes one name.")


def _function(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _value(node: ast.AST, facts: FormulaFacts) -> Any:
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            return _fact(node.id, facts)
        case ast.Call():
            return _call(node, facts)
        case ast.BinOp():
            return _OPERATORS[type(node.op)](_value(node.left, facts), _value(node.right, facts))
        case ast.UnaryOp():
            return _signed(node, facts)
        case ast.BoolOp():
            parts = (bool(_value(part, facts)) for part in node.values)
            return all(parts) if isinstance(node.op, ast.And) else any(parts)
        case ast.Compare():
            return _compared(node, facts)
        case ast.IfExp():
            return _value(node.body if _value(node.test, facts) else node.orelse, facts)
    raise FormulaError(f"{type(node).__name__} has no place in a formula.")


def _fact(name: str, facts: FormulaFacts) -> Value:
    if name in CONSTANTS:
        return CONSTANTS[name]
    value = facts.fact(name)
    if value is None:
        raise MissingFactError(name)
    return value


def _call(node: ast.Call, facts: FormulaFacts) -> Any:
    name = _function(node)
    if name == "known":
        return facts.fact(_name(node.args[0])) is not None
    if name in OF_METRICS:
        measured = facts.measured(name, _name(node.args[0]))
        if measured is None:
            raise MissingFactError(_name(node.args[0]))
        return measured
    return OF_NUMBERS[name](*(_value(argument, facts) for argument in node.args))


def _signed(node: ast.UnaryOp, facts: FormulaFacts) -> Any:
    value = _value(node.operand, facts)
    if isinstance(node.op, ast.Not):
        return not value
    return -value if isinstance(node.op, ast.USub) else value


def _compared(node: ast.Compare, facts: FormulaFacts) -> bool:
    left = _value(node.left, facts)
    for operation, right_node in zip(node.ops, node.comparators, strict=True):
        right = _value(right_node, facts)
        if not _OPERATORS[type(operation)](left, right):
            return False
        left = right
    return True
