"""What an error says of a value that does not fit: where, what is allowed, what was given."""

from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta

from perfopt.config.documents import YamlDocument
from perfopt.config.loading import SourceConfig
from perfopt.domain.enums import ServiceClass
from perfopt.errors import InvalidInputError


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    limit: int = 0


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    by_class: dict[ServiceClass, Annotated[float, Meta(gt=0)]] = {}
    lists: dict[str, list[ServiceClass]] = {}
    nested: dict[str, dict[str, Inner]] = {}
    service_class: ServiceClass | None = None
    names: str | tuple[str, ...] = ()
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")] = "EUR"
    enabled: bool = True


CLASSES = "expected one of critical, standard, batch."


@pytest.mark.parametrize(
    ("value", "into", "says"),
    [
        ({"service_class": "gold"}, Outer, f"top.service_class: 'gold' is not allowed: {CLASSES} (F)"),
        (
            {"by_class": {"batch": 1, "gold": 1}},
            Outer,
            f"top.by_class.gold: 'gold' is not allowed: {CLASSES}",
        ),
        (
            {"by_class": {"batch": 1, "standard": 0}},
            Outer,
            "top.by_class.standard: Expected number, above 0.",
        ),
        ({"lists": {"a": ["batch"], "b": ["batch", "x"]}}, Outer, "top.lists.b[1]: 'x' is not allowed"),
        (
            {"nested": {"a": {"c": {}}, "b": {"c": {}, "d": {"limit": "x"}}}},
            Outer,
            "top.nested.b.d.limit: Expected integer, got text.",
        ),
        ({"nested": {"a": {"b": {"limits": 1}}}}, Outer, "top.nested.a.b.limits: There is no field 'limits'"),
        ({"nested": {"a": 3}}, Outer, "top.nested.a: Expected mapping of text to mapping, got integer."),
        ({"names": 3}, Outer, "top.names: Expected text or list of text, got integer."),
        ({"enabled": "maybe"}, Outer, "top.enabled: Expected true or false, got text."),
        ({"currency": "eur"}, Outer, "top.currency: Expected text matching regex '^[A-Z]{3}$'."),
        ([], Outer, "top: Expected mapping, got list."),
        ({}, SourceConfig, "top: The field 'type' is missing. (F) Add it."),
        (
            {"type": "graphite"},
            SourceConfig,
            "top.type: 'graphite' is not allowed: expected one of prometheus, files.",
        ),
        (
            {"type": "files", "path": "a"},
            SourceConfig,
            "top.path: There is no field 'path' here. (F) Did you mean",
        ),
    ],
)
def test_error_names_the_key_and_what_is_allowed(value: Any, into: Any, says: str):
    with pytest.raises(InvalidInputError) as caught:
        YamlDocument("F", {}).convert(value, into, ("top",))
    assert str(caught.value).startswith(says)


def test_text_for_a_number_is_no_error_where_it_is_allowed():
    document = YamlDocument("F", {})
    value = {"by_class": {"batch": "2", "critical": "-1"}}
    with pytest.raises(InvalidInputError, match=r"top.by_class.critical: Expected number, above 0"):
        document.convert(value, Outer, ("top",), lax=True)
