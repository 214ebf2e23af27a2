"""Units of fields and parameters, and the literals that may stand for a value of each."""

import math
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from perfopt.domain.period import parse_duration
from perfopt.domain.quantity import format_cpu, format_memory, parse_cpu, parse_memory
from perfopt.errors import InvalidInputError
from perfopt.rules.pack import PackParameter, ParameterType, ParameterValue

CORES, BYTES, COUNT, PERCENT, NUMBER = "cores", "bytes", "count", "percent", "number"
FIELD_UNITS = {
    "cpu_request": CORES,
    "cpu_limit": CORES,
    "memory_request": BYTES,
    "memory_limit": BYTES,
    "replicas": COUNT,
    "hpa.min_replicas": COUNT,
    "hpa.max_replicas": COUNT,
    "hpa.target_cpu_utilization_percent": PERCENT,
    "hpa.target_memory_utilization_percent": PERCENT,
    "schedule.min_replicas": COUNT,
}
EXAMPLES = {CORES: "200m or 1.5", BYTES: "64Mi or 2Gi", COUNT: "3", PERCENT: "70", NUMBER: "4 or 62.5"}
_UNIT_OF_TYPE = {"cpu": CORES, "memory": BYTES}
_NUMBER = re.compile(r"\s*[+-]?(\d|\.\d)[\w.+-]*%?\s*")
_BINARY = re.compile(r"[KMGTPE]i\s*$")
_MAX_CORES = 4096.0  # more than any node has: somebody wrote millicores without the m
_MIN_BYTES = 2**20  # less than any process holds: somebody forgot Mi


def is_literal(value: str | int | float) -> bool:
    """Tells a quantity ("200m", 3) from a CEL expression."""
    return not isinstance(value, str) or _NUMBER.fullmatch(value) is not None


def parse_literal(value: str | int | float, unit: str) -> float:
    """Returns a quantity in its unit.

    Raises:
        InvalidInputError: no quantity, negative, or obviously of another unit.
    """
    text = str(value).strip()
    remedy = f"Write a quantity in {unit}, such as {EXAMPLES[unit]}."
    if unit in (COUNT, PERCENT):
        digits = text.removesuffix("%") if unit == PERCENT else text
        if not digits.isdecimal():
            raise InvalidInputError(f"{text!r} is not a whole number.", remedy=remedy)
        return int(digits)
    if unit == NUMBER:
        return _plain_number(text)
    if unit == CORES:
        return _cores(text, remedy)
    size = parse_memory(text)
    if text.endswith("m") or 0 < size < _MIN_BYTES:
        raise InvalidInputError(f"{text!r} is less than 1Mi of memory.", remedy=remedy)
    return size


def _plain_number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number < 0:
        raise InvalidInputError(
            f"{text!r} is not a number.",
            remedy="Write a number in the knob's own unit (docs/reference/tuning.md), such as 4 or 62.5.",
        )
    return number


def _cores(text: str, remedy: str) -> float:
    if _BINARY.search(text):
        raise InvalidInputError(f"{text!r} is a quantity of memory, not of CPU.", remedy=remedy)
    cores = parse_cpu(text)
    if cores > _MAX_CORES:
        raise InvalidInputError(f"{text!r} are more cores than any node has.", remedy=remedy)
    return cores


def parse_parameter(declared: PackParameter, value: Any) -> ParameterValue:
    """Returns the value of a parameter in its type: cores, bytes, timedelta, ... (lists as tuples).

    Args:
        declared: the parameter.
        value: from YAML, or text of an environment variable or annotation.

    Raises:
        InvalidInputError: not of its type.
    """
    parsed: ParameterValue = _PARSERS[declared.type](value)
    if declared.values and parsed not in declared.values:
        raise InvalidInputError(
            f"{value!r} is none of the values allowed.", remedy=f"Allowed: {', '.join(declared.values)}."
        )
    return parsed


def show_parameter(declared: PackParameter, value: ParameterValue) -> str:
    """Prints a value as a user would write it."""
    if isinstance(value, tuple):
        return ", ".join(value)
    if isinstance(value, timedelta):
        return f"{round(value.total_seconds() / 60)}m"
    if declared.type == "cpu" and isinstance(value, float | int):
        return format_cpu(value)
    if declared.type == "memory" and isinstance(value, float | int):
        return format_memory(value)
    return (
        str(value).lower() if isinstance(value, bool) else f"{value:g}" if _is_number(value) else str(value)
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def unit_of(kind: ParameterType) -> str | None:
    """Returns the unit that clamps of fields are checked for, if the type has one."""
    return _UNIT_OF_TYPE.get(kind)


def _quantity(unit: str) -> Callable[[Any], float]:
    def parse(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise InvalidInputError(f"{value!r} is not a quantity.", remedy=f"Write {EXAMPLES[unit]}.")
        return float(parse_literal(value, unit))

    return parse


def _duration(value: Any) -> timedelta:
    if str(value).strip() in ("0", "0m", "0s"):
        return timedelta(0)
    return parse_duration(str(value))


def _number(value: Any) -> float:
    try:
        if isinstance(value, bool):
            raise TypeError
        return float(value)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"{value!r} is not a number.", remedy="Write a number, such as 1.5."
        ) from error


def _integer(value: Any) -> int:
    number = _number(value)
    if not number.is_integer():
        raise InvalidInputError(f"{value!r} is not a whole number.", remedy="Write a whole number.")
    return int(number)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidInputError(f"{value!r} is not text.", remedy="Put it in quotes.")
    return value.strip()


def _texts(value: Any) -> tuple[str, ...]:
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        raise InvalidInputError(f"{value!r} is not a list of texts.", remedy="Write [one, another].")
    return tuple(text for item in items if (text := _text(item)))


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).strip().lower() in ("true", "false"):
        return str(value).strip().lower() == "true"
    raise InvalidInputError(f"{value!r} is neither true nor false.", remedy="Write true or false.")


_PARSERS: dict[str, Callable[[Any], ParameterValue]] = {
    "cpu": _quantity(CORES),
    "memory": _quantity(BYTES),
    "duration": _duration,
    "number": _number,
    "integer": _integer,
    "text": _text,
    "texts": _texts,
    "boolean": _boolean,
}
