"""Reads catalogues of knobs: the shipped one, and a user's over it. Errors name the line."""

import re
from collections.abc import Iterator
from functools import lru_cache
from importlib.resources import files
from typing import NoReturn

from perfopt.plugin import METRICS
from perfopt.plugin.documents import KeyPath, YamlDocument, parse_yaml, suggestion
from perfopt_tuning.knobs.formula import FormulaError, KnobFormula
from perfopt_tuning.knobs.schema import (
    FACTS,
    OLD_FACTS,
    InputEntry,
    InputReading,
    Knob,
    KnobCatalogue,
    KnobEntry,
    ReadEntry,
    Runtime,
    RuntimeEntry,
)

SHIPPED = "knobs.yaml"
_SECTIONS = ("runtimes", "inputs", "knobs")
_FORMULAS = ("default", "when", "formula", "accept", "safe")
_WHAT = "catalogue of knobs"


@lru_cache(maxsize=1)
def shipped_catalogue() -> KnobCatalogue:
    """Returns the catalogue that the distribution brings."""
    text = files("perfopt_tuning.knobs").joinpath(SHIPPED).read_text("utf-8")
    return read_catalogue(text, SHIPPED)


@lru_cache(maxsize=8)
def extended_catalogue(base: str, content: bytes) -> KnobCatalogue:
    """Returns the shipped catalogue with a user's entries added, or in place of those of the same name.

    Args:
        base: name of the user's file, for errors.
        content: of the user's file.

    Raises:
        InvalidInputError: as `read_catalogue`.
    """
    return read_catalogue(content.decode("utf-8", errors="replace"), base, shipped_catalogue())


def read_catalogue(text: str, name: str, base: KnobCatalogue | None = None) -> KnobCatalogue:
    """Reads a catalogue.

    Args:
        text: YAML with the sections runtimes, inputs and knobs.
        name: of the file, for errors.
        base: what its entries are added to.

    Raises:
        InvalidInputError: not YAML, an unknown field, a wrong pattern or formula, or a name that stands
            for nothing; names the file, the line and the path.
    """
    document = parse_yaml(text, name, what=_WHAT)
    for key in document.data:
        if key not in _SECTIONS:
            document.fail((key,), f"There is no section {key!r}.", suggestion(key, _SECTIONS))
    base = base or KnobCatalogue()
    runtimes = {key: _runtime(document, key, value) for key, value in _items(document, "runtimes")}
    inputs = {
        key: document.convert(value, InputEntry, ("inputs", key)) for key, value in _items(document, "inputs")
    }
    knobs = {key: _knob(document, key, value) for key, value in _items(document, "knobs")}
    catalogue = KnobCatalogue(base.runtimes | runtimes, base.inputs | inputs, base.knobs | knobs)
    for key in runtimes:
        _check_runtime(document, catalogue, runtimes[key])
    for key in knobs:
        _check_knob(document, catalogue, knobs[key])
    return catalogue


def _items(document: YamlDocument, section: str) -> Iterator[tuple[str, object]]:
    value = document.data.get(section) or {}
    if not isinstance(value, dict):
        document.fail((section,), "This is not a mapping.", "Write `name:` lines below it.")
    for key in value:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", key):
            document.fail((section, key), f"{key!r} is no name.", "Use a-z, 0-9 and _, a letter first.")
    yield from value.items()


def _runtime(document: YamlDocument, name: str, value: object) -> Runtime:
    path = ("runtimes", name)
    entry = document.convert(value, RuntimeEntry, path)
    patterns = {
        part: tuple(
            _pattern(document, text, (*path, part, number))
            for number, text in enumerate(getattr(entry, part))
        )
        for part in ("images", "args", "unless_args")
    }
    version = None if entry.version is None else _pattern(document, entry.version, (*path, "version"), 2)
    return Runtime(name, entry, patterns["images"], patterns["args"], patterns["unless_args"], version)


def _knob(document: YamlDocument, name: str, value: object) -> Knob:
    path = ("knobs", name)
    entry = document.convert(value, KnobEntry, path)
    formulas = {part: _formula(document, getattr(entry, part), (*path, part)) for part in _FORMULAS}
    if entry.formula is None and entry.search is None:
        document.fail(path, "It has neither a formula nor a search.", "Give one of them.")
    if entry.kind == "text" and not entry.choices:
        document.fail(path, "Text needs choices.", "List them as `choices: [...]`.")
    if entry.kind != "text" and (entry.minimum is None or entry.maximum is None):
        document.fail(path, "A number needs bounds.", "Give minimum and maximum.")
    read = tuple(_reading(document, one, (*path, "read", i)) for i, one in enumerate(entry.read))
    removes = entry.set.removes and _pattern(document, entry.set.removes, (*path, "set", "removes"))
    _check_set(document, entry, (*path, "set"))
    return Knob(name, entry, read, removes or None, **formulas)


