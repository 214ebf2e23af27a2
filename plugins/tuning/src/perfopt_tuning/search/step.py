"""The next evaluation of a knob in production: what to set, what is expected of it, and why it is safe."""

import math
from dataclasses import dataclass

import numpy as np

from perfopt.plugin import Array, Claim, Reason
from perfopt_tuning.history import MetricHistory
from perfopt_tuning.knobs.decide import KnobDecision
from perfopt_tuning.knobs.schema import Knob
from perfopt_tuning.knobs.values import shown
from perfopt_tuning.search.evaluations import KnobEvaluation, evaluations_of
from perfopt_tuning.search.positions import by_headroom, logarithmic
from perfopt_tuning.search.safe import MAX_STEP, ROOM_SCALE, EvaluatedPoints, SearchProblem, next_step

LATENCY_SCALE = 0.3
"""What the logarithm of latency is thought to vary by within the range, before anything is known."""
MIN_ROOM = math.log(1 / 0.8)
MAX_UTILISATION = 0.8
"""Part of a CPU limit that the P99 of use may take: beyond it queues grow without warning."""
MIN_IMPROVEMENT = 0.005
MAX_CLAIM_WIDTH = 0.25
CLAIM_WIDTH = 1.96
_POINTS = 201
_SLACK_WITHOUT_SLO = 1.5


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The result of a step of search.

    Attributes:
        decision: the value to try, or why none is tried.
        claim: of the latency under it; empty where it is not known well enough.
    """

    decision: KnobDecision
    claim: Claim


def search(knob: Knob, history: MetricHistory, container: str) -> SearchResult:
    """Returns the next evaluation of a knob, from the evaluations that the history holds."""
    assert knob.entry.search is not None
    snapshot = history.context.snapshot
    evaluations = evaluations_of(history, container, knob.entry.search.history)
    present = history.measured(container, "last", knob.entry.search.history)
    current = None
    if present is not None:
        current = next((one for one in evaluations if abs(one.value / present - 1) < 0.01), None)
    if current is None:
        why = "a search needs the P99 latency at busy load under the value in force, in 12 steps at least"
        return SearchResult(_stays(knob, container, why), Claim())
    slo = snapshot.workload.slo
    if slo is None and knob.entry.search.goal == "smallest":
        return SearchResult(_stays(knob, container, "the smallest value needs a latency objective"), Claim())
    target = slo.latency_ms if slo is not None else _SLACK_WITHOUT_SLO * math.exp(current.log_latency)
    room = math.log(target) - current.log_latency
    if knob.entry.search.goal == "smallest" and room < MIN_ROOM and len(evaluations) < 2:
        why = (
            f"at busy load the P99 latency is {math.exp(current.log_latency):.0f} ms of {target:.0f} ms"
            " allowed, which leaves no room to try less"
        )
        return SearchResult(_stays(knob, container, why), Claim())
    return _step(knob, history, container, evaluations, current, target)


def _step(
    knob: Knob,
    history: MetricHistory,
    container: str,
    evaluations: list[KnobEvaluation],
    current: KnobEvaluation,
    target: float,
) -> SearchResult:
    assert knob.entry.search is not None
    span = math.log(knob.entry.search.factor)
    values = _values(knob, history, container, current.value)
    tried_values = np.array([evaluation.value for evaluation in evaluations])
    grid, tried = (_positions(knob, history, container, at) for at in (values, tried_values))
    logs = np.array([evaluation.log_latency for evaluation in evaluations])
    noise = max(evaluation.noise for evaluation in evaluations)
    smallest = knob.entry.search.goal == "smallest"
    limits = logs - math.log(target)
    room = max(-float(limits.min()), MIN_ROOM)
    reach = min(MAX_STEP, -math.log(1 - knob.entry.search.largest_step) / span)
    problem = SearchProblem(
        grid=grid,
        known=np.log(values) if smallest else None,
        scale=LATENCY_SCALE,
        noise=noise,
        constraint_noise=noise,
        constraint_scale=max(ROOM_SCALE * room, 1.0),
        largest_step=reach,
    )
    objectives = np.log(tried_values) if smallest else logs
    back = _better_safe(current, evaluations, objectives, limits, measured=not smallest)
    missed = current.log_latency > math.log(target)
    step = (
        None
        if missed and back is not None
        else next_step(problem, EvaluatedPoints(tried, objectives, limits))
    )
    if step is None or step.improvement < MIN_IMPROVEMENT:
        if back is not None:
            return _back(knob, container, current, back, target)
        outcome = (
            f"{len(evaluations)} values were tried, and none that is safe to try promises an improvement"
        )
        if missed:
            outcome = (
                f"none of the {len(evaluations)} values tried meets the objective, so no search starts there"
            )
            return SearchResult(_stays(knob, container, outcome), Claim())
        return SearchResult(_no_change(knob, container, current.value, outcome), Claim())
    return _next_value(
        knob,
        container,
        current,
        float(values[step.index]),
        evaluations,
        target,
        (step.constraint, step.constraint_deviation),
    )


def _positions(knob: Knob, history: MetricHistory, container: str, values: Array) -> Array:
    """Returns where values lie on the scale of the search, shape (n, 1)."""
    assert knob.entry.search is not None
    factor = knob.entry.search.factor
    used = history.measured(container, "p99", "cpu_cores")
    if knob.entry.set.resource == "cpu_limit" and used:
        return by_headroom(values, used, factor)[:, np.newaxis]
    return logarithmic(values, factor)[:, np.newaxis]


def _values(knob: Knob, history: MetricHistory, container: str, current: float) -> Array:
    """Returns the values that may be tried: within bounds, a factor of four around the present one."""
    assert knob.entry.minimum is not None
    assert knob.entry.maximum is not None
    low, high = max(knob.entry.minimum, current / 2), min(knob.entry.maximum, current * 2)
    if knob.entry.set.resource == "cpu_limit":
        state = history.context.snapshot.workload.state.container(container)
        used = history.measured(container, "p99", "cpu_cores") or current
        low = max(low, used / MAX_UTILISATION, (state.cpu_request_cores or 0.0) if state is not None else 0.0)
    values = np.exp(np.linspace(math.log(min(low, current)), math.log(high), _POINTS))
    values = np.round(values) if knob.entry.kind == "integer" else np.ceil(values * 1000) / 1000
    unique: Array = np.unique(values[values > 0])
    return unique


def _better_safe(
    current: KnobEvaluation,
    evaluations: list[KnobEvaluation],
    objectives: Array,
    limits: Array,
    *,
    measured: bool,
) -> KnobEvaluation | None:
    """Returns the best value that met the objective, where it beats the current one, not by chance."""
    safe = np.flatnonzero(limits <= 0)
    if not safe.size:
        return None
    best, present = int(safe[np.argmin(objectives[safe])]), evaluations.index(current)
    chance = math.hypot(current.noise, evaluations[best].noise) if measured else 0.0
    gain = objectives[present] - objectives[best]
    return evaluations[best] if limits[present] > 0 or gain > max(chance, MIN_IMPROVEMENT) else None


def _back(
    knob: Knob, container: str, current: KnobEvaluation, best: KnobEvaluation, target: float
) -> SearchResult:
    """Recommends a value that was tried before, and claims what was measured under it."""
    latency, before = math.exp(best.log_latency), math.exp(current.log_latency)
    interval = (latency * math.exp(-CLAIM_WIDTH * best.noise), latency * math.exp(CLAIM_WIDTH * best.noise))
    text = (
        f"{container}: set {knob.entry.title} back to {shown(knob, best.value)}"
        f" (current: {shown(knob, current.value)}), the best of the values tried: at busy load"
        f" the P99 latency was {latency:.0f} ms under it"
        f" and is {before:.0f} ms under the current one, of {target:.0f} ms allowed."
        f" Source: {knob.entry.source}."
    )
    data = {"knob": knob.name, "current": current.value, "value": best.value}
    claim = Claim()
    if interval[1] / latency - 1 <= MAX_CLAIM_WIDTH:
        claim = Claim(latency_ms=latency, latency_interval_ms=interval, latency_now_ms=before)
    return SearchResult(
        KnobDecision(knob, best.value, False, Reason(code="search_back", text=text, data=data)), claim
    )


def _next_value(
    knob: Knob,
    container: str,
    current: KnobEvaluation,
    value: float,
    evaluations: list[KnobEvaluation],
    target: float,
    predicted: tuple[float, float],
) -> SearchResult:
    mean, deviation = predicted
    latency = target * math.exp(mean)
    low, high = (target * math.exp(mean + sign * CLAIM_WIDTH * deviation) for sign in (-1, 1))
    before = math.exp(current.log_latency)
    tried = ", ".join(
        f"{evaluation.value:.4g}: {math.exp(evaluation.log_latency):.0f} ms" for evaluation in evaluations
    )
    text = (
        f"{container}: try {knob.entry.title} at {shown(knob, value)}"
        f" (current: {shown(knob, current.value)})."
        f" At busy load the P99 latency is expected at {latency:.0f} ms ({low:.0f} to {high:.0f}), where it"
        f" is {before:.0f} ms under the current value, of {target:.0f} ms allowed; tried so far: {tried}."
        f" {knob.entry.because} Source: {knob.entry.source}. {knob.entry.safety}"
    )
    data = {"knob": knob.name, "current": current.value, "value": value, "trials": len(evaluations)}
    reason = Reason(code="search_step", text=text, data=data)
    claim = Claim()
    if max(high / latency - 1, 1 - low / latency) <= MAX_CLAIM_WIDTH:
        claim = Claim(latency_ms=latency, latency_interval_ms=(low, high), latency_now_ms=before)
    return SearchResult(KnobDecision(knob, value, False, reason), claim)


def _stays(knob: Knob, container: str, why: str) -> KnobDecision:
    reason = Reason(code="search_waits", text=f"{container}: {knob.entry.title} stays: {why}.")
    return KnobDecision(knob, None, False, reason)


def _no_change(knob: Knob, container: str, value: float, outcome: str) -> KnobDecision:
    text = f"{container}: {knob.entry.title} needs no change at {shown(knob, value)}: {outcome}."
    return KnobDecision(knob, None, True, Reason(code="search_done", text=text))
