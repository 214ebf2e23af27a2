"""Describes the settings of a struct: name, type, default and meaning of each field, as plain data."""

import inspect
import re
from typing import Any

import msgspec
from msgspec import inspect as types

_SECTION = re.compile(r"^[A-Z][a-z]+:$")
_NAMES = re.compile(r"^(\w+(?:, \w+)*): (.*)$")
_SIMPLE: dict[type[types.Type], str] = {
    types.BoolType: "true or false",
    types.NoneType: "none",
    types.StrType: "text",
    types.IntType: "integer",
    types.FloatType: "number",
    types.DateTimeType: "instant",
    types.DateType: "date",
    types.TimeType: "time of day",
    types.TimeDeltaType: "duration",
    types.AnyType: "any value",
}
_MAPPINGS = (types.StructType, types.DataclassType, types.TypedDictType)
_LISTS = (types.ListType, types.VarTupleType, types.SetType, types.FrozenSetType)


class SettingsFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file as the value of a setting: the user gives its path, and a strategy gets its content.

    perfopt reads the file where settings are checked, since strategies do no I/O.

    Attributes:
        path: as the user wrote it, for messages.
        content: the bytes of the file.
    """

    path: str
    content: bytes


class SettingField(msgspec.Struct, frozen=True, kw_only=True):
    """One setting.

    Attributes:
        name: the key in the configuration.
        type: what values it takes, in words.
        default: as plain data; None where there is none.
        description: one or more sentences.
        required: it has no default.
        deprecated: dotted path of an old setting that is still read in its place.
        file: the value is the path of a file.
        model: the file is a model of this kind, which strategies find in `AnalysisContext.models`.
    """

    name: str
    type: str
    default: Any = None
    description: str = ""
    required: bool = False
    deprecated: str | None = None
    file: bool = False
    model: str | None = None


def describe(struct: type[msgspec.Struct]) -> tuple[SettingField, ...]:
    """Returns the settings of a struct in its order.

    A description is the field's `Meta(description=...)`, or its text below "Attributes:" in the docstring.
    `Meta(extra={"deprecated": "engine.old_name"})` names an old setting, `Meta(extra={"model": "sizing"})`
    the kind of model that a `SettingsFile` holds.
    """
    texts = attribute_texts(struct)
    info = types.type_info(struct)
    assert isinstance(info, types.StructType)
    return tuple(_field(field, texts) for field in info.fields)


def _field(field: types.Field, texts: dict[str, str]) -> SettingField:
    extra, described = _metadata(field.type)
    return SettingField(
        name=field.encode_name,
        type=type_name(field.type),
        default=_default(field),
        description=described or texts.get(field.name, ""),
        required=field.required,
        deprecated=extra.get("deprecated"),
        file=_is_file(field.type),
        model=extra.get("model"),
    )


def settings_problem(struct: object) -> str | None:
    """Returns one sentence on why perfopt can't read settings into a type, or None."""
    if not (isinstance(struct, type) and issubclass(struct, msgspec.Struct)):
        return f"perfopt_settings returned {struct!r}; it returns a class derived from msgspec.Struct."
    label = f"The settings {struct.__name__}"
    if not struct.__struct_config__.frozen:
        return f"{label} can be altered; declare the struct with frozen=True."
    try:
        fields = describe(struct)
    except Exception as error:  # an annotation may name anything
        return f"{label} have a type that can't be read from a file: {error}"
    required = [field.name for field in fields if field.required]
    if required:
        return f"{label} have no default for {', '.join(required)}; a plugin must work without any setting."
    return None


def attribute_texts(struct: type) -> dict[str, str]:
    """Returns the text of each attribute in a Google docstring; `a, b: text` holds for both."""
    texts: dict[str, str] = {}
    names: list[str] = []
    inside = False
    for line in (inspect.getdoc(struct) or "").splitlines():
        if _SECTION.match(line):
            inside, names = line == "Attributes:", []
            continue
        start = _NAMES.match(line.strip()) if line.startswith("    ") and line[4:5] != " " else None
        if inside and start:
            names = start[1].split(", ")
            texts |= dict.fromkeys(names, start[2])
        elif inside and line.strip():
            texts |= {name: f"{texts[name]} {line.strip()}" for name in names}
    return texts


def type_name(kind: types.Type) -> str:
    """Returns in words what values a type takes.

    Raises:
        TypeError: a type that has no form in YAML.
    """
    if isinstance(kind, types.Metadata):
        return type_name(kind.type)
    if isinstance(kind, types.UnionType):
        several = [type_name(one) for one in kind.types if not isinstance(one, types.NoneType)]
        return " or ".join(dict.fromkeys(several))
    if isinstance(kind, _LISTS):
        return f"list of {type_name(kind.item_type)}"
    if isinstance(kind, types.DictType):
        return f"mapping of {type_name(kind.key_type)} to {type_name(kind.value_type)}"
    if isinstance(kind, types.LiteralType):
        return "one of " + ", ".join(str(value) for value in kind.values)
    if isinstance(kind, types.EnumType):
        return "one of " + ", ".join(str(member.value) for member in kind.cls)
    if isinstance(kind, _MAPPINGS):
        return "path of a file" if kind.cls is SettingsFile else "mapping"
    if type(kind) not in _SIMPLE:
        raise TypeError(f"{getattr(kind, 'cls', kind)} has no form in YAML")
    return _SIMPLE[type(kind)] + _bounds(kind)


def _bounds(kind: types.Type) -> str:
    if not isinstance(kind, types.IntType | types.FloatType):
        return ""
    if kind.ge is not None and kind.le is not None:
        return f", {_number(kind.ge)} to {_number(kind.le)}"
    words = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
    given = {word: getattr(kind, name) for name, word in words.items()}
    return "".join(f", {word} {_number(value)}" for word, value in given.items() if value is not None)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def _metadata(kind: types.Type) -> tuple[dict[str, Any], str | None]:
    if not isinstance(kind, types.Metadata):
        return {}, None
    schema = kind.extra_json_schema or {}
    return kind.extra or {}, schema.get("description")


def _is_file(kind: types.Type) -> bool:
    if isinstance(kind, types.Metadata):
        return _is_file(kind.type)
    if isinstance(kind, types.UnionType):
        return any(_is_file(one) for one in kind.types)
    return isinstance(kind, types.StructType) and kind.cls is SettingsFile


def _default(field: types.Field) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return plain(field.default_factory())
    return None if field.default is msgspec.NODEFAULT else plain(field.default)


def plain(value: Any) -> Any:
    """Returns settings as plain data, which `msgspec.convert` makes the struct of again."""
    return msgspec.to_builtins(value, builtin_types=(bytes,))
