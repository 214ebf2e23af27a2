"""Decoding of JSON into an object of a kind: types checked, unknown fields found, quantities respelled."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from perfopt.domain.quantity import canonical_quantity
from perfopt.errors import InvalidInputError
from perfopt_api.simulated.kubernetes.schema import Free, Leaf, ListOf, MapOf, Struct, Type

_QUANTITY = re.compile(r"^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$")
_PATTERN = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
_MICRO = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)$")
_SECONDS = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$")
_MICRO_LAYOUT = "2006-01-02T15:04:05.000000Z07:00"
_OMITTED_WHEN_FALSE = frozenset({"paused", "hostNetwork", "hostPID", "hostIPC", "stdin", "tty"})
_NULLABLE = frozenset({"lastProbeTime", "eventTime", "currentMetrics"})
_OMITTED_WHEN_ZERO = frozenset({"minReadySeconds", "hostPort", "generation"})


class DecodeError(Exception):
    """JSON that cannot become an object of the kind; the text is the server's."""


@dataclass
class Decoder:
    """Decodes one object; collects what it does not know on the way.

    Attributes:
        unknown: paths of fields that the kind does not have; they are dropped.
    """

    unknown: list[str] = field(default_factory=list)

    def decode(self, value: Any, kind: Type, path: str = "", holder: str = "") -> Any:
        """Returns the value as the server would print it.

        Raises:
            DecodeError: a value has the wrong type, or is no quantity or time.
        """
        match kind:
            case Struct():
                return self._struct(value, kind, path, holder)
            case MapOf():
                return self._map(value, kind, path, holder)
            case ListOf():
                return self._list(value, kind, path, holder)
            case Leaf():
                return _leaf(value, kind, path, holder)
            case Free():
                return value

    def _struct(self, value: Any, kind: Struct, path: str, holder: str) -> Any:
        if not isinstance(value, dict):
            raise _mismatch(value, path, holder, f"v1.{kind.name}")
        decoded: dict[str, Any] = {}
        for name, part in value.items():
            inner = f"{path}.{name}" if path else name
            field_type = kind.fields.get(name)
            if field_type is None:
                self.unknown.append(inner)
            elif part is None and name in _NULLABLE:
                decoded[name] = None
            elif part is not None:
                decoded[name] = self.decode(part, field_type, inner, kind.name)
        for name in kind.always:
            decoded.setdefault(name, {})
        return {name: part for name, part in decoded.items() if not _omitted(name, part, kind)}

    def _map(self, value: Any, kind: MapOf, path: str, holder: str) -> Any:
        if not isinstance(value, dict):
            raise _mismatch(value, path, holder, "map")
        return {
            name: self.decode("" if part is None else part, kind.value, path, holder)
            for name, part in value.items()
        }

    def _list(self, value: Any, kind: ListOf, path: str, holder: str) -> Any:
        if not isinstance(value, list):
            raise _mismatch(value, path, holder, "slice")
        return [self.decode(item, kind.item, f"{path}[{n}]", holder) for n, item in enumerate(value)]


def _omitted(name: str, value: Any, kind: Struct) -> bool:
    """Whether Go's `omitempty` leaves the field out."""
    if isinstance(kind.fields[name], MapOf | ListOf):
        return value in ({}, [])
    if isinstance(kind.fields[name], Leaf) and value == "":
        return name not in ("value", "holderIdentity", "lastProbeTime")
    return (value is False and name in _OMITTED_WHEN_FALSE) or (value == 0 and name in _OMITTED_WHEN_ZERO)


def _leaf(value: Any, kind: Leaf, path: str, holder: str) -> Any:
    match kind.kind:
        case "quantity":
            return quantity(value)
        case "microtime":
            return _micro_time(value)
        case "int32" | "int64":
            if not isinstance(value, int) or isinstance(value, bool):
                raise _mismatch(value, path, holder, kind.kind)
        case "bool":
            if not isinstance(value, bool):
                raise _mismatch(value, path, holder, "bool")
        case "string" | "time":
            if not isinstance(value, str):
                raise _mismatch(value, path, holder, "string")
        case "intstr":
            pass
    return value


def _mismatch(value: Any, path: str, holder: str, expected: str) -> DecodeError:
    names = {bool: "bool", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    where = re.sub(r"\[\d+\]", "", path)
    return DecodeError(
        f"json: cannot unmarshal {names.get(type(value), 'null')} into Go struct field {holder}.{where}"
        f" of type {expected}"
    )


def quantity(value: Any) -> str:
    """Returns the canonical spelling of a quantity.

    Raises:
        DecodeError: it is none.
    """
    text = str(value)
    if not _QUANTITY.match(text):
        raise DecodeError(_PATTERN)
    try:
        return canonical_quantity(text)
    except InvalidInputError as error:
        raise DecodeError("unable to parse quantity's suffix") from error


def _micro_time(value: Any) -> str:
    text = str(value)
    if not _MICRO.match(text):
        if _SECONDS.match(text):
            rest = text[19:]
            raise DecodeError(
                f'parsing time "{text}" as "{_MICRO_LAYOUT}": cannot parse "{rest}" as ".000000"'
            )
        raise DecodeError(f'parsing time "{text}" as "{_MICRO_LAYOUT}": cannot parse "{text}" as "2006"')
    instant = datetime.fromisoformat(text).astimezone(UTC)
    return instant.strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z"
