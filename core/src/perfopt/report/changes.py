"""What an analysis changes, a row for each container or workload field: the same rows for every format."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from perfopt.domain import fields
from perfopt.domain.recommendation import AnalysisResult, Evidence, OptimizationRecommendation, Plan

RAISE, LOWER, SETTING = "raise", "lower", "setting"
UNSET = "-"
# what follows from other fields: how knobs are set, and a KEDA object from the autoscaler and its schedule
_NOT_SHOWN = frozenset({"basis", "knob_settings", "sidecars", "keda_scaled_object"})
_HPA = "autoscaler"
_HPA_PARTS = ("min_replicas", "max_replicas", "target_cpu_utilization_percent")
_MAX_LENGTH = 28

Priced = OptimizationRecommendation | Plan


@dataclass(frozen=True, slots=True)
class ShownChange:
    """One field that changes.

    Attributes:
        container: "" for a field of the workload.
        kind: the type for short, as on the command line: "resource"; where several plugins bring the type,
            with the plugin.
        what: the field in words: "cpu request", "replicas".
        current, recommended: printed values; "-" is unset.
        current_value, recommended_value: the same in cores, bytes or replicas; None where it is no number.
        severity: "raise" (too little now), "lower" (more than needed now) or "setting".
        confidence: of the recommendation it comes from.
        accurate, scored: backtest windows of that recommendation that were accurate, and that were scored.
        n_effective: the scored windows, overlap counted once.
        recommendation_id: which one it comes from.
        valid_until: end of its validity.
    """

    container: str
    kind: str
    what: str
    current: str
    recommended: str
    current_value: float | None
    recommended_value: float | None
    severity: str
    confidence: float
    accurate: int
    scored: int
    n_effective: float
    recommendation_id: str
    valid_until: datetime


@dataclass(frozen=True, slots=True)
class ServiceChanges:
    """What changes for one service; at least one row.

    Attributes:
        cost_current, cost_recommended: a month, of the merged plan where there is one; None is unknown.
        assumed: the current requests are assumed from the limits, so the saving is no fact.
        expected_value: what it is ranked by; None where costs are unknown.
    """

    service: str
    rows: tuple[ShownChange, ...]
    cost_current: float | None
    cost_recommended: float | None
    currency: str
    assumed: bool
    expected_value: float | None

    @property
    def saving(self) -> float | None:
        """The fall of the monthly cost; None where either cost is unknown."""
        if self.cost_current is None or self.cost_recommended is None:
            return None
        return self.cost_current - self.cost_recommended


def short_type(kind: str) -> str:
    """Returns the one word that a type goes by on the command line."""
    return kind.removesuffix("_OPTIMIZATION").removeprefix("PERFORMANCE_").lower()


@dataclass(frozen=True, slots=True)
class TypeLabels:
    """Names types for short; where several plugins bring one type, with the plugin.

    Attributes:
        shared: types that several strategies of a report are of.
    """

    shared: frozenset[str]

    @classmethod
    def of_results(cls, results: Iterable[AnalysisResult]) -> "TypeLabels":
        """Returns the labels of a report."""
        strategies: dict[str, set[str]] = {}
        for result in results:
            for recommendation in result.recommendations:
                strategies.setdefault(recommendation.optimization_type, set()).add(recommendation.plugin)
            for declined in result.declined:
                own = strategies.setdefault(declined.optimization_type, set())
                own |= {declined.plugin} if declined.plugin is not None else set()
        return cls(frozenset(kind for kind, plugins in strategies.items() if len(plugins) > 1))

    def label(self, kind: str, plugin: str | None) -> str:
        """Returns "resource", or "resource (acme)" where others are of the type."""
        short = short_type(kind)
        if kind not in self.shared or plugin is None:
            return short
        return f"{short} ({plugin.partition('/')[0]})"


def backtested(evidence: Evidence) -> tuple[int, int]:
    """Returns how many past windows were accurate, and how many were scored."""
    known = [window.accurate for window in evidence.windows if window.accurate is not None]
    return sum(known), len(known)


def service_changes(results: Iterable[AnalysisResult]) -> list[ServiceChanges]:
    """Returns the services with changes, those worth most first; unknown worth comes last."""
    results = list(results)
    labels = TypeLabels.of_results(results)
    services = [changes for result in results if (changes := _of_result(result, labels)) is not None]
    return sorted(
        services,
        key=lambda one: (one.expected_value is None, -(one.expected_value or 0.0), one.service),
    )


def unchanged(results: Iterable[AnalysisResult]) -> Iterator[tuple[str, OptimizationRecommendation]]:
    """Returns the recommendations to change nothing, with their services."""
    for result in results:
        for recommendation in result.recommendations:
            if not changed_fields(recommendation.current_state, recommendation.recommended_state):
                yield result.service_name, recommendation


def changed_fields(current: dict[str, Any], recommended: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Returns the fields that differ between two state maps, by label, with both printed values."""
    before, after = (fields.all_fields(fields.parse_state(state)) for state in (current, recommended))
    return {
        fields.label(path): (_shown(path, before.get(path), current), _shown(path, value, recommended))
        for path, value in fields.changed_values(before, after).items()
        if path[0] not in _NOT_SHOWN and not (path[0] == "extra" and path[1] in _NOT_SHOWN)
    }


