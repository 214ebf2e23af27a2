"""Scores the outcome of a recommendation once its validity is over, applied or not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta

import msgspec
import numpy as np

from perfopt.domain.workload import WorkloadState
from perfopt.evaluation.resources import score_resources
from perfopt.evaluation.score import WindowScore, score, score_together
from perfopt.metrics.snapshot import PodSeries, WorkloadSnapshot
from perfopt.plugin.strategy import Proposal

# What is read of the window, beside the state that was recorded in it.
OUTCOME_METRICS = frozenset(
    {
        "cpu_cores",
        "memory_bytes",
        "cpu_throttled_fraction",
        "oom_kills",
        "cpu_request_cores",
        "memory_request_bytes",
        "cpu_limit_cores",
        "memory_limit_bytes",
        "replicas",
        "requests_per_second",
        "latency_p50_ms",
        "latency_p90_ms",
        "latency_p95_ms",
        "latency_p99_ms",
    }
)
MAX_THROTTLED = 0.05
"""Share of a container's CFS periods that may be throttled while a recommendation is in force."""


@dataclass(frozen=True, slots=True)
class OutcomeScore:
    """How a recommendation did.

    Attributes:
        score: with accurate False where the window was censored.
        censored: "oom_kill" or "throttled": use was cut off by what was applied, so that it can't be
            compared with the request; None where it was not.
    """

    score: WindowScore
    censored: str | None = None


def score_outcome(proposal: Proposal, window: WorkloadSnapshot, *, applied: bool) -> OutcomeScore:
    """Scores a recommendation on the window after it.

    One that was not applied is scored as a backtest is. One that was applied limited what could be used, so
    an OOM kill or more than 5 % throttled periods of any container make it inaccurate, and what was realised
    is compared with the claim for the target.

    Args:
        proposal: what was recommended.
        window: [made, valid until), with the workload's state as it was known when it was made.
        applied: it was in force.
    """
    if not applied:
        return OutcomeScore(score(proposal, window))
    return _in_force(score(_for_target(proposal), window), window)


def score_plan_outcome(
    parts: Sequence[Proposal], merged: WorkloadState, window: WorkloadSnapshot, *, applied: bool
) -> OutcomeScore:
    """Scores a plan of several recommendations on the window after it, as its backtest was scored.

    Args:
        parts: the recommendations that it was made of, for what they set and claim.
        merged: the state that the plan recommended.
        window: [made, valid until), with the workload's state as it was known when it was made.
        applied: all of it was in force.
    """
    if not applied:
        return OutcomeScore(score_together(parts, merged, window))
    return _in_force(score_together([_for_target(part) for part in parts], merged, window), window)


def unsafe_days(target: WorkloadState, window: WorkloadSnapshot) -> dict[date, bool]:
    """Returns for each UTC day that was scored whether the sizes in force were unsafe on it.

    A day is unsafe where demand for CPU was above the request in more than 1 % of samples, memory above its
    request or limit, a container killed for memory, or more than 5 % of its periods throttled. A day of which
    the window has less than half is left out.

    Args:
        target: what was in force.
        window: of what was used.
    """
    grid = window.grid
    scored = {}
    for day in _days(grid.start, grid.end):
        begin = datetime.combine(day, time(), grid.start.tzinfo)
        part = window.slice(grid.index(begin), grid.index(begin + timedelta(days=1)))
        if part.grid.size * grid.step < timedelta(hours=12):
            continue
        found = score_resources(target, part)
        harmed = _cut_off(part.containers) is not None
        if found.scored or harmed:
            scored[day] = harmed or found.cpu_safe is False or found.memory_safe is False
    return scored


def _days(start: datetime, end: datetime) -> Sequence[date]:
    return [start.date() + timedelta(days=number) for number in range((end - start).days + 2)]


def _in_force(window_score: WindowScore, window: WorkloadSnapshot) -> OutcomeScore:
    cut_off = _cut_off(window.containers)
    if cut_off is None:
        return OutcomeScore(window_score)
    return OutcomeScore(replace(window_score, scored=True, accurate=False, reason=None), cut_off)


def _for_target(proposal: Proposal) -> Proposal:
    """Returns a proposal that claims of the current state what it claims of its target."""
    claim = proposal.claim
    claimed = msgspec.structs.replace(
        claim, latency_now_ms=claim.latency_ms, latency_now_interval_ms=claim.latency_interval_ms
    )
    return msgspec.structs.replace(proposal, claim=claimed)


def _cut_off(containers: Mapping[str, Mapping[str, PodSeries]]) -> str | None:
    for metrics in containers.values():
        kills = metrics.get("oom_kills")
        if kills is not None and np.nansum(kills.values) > 0:
            return "oom_kill"
    for metrics in containers.values():
        throttled = metrics.get("cpu_throttled_fraction")
        present = throttled is not None and bool(np.isfinite(throttled.values).any())
        if throttled is not None and present and np.nanmean(throttled.values) > MAX_THROTTLED:
            return "throttled"
    return None
