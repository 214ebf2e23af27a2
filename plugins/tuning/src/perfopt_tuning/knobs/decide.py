"""Decides the knobs of one container by the formulas of the catalogue."""

from dataclasses import dataclass, field

from perfopt.plugin import Container, Reason
from perfopt_tuning.history import MetricHistory
from perfopt_tuning.knobs.detect import Version
from perfopt_tuning.knobs.formula import FormulaError, KnobFormula, MissingFactError, Value
from perfopt_tuning.knobs.schema import Knob, KnobCatalogue
from perfopt_tuning.knobs.values import (
    CurrentValue,
    FactsWith,
    UnreadableValue,
    allowed,
    plain,
    read_current,
    shown,
)

INPUT_ANNOTATION = "perfopt.io/input."


@dataclass(frozen=True, slots=True)
class KnobDecision:
    """The decision on one knob.

    Attributes:
        value: to set; None where it stays.
        no_change: the current value needs no change.
        reason: why, or why the knob can't be decided.
    """

    knob: Knob
    value: Value | None
    no_change: bool
    reason: Reason


@dataclass(slots=True)
class ContainerFacts:
    """The facts of one container for formulas: state, inputs, and the knobs decided before."""

    catalogue: KnobCatalogue
    history: MetricHistory
    container: Container
    versions: dict[str, Version | None]
    decided: dict[str, Value | None] = field(default_factory=dict)
    runtime: str = ""

    def fact(self, name: str) -> Value | None:
        """Returns a fact by name, None where it is not known."""
        if name in self.decided:
            return self.decided[name]
        if name in self.catalogue.inputs:
            return self._input(name)
        match name:
            case "cpu_limit_cores" | "cpu_request_cores" | "memory_limit_bytes" | "memory_request_bytes":
                value: Value | None = getattr(self.container, name)
                return value or None
            case "max_replicas" | "most_replicas":
                state = self.history.context.snapshot.workload.state
                return state.hpa.max_replicas if state.hpa is not None else state.replicas or None
            case "requests_in_flight":
                return self.history.requests_in_flight()
            case "slo_latency_ms":
                slo = self.history.context.snapshot.workload.slo
                return None if slo is None else slo.latency_ms
            case "runtime_version":
                return self.versions.get(self.runtime)
        if name in self.catalogue.knobs or name in ("current", "value", "it"):
            return None
        return self.measured("last", name)

    def measured(self, function: str, metric: str) -> float | None:
        """Returns last, p99, peak or mean of a metric."""
        return self.history.measured(self.container.name, function, metric)

    def _input(self, name: str) -> float | None:
        stated = self.history.context.snapshot.workload.annotations.get(f"{INPUT_ANNOTATION}{name}")
        try:
            return self.catalogue.inputs[name].default if stated is None else float(stated)
        except ValueError:
            return None


def decide(facts: ContainerFacts) -> list[KnobDecision]:
    """Decides all knobs of the runtimes found, in the catalogue's order; later ones see earlier ones."""
    decisions = []
    for knob in facts.catalogue.knobs.values():
        if knob.formula is not None and knob.entry.runtime in facts.versions:
            facts.runtime = knob.entry.runtime
            decisions.append(_decide(knob, knob.formula, facts))
    return decisions


def _decide(knob: Knob, formula: KnobFormula, facts: ContainerFacts) -> KnobDecision:
    annotations = facts.history.context.snapshot.workload.annotations
    current = read_current(knob, facts.container, annotations, facts)
    if isinstance(current, UnreadableValue):
        return _unchanged(knob, facts, "knob_unreadable", current.reason)
    facts.decided[knob.name] = current.value
    known = FactsWith(facts, {"current": current.value})
    try:
        if knob.when is not None and not knob.when.value(known):
            return _unchanged(knob, facts, "knob_not_applicable", "its rule does not apply here")
        value = allowed(knob, formula.value(known))
        if value is None:
            return _unchanged(knob, facts, "knob_unknown", "its formula gives no value that it takes")
        decision = _decision(knob, formula, FactsWith(known, {"value": value}), current, value, facts)
    except MissingFactError as missing:
        return _unchanged(knob, facts, "knob_needs", f"its rule needs {_needed(str(missing), facts)}")
    except FormulaError as error:
        return _unchanged(knob, facts, "knob_unknown", str(error))
    if decision.value is not None:
        facts.decided[knob.name] = decision.value
    return decision


def _decision(
    knob: Knob,
    formula: KnobFormula,
    known: FactsWith,
    current: CurrentValue,
    value: Value,
    facts: ContainerFacts,
) -> KnobDecision:
    data = {"knob": knob.name, "current": _plain(current.value), "value": _plain(value)}
    if current.value is not None and _accepted(knob, known, current.value, value):
        present = f"{shown(knob, current.value)}, {current.origin}"
        text = f"{facts.container.name}: {knob.entry.title} needs no change ({present})."
        return KnobDecision(knob, None, True, Reason(code="knob_right", text=text, data=data))
    if knob.safe is not None and not _safe(knob.safe, known):
        because = f"the formula gives {shown(knob, value)}, which is not safe here. {knob.entry.safety}"
        return _unchanged(knob, facts, "knob_unsafe", because)
    before = "not set" if current.value is None else shown(knob, current.value)
    origin = "" if current.value is None else f", {current.origin}"
    text = (
        f"{facts.container.name}: set {knob.entry.title} to {shown(knob, value)} (current: {before}{origin})."
        f" {knob.entry.because} Formula: {formula.text}{_numbers(formula, known)}."
        f" Source: {knob.entry.source}. {knob.entry.safety}"
    )
    return KnobDecision(knob, value, False, Reason(code=f"knob_{knob.name}", text=text, data=data))


def _accepted(knob: Knob, known: FactsWith, current: Value, value: Value) -> bool:
    return bool(current == value if knob.accept is None else knob.accept.value(known))


def _safe(condition: KnobFormula, known: FactsWith) -> bool:
    """Returns whether a change is safe; where a fact is missing, it is not."""
    try:
        return bool(condition.value(known))
    except MissingFactError:
        return False


def _numbers(formula: KnobFormula, known: FactsWith) -> str:
    """Returns the values that a formula was computed with, as text."""
    parts = [
        f"{name} = {float(value):.6g}"
        for name in sorted(formula.names)
        if (value := known.fact(name)) is not None and not isinstance(value, str)
    ]
    for function, metric in formula.calls:
        measured = known.measured(function, metric)
        if measured is not None:
            parts.append(f"{function}({metric}) = {measured:.6g}")
    return f", with {', '.join(parts)}" if parts else ""


def _unchanged(knob: Knob, facts: ContainerFacts, code: str, why: str) -> KnobDecision:
    sentence = why if why.endswith(".") else f"{why}."
    text = f"{facts.container.name}: {knob.entry.title} stays: {sentence}"
    return KnobDecision(knob, None, False, Reason(code=code, text=text, data={"knob": knob.name}))


def _needed(name: str, facts: ContainerFacts) -> str:
    """Names a missing fact and how to state it."""
    if name in facts.catalogue.inputs:
        return f"{facts.catalogue.inputs[name].what} (annotation {INPUT_ANNOTATION}{name})"
    if name in facts.catalogue.knobs or name == "current":
        return "a value that is unset or unknown"
    return f"{name}, which is unknown"


def _plain(value: Value | None) -> str | float | None:
    return None if value is None else plain(value)
