"""What goes before the configuration file: variables of the environment, and options of a command."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import yaml

from perfopt.config.documents import YamlDocument
from perfopt.config.paths import KeyPath
from perfopt.errors import InvalidInputError

PREFIX = "PERFOPT_"
SCALARS = ("default_source", "price_book")
PLUGINS = "plugins"
OPTION = "--set"
_SETTING = re.compile(r"(?P<path>[^.=\s]+(?:\.[^.=\s]+)*)=(?P<value>.*)", re.DOTALL)


def with_environment(document: YamlDocument, environ: Mapping[str, str]) -> YamlDocument:
    """Returns the document with `PERFOPT_<SECTION>__<FIELD>` in place of the file's values.

    Raises:
        InvalidInputError: a variable names a field below one that holds no fields.
    """
    for variable, text in sorted(environ.items()):
        keys = variable.removeprefix(PREFIX).lower().split("__")
        if variable.startswith(PREFIX) and (len(keys) > 1 or keys[0] in SCALARS):
            document = _with(document, keys, text, variable)
    return document


def with_options(document: YamlDocument, given: Sequence[str], sections: Collection[str]) -> YamlDocument:
    """Returns the document with settings from the command line.

    Args:
        document: file and environment.
        given: each "plugin.key=value", "section.key=value" or, at the top, "key=value"; the value is read as
            YAML: 3, true, [a, b], text.
        sections: names of what stands at the top; any other name is a plugin's.

    Raises:
        InvalidInputError: one is not of that form.
    """
    for text in given:
        match = _SETTING.fullmatch(text)
        keys = match["path"].split(".") if match is not None else []
        if match is None or (len(keys) == 1 and keys[0] not in SCALARS):
            raise InvalidInputError(
                f"{text!r} is not a setting.",
                field=OPTION,
                remedy="Write plugin.key=value or section.key=value.",
            )
        if keys[0] not in sections:
            keys = [PLUGINS, *keys]
        document = _with(document, keys, _value(match["value"], text), OPTION)
    return document


def _value(written: str, text: str) -> Any:
    try:
        return yaml.safe_load(written)
    except (yaml.YAMLError, ValueError) as error:
        raise InvalidInputError(
            f"The value of {text[:80]!r} can't be read.",
            field=OPTION,
            remedy="It is read as YAML: put text with special characters in quotes.",
        ) from error


def _with(document: YamlDocument, keys: list[str], value: Any, origin: str) -> YamlDocument:
    if keys[0] == PLUGINS and len(keys) > 1:
        keys = [PLUGINS, spelled(keys[1], document.data.get(PLUGINS) or {}), *keys[2:]]
    path: KeyPath = tuple(keys)
    below = {one: at for one, at in document.overrides.items() if one[: len(path)] != path}
    data = _put(document.data, keys, value, origin)
    return replace(document, data=data, overrides={**below, path: origin})


def _put(data: dict[str, Any], keys: list[str], value: Any, origin: str) -> dict[str, Any]:
    head, rest = keys[0], keys[1:]
    if not rest:
        return {**data, head: value}
    below = data.get(head) or {}
    if not isinstance(below, dict):
        raise InvalidInputError(
            f"{head!r} holds no further fields.", field=origin, remedy="Take it away or correct its name."
        )
    return {**data, head: _put(below, rest, value, origin)}


def spelled(name: str, known: Mapping[str, Any]) -> str:
    """Returns a plugin's name as it is known; `_` and `-` count as the same, since variables have no `-`."""
    alike = (one for one in known if one.replace("_", "-") == name.replace("_", "-"))
    return name if name in known else next(alike, name)
