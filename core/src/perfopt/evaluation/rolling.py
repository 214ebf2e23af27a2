"""Backtests a strategy on a workload's own history: what it would have recommended, and how that did."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import numpy as np

from perfopt.domain.recommendation import Declined, Evidence, ReplayWindow
from perfopt.domain.workload import WorkloadState
from perfopt.evaluation.known import known_at
from perfopt.evaluation.resources import WindowScore
from perfopt.evaluation.score import score
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.plugin.history import MIN_HISTORY
from perfopt.plugin.strategy import Proposal

MAX_ORIGINS = 12
_DAY = timedelta(days=1)

Propose = Callable[[WorkloadSnapshot], Proposal | Declined]


def backtest(propose: Propose, snapshot: WorkloadSnapshot, validity: timedelta) -> Evidence:
    """Recommends at past origins and scores each recommendation on the validity window after it.

    Args:
        propose: the strategy with its rules, from a snapshot as known at the origin.
        snapshot: the whole history.
        validity: length of the window that is scored.

    Returns:
        One window an origin, oldest first; none where the history is too short for one.
    """
    horizon = _steps(snapshot, validity)
    return Evidence(
        windows=tuple(_evaluate(propose, snapshot, origin, horizon) for origin in origins(snapshot, validity))
    )


def origins(snapshot: WorkloadSnapshot, validity: timedelta) -> tuple[int, ...]:
    """Returns the steps of the origins, increasing: from one validity before the end backwards.

    They are a day apart, or a seventh of the validity where that is more, as long as 3/7 of the
    validity remain as history; of more than 12, twelve evenly spread, the newest always.
    """
    horizon = _steps(snapshot, validity)
    stride = max(_steps(snapshot, max(_DAY, validity / MIN_HISTORY[1])), 1)
    oldest = _begin(snapshot) + -(-horizon * MIN_HISTORY[0] // MIN_HISTORY[1])
    steps = range(snapshot.grid.size - horizon, oldest - 1, -stride)
    if len(steps) > MAX_ORIGINS:
        chosen = np.linspace(0, len(steps) - 1, MAX_ORIGINS).round().astype(int)
        return tuple(steps[i] for i in reversed(chosen.tolist()))
    return tuple(reversed(steps))


def _steps(snapshot: WorkloadSnapshot, length: timedelta) -> int:
    return max(-(-length // snapshot.grid.step), 1)


def _begin(snapshot: WorkloadSnapshot) -> int:
    """Returns the first step with any sample of use, or the size of the grid."""
    begin = snapshot.grid.size
    for metrics in snapshot.containers.values():
        for name in ("cpu_cores", "memory_bytes"):
            if name in metrics:
                present = np.isfinite(metrics[name].values).any(axis=0)
                begin = min(begin, int(present.argmax()) if present.any() else begin)
    return begin


def _evaluate(propose: Propose, snapshot: WorkloadSnapshot, origin: int, horizon: int) -> ReplayWindow:
    known = known_at(snapshot, origin)
    window = window_after(snapshot, known, horizon)
    made_at, until = window.grid.start, window.grid.end
    proposed = propose(known)
    if isinstance(proposed, Declined):
        return ReplayWindow(made_at=made_at, scored_until=until, outcome="declined", reason=proposed.reason)
    return evaluated_window(proposed, window)


def window_after(snapshot: WorkloadSnapshot, known: WorkloadSnapshot, horizon: int) -> WorkloadSnapshot:
    """Returns the steps that follow what was known, with the state of the workload as it was known."""
    origin = snapshot.grid.index(known.grid.end)
    return replace(snapshot.slice(origin, origin + horizon), workload=known.workload)


def evaluated_window(proposal: Proposal, window: WorkloadSnapshot) -> ReplayWindow:
    """Scores what was proposed at the start of a window on that window."""
    return scored_window(score(proposal, window), proposal.target, window)


def scored_window(result: WindowScore, target: WorkloadState, window: WorkloadSnapshot) -> ReplayWindow:
    """Returns the evidence that a score is of a state recommended at the start of a window."""
    scored = result.scored
    outcome = ("accurate" if result.accurate else "inaccurate") if scored else "not_scored"
    return ReplayWindow(
        made_at=window.grid.start,
        scored_until=window.grid.end,
        outcome=outcome,
        accurate=result.accurate if scored else None,
        cpu_safe=result.cpu_safe,
        memory_safe=result.memory_safe,
        recommended=_quantities(target),
        cpu_waste=result.cpu_waste,
        memory_waste=result.memory_waste,
        claim_kept=result.claim_met,
        realised_latency_ms=result.realised_latency_ms,
        realised_saving_percent=result.realised_saving_percent,
        reason=result.reason,
    )


def _quantities(state: WorkloadState) -> dict[str, dict[str, str]]:
    return {container.name: container.to_map() for container in state.containers}
