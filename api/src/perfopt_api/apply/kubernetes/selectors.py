"""Label selectors as Kubernetes defines them: as a query, and whether they select labels. Pure."""

from collections.abc import Mapping
from typing import Any

from perfopt_api.apply.kubernetes.objects import Json


def print_selector(selector: Json) -> str:
    """A label selector as the `labelSelector` of a list."""
    terms = [f"{name}={value}" for name, value in selector.get("matchLabels", {}).items()]
    for each in selector.get("matchExpressions", ()):
        values = f"({','.join(each.get('values', ()))})"
        words = {"In": f"{each['key']} in {values}", "NotIn": f"{each['key']} notin {values}"}
        words |= {"Exists": each["key"], "DoesNotExist": f"!{each['key']}"}
        terms.append(words[each["operator"]])
    return ",".join(terms)


def selects(selector: Json | None, labels: Mapping[str, str]) -> bool:
    """Whether a label selector selects an object. None selects nothing, an empty one everything."""
    if selector is None:
        return False
    match_labels = selector.get("matchLabels") or {}
    return all(labels.get(name) == value for name, value in match_labels.items()) and all(
        _holds(each, labels) for each in selector.get("matchExpressions") or ()
    )


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case _:
            return value is None
