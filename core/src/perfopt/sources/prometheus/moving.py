"""Replicas that rise and fall daily although no autoscaler is in the metrics: something sets them. Pure."""

from collections.abc import Collection
from datetime import timedelta

import msgspec
import numpy as np

from perfopt.domain.workload import Workload
from perfopt.metrics.snapshot import Array, TimeGrid

UNSEEN = "one that is not in the metrics"
_LASTING = timedelta(hours=1)  # a rollout runs a pod more for minutes
_MIN_DAYS = 2  # with a rise and a fall: once may be by hand
_KNATIVE = "queue-proxy"  # stands in each pod of a Knative revision
_KINDS = ("Deployment", "StatefulSet", "ReplicaSet", "Rollout")


def unseen_scaling(
    workload: Workload, replicas: Array | None, grid: TimeGrid, containers: Collection[str]
) -> str | None:
    """Returns the warning that something unseen scales a workload; None where nothing shows that.

    Args:
        workload: as the metrics show it.
        replicas: that ran at each step of the grid, NaN where unknown.
        grid: of the history.
        containers: names of those that ran.
    """
    if workload.state.hpa is not None or workload.state.keda is not None or workload.unknown_autoscalers:
        return None
    if _KNATIVE in containers:
        return (
            f"Knative scales it, as {_KNATIVE} in its pods shows, by what is not in the metrics: no request"
            " is lowered. Set scale and resources in the Knative Service."
        )
    return _moving_replicas(workload, replicas, grid)


def _moving_replicas(workload: Workload, replicas: Array | None, grid: TimeGrid) -> str | None:
    """Returns the warning that replicas rise and fall daily; None where they do not.

    Stopping and starting is not counted: sizes hold for when it runs.

    Args:
        workload: as the metrics show it.
        replicas: that ran at each step of the grid, NaN where unknown.
        grid: of the history.
    """
    if replicas is None or workload.id.kind not in _KINDS:
        return None
    levels, days = _lasting(replicas, grid)
    known = np.isfinite(levels) & (levels > 0)
    levels, days = levels[known], days[known]
    changes = np.sign(np.diff(levels))
    both = [day for day in np.unique(days[1:]) if {1.0, -1.0} <= set(changes[days[1:] == day])]
    if len(both) < _MIN_DAYS:
        return None
    return (
        f"Its replicas rose and fell on {len(both)} days, between {levels.min():g} and {levels.max():g}, and"
        " no autoscaler in the metrics is for it: no request is lowered, as one may scale by it."
    )


def autoscaler_warning(workload: Workload) -> str | None:
    """Returns the warning that autoscalers are seen in part only; None where none may be for a workload."""
    unknown = workload.unknown_autoscalers
    if not unknown:
        return None
    named = ", ".join([*unknown[:5], *(["..."] if len(unknown) > 5 else [])])
    return (
        f"What the autoscalers {named} scale, or by what, is not in the metrics, or several scale one"
        " workload: no request is lowered. Use one autoscaler a workload, and let"
        " kube_horizontalpodautoscaler_info and kube_horizontalpodautoscaler_spec_target_metric of"
        " kube-state-metrics through."
    )


def held_by_unknown(workload: Workload) -> Workload:
    """Returns a workload that an autoscaler is for of which nothing is seen."""
    return msgspec.structs.replace(workload, unknown_autoscalers=(UNSEEN,))


def _lasting(replicas: Array, grid: TimeGrid) -> tuple[Array, Array]:
    """Returns the median of each hour, NaN where nothing is known, and the number of its day."""
    steps = max(_LASTING // grid.step, 1)
    size = replicas.size // steps * steps
    if not size:
        return np.empty(0), np.empty(0)
    parts = np.sort(replicas[-size:].reshape(-1, steps), axis=1)  # NaN last
    counts = np.isfinite(parts).sum(axis=1)
    levels = parts[np.arange(len(parts)), np.maximum((counts - 1) // 2, 0)]
    days: Array = grid.epoch_seconds()[-size::steps] // 86_400
    return levels, days
