"""What a node leaves for pods."""

from perfopt.domain.price import GIB, NodeType

# Shares that Google Kubernetes Engine keeps for the system, by steps of capacity
# (https://cloud.google.com/kubernetes-engine/docs/concepts/plan-node-sizes): taken for every provider.
_CPU_STEPS = ((1.0, 0.06), (1.0, 0.01), (2.0, 0.005), (float("inf"), 0.0025))
_MEMORY_STEPS = ((4.0, 0.25), (4.0, 0.20), (8.0, 0.10), (112.0, 0.06), (float("inf"), 0.02))
_EVICTION_BYTES = 100 * 2**20


def allocatable(node: NodeType, overhead_cores: float = 0.0, overhead_bytes: float = 0.0) -> NodeType:
    """Returns the node type with what is left of it for pods; capacities of 0 mean nothing fits.

    Args:
        node: its capacity is the machine's.
        overhead_cores: what the pods that run on each node (DaemonSets) request.
        overhead_bytes: the same, of memory.
    """
    cores = node.cores - _reserved(node.cores, _CPU_STEPS) - overhead_cores
    reserved = _reserved(node.memory_bytes / GIB, _MEMORY_STEPS) * GIB + _EVICTION_BYTES
    memory = node.memory_bytes - reserved - overhead_bytes
    return NodeType(
        name=node.name,
        cores=max(cores, 0.0),
        memory_bytes=max(int(memory), 0),
        price_hour=node.price_hour,
        spot_price_hour=node.spot_price_hour,
    )


def _reserved(capacity: float, steps: tuple[tuple[float, float], ...]) -> float:
    total, left = 0.0, capacity
    for size, share in steps:
        part = min(size, left)
        total += part * share
        left -= part
    return total
