"""What counts as enough history, how many replicas ran, when cpu was throttled, and who owns which field.

One set of thresholds for all types of optimization; a strategy that asks for more says why where it does.
"""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from perfopt.domain.enums import DeclineCode, OptimizationType
from perfopt.domain.limits import most_replicas
from perfopt.domain.recommendation import Declined
from perfopt.domain.workload import Workload, WorkloadState
from perfopt.metrics.snapshot import Array, WorkloadSnapshot
from perfopt.plugin.context import AnalysisContext

Flags = NDArray[np.bool_]

MIN_HISTORY = (3, 7)
"""Least length of history from the first sample on, as parts of the validity: three days for a week."""
MIN_COVERAGE = 0.6
"""Least share of the steps in which the workload ran that must have a sample."""
THROTTLED_PERIODS = 0.05
"""A step is throttled where the hottest pod was in more than this share of its periods."""
THROTTLED_STEPS = 0.01
"""A container is throttled where at least this share of the steps is."""

_ROUNDING = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class InsufficientHistory:
    """Why a history is not enough to recommend anything from.

    Attributes:
        code: NO_DATA, SHORT_HISTORY or LOW_COVERAGE.
        reason: one sentence with what is there and what is needed.
    """

    code: DeclineCode
    reason: str

    def declined(self, optimization_type: OptimizationType) -> Declined:
        """Returns it as the answer of a strategy."""
        return Declined(optimization_type=optimization_type, code=self.code, reason=self.reason)


@dataclass(frozen=True, slots=True)
class Throttling:
    """How a container was throttled.

    Attributes:
        share: share of the steps in which more than THROTTLED_PERIODS of the periods were.
        fractions: throttled periods of the hottest pod, in [0, 1], NaN where missing, shape (steps,).
    """

    share: float
    fractions: Array

    @property
    def considerable(self) -> bool:
        """Whether it was throttled often enough to have been short of cpu."""
        return self.share >= THROTTLED_STEPS


