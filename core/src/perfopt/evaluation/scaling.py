"""Replays replicas: how many a target would have run on a window, and whether they carried its demand."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import msgspec
import numpy as np

from perfopt.domain.fields import container_path, only_quantities
from perfopt.domain.workload import HpaState, WorkloadState
from perfopt.evaluation.autoscaler import SteppedAutoscaler
from perfopt.evaluation.keda import cron_minimum, hpa_of
from perfopt.evaluation.resources import WindowScore, changed_quantities, score_resources, unscored
from perfopt.metrics.snapshot import Array, PodSeries, WorkloadSnapshot
from perfopt.plugin.strategy import Proposal

SCALED_OBJECT = "keda_scaled_object"
_SCALING_KEYS = ("schedule", SCALED_OBJECT)
_EDGE = 1e-9  # of a replica: rounding must not need one more


def score_scaling(proposal: Proposal, window: WorkloadSnapshot, planned: Array | None = None) -> WindowScore:
    """Scores replicas: total demand at most replicas × CPU request in 99 % of the samples.

    Where requests change too, they are scored per pod under the load that each pod would have had.

    Args:
        proposal: of type SCALING_OPTIMIZATION, made at the start of the window.
        window: the data that followed, with the state as it was known at its start.
        planned: of `planned_replicas`, where that is known already.
    """
    target, current = proposal.target, window.workload.state
    planned = planned_replicas(target, window) if planned is None else planned
    if planned is None:
        return unscored("how many replicas ran is not known")
    total = score_resources(_cpu_requests(target), spread_evenly(window, planned))
    changed = changed_quantities(target, current)
    if not total.scored or changed is None:
        return total
    each = score_resources(changed, rescaled(window, planned))
    if not each.scored:
        return each
    return replace(
        each,
        accurate=each.accurate and total.accurate,
        cpu_safe=bool(total.cpu_safe) and each.cpu_safe is not False,
    )


def recorded_replicas(window: WorkloadSnapshot) -> Array | None:
    """Returns how many replicas ran at each step, shape (steps,); None where that is not known."""
    known = window.workload.state.replicas
    recorded = window.service.get("replicas")
    if recorded is None:
        return None if known is None else np.full(window.grid.size, float(max(known, 1)))
    if np.isfinite(recorded).all():
        return np.maximum(recorded, 1.0)
    filled = _carried(recorded, float(known) if known is not None else np.nan)
    return np.maximum(filled, 1.0) if np.isfinite(filled).all() else None


def planned_replicas(target: WorkloadState, window: WorkloadSnapshot) -> Array | None:
    """Returns how many replicas a target would have run at each step; None where that is not known.

    What does not touch replicas leaves them as they were. An autoscaler on CPU, or the one that KEDA makes
    of a ScaledObject, is stepped with the demand of the step before and limited by its `behavior`; a
    schedule or cron trigger sets its minimum, or, without an autoscaler, the replicas themselves.
    """
    current = window.workload.state
    recorded = recorded_replicas(window)
    if recorded is None or _same_scaling(target, current):
        return recorded
    floor = _schedule(target.extra.get("schedule"), window)
    if target.hpa is not None:
        return _autoscaled(target, target.hpa, window, recorded, floor)
    scaled_object = target.extra.get(SCALED_OBJECT)
    if scaled_object is not None:
        floor = np.fmax(floor, cron_minimum(scaled_object, window.grid))
        return _autoscaled(target, hpa_of(scaled_object), window, recorded, floor)
    if target.keda is not None:  # its triggers are not known, and go on as they did
        return np.fmax(recorded, floor)
    if target.replicas is None:
        return None
    return np.where(np.isfinite(floor), np.maximum(floor, 1.0), float(max(target.replicas, 1)))


def smallest_replicas(state: WorkloadState, window: WorkloadSnapshot) -> Array | None:
    """Returns the fewest replicas that carry the total demand at each step, shape (steps,), at least one.

    Args:
        state: for the CPU request of a replica.
        window: for the demand; a step without a sample needs one replica.

    Returns:
        None where the request, the replicas that ran or the demand are not known.
    """
    request, ran = _request(state), recorded_replicas(window)
    if not request or ran is None or not _with_cpu(window):
        return None
    return np.maximum(np.ceil(total_demand(window, ran) / request - _EDGE), 1.0)


def total_demand(window: WorkloadSnapshot, ran: Array) -> Array:
    """Returns the CPU of all containers and replicas in cores at each step; 0 where there is no sample."""
    return sum(
        (np.nan_to_num(_total(metrics["cpu_cores"], ran)) for metrics in _with_cpu(window)),
        start=np.zeros(window.grid.size),
    )


@dataclass(frozen=True, slots=True)
class ReplicaSimulation:
    """The replicas that targets would have run on one window, computed once for each way of scaling.

    Attributes:
        window: the data, with the state as it was known at its start.
    """

    window: WorkloadSnapshot
    _known: dict[bytes, Array | None] = field(default_factory=dict)

    def planned(self, target: WorkloadState) -> Array | None:
        """Returns what `planned_replicas` returns for a target."""
        extra = [target.extra.get(key) for key in _SCALING_KEYS]
        key = msgspec.msgpack.encode((target.replicas, target.hpa, target.keda, extra, _request(target)))
        if key not in self._known:
            self._known[key] = planned_replicas(target, self.window)
        return self._known[key]


def spread_evenly(window: WorkloadSnapshot, planned: Array) -> WorkloadSnapshot:
    """Returns the window with total CPU demand divided by the replicas planned, one row a container."""
    ran = recorded_replicas(window)
    containers = {
        name: {
            metric: PodSeries(("",), (_total(series, ran) / planned)[None])
            if metric == "cpu_cores"
            else series
            for metric, series in metrics.items()
        }
        for name, metrics in window.containers.items()
    }
    return replace(window, containers=containers)


def rescaled(window: WorkloadSnapshot, planned: Array) -> WorkloadSnapshot:
    """Returns the window with each pod's use as it would have been on another number of replicas.

    CPU follows the load of a pod. Of memory, what the pod held at its least does not; the rest is taken to
    follow the load upwards, and to stay where the load falls.
    """
    ran = recorded_replicas(window)
    if ran is None or np.array_equal(ran, planned):
        return window
    load = ran / planned
    containers = {
        name: {metric: _rescaled(metric, series, load) for metric, series in metrics.items()}
        for name, metrics in window.containers.items()
    }
    return replace(window, containers=containers)


def _rescaled(metric: str, series: PodSeries, load: Array) -> PodSeries:
    values = series.values
    if metric == "cpu_cores":
        return PodSeries(series.pods, values * load)
    present = values[np.isfinite(values)]
    if metric != "memory_bytes" or not present.size:
        return series
    least = present.min()
    return PodSeries(series.pods, least + (values - least) * np.maximum(load, 1.0))


def _total(series: PodSeries, ran: Array | None) -> Array:
    """Sums a metric over pods; the one nameless row of a file source is the use of each replica."""
    if series.pods == ("",):
        values: Array = series.values[0]
        return values if ran is None else values * ran
    present = np.isfinite(series.values)
    return np.where(present.any(axis=0), np.where(present, series.values, 0.0).sum(axis=0), np.nan)


def _same_scaling(target: WorkloadState, current: WorkloadState) -> bool:
    same = (target.replicas, target.hpa, target.keda) == (current.replicas, current.hpa, current.keda)
    keys = _SCALING_KEYS if target.hpa is None else _SCALING_KEYS[:1]  # an HPA decides over what KEDA would
    same = same and all(target.extra.get(key) == current.extra.get(key) for key in keys)
    on_cpu = target.hpa is not None and target.hpa.target_cpu_utilization_percent is not None
    return same and not (on_cpu and _request(target) != _request(current))


def _request(state: WorkloadState) -> float | None:
    return state.total("cpu_request_cores")


def _autoscaled(
    target: WorkloadState, hpa: HpaState, window: WorkloadSnapshot, recorded: Array, floor: Array
) -> Array:
    """Steps an autoscaler through the window: desired = ceil(total use / (target utilisation × request))."""
    maximum = float(hpa.max_replicas)
    minimum = np.clip(np.where(np.isfinite(floor), floor, float(hpa.min_replicas)), 1.0, maximum)
    percent, request = hpa.target_cpu_utilization_percent, _request(target)
    if percent is None or not request:
        return np.clip(np.fmax(recorded, minimum), 1.0, maximum)
    needed = total_demand(window, recorded) / (request * percent / 100)
    return SteppedAutoscaler.of(hpa, window.grid.step_seconds).replicas(needed, minimum, float(recorded[0]))


def _with_cpu(window: WorkloadSnapshot) -> list[Mapping[str, PodSeries]]:
    return [metrics for metrics in window.containers.values() if "cpu_cores" in metrics]


def _schedule(entries: Any, window: WorkloadSnapshot) -> Array:
    """Returns the scheduled minimum at each step, NaN where the schedule says nothing."""
    floor = np.full(window.grid.size, np.nan)
    for entry in entries or ():
        begin, end = datetime.fromisoformat(entry["start"]), datetime.fromisoformat(entry["end"])
        span = slice(window.grid.index(begin), window.grid.index(end))
        floor[span] = np.fmax(floor[span], float(entry["min_replicas"]))
    return floor


def _carried(values: Array, before: float) -> Array:
    """Fills gaps with the last value before them, or with what was known at the start."""
    last = np.maximum.accumulate(np.where(np.isfinite(values), np.arange(values.size), -1))
    return np.where(last >= 0, values[last], before)


def _cpu_requests(state: WorkloadState) -> WorkloadState:
    return only_quantities(state, [container_path(c.name, "cpu_request_cores") for c in state.containers])
