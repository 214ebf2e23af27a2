"""The next trial of a knob in production: what to set, what is expected of it, and why it is safe."""

import math
from dataclasses import dataclass

import numpy as np

from perfopt.plugin import Array, Claim, Reason
from perfopt_tuning.history import History
from perfopt_tuning.knobs.decide import Decision
from perfopt_tuning.knobs.schema import Knob
from perfopt_tuning.knobs.values import shown
from perfopt_tuning.search.positions import by_spare, logarithmic
from perfopt_tuning.search.safe import LARGEST_STEP, ROOM_SCALE, Problem, Trials, next_step
from perfopt_tuning.search.trials import Trial, trials_of

LATENCY_SCALE = 0.3
"""What the logarithm of latency is thought to vary by within the range, before anything is known."""
MIN_ROOM = math.log(1 / 0.8)
MAX_UTILISATION = 0.8
"""Part of a CPU limit that the P99 of use may take: beyond it queues grow without warning."""
MIN_IMPROVEMENT = 0.005
WIDEST_CLAIM = 0.25
CLAIM_WIDTH = 1.96
_POINTS = 201
_SLACK_WITHOUT_SLO = 1.5


@dataclass(frozen=True, slots=True)
class Searched:
    """What a step of search came to.

    Attributes:
        decision: the value to try, or why none is tried.
        claim: of the latency under it; empty where it is not known well enough.
    """

    decision: Decision
    claim: Claim


def search(knob: Knob, history: History, container: str) -> Searched:
    """Returns the next trial of a knob, from the trials that the history holds."""
    assert knob.entry.search is not None
    snapshot = history.context.snapshot
    trials = trials_of(history, container, knob.entry.search.history)
    present = history.measured(container, "last", knob.entry.search.history)
    now = None if present is None else next((t for t in trials if abs(t.value / present - 1) < 0.01), None)
    if now is None:
        why = "a search needs the P99 latency at busy load under the value in force, in 12 steps at least"
        return Searched(_stays(knob, container, why), Claim())
    slo = snapshot.workload.slo
    if slo is None and knob.entry.search.goal == "smallest":
        return Searched(_stays(knob, container, "the smallest value needs a latency objective"), Claim())
    target = slo.latency_ms if slo is not None else _SLACK_WITHOUT_SLO * math.exp(now.log_latency)
    room = math.log(target) - now.log_latency
    if knob.entry.search.goal == "smallest" and room < MIN_ROOM and len(trials) < 2:
        why = (
            f"at busy load the P99 latency is {math.exp(now.log_latency):.0f} ms of {target:.0f} ms allowed,"
            " which leaves no room to try less"
        )
        return Searched(_stays(knob, container, why), Claim())
    return _step(knob, history, container, trials, now, target)


def _step(
    knob: Knob, history: History, container: str, trials: list[Trial], now: Trial, target: float
) -> Searched:
    assert knob.entry.search is not None
    span = math.log(knob.entry.search.factor)
    values = _values(knob, history, container, now.value)
    tried_values = np.array([trial.value for trial in trials])
    grid, tried = (_positions(knob, history, container, at) for at in (values, tried_values))
    logs = np.array([trial.log_latency for trial in trials])
    noise = max(trial.noise for trial in trials)
    smallest = knob.entry.search.goal == "smallest"
    limits = logs - math.log(target)
    room = max(-float(limits.min()), MIN_ROOM)
    reach = min(LARGEST_STEP, -math.log(1 - knob.entry.search.largest_step) / span)
    problem = Problem(
        grid=grid,
        known=np.log(values) if smallest else None,
        scale=LATENCY_SCALE,
        noise=noise,
        constraint_noise=noise,
        constraint_scale=max(ROOM_SCALE * room, 1.0),
        largest_step=reach,
    )
    objectives = np.log(tried_values) if smallest else logs
    back = _better_kept(now, trials, objectives, limits, measured=not smallest)
    missed = now.log_latency > math.log(target)
    step = None if missed and back is not None else next_step(problem, Trials(tried, objectives, limits))
    if step is None or step.improvement < MIN_IMPROVEMENT:
        if back is not None:
            return _back(knob, container, now, back, target)
        said = f"{len(trials)} values were tried, and none is left that is safe to try and worth it"
        if missed:
            said = (
                f"none of the {len(trials)} values tried keeps the objective, so no search starts from them"
            )
            return Searched(_stays(knob, container, said), Claim())
        return Searched(_right(knob, container, now.value, said), Claim())
    return _trying(
        knob,
        container,
        now,
        float(values[step.index]),
        trials,
        target,
        (step.constraint, step.constraint_deviation),
    )


