"""What a cluster takes of a workload."""

import math

import msgspec


class BoundRange(msgspec.Struct, frozen=True):
    """Bounds of a request or limit; None is none. `ratio` is the largest of limit to request."""

    least: float | None = None
    most: float | None = None
    ratio: float | None = None


class ClusterLimits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Bounds that the cluster sets; None is unknown or none. CPU in cores, memory in bytes.

    Attributes:
        node_cpu_cores, node_memory_bytes: what the largest node can allocate to pods.
        container_cpu, container_memory, pod_cpu, pod_memory: of the namespace's LimitRanges.
        free_requests_cpu, free_requests_memory, free_limits_cpu, free_limits_memory: what the namespace's
            ResourceQuotas leave.
    """

    node_cpu_cores: float | None = None
    node_memory_bytes: float | None = None
    container_cpu: BoundRange = BoundRange()
    container_memory: BoundRange = BoundRange()
    pod_cpu: BoundRange = BoundRange()
    pod_memory: BoundRange = BoundRange()
    free_requests_cpu: float | None = None
    free_requests_memory: float | None = None
    free_limits_cpu: float | None = None
    free_limits_memory: float | None = None


class ContainerHeadroom(msgspec.Struct, frozen=True, kw_only=True):
    """What a container may have of one resource; None is unknown or unbounded.

    Attributes:
        least: of request and limit.
        request_least: that goes with the container's limit by the largest ratio of both.
    """

    least: float | None = None
    request_least: float | None = None
    request_most: float | None = None
    limit_most: float | None = None


def room(
    limits: ClusterLimits | None,
    resource: str,
    *,
    others: float,
    containers: int,
    replicas: int,
    request: float | None,
    limit: float | None,
    target_limit: float | None = None,
) -> ContainerHeadroom:
    """Returns the bounds of a container's request and limit of one resource.

    Args:
        limits: of its cluster and namespace.
        resource: "cpu" or "memory".
        others: what the other containers of the pod request.
        containers: how many the pod has: what a quota leaves is shared out among them.
        replicas: how many pods take their part of what a quota leaves.
        request: of the container as it is: its part of a quota is in use already.
        limit: as the request.
        target_limit: of the container as it will be.
    """
    if limits is None:
        return ContainerHeadroom()
    unit = "cpu_cores" if resource == "cpu" else "memory_bytes"
    node: float | None = getattr(limits, f"node_{unit}")
    container: BoundRange = getattr(limits, f"container_{resource}")
    pod: BoundRange = getattr(limits, f"pod_{resource}")
    whole = _least(node, pod.most)
    share = max(containers, 1) * max(replicas, 1)
    free_requests: float | None = getattr(limits, f"free_requests_{resource}")
    free_limits: float | None = getattr(limits, f"free_limits_{resource}")
    fits = None if whole is None else max(whole - others, 0.0)
    return ContainerHeadroom(
        least=container.least,
        request_least=_within_ratio(target_limit, container.ratio, resource),
        request_most=_least(fits, container.most, _with_free(request, free_requests, share, resource)),
        limit_most=_least(whole, container.most, _with_free(limit, free_limits, share, resource)),
    )


def most_replicas(
    limits: ClusterLimits | None, replicas: int, cpu_cores: float | None, memory_bytes: float | None
) -> int | None:
    """Returns how many replicas of a size a namespace's quotas take; None where they are unknown or none.

    Never fewer than run: what runs is there.

    Args:
        limits: of its cluster and namespace.
        replicas: that run.
        cpu_cores: requested by one.
        memory_bytes: requested by one.
    """
    if limits is None:
        return None
    free = ((limits.free_requests_cpu, cpu_cores), (limits.free_requests_memory, memory_bytes))
    more = [math.floor(left / each + 1e-6) for left, each in free if left is not None and each]
    return replicas + min(more) if more else None


def _within_ratio(limit: float | None, ratio: float | None, resource: str) -> float | None:
    """Returns the least request beside a limit, in whole millicores or MiB."""
    if limit is None or ratio is None:
        return None
    unit = 0.001 if resource == "cpu" else 2.0**20
    return math.ceil(limit / ratio / unit - 1e-6) * unit


def _with_free(current: float | None, free: float | None, share: int, resource: str) -> float | None:
    """Returns a container's part of a quota in whole millicores or MiB: parts rounded up would exceed it."""
    if free is None or current is None:
        return None
    unit = 0.001 if resource == "cpu" else 2.0**20
    return max(math.floor((current + free / share) / unit + 1e-6) * unit, current)


def _least(*values: float | None) -> float | None:
    return min((value for value in values if value is not None), default=None)
