"""Packs random fleets on an example price book and prints nodes, the gap to the bound, and the time.

    python benchmarks/fleet_packing.py

Requests are log-normal and 1 to 7 replicas uniform: made up, to show the packing and not a cluster.
"""

import time

import numpy as np

from perfopt.domain.price import GIB
from perfopt.fleet import PodGroup, allocatable, cheapest_possible, pack
from perfopt.prices import example_book

BOOK = "example:aws-us-east-1"
WORKLOADS = (50, 300, 1000)


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


if __name__ == "__main__":
    main()
