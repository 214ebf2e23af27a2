"""Pods of a workload that are alike, read from a state map."""

from collections.abc import Mapping
from typing import Any

import msgspec

from perfopt.domain.price import NodeType
from perfopt.domain.quantity import parse_cpu, parse_memory
from perfopt.domain.workload import INIT_KEY


class PodGroup(msgspec.Struct, frozen=True, kw_only=True):
    """The replicas of a workload.

    Attributes:
        workload: identity, for messages.
        cpu_cores, memory_bytes: requested by one replica.
        count: how many there are.
        each_node: one runs on each node, as of a DaemonSet; `count` is not used.
        running_share: of the time in which they run, for which requests are paid; less than 1 for jobs.
    """

    workload: str
    cpu_cores: float
    memory_bytes: float
    count: int
    each_node: bool = False
    running_share: float = 1.0

    @property
    def most_together(self) -> int:
        """How many of them may share a node: half, so that losing it leaves the other half."""
        return max(-(-self.count // 2), 1)

    def fits(self, node: NodeType) -> bool:
        """Returns whether one of them fits an empty node."""
        return self.cpu_cores <= node.cores and self.memory_bytes <= node.memory_bytes


def pod_group(workload: str, state: Mapping[str, Any], running_share: float = 1.0) -> PodGroup | None:
    """Returns the pods of a state map; None where requests are unknown.

    Args:
        workload: `[cluster/]namespace/[kind/]name`.
        state: with cpu_request, memory_request and replicas; unknown replicas count as one.
        running_share: of the time in which it runs.
    """
    cpu, memory = state.get("cpu_request"), state.get("memory_request")
    if not isinstance(cpu, str) or not isinstance(memory, str):
        return None
    replicas = state.get("replicas")
    init = state.get(INIT_KEY) or {}
    return PodGroup(
        workload=workload,
        cpu_cores=max(parse_cpu(cpu), parse_cpu(init.get("cpu_request", "0"))),
        memory_bytes=float(max(parse_memory(memory), parse_memory(init.get("memory_request", "0")))),
        count=replicas if isinstance(replicas, int) else 1,
        running_share=running_share,
        each_node="daemonset" in workload.lower().split("/")[:-1],
    )
