"""The minimum of a HorizontalPodAutoscaler that holds more replicas than the load ever asked for."""

from dataclasses import dataclass

import numpy as np

from perfopt.plugin import AnalysisContext, Array, HpaState, running_replicas, unseen_triggers
from perfopt_cost.allowed import AllowedChanges, unmeasured_requests
from perfopt_cost.demand import ContainerDemand

MIN_SAVING = 0.05
CLAIM_MARGIN_PERCENT = 5.0
_MAX_OVER = 0.005  # share of steps in which a pod may have to do more than its request
_ORPHANED = 0.99
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class LowerMinimum:
    """A lower minimum.

    Attributes:
        replicas: the minimum.
        expected: replicas that would have run on average.
        saving_percent: of the replica-hours that it is safe to claim.
        load: of a replica, relative to what it carried, where that rises most.
        orphaned: whether the load never took the autoscaler off its old minimum.
    """

    replicas: int
    expected: float
    saving_percent: float
    load: float
    orphaned: bool


def lower_minimum(
    context: AnalysisContext, allowed: AllowedChanges, needs: list[ContainerDemand]
) -> LowerMinimum | None:
    """Returns the least minimum that is enough for the history; None where there is nothing to gain.

    The autoscaler's rule desired = ceil(use / (target × request)) is applied to the history with a delay of
    one step, for every minimum down to the floor. Only for one that scales on cpu alone. A pod's use stays
    within its request and within the load that the latency objective leaves room for.
    """
    state = context.snapshot.workload.state
    hpa, request = state.hpa, state.total("cpu_request_cores")
    if (
        hpa is None
        or unseen_triggers(context.snapshot.workload)
        or hpa.target_memory_utilization_percent is not None
    ):
        return None
    if hpa.target_cpu_utilization_percent is None or not request or hpa.min_replicas <= allowed.floor:
        return None
    ran = running_replicas(context.snapshot)
    used = _total(context, ran)
    if used is None or unmeasured_requests(state, needs):
        return None
    desired = used / (request * hpa.target_cpu_utilization_percent / 100)
    before = _planned(desired, hpa.min_replicas, hpa)
    most = min(request, allowed.load * float(np.quantile(used / ran, 1 - _MAX_OVER)))
    for least in range(max(allowed.floor, 1), hpa.min_replicas):
        planned = _planned(desired, least, hpa)
        if float((used > planned * most * (1 + _ROUNDING)).mean()) <= _MAX_OVER:
            return _worth(least, planned, before, ran, desired, hpa)
    return None


def _worth(
    least: int, planned: Array, before: Array, ran: Array, desired: Array, hpa: HpaState
) -> LowerMinimum | None:
    saving = 1 - max(planned.sum() / before.sum(), planned.sum() / ran.sum())
    if saving < MIN_SAVING:
        return None
    orphaned = bool((desired <= hpa.min_replicas).mean() >= _ORPHANED)
    return LowerMinimum(
        replicas=least,
        expected=float(planned.mean()),
        saving_percent=max(100 * saving - CLAIM_MARGIN_PERCENT, 0.0),
        load=max(float((ran / planned).max()), 1.0),
        orphaned=orphaned,
    )


def _planned(desired: Array, least: int, hpa: HpaState) -> Array:
    delayed = np.concatenate([desired[:1], desired[:-1]])
    return np.clip(np.ceil(delayed - 1e-9), float(least), float(hpa.max_replicas))


def _total(context: AnalysisContext, ran: Array) -> Array | None:
    """Returns the cpu of all pods and containers at each step, 0 where nothing was measured."""
    total, measured = np.zeros(context.snapshot.grid.size), False
    for metrics in context.snapshot.containers.values():
        series = metrics.get("cpu_cores")
        if series is None or not series.values.size:
            continue
        values = np.where(np.isfinite(series.values), series.values, 0.0)
        total += values[0] * ran if series.pods == ("",) else values.sum(axis=0)
        measured = True
    return total if measured and total.size else None