def _shown(path: fields.Path, value: Any, state: dict[str, Any]) -> Any:
    """Returns a value as state maps have it, and that of a runtime knob with its unit where that is known."""
    if value is None or path[0] != fields.KNOBS:
        return fields.print_value(path, value)
    how = (state.get(fields.KNOB_SETTINGS) or {}).get(path[1]) or {}
    return (how.get("values") or {}).get(path[2], value)


def _of_result(result: AnalysisResult, labels: TypeLabels) -> ServiceChanges | None:
    changing = [
        one for one in result.recommendations if changed_fields(one.current_state, one.recommended_state)
    ]
    if not changing:
        return None
    # what changes the cost comes first: the cost of the service stands beside it
    changing.sort(
        key=lambda one: (
            one.monthly_cost_current == one.monthly_cost_recommended,
            -(one.expected_value.total if one.expected_value else 0.0),
        )
    )
    whole: Priced = result.plan or changing[0]
    rows = tuple(row for one in changing for row in _rows(one, _own_fields(one, result.plan), whole, labels))
    if not rows:
        return None
    values = [one.expected_value.total for one in changing if one.expected_value is not None]
    return ServiceChanges(
        service=result.service_name,
        rows=rows,
        cost_current=whole.monthly_cost_current,
        cost_recommended=whole.monthly_cost_recommended,
        currency=whole.currency,
        assumed="assumed_from_limit"
        in (whole.current_state.get("basis"), changing[0].current_state.get("basis")),
        expected_value=sum(values) if values else None,
    )


def _own_fields(recommendation: OptimizationRecommendation, plan: Plan | None) -> set[str] | None:
    """Returns the labels that the plan takes from a recommendation; None is all that it changes."""
    if plan is None:
        return None
    steps = [step for step in plan.steps if step.recommendation_id == recommendation.recommendation_id]
    return {label for step in steps for label in step.changes}


def _rows(
    recommendation: OptimizationRecommendation, own: set[str] | None, whole: Priced, labels: TypeLabels
) -> Iterator[ShownChange]:
    changed = changed_fields(whole.current_state, whole.recommended_state)
    if own is not None:
        changed = {label: values for label, values in changed.items() if label in own}
    accurate, scored = backtested(recommendation.evidence)
    for field in _described(changed):
        yield ShownChange(
            container=field.container,
            kind=labels.label(recommendation.optimization_type, recommendation.plugin),
            what=field.what,
            current=field.current,
            recommended=field.recommended,
            current_value=field.current_value,
            recommended_value=field.recommended_value,
            severity=field.severity,
            confidence=recommendation.expected_improvement.confidence,
            accurate=accurate,
            scored=scored,
            n_effective=recommendation.confidence_detail.n_effective,
            recommendation_id=recommendation.recommendation_id,
            valid_until=recommendation.valid_until,
        )


@dataclass(frozen=True, slots=True)
class _Field:
    """A field that changes; see ShownChange."""

    container: str
    what: str
    current: str
    recommended: str
    severity: str
    current_value: float | None = None
    recommended_value: float | None = None


def _field(path: fields.Path, container: str, what: str, before: Any, after: Any) -> _Field:
    severity = _severity(path, before, after)
    numbers = _number(path, before), _number(path, after)
    return _Field(container, what, _printed(before), _printed(after), severity, *numbers)


def _number(path: fields.Path, printed: Any) -> float | None:
    value = fields.parse_value(path, printed)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _described(changed: dict[str, tuple[Any, Any]]) -> Iterator[_Field]:
    autoscaler = {label: values for label, values in changed.items() if label.startswith("hpa.")}
    for label, (before, after) in changed.items():
        if label in autoscaler:
            continue
        path = fields.parse_label(label)
        container = path[1] if path[0] in ("container", fields.KNOBS) else ""
        what = label.rpartition(".")[2] if container else label
        yield _field(path, container, what.replace("_", " "), before, after)
    if autoscaler:
        yield from _autoscaler(autoscaler)


def _autoscaler(changed: dict[str, tuple[Any, Any]]) -> Iterator[_Field]:
    """Describes a new autoscaler in one row, and changes to one that is there in a row each."""
    main = [f"hpa.{part}" for part in _HPA_PARTS]
    if main[1] in changed and all(before is None for before, _ in changed.values()):
        least, most, target = (changed.get(label, (None, None))[1] for label in main)
        bounds = f"{least or 1}-{most}" if most is not None else None if least is None else f"min {least}"
        at = None if target is None else f"at {target:g}% cpu"
        shown = " ".join(part for part in (bounds, at) if part is not None)
        if shown:
            yield _Field("", _HPA, UNSET, shown, SETTING)
            return
    for label, (before, after) in changed.items():
        what = label.replace("hpa.", "hpa ").replace("_utilization_percent", " %").replace("_", " ")
        yield _field(fields.parse_label(label), "", what, before, after)


def _severity(path: fields.Path, before: Any, after: Any) -> str:
    if not fields.more_is_safer(path) or after is None:
        return SETTING
    if before is None:
        return RAISE if fields.is_quantity(path) and "request" in path[-1] else SETTING
    return RAISE if fields.parse_value(path, after) > fields.parse_value(path, before) else LOWER


def _printed(value: Any) -> str:
    if value is None:
        return UNSET
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"{len(value)} entr{'y' if len(value) == 1 else 'ies'}"
    if isinstance(value, dict):
        return "set"
    text = str(value)
    return text if len(text) <= _MAX_LENGTH else f"{text[: _MAX_LENGTH - 1]}…"
