"""Price books: what requested capacity and whole nodes cost."""

from datetime import datetime
from typing import Any

import msgspec

from perfopt.domain.workload import WorkloadState

HOURS_PER_MONTH = 730.0
GIB = float(2**30)


class NodeType(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of node that can be rented.

    Attributes:
        name: as the provider calls it, the value of node.kubernetes.io/instance-type.
        cores, memory_bytes: capacity of the machine.
        price_hour: on demand.
        spot_price_hour: of the same machine when it may be taken back; None where that is not known.
    """

    name: str
    cores: float
    memory_bytes: int
    price_hour: float
    spot_price_hour: float | None = None

    def share(self, cpu_cores: float, memory_bytes: float) -> float:
        """Returns which share of a node a pod takes: the larger of its cpu's and its memory's.

        What such a pod leaves of the other resource on a node filled with its like is lost: the dominant
        share (Ghodsi et al., NSDI 2011). Above 1 the pod does not fit.
        """
        return max(cpu_cores / self.cores, memory_bytes / self.memory_bytes)

    def hourly(self, spot_share: float = 0.0) -> float:
        """Returns the mean price of a node where a share of the nodes is rented as spot."""
        if self.spot_price_hour is None:
            return self.price_hour
        return (1 - spot_share) * self.price_hour + spot_share * self.spot_price_hour


class PriceBook(msgspec.Struct, frozen=True, kw_only=True):
    """Prices of requested capacity, and of nodes where they are known.

    Attributes:
        name: how the book is called in results.
        currency: ISO 4217 code.
        cpu_core_hour: price of one requested core for one hour.
        memory_gib_hour: price of one requested GiB for one hour.
        node_types: what can be rented, by which node types and spot shares are compared.
        hours_month: for which a month is priced; fewer for a job, which reserves nothing between its runs.
    """

    name: str
    currency: str
    cpu_core_hour: float
    memory_gib_hour: float
    node_types: tuple[NodeType, ...] = ()
    hours_month: float = HOURS_PER_MONTH

    def node_type(self, name: str | None) -> NodeType | None:
        """Returns the node type of that name, or None."""
        return next((node for node in self.node_types if node.name == name), None)

    def hourly_cost(self, cpu_cores: float, memory_bytes: float) -> float:
        """Returns the price of requested capacity for one hour, wherever it runs."""
        return cpu_cores * self.cpu_core_hour + memory_bytes / GIB * self.memory_gib_hour

    def monthly_cost(self, state: WorkloadState) -> float | None:
        """Returns Σ replicas × (cpu_request × price + memory_request × price) over `hours_month`.

        Requests are what the scheduler reserves for a pod: no less than its largest init container's.
        Times `placement`, where the state names a node type that the book knows. A schedule counts by the
        hours it runs so many replicas, unless an autoscaler decides. None where requests are unknown.
        Unknown replicas count as one.
        """
        reserved = state.reserved()
        if reserved is None:
            return None
        hourly = self.hourly_cost(*reserved) * self.placement(state)
        return _mean_replicas(state) * hourly * self.hours_month

    def placement(self, state: WorkloadState) -> float:
        """Returns how the node type and the spot share that a state names change what its pods cost.

        1 is on demand on the type on which its pods take the cheapest share of a node, and a state that
        names no type known to the book counts as such: no saving is claimed from what is not known.
        """
        node = self.node_type(state.extra.get("node_type"))
        reserved = state.reserved()
        if node is None or reserved is None or not all(reserved):
            return 1.0
        return self.placement_of(node, float(state.extra.get("spot_share", 0.0)), *reserved)

    def placement_of(self, node: NodeType, spot_share: float, cpu_cores: float, memory_bytes: float) -> float:
        """Returns `placement` for pods of a size on a node type of this book."""
        costs = [
            known.share(cpu_cores, memory_bytes) * known.price_hour
            for known in self.node_types
            if known.share(cpu_cores, memory_bytes) <= 1
        ]
        if not costs or min(costs) <= 0:
            return 1.0
        return node.share(cpu_cores, memory_bytes) * node.hourly(spot_share) / min(costs)


def _mean_replicas(state: WorkloadState) -> float:
    replicas = float(state.replicas if state.replicas is not None else 1)
    entries: list[dict[str, Any]] = state.extra.get("schedule") or []
    if not entries or state.hpa is not None or state.keda is not None:
        return replicas
    hours = [_hours(entry) for entry in entries]
    planned = sum(lasts * entry["min_replicas"] for lasts, entry in zip(hours, entries, strict=True))
    return float(planned / sum(hours)) if sum(hours) > 0 else replicas


def _hours(entry: dict[str, Any]) -> float:
    begin, end = datetime.fromisoformat(entry["start"]), datetime.fromisoformat(entry["end"])
    return max((end - begin).total_seconds() / 3600, 0.0)


# On-demand list price of a general-purpose node split by the usual 0.0316/0.0042 ratio (GCP E2,
# us-central1, https://cloud.google.com/compute/vm-instance-pricing): a stated default, not a quote.
DEFAULT_PRICE_BOOK = PriceBook(
    name="gcp-e2-us-central1", currency="USD", cpu_core_hour=0.021811, memory_gib_hour=0.002923
)
