"""docs/reference/plugin-api.md is what the public docstrings say. Run this file to write it anew."""

import inspect
import re
from collections.abc import Callable
from enum import Enum
from pathlib import Path

import perfopt.plugin
import perfopt.testing
from perfopt.plugin.hookspecs import PluginSpec
from perfopt.testing.imports import PUBLIC

PAGE = Path(__file__).parents[2] / "docs/reference/plugin-api.md"
INTRODUCTION = f"""# Plugin API

All that a plugin may import of perfopt, with its docstrings; how the parts go together is in
[write a plugin](../how-to/write-a-plugin.md). `python tests/docs/test_plugin_api.py` generates this page.

## Versions and deprecation

- **Public** are the names below, with their documented attributes and parameters, the hooks, and the
  modules {", ".join(f"`{name}`" for name in PUBLIC)}. Everything else may change in any version;
  `perfopt plugin check` reports an import of it.
- perfopt follows semantic versioning. While it is 0.x, a minor version (0.1 to 0.2) may break; a patch
  version never does. Require `perfopt>=0.1,<0.2`: the requirement is checked before a plugin is imported,
  and one that is not met shows in `perfopt plugin list` instead of failing at run time.
- **Additions** come in any version: new names, hooks, optional fields with defaults, metrics, and members
  of enumerations. Treat an unknown member as you treat `None`.
- **Removal** takes one minor version: what goes is marked deprecated in the changelog and here, and using
  it gives a `DeprecationWarning` that names what takes its place; the minor version after that removes it.
  `python -W error::DeprecationWarning -m pytest` in a plugin finds every use.
- Fields of results keep their names for as long as the REST contract has them.
"""
SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Yields):$")


def page() -> str:
    hooks = inspect.getmembers(PluginSpec, inspect.isfunction)
    parts = [INTRODUCTION, "## Hooks\n", *(entry(name, hook) for name, hook in hooks)]
    for module in (perfopt.plugin, perfopt.testing):
        parts.append(f"## `{module.__name__}`\n")
        parts += [entry(name, getattr(module, name)) for name in sorted(module.__all__, key=str.lower)]
    return "\n".join(parts)


def entry(name: str, found: object) -> str:
    if inspect.isclass(found) and issubclass(found, Enum):
        members = ", ".join(f"`{member.name}`" for member in found)
        return f"### `{name}`\n\n{body(found)}\nMembers: {members}.\n"
    if inspect.isclass(found):
        return f"### `{name}`\n\n{body(found)}{methods(found)}"
    if inspect.isfunction(found):
        return f"### `{name}{signature(found)}`\n\n{body(found)}"
    return f"### `{name}`\n\n{constant(found)}"


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


def methods(kind: type) -> str:
    own = [
        (name, member)
        for name, member in vars(kind).items()
        if not name.startswith("_") and inspect.getdoc(member)
    ]
    lines = []
    for name, member in own:
        function = getattr(kind, name) if isinstance(member, classmethod) else member
        if not (inspect.isroutine(function) or isinstance(function, property)):
            continue
        call = "" if isinstance(function, property) else signature(function)
        lines.append(f"- `{name}{call}`: {(inspect.getdoc(function) or '').splitlines()[0]}")
    return "\nMethods and properties:\n\n" + "\n".join(lines) + "\n" if lines else ""


def body(found: object) -> str:
    """Returns a Google docstring as Markdown: sections become lists."""
    lines: list[str] = []
    inside = False
    for line in (inspect.getdoc(found) or "").splitlines():
        head = SECTION.match(line)
        if head:
            inside = True
            lines.append(f"{head[1]}:\n")
        elif inside and line.startswith("    ") and not line.startswith("     "):
            name, colon, text = line.strip().partition(": ")
            lines.append(f"- `{name}`: {text}" if colon and head is None else f"- {line.strip()}")
        elif inside and line.strip():
            lines.append(f"  {line.strip()}")
        else:
            lines.append(line)
    return "\n".join(lines).strip() + "\n"


def constant(value: object) -> str:
    if isinstance(value, dict):
        keys = ", ".join(f"`{key}`" for key in value)
        return f"By name: {keys}.\n"
    if isinstance(value, str | int | float):
        return f"`{value!r}`\n"
    return f"An object of type `{type(value).__name__}`.\n"


def test_the_page_lists_every_public_name() -> None:
    listed = set(re.findall(r"^### `(\w+)", PAGE.read_text("utf-8"), re.MULTILINE))
    hooks = {name for name, _ in inspect.getmembers(PluginSpec, inspect.isfunction)}
    assert listed == {*perfopt.plugin.__all__, *perfopt.testing.__all__, *hooks}


def test_the_page_is_what_the_docstrings_say() -> None:
    assert PAGE.read_text("utf-8") == page(), "Run python tests/docs/test_plugin_api.py."


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
