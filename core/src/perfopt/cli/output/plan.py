"""Prints plans: which recommendations go together, in which order, and what was lost to what."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from perfopt.domain.recommendation import AnalysisResult, Evidence, OptimizationRecommendation, Plan

Tabulate = Callable[..., str]
_APART = frozenset(
    {"cpu_request", "memory_request", "cpu_limit", "memory_limit", "containers", "basis", "knob_settings"}
)
_LONGEST = 40


def short_type(kind: str) -> str:
    """Returns the one word that a type goes by on the command line."""
    return kind.removesuffix("_OPTIMIZATION").removeprefix("PERFORMANCE_").lower()


def replay(evidence: Evidence) -> str:
    """Returns how many of the past windows were accurate."""
    outcomes = Counter(window.outcome for window in evidence.windows)
    scored = outcomes["accurate"] + outcomes["inaccurate"]
    return f"{outcomes['accurate']} of {scored} accurate" if scored else "no past window"


def cost(made: OptimizationRecommendation | Plan) -> str:
    """Returns the monthly cost now and then."""
    current, recommended = made.monthly_cost_current, made.monthly_cost_recommended
    if recommended is None:
        return "-"
    if current is None or current == recommended:
        return f"{recommended:.2f} {made.currency}"
    percent = 0.0 - made.expected_improvement.cost_reduction_percent
    return f"{current:.2f} -> {recommended:.2f} {made.currency} ({percent:+.0f} %)"


def other_changes(made: OptimizationRecommendation | Plan) -> str:
    """Returns what changes beside requests and limits: replicas, autoscaler, schedule, knobs, ..."""
    before, after = _flat(made.current_state), _flat(made.recommended_state)
    names = [name for name in dict.fromkeys((*before, *after)) if before.get(name) != after.get(name)]
    return ", ".join(f"{name} {_moved(before.get(name), after.get(name))}" for name in names)


_DEPTH = {"hpa": 1, "knobs": 2}


def _flat(state: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in state.items():
        if name not in _APART:
            found |= _nested(name, value, _DEPTH.get(name, 0))
    return found


def _nested(name: str, value: Any, depth: int) -> dict[str, Any]:
    if depth == 0 or not isinstance(value, dict):
        return {name: value}
    found: dict[str, Any] = {}
    for inner, own in value.items():
        found |= _nested(f"{name}.{inner}", own, depth - 1)
    return found


def _moved(before: Any, after: Any) -> str:
    if after is None:
        return "removed"
    return _short(after) if before is None else f"{_short(before)} -> {_short(after)}"


def _short(value: Any) -> str:
    if isinstance(value, list | dict):
        return f"{len(value)} entr{'y' if len(value) == 1 else 'ies'}"
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def plans(results: Sequence[AnalysisResult], table: Tabulate) -> list[str]:
    """Returns the parts of the output that tell of plans; a plan of one recommendation is that one."""
    shown = [(one.service_name, one.plan) for one in results if one.plan is not None and _is_more(one.plan)]
    if not shown:
        return []
    asked = [conditions(plan) for _, plan in shown]
    apply = ("APPLY",) if any(asked) else ()
    header = ("PLAN FOR", "STEPS", "OTHER CHANGES", "COST/MONTH", "CONFIDENCE", "REPLAYED TOGETHER", *apply)
    summary = [
        (*_summary(service, plan), *((when or "at once",) if apply else ()))
        for (service, plan), when in zip(shown, asked, strict=True)
    ]
    steps = [row for service, plan in shown for row in _steps(service, plan)]
    parts = [
        table(header, summary, right=("CONFIDENCE",)),
        table(("STEP OF", "NO", "TYPE", "SETS", "WHY HERE"), steps, right=("NO",)),
    ]
    lost = [row for service, plan in shown for row in _conflicts(service, plan)]
    header = ("NOT TAKEN FOR", "FIELD", "WANTED", "IN THE PLAN", "LOST BY", "WHY")
    return [*parts, table(header, lost)] if lost else parts


def conditions(made: OptimizationRecommendation | Plan) -> str:
    """Returns what rules ask of whoever applies it; "" where that is nothing."""
    asked = ["after approval"] if made.requires_approval else []
    if made.not_before is not None:
        asked.append(f"from {made.not_before:%Y-%m-%d %H:%M} UTC")
    elif made.allowed_windows:
        asked.append(f"until {made.allowed_windows[0].end:%Y-%m-%d %H:%M} UTC")
    later = len(made.allowed_windows) - 1
    return ", ".join(asked) + (f" ({later} more window{'s' if later > 1 else ''})" if later > 0 else "")


def _is_more(plan: Plan) -> bool:
    return len(plan.steps) > 1 or bool(plan.conflicts)


def _summary(service: str, plan: Plan) -> tuple[str, ...]:
    confidence = f"{plan.expected_improvement.confidence:.2f}"
    return (
        service,
        " -> ".join(short_type(step.optimization_type) for step in plan.steps),
        other_changes(plan) or "-",
        cost(plan),
        confidence,
        replay(plan.evidence),
    )


def _steps(service: str, plan: Plan) -> Iterator[tuple[str, ...]]:
    for number, step in enumerate(plan.steps, start=1):
        sets = ", ".join(
            f"{field} {'removed' if value is None else _short(value)}"
            for field, value in step.changes.items()
        )
        yield service, str(number), short_type(step.optimization_type), sets, step.reason


def _conflicts(service: str, plan: Plan) -> Iterator[tuple[str, ...]]:
    for one in plan.conflicts:
        wanted, kept = ("unset" if value is None else _short(value) for value in (one.wanted, one.kept))
        yield service, one.field, wanted, kept, one.lost_by, one.reason
