"""Packs pods on nodes in two dimensions: best-fit decreasing, over single node types and over all of them.

For each type that every pod fits, its nodes are filled by pods in decreasing order of worth (what the
relaxation says a core and a byte are worth), each on the fullest node that has room. A mixture is made by
opening, one after the other, the node that holds the most worth for its price. Last, each node becomes the
cheapest type that holds what is on it. The cheapest of these is the packing. Heuristics of vector packing:
Panigrahy et al. 2011, "Heuristics for vector bin packing".
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from perfopt.domain.price import NodeType
from perfopt.fleet.pods import PodGroup
from perfopt.fleet.relaxation import worth

_ROUNDING = 1e-9


@dataclass(slots=True)
class PackedNode:
    """A node and what is on it.

    Attributes:
        node: its type, with the room it has for pods.
        pods: index of the group to how many of its pods are here.
        cpu_cores, memory_bytes: requested on it.
    """

    node: NodeType
    pods: dict[int, int] = field(default_factory=dict)
    cpu_cores: float = 0.0
    memory_bytes: float = 0.0

    def room(self, group: PodGroup, index: int) -> int:
        """Returns how many more pods of a group can go here."""
        left = group.most_together - self.pods.get(index, 0)
        for free, required in (
            (self.node.cores - self.cpu_cores, group.cpu_cores),
            (self.node.memory_bytes - self.memory_bytes, group.memory_bytes),
        ):
            if required > 0:
                left = min(left, int(min(free / required, left) + _ROUNDING))
        return max(left, 0)

    def put(self, group: PodGroup, index: int, count: int) -> None:
        """Places pods of a group."""
        self.pods[index] = self.pods.get(index, 0) + count
        self.cpu_cores += count * group.cpu_cores
        self.memory_bytes += count * group.memory_bytes


@dataclass(frozen=True, slots=True)
class NodePacking:
    """Nodes that hold all pods.

    Attributes:
        price_hour: of all nodes.
    """

    nodes: tuple[PackedNode, ...]
    price_hour: float


def pack(nodes: Sequence[NodeType], groups: Sequence[PodGroup]) -> NodePacking:
    """Returns a cheap packing of all pods.

    Args:
        nodes: types with their room for pods.
        groups: each must fit one of the types; a group of no pods takes no room.
    """
    if not any(group.count for group in groups):
        return NodePacking((), 0.0)
    usable = [node for node in nodes if any(group.count and group.fits(node) for group in groups)]
    core, byte = worth(
        usable,
        sum(group.cpu_cores * group.count for group in groups),
        sum(group.memory_bytes * group.count for group in groups),
    )
    order = sorted(
        (index for index, group in enumerate(groups) if group.count),
        key=lambda index: -(core * groups[index].cpu_cores + byte * groups[index].memory_bytes),
    )
    tried = [_mixed(usable, groups, order, core, byte)]
    tried += [
        _single(node, groups, order) for node in usable if all(groups[index].fits(node) for index in order)
    ]
    packed = [[_smallest(full, usable) for full in attempt] for attempt in tried]
    best = min(packed, key=lambda attempt: sum(full.node.price_hour for full in attempt))
    return NodePacking(tuple(best), sum(full.node.price_hour for full in best))


def _single(node: NodeType, groups: Sequence[PodGroup], order: Sequence[int]) -> list[PackedNode]:
    """Fills nodes of one type, each group on the fullest nodes that have room."""
    opened: list[PackedNode] = []
    for index in order:
        group, left = groups[index], groups[index].count
        for full in sorted(opened, key=lambda full: -full.cpu_cores / node.cores - _share(full)):
            count = min(full.room(group, index), left)
            if count:
                full.put(group, index, count)
                left -= count
        while left:
            full = PackedNode(node)
            count = min(full.room(group, index), left)
            full.put(group, index, count)
            opened.append(full)
            left -= count
    return opened


def _share(full: PackedNode) -> float:
    return full.memory_bytes / full.node.memory_bytes


def _mixed(
    nodes: Sequence[NodeType], groups: Sequence[PodGroup], order: Sequence[int], core: float, byte: float
) -> list[PackedNode]:
    """Opens the node that holds the most worth for its price until nothing is left."""
    left = {index: groups[index].count for index in order}
    opened: list[PackedNode] = []
    while left:
        best = max(
            (_filled(node, groups, left) for node in nodes),
            key=lambda full: _for_money(full, core, byte),
        )
        repeat = min(left[index] // count for index, count in best.pods.items())
        for _ in range(max(repeat, 1)):
            opened.append(PackedNode(best.node, dict(best.pods), best.cpu_cores, best.memory_bytes))
            for index, count in best.pods.items():
                left[index] -= count
        left = {index: count for index, count in left.items() if count}
    return opened


def _for_money(full: PackedNode, core: float, byte: float) -> float:
    """Returns the worth on a node for its price; below zero for an empty one."""
    if not full.pods:
        return -1.0
    return (core * full.cpu_cores + byte * full.memory_bytes) / max(full.node.price_hour, _ROUNDING)


def _filled(node: NodeType, groups: Sequence[PodGroup], left: dict[int, int]) -> PackedNode:
    full = PackedNode(node)
    for index, count in left.items():
        taken = min(full.room(groups[index], index), count)
        if taken:
            full.put(groups[index], index, taken)
    return full


def _smallest(full: PackedNode, nodes: Sequence[NodeType]) -> PackedNode:
    """Returns the same content on the cheapest type that holds it."""
    fitting = [
        node
        for node in nodes
        if full.cpu_cores <= node.cores + _ROUNDING and full.memory_bytes <= node.memory_bytes + _ROUNDING
    ]
    cheapest = min([*fitting, full.node], key=lambda node: node.price_hour)
    return PackedNode(cheapest, full.pods, full.cpu_cores, full.memory_bytes)
