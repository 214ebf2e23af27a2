"""docs/reference/plugin-api.md is what the public docstrings say. Run this file to write it anew."""

import inspect
import re
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path

import perfopt.plugin
import perfopt.testing
from perfopt.plugin.hookspecs import PluginSpec
from perfopt.testing.imports import PUBLIC

PAGE = Path(__file__).parents[2] / "docs/reference/plugin-api.md"
INTRODUCTION = f"""# Plugin API

Everything that a plugin may import of perfopt, each name with one sentence. How the parts go together:
[write a plugin](../how-to/write-a-plugin.md). The whole docstring of a name, with shapes, units and errors:

```console
$ python -m pydoc perfopt.plugin.Proposal
A target state for one workload.
$ python -m pydoc perfopt.plugin.hookspecs.PluginSpec
perfopt_strategies
```

`python tests/docs/test_plugin_api.py` generates this page.

## Versions and deprecation

- **Public** are the names below with their fields and parameters, and the modules
  {", ".join(f"`{name}`" for name in PUBLIC)}. Everything else may change in any version;
  `perfopt plugin check` reports an import of it.
- Versions are semantic. While perfopt is 0.x, a minor version may break, a patch version does not. Require
  `perfopt>=0.1,<0.2`: it is checked before a plugin is imported; `perfopt plugin list` shows what is not met.
- Any version may add names, hooks, optional fields, metrics and members of enumerations. Treat an unknown
  member as `None`.
- What will be removed gives a `DeprecationWarning` with its replacement for one minor version. `python -W
  error::DeprecationWarning -m pytest` finds every use. Fields of results stay as long as the REST contract
  has them.
"""
ATTRIBUTE = re.compile(r"^    (\w+(?:, \w+)*): ", re.MULTILINE)


def page() -> str:
    hooks = inspect.getmembers(PluginSpec, inspect.isfunction)
    parts = [INTRODUCTION, "## Hooks\n", *(entry(name, hook) for name, hook in hooks)]
    for module in (perfopt.plugin, perfopt.testing):
        parts.append(f"\n## `{module.__name__}`\n")
        parts += [entry(name, getattr(module, name)) for name in sorted(module.__all__, key=str.lower)]
    return "\n".join(parts) + "\n"


def entry(name: str, found: object) -> str:
    if inspect.isclass(found):
        return f"- `{name}`: {first_sentence(found)}{parts_of(found)}"
    if inspect.isfunction(found):
        return f"- `{name}{signature(found)}`: {first_sentence(found)}"
    return f"- `{name}`: {constant(found)}"


def first_sentence(found: object) -> str:
    text = (inspect.getdoc(found) or "").splitlines()[0].removeprefix("Returns ")
    return text[:1].upper() + text[1:]


def signature(function: Callable[..., object]) -> str:
    """Returns the names of the parameters, as `(first, *, second)`."""
    shown, starred = [], False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            shown.append("*")
            starred = True
        shown.append(parameter.name)
    return f"({', '.join(shown)})"


def parts_of(kind: type) -> str:
    """Returns the names of the members, or of the fields, properties and methods, of a class."""
    if issubclass(kind, Enum):
        return f" Members: {names(member.name for member in kind)}."
    members = [(name, getattr(kind, name)) for name in vars(kind) if not name.startswith("_")]
    documented = [(name, member) for name, member in members if inspect.getdoc(member)]
    methods = [
        f"{name}()"
        for name, member in documented
        if inspect.isroutine(member) and not name.startswith("test_")
    ]
    properties = [name for name, member in documented if isinstance(member, property)]
    shown = [("Fields", [*fields(kind), *properties]), ("Methods", methods)]
    return "".join(f" {title}: {names(found)}." for title, found in shown if found)


def fields(kind: type) -> list[str]:
    """Returns the fields of a struct, and what else its docstring lists as attributes."""
    _, _, listed = (inspect.getdoc(kind) or "").partition("\nAttributes:\n")
    documented = [name for found in ATTRIBUTE.findall(listed) for name in found.split(", ")]
    return list(dict.fromkeys([*getattr(kind, "__struct_fields__", ()), *documented]))


def names(found: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in found)


def constant(value: object) -> str:
    if isinstance(value, dict):
        return f"by name: {names(value)}."
    if isinstance(value, str | int | float | tuple):
        return f"`{value!r}`."
    return f"a `{type(value).__name__}`."


def test_the_page_lists_every_public_name() -> None:
    listed = set(re.findall(r"^- `(\w+)", PAGE.read_text("utf-8"), re.MULTILINE))
    hooks = {name for name, _ in inspect.getmembers(PluginSpec, inspect.isfunction)}
    assert listed == {*perfopt.plugin.__all__, *perfopt.testing.__all__, *hooks}


def test_the_page_is_what_the_docstrings_say() -> None:
    assert PAGE.read_text("utf-8") == page(), "Run python tests/docs/test_plugin_api.py."


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