def _check_set(document: YamlDocument, entry: KnobEntry, path: KeyPath) -> None:
    how = entry.set
    if not (how.env or how.flags or how.resource or how.by_hand):
        document.fail(path, "It cannot be set.", "Give one of env, flags, resource or by_hand.")
    if how.option is not None and (how.env is None or how.removes is None or "{value}" not in how.option):
        document.fail(
            (*path, "option"),
            "An option stands in a variable and takes the place of others.",
            "Give env and removes, and write {value} in it.",
        )


def _reading(document: YamlDocument, entry: ReadEntry, path: KeyPath) -> InputReading:
    places = [entry.env, entry.argument, entry.expression]
    if sum(place is not None for place in places) != 1:
        document.fail(path, "A value stands in one place.", "Give one of env, argument or expression.")
    names = (entry.env,) if isinstance(entry.env, str) else entry.env or ()
    return InputReading(
        names,
        None if entry.pattern is None else _pattern(document, entry.pattern, (*path, "pattern"), 1),
        None if entry.argument is None else _pattern(document, entry.argument, (*path, "argument"), 1),
        _formula(document, entry.expression, (*path, "expression")),
        _formula(document, entry.value, (*path, "value")),
    )


def _pattern(document: YamlDocument, text: str, path: KeyPath, groups: int = 0) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except re.error as error:
        document.fail(path, f"{text!r} is not a pattern: {error}.", "Correct it there.")
    if pattern.groups < groups:
        has = "has no group" if not pattern.groups else f"has {pattern.groups} group only"
        document.fail(path, f"{text!r} {has}.", f"Put {groups} in parentheses.")
    return pattern


def _formula(document: YamlDocument, text: str | float | None, path: KeyPath) -> KnobFormula | None:
    if text is None:
        return None
    try:
        return KnobFormula(str(text))
    except FormulaError as error:
        document.fail(path, str(error), "See docs/reference/tuning.md for what a formula may hold.")


def _check_runtime(document: YamlDocument, catalogue: KnobCatalogue, runtime: Runtime) -> None:
    path = ("runtimes", runtime.name)
    for number, metric in enumerate(runtime.entry.metrics):
        if metric not in METRICS:
            _unknown(document, (*path, "metrics", number), "metric", metric, tuple(METRICS))
    required = runtime.entry.requires
    if required is not None and required not in catalogue.runtimes:
        _unknown(document, (*path, "requires"), "runtime", required, tuple(catalogue.runtimes))


def _check_knob(document: YamlDocument, catalogue: KnobCatalogue, knob: Knob) -> None:
    path = ("knobs", knob.name)
    if knob.entry.runtime not in catalogue.runtimes:
        _unknown(document, (*path, "runtime"), "runtime", knob.entry.runtime, tuple(catalogue.runtimes))
    search = knob.entry.search
    if search is not None and search.history not in METRICS:
        _unknown(document, (*path, "search", "history"), "metric", search.history, tuple(METRICS))
    known = {*FACTS, *OLD_FACTS, *catalogue.inputs, *catalogue.knobs, *METRICS, "current", "value", "it"}
    for where, formula in _formulas_of(knob):
        for name in sorted(formula.names - known):
            _unknown(document, (*path, *where), "fact", name, tuple(known))
        for name in sorted(formula.metrics - METRICS.keys()):
            _unknown(document, (*path, *where), "metric", name, tuple(METRICS))


def _formulas_of(knob: Knob) -> Iterator[tuple[KeyPath, KnobFormula]]:
    for part in _FORMULAS:
        formula = getattr(knob, part)
        if formula is not None:
            yield (part,), formula
    for number, reading in enumerate(knob.read):
        for part, formula in (("expression", reading.expression), ("value", reading.value)):
            if formula is not None:
                yield ("read", number, part), formula


def _unknown(document: YamlDocument, path: KeyPath, what: str, name: str, known: tuple[str, ...]) -> NoReturn:
    document.fail(path, f"There is no {what} {name!r}.", suggestion(name, tuple(sorted(known))))


def metrics_of(catalogue: KnobCatalogue) -> tuple[str, ...]:
    """Returns the metrics that a catalogue reads, sorted."""
    named = {metric for runtime in catalogue.runtimes.values() for metric in runtime.entry.metrics}
    for knob in catalogue.knobs.values():
        for _, formula in _formulas_of(knob):
            named |= formula.metrics | (formula.names & METRICS.keys())
        if knob.entry.search is not None:
            named.add(knob.entry.search.history)
    return tuple(sorted(named))
