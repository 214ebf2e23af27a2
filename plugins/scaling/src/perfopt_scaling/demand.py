"""The demand on a workload in total, and what one replica carries of it; or why neither is known."""

from dataclasses import dataclass

import numpy as np

from perfopt.capacity.throughput import running_replicas, total_cores
from perfopt.plugin import AnalysisContext, Array, Basis, DeclineCode

MIN_HISTORY = (3, 7)  # parts of the validity (DESIGN.md section 3)
MIN_COVERAGE = 0.6
MIN_DAYS = 2.0  # fewer hold no day to repeat
UNSCALABLE = ("daemonset", "job", "cronjob", "node", "pod")


@dataclass(frozen=True, slots=True)
class Demand:
    """What a workload used in total.

    Attributes:
        cores: CPU of all replicas from the first sample on, shape (n,), NaN where missing.
        replicas: how many ran at each step, shape (n,).
        request_cores: of one replica.
        begin: step of the snapshot's grid at which the arrays begin.
    """

    cores: Array
    replicas: Array
    request_cores: float
    begin: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why the replicas of a workload can't be planned."""

    code: DeclineCode
    reason: str


def total_demand(context: AnalysisContext) -> Demand | Unknown:
    """Returns the demand of a workload that can be scaled, or why there is none to plan for."""
    snapshot = context.snapshot
    workload, state = snapshot.workload, snapshot.workload.state
    if workload.id.kind.lower() in UNSCALABLE:
        return Unknown(DeclineCode.NOT_APPLICABLE, f"A {workload.id.kind} has no replicas to set.")
    if state.replicas is None:
        return Unknown(DeclineCode.UNKNOWN_STATE, "How many replicas run is not known.")
    if state.basis is not Basis.DECLARED:
        reason = (
            "The number of replicas and their requests are only assumed: state them in a services file, if"
            " this series is a service that can run more than once."
        )
        return Unknown(DeclineCode.UNKNOWN_STATE, reason)
    request = state.total("cpu_request_cores")
    if not request:
        reason = "A container states no CPU request, so what one replica carries is not known."
        return Unknown(DeclineCode.UNKNOWN_STATE, reason)
    replicas = running_replicas(snapshot)
    cores = total_cores(snapshot, replicas)
    present = np.isfinite(cores)
    if not present.any():
        return Unknown(DeclineCode.NO_DATA, f"{workload.service_name} has no cpu_cores.")
    begin = int(present.argmax())
    short = _too_short(context, present[begin:])
    return short or Demand(cores[begin:], replicas[begin:], request, begin)


def _too_short(context: AnalysisContext, present: Array) -> Unknown | None:
    grid = context.snapshot.grid
    hours = present.size * grid.step_seconds / 3600
    validity_hours = context.validity.total_seconds() / 3600
    needed = max(validity_hours * MIN_HISTORY[0] / MIN_HISTORY[1], 24 * MIN_DAYS)
    if hours < needed:
        reason = f"There are {hours:.1f} h of cpu_cores, and {needed:.1f} h are needed to know a day's shape."
        return Unknown(DeclineCode.SHORT_HISTORY, reason)
    covered = float(present.mean())
    if covered < MIN_COVERAGE:
        reason = f"cpu_cores has {covered:.0%} of its samples, {MIN_COVERAGE:.0%} are needed."
        return Unknown(DeclineCode.LOW_COVERAGE, reason)
    return None
