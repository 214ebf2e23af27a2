"""A price book of the nodes as OpenCost exports them to Prometheus. Pure: no queries here.

node_cpu_hourly_cost is the price of a vCPU and node_ram_hourly_cost that of a GiB of memory of each node
(https://opencost.io/docs/integrations/metrics); the machine's capacity is kube-state-metrics'. Prices have
no currency in OpenCost's metrics, so it is configured.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

from perfopt.domain.price import GIB, NodeType, PriceBook
from perfopt.sources.prometheus.answer import InstantSample

_CPU, _RAM, _SPOT = "node_cpu_hourly_cost", "node_ram_hourly_cost", "kubecost_node_is_spot"
_CAPACITY = "kube_node_status_capacity"


@dataclass(frozen=True, slots=True)
class _PricedNode:
    """A node: its type, capacity and what it costs; `spot` where it may be taken back."""

    kind: str
    cores: float
    memory_gib: float
    cpu_core_hour: float
    memory_gib_hour: float
    spot: bool

    @property
    def price_hour(self) -> float:
        return self.cores * self.cpu_core_hour + self.memory_gib * self.memory_gib_hour


def price_books(samples: Iterable[InstantSample], cluster_label: str, currency: str) -> dict[str, PriceBook]:
    """Returns the book of each cluster whose nodes have prices and capacities.

    A core and a GiB cost what they do on average over the cluster's nodes on demand, weighted by their
    capacity (over all nodes where every one is spot). A node type costs the mean of its nodes.

    Args:
        samples: of the state query `node_prices`.
        cluster_label: the label that names the cluster.
        currency: ISO 4217 code of OpenCost's prices.
    """
    clusters: dict[str, dict[str, dict[str, InstantSample]]] = defaultdict(lambda: defaultdict(dict))
    for sample in samples:
        labels = sample.labels
        what = labels.get("__name__", "")
        key = labels.get("resource", "") if what == _CAPACITY else what
        clusters[labels.get(cluster_label, "")][labels.get("node", "")][key] = sample
    books = {}
    for cluster, nodes in clusters.items():
        known = [node for node in map(_node, nodes.values()) if node is not None]
        if known:
            books[cluster] = _book(known, cluster, currency)
    return books


def _node(samples: Mapping[str, InstantSample]) -> _PricedNode | None:
    if not {_CPU, _RAM, "cpu", "memory"} <= samples.keys():
        return None
    cores, memory = samples["cpu"].value, samples["memory"].value / GIB
    prices = samples[_CPU].value, samples[_RAM].value
    if not all(math.isfinite(number) and number > 0 for number in (cores, memory, *prices)):
        return None  # a node whose price is not known, or cannot be, says nothing of what nodes cost
    return _PricedNode(
        kind=samples[_CPU].labels.get("instance_type", ""),
        cores=cores,
        memory_gib=memory,
        cpu_core_hour=samples[_CPU].value,
        memory_gib_hour=samples[_RAM].value,
        spot=_SPOT in samples and samples[_SPOT].value > 0,
    )


def _book(nodes: list[_PricedNode], cluster: str, currency: str) -> PriceBook:
    steady = [node for node in nodes if not node.spot] or nodes
    cores, memory = sum(node.cores for node in steady), sum(node.memory_gib for node in steady)
    return PriceBook(
        name=f"opencost/{cluster}" if cluster else "opencost",
        currency=currency,
        cpu_core_hour=sum(node.cores * node.cpu_core_hour for node in steady) / cores,
        memory_gib_hour=sum(node.memory_gib * node.memory_gib_hour for node in steady) / memory,
        node_types=_node_types(nodes),
    )


def _node_types(nodes: list[_PricedNode]) -> tuple[NodeType, ...]:
    """Returns the types that have a node on demand, with the spot price of those that have one as spot."""
    kinds: dict[str, list[_PricedNode]] = defaultdict(list)
    for node in nodes:
        kinds[node.kind].append(node)
    types = []
    for name, mine in sorted(kinds.items()):
        steady, spot = [n for n in mine if not n.spot], [n for n in mine if n.spot]
        if name and steady:
            types.append(
                NodeType(
                    name=name,
                    cores=min(node.cores for node in mine),
                    memory_bytes=int(min(node.memory_gib for node in mine) * GIB),
                    price_hour=fmean(node.price_hour for node in steady),
                    spot_price_hour=fmean(node.price_hour for node in spot) if spot else None,
                )
            )
    return tuple(types)