def validity_steps(context: AnalysisContext) -> int:
    """Returns the steps of the validity window, at least one."""
    return max(-(-context.validity // context.snapshot.grid.step), 1)


def min_history(context: AnalysisContext) -> timedelta:
    """Returns the least length of history: MIN_HISTORY of the validity."""
    parts, of = MIN_HISTORY
    return context.validity * parts / of


def steps_with_samples(values: Array) -> Flags:
    """Returns the steps in which any pod has a finite sample.

    Args:
        values: shape (pods, steps) or (steps,).
    """
    finite = np.isfinite(values)
    present: Flags = finite if finite.ndim == 1 else finite.any(axis=0)
    return present


def check_history(
    context: AnalysisContext, present: Flags, subject: str, what: str, *, least: timedelta = timedelta(0)
) -> int | InsufficientHistory:
    """Returns the step at which usable history begins, or why there is not enough of it.

    History is as long as from its first sample to its end. Its coverage is the share of the steps with a
    sample among those in which the workload ran: a nightly job or a service scaled to zero at night has all
    of its samples where each run has.

    Args:
        context: tells the validity, and when the workload ran.
        present: steps of the grid with a sample, shape (steps,).
        subject: what the history is of, for the reason: a container or a service.
        what: the metrics, for the reason.
        least: length that is needed even where MIN_HISTORY of the validity is shorter.
    """
    if not present.any():
        return InsufficientHistory(DeclineCode.NO_DATA, f"{subject} has no {what}.")
    begin = int(present.argmax())
    step, needed = context.snapshot.grid.step, max(min_history(context), least)
    length = (present.size - begin) * step
    if length + _ROUNDING < needed:
        rule = "" if least > min_history(context) else " (3/7 of the validity)"
        return InsufficientHistory(
            DeclineCode.SHORT_HISTORY,
            f"{subject} has {_hours(length)} of {what}; {_hours(needed)}{rule} are needed.",
        )
    covered = context.snapshot.covered(present[begin:], begin)
    if covered < MIN_COVERAGE:
        return InsufficientHistory(
            DeclineCode.LOW_COVERAGE,
            f"{subject} has {covered:.0%} of its samples of {what}; {MIN_COVERAGE:.0%} are needed.",
        )
    return begin


def enough_since(context: AnalysisContext, present: Flags, begin: int) -> bool:
    """Returns whether the steps from one on are long enough and covered, as `check_history` asks for."""
    rest = present[begin:]
    long_enough = rest.size * context.snapshot.grid.step + _ROUNDING >= min_history(context)
    return long_enough and context.snapshot.covered(rest, begin) >= MIN_COVERAGE


def _hours(length: timedelta) -> str:
    return f"{length / timedelta(hours=1):.1f} h"


def running_replicas(snapshot: WorkloadSnapshot) -> Array:
    """Returns how many replicas ran at each step, at least 1, shape (steps,).

    As recorded; where nothing was recorded, the pods with samples of cpu, if there are several; else as many
    as the state says. A gap is no change: it holds the last number before it. Where the record says 0, no
    replica ran (`WorkloadSnapshot.running`), and 1 stands for none so that shares of a replica stay finite.
    """
    stated = float(max(snapshot.workload.state.replicas or 1, 1))
    recorded = snapshot.service.get("replicas")
    if recorded is None or not np.isfinite(recorded).any():
        recorded = _pods_seen(snapshot)
    if recorded is None:
        return np.full(snapshot.grid.size, stated)
    last = np.maximum.accumulate(np.where(np.isfinite(recorded), np.arange(recorded.size), -1))
    return np.maximum(np.where(last >= 0, recorded[last], stated), 1.0)


def _pods_seen(snapshot: WorkloadSnapshot) -> Array | None:
    """Returns the pods with samples of cpu at each step, NaN where none has; None below two pods."""
    counts = [
        np.isfinite(series.values).sum(axis=0).astype(np.float64)
        for name in snapshot.containers
        if (series := snapshot.series(name, "cpu_cores")) is not None and len(series.pods) > 1
    ]
    if not counts:
        return None
    most: Array = np.maximum.reduce(counts)
    return np.where(most > 0, most, np.nan)


def throttling(snapshot: WorkloadSnapshot, container: str, begin: int = 0) -> Throttling | None:
    """Returns how a container was throttled from a step on; None where that is not measured."""
    series = snapshot.series(container, "cpu_throttled_fraction")
    if series is None or not series.values.size:
        return None
    fractions = series.hottest()[begin:]
    known = np.isfinite(fractions)
    if not known.any():
        return None
    share = float((fractions[known] > THROTTLED_PERIODS).mean())
    return Throttling(share, np.clip(fractions, 0.0, 1.0))


def requests_owner(state: WorkloadState) -> str | None:
    """Returns what sets the requests in place of whoever applies a recommendation, or None.

    A VerticalPodAutoscaler in any mode but Off; one in mode Initial sets those of each new pod.
    """
    if state.vpa_mode is None or state.vpa_mode == "Off":
        return None
    return f"VerticalPodAutoscaler in mode {state.vpa_mode}"


def replicas_owner(state: WorkloadState) -> str | None:
    """Returns what sets the number of replicas, or None."""
    if state.hpa is not None:
        return "HorizontalPodAutoscaler"
    return None if state.keda is None else f"KEDA ScaledObject {state.keda}"


def utilization_target(state: WorkloadState, resource: str) -> int | None:
    """Returns the percentage of the request at which an HPA holds use, or None where it does not.

    Args:
        state: of the workload.
        resource: "cpu" or "memory".
    """
    target: int | None = getattr(state.hpa, f"target_{resource}_utilization_percent", None)
    return target


def replicas_within_quota(
    workload: Workload, cpu_cores: float | None, memory_bytes: float | None
) -> int | None:
    """Returns how many replicas that request so much the namespace's quotas take; None without such.

    Never fewer than run.
    """
    return most_replicas(workload.limits, workload.state.replicas or 1, cpu_cores, memory_bytes)


def unseen_triggers(workload: Workload) -> tuple[str, ...]:
    """Returns what may hold replicas beside utilisation of cpu and memory, as far as it has names.

    Other metrics of the HPA, and autoscalers of which the source does not show what they scale or by what:
    as long as there are any, fewer replicas or smaller requests may not be what follows from use.
    """
    others = workload.state.hpa.other_metrics if workload.state.hpa is not None else ()
    return tuple(dict.fromkeys((*others, *workload.unknown_autoscalers)))
