"""What the demo prints: one block a service, and the event as a subscriber got it. Pure."""

import textwrap
from collections.abc import Iterable
from statistics import median
from typing import Any

import msgspec

from perfopt.domain.job import OptimizationJob
from perfopt.domain.period import format_instant
from perfopt.domain.recommendation import (
    ConfidenceDetail,
    Evidence,
    ExpectedImprovement,
    OptimizationRecommendation,
    Plan,
)

WIDTH = 108
_QUANTITIES = ("cpu_request", "memory_request", "cpu_limit", "memory_limit", "replicas")


def show_job(job: OptimizationJob) -> str:
    """Prints what came of one analysis: recommendations, what they make together, what was declined."""
    lines = [f"━━ {job.service_name} " + "━" * max(WIDTH - len(job.service_name) - 4, 0)]
    for made in job.recommendations:
        lines += _recommendation(made)
    if job.plan is not None:
        lines += _plan(job.plan, alone=len(job.recommendations) == 1)
    if job.error is not None:
        lines += _wrapped("failed", str(job.error.get("message", "")))
    for declined in job.declined:
        kind = _short(declined.optimization_type)
        lines += _wrapped("declined", f"{kind} ({declined.code.value}): {declined.reason}")
    lines += [line for warning in job.warnings for line in _wrapped("note", warning.message)]
    return "\n".join(lines)


def _recommendation(made: OptimizationRecommendation) -> list[str]:
    kept = " (already right)" if made.already_right else ""
    lines = _wrapped(made.recommendation_id, f"{_short(made.optimization_type)}{kept}: {made.description}")
    lines += _wrapped("claim", f"holds until {format_instant(made.valid_until)[:16]}Z; {_promise(made)}")
    lines += _wrapped("confidence", _confidence(made.expected_improvement, made.confidence_detail))
    return lines + _wrapped("replays", _replays(made.evidence))


def _plan(plan: Plan, *, alone: bool) -> list[str]:
    """Prints the state that all recommendations make, and how that did as a whole where they are several."""
    lines = [] if alone else _wrapped("together", plan.description)
    lines += _wrapped("now", _state(plan.current_state))
    lines += _wrapped("then", _state(plan.recommended_state))
    if not alone:
        lines += _wrapped("claim", _promise(plan))
        lines += _wrapped("replays", _replays(plan.evidence))
    if plan.requires_approval or plan.not_before is not None:
        lines += _wrapped("apply", _conditions(plan))
    reasons = dict.fromkeys(lost.reason for lost in plan.conflicts)
    return lines + [line for reason in reasons for line in _wrapped("not taken", reason)]


def _short(kind: str) -> str:
    return kind.removesuffix("_OPTIMIZATION").removeprefix("PERFORMANCE_").lower()


def _state(state: dict[str, Any]) -> str:
    shown = [f"{name} {state[name]}" for name in _QUANTITIES if name in state]
    hpa, basis = state.get("hpa"), state.get("basis")
    if hpa is not None:
        shown.append(f"hpa {hpa['min_replicas']} to {hpa['max_replicas']}")
    shown += [
        f"{container}: {knob} {value}"
        for container, knobs in state.get("knobs", {}).items()
        for knob, value in knobs.items()
    ]
    return ", ".join(shown or ["unknown"]) + (f"   (basis: {basis})" if basis else "")


def _conditions(plan: Plan) -> str:
    """Says what rules ask of whoever applies it."""
    start = "at once" if plan.not_before is None else f"from {format_instant(plan.not_before)[:16]}Z"
    return f"{start}{', after approval' if plan.requires_approval else ''}"


def _promise(made: OptimizationRecommendation | Plan) -> str:
    improvement, parts = made.expected_improvement, []
    then, now = made.monthly_cost_recommended, made.monthly_cost_current
    if then is None or now is None:
        parts.append("no saving is claimed")
    else:
        percent = f"{improvement.cost_reduction_percent:+.1f} % saved"
        parts.append(f"{now:.2f} -> {then:.2f} {made.currency} a month ({percent}, {made.price_book})")
    if improvement.latency_reduction_ms:
        parts.append(f"latency {-improvement.latency_reduction_ms:+.1f} ms")
    return "; ".join(parts)


def _confidence(improvement: ExpectedImprovement, detail: ConfidenceDetail) -> str:
    own = (
        "no past window of its own"
        if detail.accurate_share is None
        else f"{detail.accurate_share:.0%} of its own past, worth {detail.n_effective:.1f} windows"
    )
    prior = f"the prior {detail.prior:.2f}, worth {detail.prior_strength:.1f} windows"
    return f"{improvement.confidence:.2f} from {own}, and {prior}"


def show_priors(made: Iterable[OptimizationRecommendation]) -> str:
    """Prints where the priors of the confidences come from, each once."""
    sources = {one.plugin: one.confidence_detail.prior_source for one in made}
    return "\n".join(
        line for plugin in sorted(sources) for line in _wrapped("prior", f"{plugin}: {sources[plugin]}")
    )


def _replays(evidence: Evidence) -> str:
    """Says how the same would have done at past instants of the same service."""
    scored = [window for window in evidence.windows if window.accurate is not None]
    if not scored:
        reasons = {window.reason for window in evidence.windows if window.reason}
        return f"none was scored: {'; '.join(sorted(reasons)) or 'the history is too short for one'}"
    kept = sum(window.accurate is True for window in scored)
    parts = [f"{kept} of {len(scored)} kept their word"]
    for name, wastes in (
        ("cpu", [window.cpu_waste for window in scored]),
        ("memory", [window.memory_waste for window in scored]),
    ):
        known = [waste for waste in wastes if waste is not None]
        if known:
            parts.append(f"{name} at {1 + median(known):.0%} of the least that would do")
    return ", ".join(parts)


def _wrapped(label: str, text: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=f"  {label:<20}", subsequent_indent=" " * 22, break_long_words=False
    )


def show_event(subject: str, headers: dict[str, str], payload: bytes) -> str:
    """Prints a message as it came over the wire, its body indented."""
    head = "\n".join(f"  {name}: {value}" for name, value in sorted(headers.items()))
    body = msgspec.json.format(payload, indent=2).decode()
    return f"{subject}\n{head}\n{textwrap.indent(body, '  ')}"
