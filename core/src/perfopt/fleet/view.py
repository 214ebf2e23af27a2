"""The fleet view: what the cluster's nodes cost as it is, and as recommended."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from perfopt.domain.price import HOURS_PER_MONTH, NodeType, PriceBook
from perfopt.errors import InvalidInputError
from perfopt.fleet.nodes import allocatable
from perfopt.fleet.packing import pack
from perfopt.fleet.pods import PodGroup, pod_group
from perfopt.fleet.relaxation import cheapest_possible


class WorkloadStates(msgspec.Struct, frozen=True, kw_only=True):
    """A workload's state maps.

    Attributes:
        workload: `[cluster/]namespace/[kind/]name`.
        recommended: the same as `current` where nothing is recommended.
        confidence: probability that what is recommended keeps its word.
    """

    workload: str
    current: Mapping[str, Any]
    recommended: Mapping[str, Any]
    confidence: float = 1.0


class FleetSide(msgspec.Struct, frozen=True, kw_only=True):
    """The cluster in one of its two states.

    Attributes:
        pods: that were packed, without those that run on each node.
        cpu_cores, memory_bytes: requested by them.
        requests_cost_month: Σ of requests by the prices of a core and a GiB, on nodes or not.
        nodes: node type to how many the packing takes.
        node_count: of all types.
        packed_cost_month: what these nodes cost.
        bound_month: what no packing can cost less than.
        gap: (packed - bound) / packed.
    """

    pods: int
    cpu_cores: float
    memory_bytes: float
    requests_cost_month: float
    nodes: dict[str, int]
    node_count: int
    packed_cost_month: float
    bound_month: float
    gap: float


class FleetView(msgspec.Struct, frozen=True, kw_only=True):
    """What a cluster would save by packing what is recommended.

    Attributes:
        price_book, currency: by which it is costed, nodes on demand.
        workloads: how many were packed.
        saving_month, saving_percent: of packed nodes, recommended against current.
        left_out: workload to why it is in neither side.
    """

    price_book: str
    currency: str
    workloads: int
    current: FleetSide
    recommended: FleetSide
    saving_month: float
    saving_percent: float
    left_out: dict[str, str] = {}


def fleet_view(states: Sequence[WorkloadStates], book: PriceBook) -> FleetView:
    """Returns both sides of the fleet, packed anew on the nodes of a price book.

    Args:
        states: of all workloads, those without a recommendation too.
        book: must know node types.

    Raises:
        InvalidInputError: the book knows no node type.
    """
    if not book.node_types:
        raise InvalidInputError(
            f"The price book {book.name!r} knows no node types.",
            field="price_book",
            remedy="Name one that does, such as example:gcp-us-central1, or add node_types to it.",
        )
    kept: list[tuple[PodGroup, PodGroup]] = []
    left_out: dict[str, str] = {}
    for one in states:
        before, after = pod_group(one.workload, one.current), pod_group(one.workload, one.recommended)
        if before is None or after is None:
            left_out[one.workload] = "its requests are not known"
        else:
            kept.append((before, after))
    nodes = [_rooms(book, [pair[side] for pair in kept]) for side in (0, 1)]
    fitting = []
    for pair in kept:
        if all(group.each_node or any(group.fits(n) for n in nodes[side]) for side, group in enumerate(pair)):
            fitting.append(pair)
        else:
            left_out[pair[0].workload] = "a pod of it fits no node type"
    current, recommended = (_side(book, nodes[side], [pair[side] for pair in fitting]) for side in (0, 1))
    saving = current.packed_cost_month - recommended.packed_cost_month
    cost = current.packed_cost_month
    return FleetView(
        price_book=book.name,
        currency=book.currency,
        workloads=len(fitting),
        current=current,
        recommended=recommended,
        saving_month=round(saving, 2),
        saving_percent=round(100 * saving / cost, 2) if cost else 0.0,
        left_out=dict(sorted(left_out.items())),
    )


def _rooms(book: PriceBook, groups: Sequence[PodGroup]) -> list[NodeType]:
    """Returns the node types with the room that the system and the pods of each node leave."""
    every = [group for group in groups if group.each_node]
    cores, memory = sum(group.cpu_cores for group in every), sum(group.memory_bytes for group in every)
    rooms = [allocatable(node, cores, memory) for node in book.node_types]
    return [room for room in rooms if room.cores > 0 and room.memory_bytes > 0]


def _side(book: PriceBook, nodes: Sequence[NodeType], groups: Sequence[PodGroup]) -> FleetSide:
    placed = [group for group in groups if not group.each_node]
    packing = pack(nodes, placed)
    bound = cheapest_possible(nodes, placed)
    counts = Counter(full.node.name for full in packing.nodes)
    cpu = sum(group.cpu_cores * group.count for group in placed)
    memory = sum(group.memory_bytes * group.count for group in placed)
    gap = (packing.price_hour - bound) / packing.price_hour if packing.price_hour else 0.0
    return FleetSide(
        pods=sum(group.count for group in placed),
        cpu_cores=round(cpu, 3),
        memory_bytes=memory,
        requests_cost_month=round(book.hourly_cost(cpu, memory) * HOURS_PER_MONTH, 2),
        nodes=dict(sorted(counts.items())),
        node_count=len(packing.nodes),
        packed_cost_month=round(packing.price_hour * HOURS_PER_MONTH, 2),
        bound_month=round(bound * HOURS_PER_MONTH, 2),
        gap=round(max(gap, 0.0), 4),
    )
