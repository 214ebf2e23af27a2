"""What a cluster takes of a workload."""

import msgspec


class Range(msgspec.Struct, frozen=True):
    """Bounds of a request or limit; None is none."""

    least: float | None = None
    most: float | None = None


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
    container_cpu: Range = Range()
    container_memory: Range = Range()
    pod_cpu: Range = Range()
    pod_memory: Range = Range()
    free_requests_cpu: float | None = None
    free_requests_memory: float | None = None
    free_limits_cpu: float | None = None
    free_limits_memory: float | None = None
