"""Everything that a report holds, in words, service by service: what `--verbose` adds."""

import textwrap
from collections.abc import Iterable, Iterator
from statistics import median
from typing import Any

from perfopt.cli.output.notes import conditions, listed_types
from perfopt.cli.output.terminal import TerminalScreen
from perfopt.domain.period import format_instant
from perfopt.domain.recommendation import (
    AnalysisResult,
    Declined,
    Evidence,
    OptimizationRecommendation,
    Plan,
)
from perfopt.report.changes import Priced, TypeLabels, backtested, short_type

_LABEL = 18


def details(results: Iterable[AnalysisResult], screen: TerminalScreen) -> str:
    """Prints each service in full."""
    lines: list[str] = []
    results = list(results)
    labels = TypeLabels.of_results(results)
    for result in results:
        lines += ["", f"── {result.service_name} ".ljust(screen.width, "─")]
        for label, text in _service(result, labels):
            lines += wrapped(label, text, screen.width)
    return screen.printable("".join(f"{line}\n" for line in lines))


def _service(result: AnalysisResult, labels: TypeLabels) -> Iterator[tuple[str, str]]:
    for recommendation in result.recommendations:
        yield from recommendation_lines(recommendation)
    if result.plan is not None:
        yield from _plan(result.plan)
    for (code, reason), kinds in _reasons(result.declined, labels).items():
        yield ("abstained", f"{listed_types(kinds)} ({code}): {reason}")
    for warning in result.warnings:
        yield ("warning", f"{warning.message} ({warning.code})")


def _reasons(declined: Iterable[Declined], labels: TypeLabels) -> dict[tuple[str, str], list[str]]:
    reasons: dict[tuple[str, str], list[str]] = {}
    for one in declined:
        reasons.setdefault((one.code.value, one.reason), []).append(
            labels.label(one.optimization_type, one.plugin)
        )
    return reasons


def recommendation_lines(recommendation: OptimizationRecommendation) -> Iterator[tuple[str, str]]:
    """Returns one recommendation in full: what, for how long, how sure, by what backtest, and why."""
    kind = short_type(recommendation.optimization_type)
    yield (
        recommendation.recommendation_id,
        f"{kind} (by {recommendation.plugin}): {recommendation.description}",
    )
    yield ("valid until", format_instant(recommendation.valid_until)[:16] + "Z")
    yield ("expected", _expected(recommendation))
    yield ("confidence", _confidence(recommendation))
    yield ("backtest", _backtest(recommendation.evidence))
    for reason in recommendation.reasons:
        yield ("reason", reason.text)
    if requirements := conditions(recommendation):
        yield ("apply", requirements)


def _plan(plan: Plan) -> Iterator[tuple[str, str]]:
    """Returns the merged state of several recommendations, with what of them is left out."""
    if len(plan.steps) > 1:
        yield ("plan", plan.description)
        yield ("expected", _expected(plan))
        yield ("backtest", _backtest(plan.evidence))
        for number, step in enumerate(plan.steps, start=1):
            text = f"{number}. {short_type(step.optimization_type)}: {', '.join(step.changes)}. {step.reason}"
            yield ("step", text)
        if requirements := conditions(plan):
            yield ("apply", requirements)
    for one in plan.conflicts:
        plan_value = "unset" if one.kept is None else _short(one.kept)
        rejected_value = "unset" if one.wanted is None else _short(one.wanted)
        text = f"{one.field} {rejected_value} by {one.lost_by} ({one.code}); the plan has {plan_value}."
        text += f" {one.reason}"
        yield ("rejected", text)


def _short(value: Any) -> str:
    return f"{len(value)} entries" if isinstance(value, list | dict) else str(value)


def _saved(percent: float) -> str:
    return f"{-percent:.1f} % dearer" if percent < 0 else f"{percent:.1f} % saved"


def _expected(priced: Priced) -> str:
    before, after = priced.monthly_cost_current, priced.monthly_cost_recommended
    if before is None or after is None:
        parts = ["no saving is expected: costs are unknown"]
    else:
        change = f"{before:,.2f} → {after:,.2f} {priced.currency} a month by price book {priced.price_book}"
        saved = priced.expected_improvement.cost_reduction_percent
        parts = [change if saved is None else f"{change}, {_saved(saved)}"]
    if priced.current_state.get("basis") == "assumed_from_limit":
        parts.append("current requests are assumed from limits")
    if priced.expected_improvement.latency_reduction_ms:
        parts.append(f"latency {-priced.expected_improvement.latency_reduction_ms:+.1f} ms")
    return "; ".join(parts)


def _confidence(recommendation: OptimizationRecommendation) -> str:
    detail = recommendation.confidence_detail
    own = (
        "no own backtest window"
        if detail.accurate_share is None
        else f"own hit rate {detail.accurate_share:.0%} (n_eff {detail.n_effective:.1f})".replace("%", " %")
    )
    prior = f"prior {detail.prior:.2f} (weight {detail.prior_strength:.0f}, {detail.prior_source})"
    return f"{recommendation.expected_improvement.confidence:.2f}: {own}; {prior}"


def _backtest(evidence: Evidence) -> str:
    """Returns how the same strategy would have done at past instants of this service."""
    accurate, count = backtested(evidence)
    if not count:
        reasons = {window.reason for window in evidence.windows if window.reason}
        return f"no window was scored: {'; '.join(sorted(reasons)) or 'the history is too short'}"
    scored = [window for window in evidence.windows if window.accurate is not None]
    parts = [f"{accurate} of {count} windows accurate"]
    for name, wastes in (
        ("cpu", [window.cpu_waste for window in scored]),
        ("memory", [window.memory_waste for window in scored]),
    ):
        known = [waste for waste in wastes if waste is not None]
        if known:
            parts.append(_against_minimum(name, median(known)))
    return ", ".join(parts)


def _against_minimum(name: str, waste: float) -> str:
    side = "above" if waste >= 0 else "below"
    return f"{name} {abs(waste):.0%} {side} the minimum safe value".replace("%", " %")


def wrapped(label: str, text: str, width: int) -> list[str]:
    """Returns a label and a text, wrapped to a width."""
    indent = " " * (_LABEL + 2)
    return textwrap.wrap(
        text,
        width,
        initial_indent=f"  {label:<{_LABEL}}",
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
