"""What the demo prints: one block a service, and the event as a subscriber got it. Pure."""

import textwrap
from collections.abc import Iterable
from typing import Any

import msgspec

from perfopt.domain.job import OptimizationJob
from perfopt.domain.period import format_instant
from perfopt.domain.recommendation import OptimizationRecommendation, ReplayWindow

WIDTH = 108
_QUANTITIES = ("cpu_request", "memory_request", "cpu_limit", "memory_limit", "replicas")
_OUTCOME = {"accurate": "kept its word", "inaccurate": "fell short", "declined": "declined"}


def show_job(job: OptimizationJob) -> str:
    """Prints what came of one analysis: recommendations, what was declined and why, warnings."""
    lines = [f"━━ {job.service_name} " + "━" * max(WIDTH - len(job.service_name) - 4, 0)]
    for made in job.recommendations:
        lines += _recommendation(made)
    if job.error is not None:
        lines += _wrapped("failed", str(job.error.get("message", "")))
    if not job.recommendations:
        lines += [
            line
            for declined in job.declined
            for line in _wrapped("declined", f"{declined.code.value}: {declined.reason}")
        ]
    lines += [line for warning in job.warnings for line in _wrapped("note", warning.message)]
    return "\n".join(lines)


def _recommendation(made: OptimizationRecommendation) -> list[str]:
    lines = _wrapped(made.recommendation_id, made.description)
    lines += _wrapped("now", _state(made.current_state))
    lines += _wrapped("recommended", _state(made.recommended_state))
    lines += _wrapped("claim", _claim(made))
    lines += _wrapped("confidence", _confidence(made))
    for window in made.evidence.windows:
        lines += _wrapped(f"replay {window.made_at:%d %b %H:%M}", _window(window))
    return lines


def _state(state: dict[str, Any]) -> str:
    shown = [f"{name} {state[name]}" for name in _QUANTITIES if name in state]
    basis = state.get("basis")
    return ", ".join(shown or ["unknown"]) + (f"   (basis: {basis})" if basis else "")


def _claim(made: OptimizationRecommendation) -> str:
    holds = f"holds until {format_instant(made.valid_until)[:16]}Z"
    then, now = made.monthly_cost_recommended, made.monthly_cost_current
    if then is None or now is None:
        return f"{holds}; no saving is claimed"
    percent = made.expected_improvement.cost_reduction_percent
    cost = f"{now:.2f} -> {then:.2f} {made.currency} a month"
    return f"{holds}; {cost} ({percent:+.1f} % saved, {made.price_book})"


def _confidence(made: OptimizationRecommendation) -> str:
    detail = made.confidence_detail
    own = (
        "no past window of its own"
        if detail.accurate_share is None
        else f"{detail.accurate_share:.0%} of its own past, worth {detail.n_effective:.1f} windows"
    )
    prior = f"the prior {detail.prior:.2f}, worth {detail.prior_strength:.1f} windows"
    return f"{made.expected_improvement.confidence:.2f} from {own}, and {prior}"


def show_priors(made: Iterable[OptimizationRecommendation]) -> str:
    """Prints where the priors of the confidences come from, each once."""
    sources = {one.plugin: one.confidence_detail.prior_source for one in made}
    return "\n".join(
        line for plugin in sorted(sources) for line in _wrapped("prior", f"{plugin}: {sources[plugin]}")
    )


def _window(window: ReplayWindow) -> str:
    outcome = _OUTCOME.get(window.outcome, window.outcome)
    if window.accurate is None:
        return f"{outcome}: {window.reason}"
    parts = [outcome]
    for name, safe, waste in (
        ("cpu", window.cpu_safe, window.cpu_waste),
        ("memory", window.memory_safe, window.memory_waste),
    ):
        if safe is not None and waste is not None:
            parts.append(
                f"{name} {'safe' if safe else 'short'} at {1 + waste:.0%} of the least that would do"
            )
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