def _positions(knob: Knob, history: History, container: str, values: Array) -> Array:
    """Returns where values lie on the scale of the search, shape (n, 1)."""
    assert knob.entry.search is not None
    factor = knob.entry.search.factor
    used = history.measured(container, "p99", "cpu_cores")
    if knob.entry.set.resource == "cpu_limit" and used:
        return by_spare(values, used, factor)[:, np.newaxis]
    return logarithmic(values, factor)[:, np.newaxis]


def _values(knob: Knob, history: History, container: str, now: float) -> Array:
    """Returns the values that may be tried: within bounds, a factor of four around the present one."""
    assert knob.entry.minimum is not None
    assert knob.entry.maximum is not None
    least, most = max(knob.entry.minimum, now / 2), min(knob.entry.maximum, now * 2)
    if knob.entry.set.resource == "cpu_limit":
        state = history.context.snapshot.workload.state.container(container)
        used = history.measured(container, "p99", "cpu_cores") or now
        least = max(
            least, used / MAX_UTILISATION, (state.cpu_request_cores or 0.0) if state is not None else 0.0
        )
    values = np.exp(np.linspace(math.log(min(least, now)), math.log(most), _POINTS))
    values = np.round(values) if knob.entry.kind == "integer" else np.ceil(values * 1000) / 1000
    unique: Array = np.unique(values[values > 0])
    return unique


def _better_kept(
    now: Trial, trials: list[Trial], objectives: Array, limits: Array, *, measured: bool
) -> Trial | None:
    """Returns the best trial that kept the objective, where that is another than now and not by chance."""
    kept = np.flatnonzero(limits <= 0)
    if not kept.size:
        return None
    best, present = int(kept[np.argmin(objectives[kept])]), trials.index(now)
    chance = math.hypot(now.noise, trials[best].noise) if measured else 0.0
    gain = objectives[present] - objectives[best]
    return trials[best] if limits[present] > 0 or gain > max(chance, MIN_IMPROVEMENT) else None


def _back(knob: Knob, container: str, now: Trial, best: Trial, target: float) -> Searched:
    """Recommends a value that was tried before, and claims what was measured under it."""
    latency, before = math.exp(best.log_latency), math.exp(now.log_latency)
    interval = (latency * math.exp(-CLAIM_WIDTH * best.noise), latency * math.exp(CLAIM_WIDTH * best.noise))
    text = (
        f"{container}: set {knob.entry.title} back to {shown(knob, best.value)}"
        f" (now {shown(knob, now.value)}), the best of the values tried: at busy load"
        f" the P99 latency was {latency:.0f} ms under it,"
        f" is {before:.0f} ms now and may be {target:.0f} ms. Source: {knob.entry.source}."
    )
    data = {"knob": knob.name, "current": now.value, "value": best.value}
    claim = Claim()
    if interval[1] / latency - 1 <= WIDEST_CLAIM:
        claim = Claim(latency_ms=latency, latency_interval_ms=interval, latency_now_ms=before)
    return Searched(
        Decision(knob, best.value, False, Reason(code="search_back", text=text, data=data)), claim
    )


def _trying(
    knob: Knob,
    container: str,
    now: Trial,
    value: float,
    trials: list[Trial],
    target: float,
    predicted: tuple[float, float],
) -> Searched:
    mean, deviation = predicted
    latency = target * math.exp(mean)
    low, high = (target * math.exp(mean + sign * CLAIM_WIDTH * deviation) for sign in (-1, 1))
    before = math.exp(now.log_latency)
    tried = ", ".join(f"{trial.value:.4g}: {math.exp(trial.log_latency):.0f} ms" for trial in trials)
    text = (
        f"{container}: try {knob.entry.title} at {shown(knob, value)} (now {shown(knob, now.value)})."
        f" At busy load the P99 latency is expected at {latency:.0f} ms ({low:.0f} to {high:.0f}), where it"
        f" is {before:.0f} ms now and may be {target:.0f} ms; tried so far: {tried}."
        f" {knob.entry.because} Source: {knob.entry.source}. {knob.entry.safety}"
    )
    data = {"knob": knob.name, "current": now.value, "value": value, "trials": len(trials)}
    reason = Reason(code="search_step", text=text, data=data)
    claim = Claim()
    if max(high / latency - 1, 1 - low / latency) <= WIDEST_CLAIM:
        claim = Claim(latency_ms=latency, latency_interval_ms=(low, high), latency_now_ms=before)
    return Searched(Decision(knob, value, False, reason), claim)


def _stays(knob: Knob, container: str, why: str) -> Decision:
    reason = Reason(code="search_waits", text=f"{container}: {knob.entry.title} stays: {why}.")
    return Decision(knob, None, False, reason)


def _right(knob: Knob, container: str, value: float, said: str) -> Decision:
    text = f"{container}: {knob.entry.title} is right at {shown(knob, value)}: {said}."
    return Decision(knob, None, True, Reason(code="search_done", text=text))
