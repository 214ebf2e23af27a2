"""Values of knobs: read where they stand, rounded to what is allowed, printed."""

import math
import re
from dataclasses import dataclass

from perfopt.plugin import Container
from perfopt_tuning.knobs.detect import command_line
from perfopt_tuning.knobs.formula import FormulaError, FormulaFacts, MissingFactError, Value
from perfopt_tuning.knobs.schema import InputReading, Knob

ANNOTATION = "perfopt.io/knob."
_SIZE = re.compile(r"([+-]?\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
_FACTORS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


@dataclass(frozen=True, slots=True)
class CurrentValue:
    """The current value of a knob.

    Attributes:
        value: None where it is not set, and what the runtime does then is not known.
        origin: where it was read, in words for a sentence.
    """

    value: Value | None
    origin: str


@dataclass(frozen=True, slots=True)
class UnreadableValue:
    """Why the current value of a knob is unknown."""

    reason: str


def read_current(
    knob: Knob, container: Container, annotations: dict[str, str], facts: FormulaFacts
) -> CurrentValue | UnreadableValue:
    """Returns what a knob is set to; the annotation perfopt.io/knob.<name> comes first."""
    stated = annotations.get(f"{ANNOTATION}{knob.name}")
    if stated is not None:
        value = _parsed(knob, stated)
        if value is None:
            return UnreadableValue(
                f"the annotation {ANNOTATION}{knob.name} is {stated!r}, which is no value of it"
            )
        return CurrentValue(value, "by annotation")
    for reading in knob.read:
        current_value = _read(knob, reading, container, facts)
        if current_value is not None:
            return current_value
    return _unset(knob, container, facts)


def _unset(knob: Knob, container: Container, facts: FormulaFacts) -> CurrentValue | UnreadableValue:
    """Returns that a knob is not set, where all places were seen in which it could be."""
    place = _elsewhere(knob, container)
    if place is not None:
        return UnreadableValue(
            f"what it is set to is not known: {place}, which is not read; state it by the annotation"
            f" {ANNOTATION}{knob.name}"
        )
    needs_env = any(reading.env for reading in knob.read)
    needs_args = any(reading.argument for reading in knob.read)
    if (needs_env and container.env is None) or (
        needs_args and container.args is None and container.command is None
    ):
        return UnreadableValue(
            "what it is set to is not known: state the container's env and args to the source, or the"
            f" annotation {ANNOTATION}{knob.name}"
        )
    if not needs_env and not needs_args:
        return UnreadableValue("what it is set to was not measured")
    try:
        value = None if knob.default is None else knob.default.value(facts)
    except (MissingFactError, FormulaError):
        value = None
    return CurrentValue(value, "by default" if value is not None else "not set")


def _elsewhere(knob: Knob, container: Container) -> str | None:
    """Returns where a variable of the knob may get its value, where the manifest does not hold it."""
    env = container.env or {}
    for name in (name for reading in knob.read for name in reading.env if name not in env):
        if name in container.env_elsewhere:
            return f"{name} comes from {container.env_elsewhere[name]}"
        if "*" in container.env_elsewhere:
            return f"{name} may come from {container.env_elsewhere['*']}"
    return None


def _read(
    knob: Knob, reading: InputReading, container: Container, facts: FormulaFacts
) -> CurrentValue | None:
    if reading.expression is not None:
        try:
            value = reading.expression.value(facts)
        except (MissingFactError, FormulaError):
            return None
        return CurrentValue(value, "as measured")
    if reading.argument is not None:
        match = reading.argument.search(command_line(container))
        return _current(knob, reading, match[1], facts, "on the command line") if match else None
    for name in reading.env:
        text = (container.env or {}).get(name)
        if text is None:
            continue
        match = (
            re.fullmatch("(.*)", text.strip(), re.S)
            if reading.pattern is None
            else reading.pattern.search(text)
        )
        if match:
            return _current(knob, reading, match[1], facts, f"in {name}")
    return None


def _current(
    knob: Knob, reading: InputReading, text: str, facts: FormulaFacts, origin: str
) -> CurrentValue | None:
    if reading.value is None:
        value = _parsed(knob, text)
        return None if value is None else CurrentValue(value, origin)
    size = parse_size(text)
    if size is None:
        return None
    try:
        return CurrentValue(reading.value.value(FactsWith(facts, {"it": size})), origin)
    except (MissingFactError, FormulaError):
        return None


@dataclass(frozen=True, slots=True)
class FactsWith:
    """FormulaFacts with some added."""

    below: FormulaFacts
    added: dict[str, Value | None]

    def fact(self, name: str) -> Value | None:
        """Returns an added fact, or one of those below."""
        return self.added[name] if name in self.added else self.below.fact(name)

    def measured(self, function: str, metric: str) -> float | None:
        """Returns what is measured below."""
        return self.below.measured(function, metric)


def _parsed(knob: Knob, text: str) -> Value | None:
    if knob.entry.kind == "text":
        return next((one for one in knob.entry.choices if one.lower() == text.strip().lower()), None)
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def parse_size(text: str) -> float | None:
    """Returns 512m, 2g, 900MiB or a plain number as a number (of bytes); None where it is none."""
    match = _SIZE.fullmatch(text.strip())
    return None if match is None else float(match[1]) * _FACTORS[match[2].lower()]


def allowed(knob: Knob, value: Value) -> Value | None:
    """Returns a computed value as the knob takes it: rounded and within bounds; None where it takes none."""
    entry = knob.entry
    if entry.kind == "text":
        return value if value in entry.choices else None
    if isinstance(value, str) or not math.isfinite(value):
        return None
    assert entry.minimum is not None
    assert entry.maximum is not None
    bounded = min(max(float(value), entry.minimum), entry.maximum)
    return float(round(bounded)) if entry.kind == "integer" else round(bounded, 3)


def plain(value: Value) -> str | int | float:
    """Returns a value for JSON and manifests: whole numbers without a fraction."""
    if isinstance(value, str):
        return value
    return int(value) if float(value).is_integer() else round(float(value), 6)


_UNIT_SIGNS = {"MiB": "MiB", "%": "%", "seconds": "s"}


def with_unit(knob: Knob, value: Value) -> str:
    """Returns a value as people write it in settings: "101MiB", "75%", "5s", and counts bare."""
    return f"{plain(value)}{_UNIT_SIGNS.get(knob.entry.unit or '', '')}"


def shown(knob: Knob, value: Value | None) -> str:
    """Prints a value with its unit: "2 threads", "75 %", "not set"."""
    if value is None:
        return "not set"
    if isinstance(value, str):
        return value
    number = f"{float(value):.4g}" if abs(float(value)) < 10_000 else f"{round(float(value))}"
    return f"{number} {knob.entry.unit}".strip()
