"""The fleet view: what the cluster's nodes cost as it is, and as recommended."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from perfopt.domain.price import HOURS_PER_MONTH, NodeType, PriceBook
from perfopt.errors import InvalidInputError
from perfopt.fleet.budget import ChangeOption, least_risk
from perfopt.fleet.nodes import allocatable
from perfopt.fleet.packing import NodePacking, pack
from perfopt.fleet.pods import PodGroup, pod_group
from perfopt.fleet.relaxation import cheapest_possible


class WorkloadStates(msgspec.Struct, frozen=True, kw_only=True):
    """A workload's state maps.

    Attributes:
        workload: `[cluster/]namespace/[kind/]name`.
        recommended: the same as `current` where nothing is recommended.
        confidence: probability that what is recommended is accurate.
        running_share: of the time in which it runs; less than 1 for jobs, which reserve nothing between runs.
    """

    workload: str
    current: Mapping[str, Any]
    recommended: Mapping[str, Any]
    confidence: float = 1.0
    running_share: float = 1.0


class FleetSide(msgspec.Struct, frozen=True, kw_only=True):
    """The cluster in one of its two states.

    Attributes:
        pods: that were packed, without those that run on each node.
        cpu_cores, memory_bytes: requested by them.
        requests_cost_month: Σ of requests by the prices of a core and a GiB, on nodes or not; of jobs for the
            hours in which they run. Nodes are packed as if all jobs ran.
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


class FleetBudget(msgspec.Struct, frozen=True, kw_only=True):
    """Which of the recommended changes bring the nodes within a budget at the least risk.

    Attributes:
        budget_month: for nodes, in the currency of the view.
        met: whether a choice was found that keeps it.
        change, leave: workloads that are recommended to change and are changed, or left as they are.
        risk_month: (1 - confidence) x cost of what is recommended, over the changed ones that save.
        gap: (risk - least that HiGHS proved) / risk.
        fleet: the cluster with the changes; None where the budget is not met.
    """

    budget_month: float
    met: bool
    change: tuple[str, ...]
    leave: tuple[str, ...]
    risk_month: float
    gap: float
    fleet: FleetSide | None


class FleetView(msgspec.Struct, frozen=True, kw_only=True):
    """What a cluster would save by packing what is recommended.

    Attributes:
        price_book, currency: by which it is costed, nodes on demand.
        workloads: how many were packed.
        saving_month, saving_percent: of packed nodes, recommended against current.
        left_out: workload to why it is in neither side.
        budget: what to change for a budget; None where none was asked for.
    """

    price_book: str
    currency: str
    workloads: int
    current: FleetSide
    recommended: FleetSide
    saving_month: float
    saving_percent: float
    left_out: dict[str, str] = {}
    budget: FleetBudget | None = None


class NodeBudget(NamedTuple):
    """A budget for nodes, and how long to look for what keeps it.

    Attributes:
        month: in the currency of the price book.
        seconds: for each solution of the model.
    """

    month: float
    seconds: float = 10.0


def fleet_view(
    states: Sequence[WorkloadStates], book: PriceBook, limit: NodeBudget | None = None
) -> FleetView:
    """Returns both sides of the fleet, packed anew on the nodes of a price book.

    Args:
        states: of all workloads, those without a recommendation too.
        book: must know node types.
        limit: asks which changes to make for a budget.

    Raises:
        InvalidInputError: the book knows no node type, or nothing was found in time.
    """
    if not book.node_types:
        raise InvalidInputError(
            f"The price book {book.name!r} knows no node types.",
            field="price_book",
            remedy="Name one that does, such as example:gcp-us-central1, or add node_types to it.",
        )
    known: list[_PodGroups] = []
    left_out: dict[str, str] = {}
    for one in states:
        before, after = (
            pod_group(one.workload, state, one.running_share) for state in (one.current, one.recommended)
        )
        if before is None or after is None:
            left_out[one.workload] = "its requests are not known"
        else:
            known.append(_PodGroups((before, after), one.confidence))
    nodes = [_rooms(book, [pair.groups[side] for pair in known]) for side in (0, 1)]
    fitting = []
    for pair in known:
        if all(
            group.each_node or any(map(group.fits, nodes[side])) for side, group in enumerate(pair.groups)
        ):
            fitting.append(pair)
        else:
            left_out[pair.workload] = "a pod of it fits no node type"
    current, recommended = (_packed(book, nodes[side], fitting, side) for side in (0, 1))
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
        budget=None if limit is None else _within(book, nodes[1], fitting, limit),
    )


