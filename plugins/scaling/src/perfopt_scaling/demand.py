"""The demand on a workload in total, and what one replica carries of it; or why neither is known."""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from perfopt.capacity.throughput import total_cores
from perfopt.plugin import (
    AnalysisContext,
    Array,
    Basis,
    Container,
    DeclineCode,
    Declined,
    InsufficientHistory,
    OptimizationType,
    WorkloadSnapshot,
    check_history,
    decline,
    running_replicas,
)
from perfopt_scaling.settings import SCALE_TARGETS

MIN_HISTORY = timedelta(days=2)  # whatever the validity: a plan repeats days, and fewer hold none to repeat
_TYPE = OptimizationType.SCALING_OPTIMIZATION
_UNEVEN = 3.0  # times the mean of the other pods: a primary, or a shard that is in demand
UNSCALABLE = ("daemonset", "node", "pod")


@dataclass(frozen=True, slots=True)
class TotalDemand:
    """What a workload used in total.

    Attributes:
        cores: CPU of all replicas from the first sample on, shape (n,), NaN where missing.
        replicas: how many ran at each step, 0 where it was stopped, shape (n,).
        stopped: steps in which it was scaled to zero, shape (n,).
        request_cores: of one replica.
        begin: step of the snapshot's grid at which the arrays begin.
    """

    cores: Array
    replicas: Array
    stopped: NDArray[np.bool_]
    request_cores: float
    begin: int


def total_demand(context: AnalysisContext) -> TotalDemand | Declined:
    """Returns the demand of a workload that can be scaled, or why there is none to plan for."""
    snapshot = context.snapshot
    workload, state = snapshot.workload, snapshot.workload.state
    if workload.id.kind.lower() in UNSCALABLE or workload.id.runs_to_completion:
        return decline(_TYPE, DeclineCode.NOT_APPLICABLE, f"A {workload.id.kind} has no replicas to set.")
    if workload.id.kind.lower() not in SCALE_TARGETS and state.hpa is None:
        reason = (
            f"The operator of the kind {workload.id.kind} sets its replicas, and no autoscaler is for it:"
            " change them in the custom resource."
        )
        return decline(_TYPE, DeclineCode.OWNED_BY_CONTROLLER, reason)
    if state.replicas is None:
        return decline(_TYPE, DeclineCode.UNKNOWN_STATE, "The number of replicas is unknown.")
    if state.basis is not Basis.DECLARED:
        reason = (
            "Replicas and requests are assumed, not known: state them in a services file if this series is a"
            " service that can run several replicas."
        )
        return decline(_TYPE, DeclineCode.UNKNOWN_STATE, reason)
    request = state.total("cpu_request_cores")
    if not request:
        reason = "A container has no CPU request, so the capacity of a replica is unknown."
        return decline(_TYPE, DeclineCode.UNKNOWN_STATE, reason)
    if workload.unknown_autoscalers and state.hpa is None and state.keda is None:
        reason = (
            f"It may be scaled by {', '.join(workload.unknown_autoscalers)}, of which the metrics do not show"
            " enough: a second autoscaler would work against it."
        )
        return decline(_TYPE, DeclineCode.OWNED_BY_CONTROLLER, reason)
    unfit = _unseen(snapshot) or _uneven(snapshot)
    if unfit is not None:
        return unfit
    replicas = running_replicas(snapshot)
    cores = total_cores(snapshot, replicas)
    begin = check_history(context, np.isfinite(cores), workload.service_name, "cpu_cores", least=MIN_HISTORY)
    if isinstance(begin, InsufficientHistory):
        return begin.declined(_TYPE)
    stopped = snapshot.stopped()[begin:] & ~np.isfinite(cores[begin:])
    return TotalDemand(
        cores=cores[begin:],
        replicas=np.where(stopped, 0.0, replicas[begin:]),
        stopped=stopped,
        request_cores=request,
        begin=begin,
    )


def _unseen(snapshot: WorkloadSnapshot) -> Declined | None:
    containers = snapshot.workload.state.containers
    unseen = [one.name for one in containers if one.cpu_request_cores and not _measured(snapshot, one)]
    if not unseen:
        return None
    reason = (
        f"{', '.join(unseen)} requests CPU and has no sample of cpu_cores, so the demand on a replica is"
        " unknown: let its metrics through."
    )
    return decline(_TYPE, DeclineCode.LOW_COVERAGE, reason)


def _uneven(snapshot: WorkloadSnapshot) -> Declined | None:
    """Declines where the pods of a StatefulSet, which are no equals, do not share the load."""
    if snapshot.workload.id.kind.lower() != "statefulset":
        return None
    means: dict[str, float] = {}
    for name in snapshot.containers:
        series = snapshot.series(name, "cpu_cores")
        for pod, values in () if series is None else zip(series.pods, series.values, strict=True):
            known = values[np.isfinite(values)]
            means[pod] = means.get(pod, 0.0) + (float(known.mean()) if known.size else 0.0)
    if len(means) < 2:
        return None
    hottest = max(means, key=lambda pod: means[pod])
    others = (sum(means.values()) - means[hottest]) / (len(means) - 1)
    if means[hottest] <= _UNEVEN * others:
        return None
    reason = (
        f"Its pods do not share the load: {hottest} uses {means[hottest]:.2f} cores on average, the others"
        f" {others:.2f}. Another number of replicas moves no load from one to the others."
    )
    return decline(_TYPE, DeclineCode.NOT_APPLICABLE, reason)


def _measured(snapshot: WorkloadSnapshot, container: Container) -> bool:
    """Tells whether a container has a sample of CPU; an unnamed series is of all containers."""
    series = [snapshot.series(name, "cpu_cores") for name in (container.name, *snapshot.containers)]
    if len(snapshot.workload.state.containers) < 2:
        return any(one is not None for one in series)
    return series[0] is not None and bool(np.isfinite(series[0].values).any())
