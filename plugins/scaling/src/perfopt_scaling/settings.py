"""What is set: the HPA, the schedule of its minimum, and a KEDA ScaledObject."""

import math
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from perfopt.plugin import HpaState, Workload
from perfopt_scaling.joint import RequestTarget

# Where the service's API is found from within the cluster; an export puts its own address there.
API = "http://perfopt"
SCALE_TARGETS = {
    "": ("apps/v1", "Deployment"),
    "deployment": ("apps/v1", "Deployment"),
    "statefulset": ("apps/v1", "StatefulSet"),
    "replicaset": ("apps/v1", "ReplicaSet"),
    "replicationcontroller": ("v1", "ReplicationController"),
    "rollout": ("argoproj.io/v1alpha1", "Rollout"),
    "deploymentconfig": ("apps.openshift.io/v1", "DeploymentConfig"),
}
"""Kinds whose replicas anyone may set, to their apiVersion and kind; those of others are their operators'."""
ENTRIES_A_DAY = 8  # on average: as many as four rises and four falls
_HEADROOM = 1.5  # of the largest need: how far above the plan an HPA may go


def hpa(
    minimum: int,
    largest: int,
    joint: RequestTarget,
    current: HpaState | None,
    *,
    window_seconds: int,
    seen: int = 1,
    most: int | None = None,
) -> HpaState:
    """Returns the HPA's settings in the form of autoscaling/v2.

    Args:
        minimum: fewest replicas.
        largest: most replicas that the plan needs.
        joint: request and target.
        current: what it is now; its maximum is not lowered, and other metrics stay.
        window_seconds: for which it remembers higher recommendations.
        seen: replicas that the highest demand of the history asks for.
        most: that the namespace takes; None is unknown.
    """
    above = max(math.ceil(_HEADROOM * largest), minimum + 1, seen)
    maximum = above if most is None else max(min(above, most), minimum)
    return HpaState(
        min_replicas=minimum,
        max_replicas=max(maximum, current.max_replicas if current is not None else 0),
        target_cpu_utilization_percent=math.floor(100 * joint.target + 1e-6),
        target_memory_utilization_percent=(
            current.target_memory_utilization_percent if current is not None else None
        ),
        other_metrics=current.other_metrics if current is not None else (),
        behavior=behavior(largest, window_seconds),
    )


def behavior(largest: int, window_seconds: int) -> dict[str, Any]:
    """Returns the behaviour: up at once, down after a window and by at most half a minute."""
    return {
        "scaleUp": {
            "stabilizationWindowSeconds": 0,
            "selectPolicy": "Max",
            "policies": [
                {"type": "Percent", "value": 100, "periodSeconds": 15},
                {"type": "Pods", "value": max(4, math.ceil(largest / 2)), "periodSeconds": 15},
            ],
        },
        "scaleDown": {
            "stabilizationWindowSeconds": window_seconds,
            "selectPolicy": "Max",
            "policies": [{"type": "Percent", "value": 50, "periodSeconds": 60}],
        },
    }


def schedule(
    replicas: NDArray[np.int64], start: datetime, end: datetime, block: timedelta, lead: timedelta
) -> list[dict[str, Any]]:
    """Returns the minimum replicas over the validity: spans that follow on each other.

    Each rise begins a start-up earlier.

    Args:
        replicas: by block.
        start: of the first block.
        end: of the validity; nothing is said after it.
        block: length of a block.
        lead: from the decision to a ready replica.
    """
    first, counts = _spans(replicas)
    entries: list[dict[str, Any]] = []
    starts = [start + int(number) * block for number in first]
    for number in range(1, counts.size):
        if counts[number] > counts[number - 1]:
            starts[number] = max(starts[number] - lead, starts[number - 1])
    for number, count in enumerate(counts):
        until = min(starts[number + 1] if number + 1 < counts.size else end, end)
        if starts[number] < until:
            entries.append(
                {"start": starts[number].isoformat(), "end": until.isoformat(), "min_replicas": int(count)}
            )
    return entries


def entries_allowed(validity: timedelta) -> int:
    """Returns how many entries a schedule of this length may have."""
    return max(math.ceil(ENTRIES_A_DAY * (validity / timedelta(days=1))), 1)


def entries_needed(replicas: NDArray[np.int64]) -> int:
    """Returns how many spans of equal replicas there are."""
    return int(_spans(replicas)[0].size)


def with_fewer_entries(replicas: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Returns replicas by block, never lower, in at most so many spans of equal replicas.

    Neighbours are joined at the higher of their replicas, those first that add the least.

    Args:
        replicas: by block.
        most: spans.
    """
    first, counts = _spans(replicas)
    lengths = np.diff(np.r_[first, replicas.size])
    while counts.size > most:
        lower = np.where(counts[:-1] < counts[1:], lengths[:-1], lengths[1:])
        at = int(np.argmin(lower * np.abs(np.diff(counts))))
        counts[at] = max(counts[at], counts[at + 1])
        lengths[at] += lengths[at + 1]
        counts, lengths = np.delete(counts, at + 1), np.delete(lengths, at + 1)
    return np.repeat(counts, lengths)


def _spans(replicas: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the first block of each span of equal replicas, and its replicas."""
    first = np.flatnonzero(np.r_[True, np.diff(replicas) != 0])
    return first, replicas[first]


def scaled_object(workload: Workload, settings: HpaState) -> dict[str, Any]:
    """Returns a KEDA ScaledObject: the plan from perfopt's API, and CPU for what the plan did not see.

    KEDA hands both triggers to one HPA, which takes the higher. `value` is how many replicas are needed from
    now until one started now is ready, and one replica is asked for each.

    Raises:
        KeyError: the workload's kind is not among SCALE_TARGETS.
    """
    api_version, kind = SCALE_TARGETS[workload.id.kind.lower()]
    name = workload.id.name.rsplit("/", 1)[-1].lower().replace("_", "-")
    url = f"{API}/api/v1/optimization/scaling/{quote(workload.service_name, safe='')}/demand"
    if workload.id.namespace:
        url += f"?workload={quote(str(workload.id), safe='')}"
    metadata = {"name": f"{name}-perfopt"} | (
        {"namespace": workload.id.namespace} if workload.id.namespace else {}
    )
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": metadata,
        "spec": {
            "scaleTargetRef": {"apiVersion": api_version, "kind": kind, "name": name},
            "pollingInterval": 15,
            "minReplicaCount": settings.min_replicas,
            "maxReplicaCount": settings.max_replicas,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": settings.behavior}},
            "triggers": [
                {
                    "type": "metrics-api",
                    "metricType": "AverageValue",
                    "metadata": {
                        "url": url,
                        "format": "json",
                        "valueLocation": "replicas.needed",
                        "targetValue": "1",
                    },
                },
                {
                    "type": "cpu",
                    "metricType": "Utilization",
                    "metadata": {"value": str(settings.target_cpu_utilization_percent)},
                },
            ],
        },
    }
