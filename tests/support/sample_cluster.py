"""A real Prometheus that saw some Deployments until now: each one's use is that of a machine of the samples.

For the documentation's tests and for benchmarks. Needs Debian's `prometheus` and `promtool`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from kubernetes_exposition import STEP, ContainerRun, PodRun, Scraper
from prometheus_server import Exposition, prometheus_server

SAMPLES = Path(__file__).parents[2] / "api/src/perfopt_api/demo/data/bitbrains.parquet"
DAY = 86400
DAYS = 14
NAMES = ("order-router", "risk-engine", "market-data")


@contextmanager
def sample_cluster(directory: Path, workloads: int = len(NAMES), scrape_seconds: int = 150) -> Iterator[str]:
    """Gives the URL of a Prometheus with 14 days of some workloads, ending now.

    Args:
        directory: an empty one.
        workloads: how many; from the seventh on, machines come again, shifted by whole days.
        scrape_seconds: interval of the scrapes.
    """
    exposition = Exposition(directory / "samples.om")
    scraper = Scraper(exposition, scrape_seconds=scrape_seconds, totals=False)
    machines = _machines()
    end = int(time.time()) // STEP * STEP
    times = np.arange(end - DAYS * DAY, end, STEP, dtype=np.float64)
    for number in range(workloads):
        name = NAMES[number] if number < len(NAMES) else f"service-{number:03d}"
        cpu, memory = machines[number % len(machines)]
        first = (number // len(machines)) % DAYS * DAY // STEP
        window = slice(first, first + len(times))
        _deployment(scraper, name, ContainerRun("main", times, cpu[window], memory[window]))
    with prometheus_server(exposition, directory) as url:
        yield url


def _machines() -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns cpu and memory of each machine of the samples on its 5-minute grid, NaN where missing."""
    table = pq.read_table(SAMPLES)
    used = table.filter(pc.is_in(table["metric"].cast(pa.string()), pa.array(["cpu_cores", "memory_bytes"])))
    seconds = used["timestamp"].cast(pa.int64()).to_numpy() // 1000
    start, size = seconds.min(), int((seconds.max() - seconds.min()) // STEP) + 1
    names, metrics = used["series_id"].to_pylist(), np.array(used["metric"].to_pylist())
    values, steps, machines = used["value"].to_numpy(), (seconds - start) // STEP, []
    for name in sorted({str(name) for name in names}):
        mine = np.array([other == name for other in names])
        pair = []
        for metric in ("cpu_cores", "memory_bytes"):
            rows = mine & (metrics == metric)
            line = np.full(size, np.nan)
            line[steps[rows]] = values[rows]
            pair.append(line)
        machines.append((pair[0], pair[1]))
    return machines


def _deployment(scraper: Scraper, name: str, run: ContainerRun) -> None:
    run.cpu_request, run.memory_request = 1.0, float(2**31)
    run.cpu_limit, run.memory_limit = 4.0, float(2**34)
    place, first, last = {"namespace": "trading"}, run.times[0], run.times[-1] + STEP
    replicaset = f"{name}-5c9d7f4b66"
    scraper.pod(PodRun("trading", f"{replicaset}-xk2jp", "ReplicaSet", replicaset, [run], first))
    owner = {"owner_kind": "Deployment", "owner_name": name, "owner_is_controller": "true"}
    scraper.constant("kube_replicaset_owner", place | {"replicaset": replicaset} | owner, first, last)
    scraper.constant("kube_deployment_status_replicas", place | {"deployment": name}, first, last, 1)
