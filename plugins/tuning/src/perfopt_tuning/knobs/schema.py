"""The schema of a catalogue of knobs, checked and compiled."""

import re
from dataclasses import dataclass, field
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from perfopt_tuning.knobs.formula import KnobFormula

Kind = Literal["integer", "number", "text"]
Goal = Literal["fastest", "smallest"]

FACTS = {
    "cpu_limit_cores": "the container's CPU limit, in cores",
    "cpu_request_cores": "the container's CPU request, in cores",
    "memory_limit_bytes": "the container's memory limit",
    "memory_request_bytes": "the container's memory request",
    "max_replicas": "the HPA's maximum, or the replicas where none scales them",
    "requests_in_flight": "requests in a replica at a time: P99 of rate x mean latency / replicas",
    "slo_latency_ms": "the latency objective",
    "runtime_version": "of the runtime: major x 100 + minor, so 1.24 is 124 and 21 is 2100",
}
"""Facts that any formula may use, besides inputs, knobs, `current` and `value`."""
OLD_FACTS = ("most_replicas",)
"""Old names of facts, which catalogues of users may still hold: `max_replicas`."""


class ReadEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One place where a value stands: an environment variable, the command line, or a formula.

    Attributes:
        env: one name, or several that are tried in turn.
        pattern: of the variable's text; group 1 is the value. The whole text without one.
        argument: pattern of the command line (command and args joined by spaces); group 1 is the value.
        expression: formula over facts and metrics.
        value: formula that turns what was read (`it`; sizes like 512m in bytes) into the knob's unit.
    """

    env: str | tuple[str, ...] | None = None
    pattern: str | None = None
    argument: str | None = None
    expression: str | None = None
    value: str | None = None


class SetEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a value is put into force.

    Attributes:
        env: the environment variable to set.
        option: one option within the variable; others in it stay. `{value}` stands for the value.
        removes: pattern of the options that it takes the place of, in the variable and in arguments.
        flags: spellings of the command line's flag for it; where one is in use, it is changed there.
        resource: a resource of the container ("cpu_limit").
        by_hand: what to do where nothing of the above can do it.
    """

    env: str | None = None
    option: str | None = None
    removes: str | None = None
    flags: tuple[str, ...] = ()
    resource: Literal["cpu_limit"] | None = None
    by_hand: str | None = None


class SearchEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a knob is tried out where no formula decides.

    Attributes:
        goal: `fastest` looks for the least P99 latency, `smallest` for the least value within the objective.
        history: metric that recorded the knob's value.
        largest_step: of an evaluation, as part of the present value.
        factor: between values that are far apart: latency hardly changes within a small part of it.
    """

    goal: Goal
    history: str
    largest_step: Annotated[float, Meta(gt=0, le=0.5)] = 0.2
    factor: Annotated[float, Meta(gt=1, le=1000)] = 4.0


class RuntimeEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a runtime, server or library is recognised: by any of these.

    Attributes:
        images: patterns of the image's name.
        env: names of environment variables.
        args: patterns of the command line.
        metrics: names of the metric catalogue, where the workload has one container only.
        requires: counts only where this runtime was recognised too.
        unless_args: does not count where the command line has one of these patterns.
        version: pattern of the image; groups 1 and 2 are major and minor.
    """

    title: str
    images: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    requires: str | None = None
    unless_args: tuple[str, ...] = ()
    version: str | None = None
    every_container: bool = False


class InputEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A number that no source knows; a workload states it as the annotation perfopt.io/input.<name>."""

    what: str
    default: float | None = None


class KnobEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A knob as the file has it; see docs/reference/tuning.md."""

    title: str
    runtime: str
    kind: Kind = "integer"
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    read: tuple[ReadEntry, ...]
    set: SetEntry
    default: str | int | float | None = None
    when: str | None = None
    formula: str | int | float | None = None
    accept: str | None = None
    safe: str | None = None
    search: SearchEntry | None = None
    because: str
    source: str
    safety: str


@dataclass(frozen=True, slots=True)
class InputReading:
    """A compiled ReadEntry."""

    env: tuple[str, ...]
    pattern: re.Pattern[str] | None
    argument: re.Pattern[str] | None
    expression: KnobFormula | None
    value: KnobFormula | None


@dataclass(frozen=True, slots=True)
class Knob:
    """A compiled knob; the attributes are those of KnobEntry."""

    name: str
    entry: KnobEntry
    read: tuple[InputReading, ...]
    removes: re.Pattern[str] | None
    default: KnobFormula | None
    when: KnobFormula | None
    formula: KnobFormula | None
    accept: KnobFormula | None
    safe: KnobFormula | None


@dataclass(frozen=True, slots=True)
class Runtime:
    """A compiled runtime; the attributes are those of RuntimeEntry."""

    name: str
    entry: RuntimeEntry
    images: tuple[re.Pattern[str], ...]
    args: tuple[re.Pattern[str], ...]
    unless_args: tuple[re.Pattern[str], ...]
    version: re.Pattern[str] | None


@dataclass(frozen=True, slots=True)
class KnobCatalogue:
    """Runtimes, inputs and knobs by name; knobs in the order they are decided in."""

    runtimes: dict[str, Runtime] = field(default_factory=dict)
    inputs: dict[str, InputEntry] = field(default_factory=dict)
    knobs: dict[str, Knob] = field(default_factory=dict)
