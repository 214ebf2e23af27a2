"""Kubernetes quantities, parsed and printed as apimachinery's resource.Quantity does.

Source of the rules: k8s.io/apimachinery/pkg/api/resource/quantity.go (ParseQuantity,
CanonicalizeBytes): nano precision rounded away from zero, binary values capped at 2^63-1, canonical
form with no fraction and the largest suffix that keeps it exact, an exponent above "E".
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_UP, Context, Decimal
from typing import Literal

from perfopt.errors import InvalidInputError

_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_SUFFIX = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY_SUFFIX = ["", *_BINARY]
_FORM = re.compile(
    r"(?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+))(?P<suffix>[KMGTPE]i|[numkMGTPE]|[eE][+-]?\d{1,9}|)",
    re.ASCII,
)
_MAX = Decimal(2**63 - 1)
_NANO = Decimal("1e-9")
_EXACT = Context(prec=400)
_SINGLE_PRECISION = 2.0**-23
_MAX_EXPONENT = 64  # a larger one is a mistake; a smaller one than -64 rounds to a nano all the same
_MAX_LENGTH = 100

Format = Literal["binary_si", "decimal_si", "decimal_exponent"]


def _split(text: str) -> tuple[Decimal, Format]:
    match = _FORM.fullmatch(text) if len(text) <= _MAX_LENGTH else None
    if match is None:
        raise InvalidInputError(
            f"{text[:_MAX_LENGTH]!r} is not a Kubernetes quantity.",
            remedy="Write a number with an optional suffix, for example 300m, 0.5, 1Gi or 1e3.",
        )
    number, suffix = Decimal(match["number"]), match["suffix"]
    if suffix in _BINARY:
        return _EXACT.multiply(number, Decimal(1024) ** _BINARY[suffix]), "binary_si"
    if suffix in _DECIMAL:
        return number.scaleb(_DECIMAL[suffix], _EXACT), "decimal_si"
    exponent = max(-_MAX_EXPONENT, int(suffix[1:]))
    if exponent > _MAX_EXPONENT:
        raise InvalidInputError(f"{text!r} is out of range.", remedy=f"Give at most 1e{_MAX_EXPONENT}.")
    return number.scaleb(exponent, _EXACT), "decimal_exponent"


def _bound(value: Decimal, form: Format) -> Decimal:
    capped = min(abs(value), _MAX) if form == "binary_si" else abs(value)
    magnitude = capped.quantize(_NANO, rounding=ROUND_UP, context=_EXACT)
    return magnitude.copy_sign(value) if magnitude else Decimal(0)


def parse_quantity(text: str) -> Decimal:
    """Returns the exact value of a quantity, in its base unit (cores, bytes, items).

    Raises:
        InvalidInputError: the text is not a quantity.
    """
    return _bound(*_split(text))


def canonical_quantity(text: str) -> str:
    """Returns the spelling that the Kubernetes API would give back ("0.5" as "500m", "1024Mi" as "1Gi")."""
    value, form = _split(text)
    return _print(_bound(value, form), form)


def _print(value: Decimal, form: Format) -> str:
    if value == 0:
        return "0"
    if form == "binary_si" and abs(value) >= 1024 and value == value.to_integral_value():
        number, exponent = int(value), 0
        while number % 1024 == 0 and exponent < len(_BINARY):
            number, exponent = number // 1024, exponent + 1
        return f"{number}{_BINARY_SUFFIX[exponent]}"
    digits = int(value.scaleb(9, _EXACT))
    exponent = -9
    while digits % 1000 == 0:
        digits, exponent = digits // 1000, exponent + 3
    if form == "decimal_exponent" or exponent not in _DECIMAL_SUFFIX:
        return f"{digits}e{exponent}" if exponent else str(digits)
    return f"{digits}{_DECIMAL_SUFFIX[exponent]}"


def format_cpu(cores: float) -> str:
    """Prints cores as Kubernetes stores CPU: whole millicores, rounded up ("300m", "2").

    What single precision adds to a whole number of millicores (0.3 as 0.30000001) does not count.
    """
    millicores = math.ceil(cores * 1000 * (1 - _SINGLE_PRECISION) - 1e-6)
    return _print(Decimal(millicores).scaleb(-3), "decimal_si")


def format_memory(size_bytes: float) -> str:
    """Prints bytes exactly, rounded up to a whole byte: binary where it divides ("800Mi"), else "1G"."""
    whole = Decimal(math.ceil(size_bytes))
    return _print(whole, "binary_si" if whole % 1024 == 0 else "decimal_si")


def parse_cpu(text: str, *, field: str | None = None) -> float:
    """Parses a CPU quantity to cores; raises InvalidInputError on nonsense or a negative value."""
    return _non_negative(text, field)


def parse_memory(text: str, *, field: str | None = None) -> int:
    """Parses a memory quantity to bytes, rounded up; raises InvalidInputError as parse_cpu does."""
    return math.ceil(_non_negative(text, field))


def _non_negative(text: str, field: str | None) -> float:
    try:
        value = parse_quantity(text)
    except InvalidInputError as error:
        raise InvalidInputError(error.message, field=field, remedy=error.remedy) from error
    if value < 0:
        raise InvalidInputError(f"{text!r} is negative.", field=field, remedy="Give zero or more.")
    return float(value)


@dataclass(frozen=True, slots=True)
class ContainerQuantity:
    """One of the four quantities that a container has.

    Attributes:
        name: in printed states ("cpu_request").
        attribute: of `Container`, with its unit ("cpu_request_cores").
        parse, print: from and to a Kubernetes string.
    """

    name: str
    attribute: str
    parse: Callable[[str], float]
    print: Callable[[float], str]


CONTAINER_QUANTITIES = (
    ContainerQuantity("cpu_request", "cpu_request_cores", parse_cpu, format_cpu),
    ContainerQuantity("memory_request", "memory_request_bytes", parse_memory, format_memory),
    ContainerQuantity("cpu_limit", "cpu_limit_cores", parse_cpu, format_cpu),
    ContainerQuantity("memory_limit", "memory_limit_bytes", parse_memory, format_memory),
)
