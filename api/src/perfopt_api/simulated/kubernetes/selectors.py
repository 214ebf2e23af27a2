"""Label and field selectors."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from perfopt_api.simulated.kubernetes.status import Json, bad_request

Labels = Mapping[str, str]
_SET = re.compile(r"^\s*([^\s!=()]+)\s+(in|notin)\s*\(([^)]*)\)\s*$")
_EQUAL = re.compile(r"^\s*([^\s!=()]+)\s*(==|=|!=)\s*([^\s=!()]*)\s*$")
_EXISTS = re.compile(r"^\s*(!?)\s*([^\s!=()]+)\s*$")
_TERMS = re.compile(r",(?![^(]*\))")
_EVENT_FIELDS = ("involvedObject.", "reason", "type", "source")
_POD_FIELDS = (
    "spec.nodeName",
    "status.phase",
    "spec.restartPolicy",
    "status.podIP",
    "spec.serviceAccountName",
)


def label_selector(text: str) -> Callable[[Labels], bool]:
    """Parses `a=b,c in (d,e),!f`.

    Raises:
        StatusError: 400.
    """
    tests = [_label_test(term) for term in _TERMS.split(text) if term.strip()]
    return lambda labels: all(test(labels) for test in tests)


def _label_test(term: str) -> Callable[[Labels], bool]:
    if match := _SET.match(term):
        name, how, values = match[1], match[2], {part.strip() for part in match[3].split(",")}
        if how == "in":
            return lambda labels: labels.get(name) in values
        return lambda labels: labels.get(name) not in values
    if match := _EQUAL.match(term):
        name, how, value = match[1], match[2], match[3]
        return lambda labels: (labels.get(name) == value) == (how != "!=")
    if match := _EXISTS.match(term):
        name, holds = match[2], not match[1]
        return lambda labels: (name in labels) == holds
    raise bad_request("found '=', expected: ',' or 'end of string'")


def field_selector(text: str, plural: str) -> Callable[[Json], bool]:
    """Parses `metadata.name=x`; only the fields that the resource indexes.

    Raises:
        StatusError: 400.
    """
    terms = []
    for term in filter(None, text.split(",")):
        match = _EQUAL.match(term)
        if match is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{term}'")
        name, how, value = match[1], match[2], match[3]
        if not _indexed(name, plural):
            raise bad_request(
                f'"{name}" is not a known field selector: only "metadata.name", "metadata.namespace"'
            )
        terms.append((name, how != "!=", value))
    return lambda obj: all((_field(obj, name) == value) == holds for name, holds, value in terms)


def _indexed(name: str, plural: str) -> bool:
    if name in ("metadata.name", "metadata.namespace"):
        return True
    return (plural == "events" and name.startswith(_EVENT_FIELDS)) or (
        plural == "pods" and name in _POD_FIELDS
    )


def _field(obj: Json, name: str) -> str:
    value: Any = obj
    for part in name.split("."):
        value = value.get(part, "") if isinstance(value, dict) else ""
    return str(value)


def matches(selector: Json | None, labels: Labels) -> bool:
    """Whether an object's `spec.selector` selects these labels: none nothing, an empty one everything."""
    if selector is None:
        return False
    match_labels = selector.get("matchLabels", {})
    return all(labels.get(name) == value for name, value in match_labels.items()) and all(
        _expression(term, labels) for term in selector.get("matchExpressions", ())
    )


def _expression(term: Json, labels: Labels) -> bool:
    name, values = term["key"], term.get("values", ())
    match term["operator"]:
        case "In":
            return labels.get(name) in values
        case "NotIn":
            return labels.get(name) not in values
        case "Exists":
            return name in labels
        case _:
            return name not in labels


def print_selector(selector: Json | None) -> str:
    """As `Scale.status.selector` prints it."""
    terms = [f"{name}={value}" for name, value in sorted((selector or {}).get("matchLabels", {}).items())]
    for term in (selector or {}).get("matchExpressions", ()):
        values = ",".join(sorted(term.get("values", ())))
        match term["operator"]:
            case "Exists":
                terms.append(term["key"])
            case "DoesNotExist":
                terms.append(f"!{term['key']}")
            case operator:
                terms.append(f"{term['key']} {operator.lower()} ({values})")
    return ",".join(terms)