class _PodGroups(NamedTuple):
    """The pods of a workload as they are and as recommended."""

    groups: tuple[PodGroup, PodGroup]
    confidence: float

    @property
    def workload(self) -> str:
        return self.groups[0].workload


def _packed(book: PriceBook, nodes: Sequence[NodeType], pairs: Sequence[_PodGroups], side: int) -> FleetSide:
    placed = [pair.groups[side] for pair in pairs if not pair.groups[side].each_node]
    return _side(book, pack(nodes, placed), nodes, placed)


def _within(
    book: PriceBook, nodes: Sequence[NodeType], fitting: Sequence[_PodGroups], limit: NodeBudget
) -> FleetBudget:
    """A change that costs more is made in any case: what runs is too little; so are those of DaemonSets."""
    pairs = [pair for pair in fitting if not pair.groups[0].each_node]
    options = []
    for (before, after), confidence in pairs:
        cost = _cost(book, after)
        options.append(ChangeOption(before, after, (1 - confidence) * cost, cost > _cost(book, before)))
    changes = least_risk(nodes, options, limit.month / HOURS_PER_MONTH, limit.seconds)
    changed = changes.changed if changes is not None else (False,) * len(pairs)
    differ = [
        (pair.workload, taken)
        for pair, taken in zip(pairs, changed, strict=True)
        if pair.groups[0] != pair.groups[1]
    ]
    placed = [pair.groups[taken] for pair, taken in zip(pairs, changed, strict=True)]
    return FleetBudget(
        budget_month=limit.month,
        met=changes is not None,
        change=tuple(name for name, taken in differ if taken),
        leave=tuple(name for name, taken in differ if not taken),
        risk_month=round(changes.risk, 2) if changes is not None else 0.0,
        gap=round(changes.gap, 4) if changes is not None else 1.0,
        fleet=None if changes is None else _side(book, changes.packing, nodes, placed),
    )


def _cost(book: PriceBook, group: PodGroup) -> float:
    hourly = book.hourly_cost(group.cpu_cores, group.memory_bytes)
    return group.count * hourly * group.running_share * HOURS_PER_MONTH


def _rooms(book: PriceBook, groups: Sequence[PodGroup]) -> list[NodeType]:
    """Returns the node types with the room that the system and the pods of each node leave."""
    every = [group for group in groups if group.each_node]
    cores, memory = sum(group.cpu_cores for group in every), sum(group.memory_bytes for group in every)
    rooms = [allocatable(node, cores, memory) for node in book.node_types]
    return [room for room in rooms if room.cores > 0 and room.memory_bytes > 0]


def _side(
    book: PriceBook, packing: NodePacking, nodes: Sequence[NodeType], placed: Sequence[PodGroup]
) -> FleetSide:
    bound = cheapest_possible(nodes, placed)
    counts = Counter(full.node.name for full in packing.nodes)
    cpu = sum(group.cpu_cores * group.count for group in placed)
    memory = sum(group.memory_bytes * group.count for group in placed)
    gap = (packing.price_hour - bound) / packing.price_hour if packing.price_hour else 0.0
    return FleetSide(
        pods=sum(group.count for group in placed),
        cpu_cores=round(cpu, 3),
        memory_bytes=memory,
        requests_cost_month=round(sum(_cost(book, group) for group in placed), 2),
        nodes=dict(sorted(counts.items())),
        node_count=len(packing.nodes),
        packed_cost_month=round(packing.price_hour * HOURS_PER_MONTH, 2),
        bound_month=round(bound * HOURS_PER_MONTH, 2),
        gap=round(max(gap, 0.0), 4),
    )
