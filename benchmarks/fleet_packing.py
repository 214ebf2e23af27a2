"""Packs random fleets on an example price book and prints nodes, the gap to the bound, and the time.

    python benchmarks/fleet_packing.py

Then which changes keep a budget half way between all and none of them, by HiGHS. Requests are log-normal,
1 to 7 replicas uniform, changes halve a request at most: made up, to show packing and model and not a
cluster.
"""

import time

import numpy as np

from perfopt.config.prices import example_book
from perfopt.domain.price import GIB, NodeType
from perfopt.fleet import PodGroup, allocatable, cheapest_possible, pack
from perfopt.fleet.budget import ChangeOption, least_risk

BOOK = "example:aws-us-east-1"
WORKLOADS = (50, 300, 1000)
TIME_LIMIT_SECONDS = 10.0


def groups(count: int) -> list[PodGroup]:
    """Returns the pods of so many workloads."""
    random = np.random.default_rng(3)
    cpu = np.clip(random.lognormal(-1.2, 0.9, count), 0.01, 8).tolist()
    memory = (np.clip(random.lognormal(-0.2, 1.0, count), 0.03, 20) * GIB).tolist()
    replicas = random.integers(1, 8, count).tolist()
    return [
        PodGroup(workload=f"w{number}", cpu_cores=cores, memory_bytes=size, count=many)
        for number, (cores, size, many) in enumerate(zip(cpu, memory, replicas, strict=True))
    ]


def main() -> None:
    """Prints a line a fleet."""
    nodes = [allocatable(node) for node in example_book(BOOK).node_types]
    for count in WORKLOADS:
        pods = groups(count)
        begin = time.process_time()
        packing, bound = pack(nodes, pods), cheapest_possible(nodes, pods)
        seconds = time.process_time() - begin
        gap = 1 - bound / packing.price_hour
        print(f"{count} workloads: {len(packing.nodes)} nodes, gap {gap:.1%}, {seconds:.2f} s of CPU")
        _budget(nodes, pods)


def _budget(nodes: list[NodeType], pods: list[PodGroup]) -> None:
    random = np.random.default_rng(4)
    options = []
    for group in pods:
        share, unsure = random.uniform(0.5, 1.0), random.uniform(0.02, 0.4)
        cpu, memory = group.cpu_cores * share, group.memory_bytes * share
        less = PodGroup(workload=group.workload, cpu_cores=cpu, memory_bytes=memory, count=group.count)
        options.append(ChangeOption(group, less, unsure * cpu * group.count))
    current, recommended = (
        pack(nodes, pods).price_hour,
        pack(nodes, [one.after for one in options]).price_hour,
    )
    begin = time.process_time()
    changes = least_risk(nodes, options, (current + recommended) / 2, TIME_LIMIT_SECONDS)
    seconds = time.process_time() - begin
    if changes is None:
        print("  no choice keeps the budget")
        return
    share = changes.risk / sum(one.risk for one in options)
    print(
        f"  half the saving: {sum(changes.changed)} changes, {share:.0%} of all risk, gap {changes.gap:.1%},"
        f" {seconds:.2f} s of CPU"
    )


if __name__ == "__main__":
    main()
