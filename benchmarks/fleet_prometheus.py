"""A fleet in a real Prometheus: what `perfopt analyze --all` and KRR's queries cost client and server.

    python benchmarks/fleet_prometheus.py [--workloads 200] [--days 14] [--data DIR] [--only perfopt|krr]

The fleet is made up: workloads of 1 to 12 pods whose use follows the hour, half of them released
every other day. KRR (Robusta, strategy "simple") is no dependency: its documented queries are sent
as it sends them, by container, 50 pods each, ten at once; what it computes from them is not counted.
`--data` keeps the blocks for the next run: making samples takes minutes. Needs Debian's `prometheus`
and `promtool`.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import httpx
import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from fleet import PERFOPT, resident_mib
from prometheus_server import Exposition, backfill, running_prometheus

from perfopt.metrics.snapshot import Array

END = 1_795_392_000  # 2026-11-23T00:00:00Z
UNTIL = "2026-11-23T00:00:00Z"
DAY = 86_400
TICK_SECONDS = 0.05
KRR_STEP = "75s"
KRR_PODS_PER_QUERY = 50
KRR_THREADS = 10
SLICE = 2 * DAY
IMAGE = "registry.example/app:1"
NODE = {"node": "n1"}
KSM = {"job": "kube-state-metrics", "instance": "10.0.0.1:8080"}
CADVISOR = {"job": "kubelet", "metrics_path": "/metrics/cadvisor", "instance": "n1:10250", **NODE}


@dataclass(frozen=True, slots=True)
class Workload:
    """One Deployment of the fleet.

    Attributes:
        containers: names.
        revisions: its ReplicaSets: name and the seconds [from, to) since the epoch in which it ran.
        replicas: pods of each.
    """

    name: str
    containers: tuple[str, ...]
    revisions: tuple[tuple[str, int, int], ...]
    replicas: int

    def pods(self) -> list[tuple[str, str, int, int]]:
        """Returns (pod, ReplicaSet, from, to)."""
        return [(f"{rs}-p{i:04d}", rs, a, b) for rs, a, b in self.revisions for i in range(self.replicas)]


def fleet(workloads: int, days: int) -> list[Workload]:
    """Makes the workloads; the same ones for the same numbers."""
    rng = np.random.default_rng(7)
    begin = END - days * DAY
    found = []
    for number in range(workloads):
        name = f"svc-{number:04d}"
        often = number % 2 == 0
        cuts = [begin, *range(begin + 2 * DAY, END, 2 * DAY), END] if often else [begin, END]
        revisions = tuple((f"{name}-{7_000_000 + k:x}", a, b) for k, (a, b) in enumerate(pairwise(cuts)))
        containers = ("app", "sidecar") if rng.random() < 0.45 else ("app",)
        found.append(
            Workload(
                name,
                containers,
                revisions,
                int(rng.choice([1, 2, 3, 4, 12], p=[0.25, 0.3, 0.25, 0.15, 0.05])),
            )
        )
    return found


def write(workloads: Sequence[Workload], path: Path, scrape: int, begin: int, end: int) -> Exposition:
    """Writes the samples of some days: of all at once promtool would need tens of gigabytes."""
    out = _Cut(path, begin, end)
    for workload in workloads:
        own = {**KSM, "namespace": "shop"}
        for rs, first, last in workload.revisions:
            owner = {"owner_kind": "Deployment", "owner_name": workload.name, "owner_is_controller": "true"}
            out.constant("kube_replicaset_owner", {**own, "replicaset": rs, **owner}, first, last, scrape, 1)
        for metric in ("kube_deployment_status_replicas", "kube_deployment_spec_replicas"):
            first, replicas = workload.revisions[0][1], workload.replicas
            out.constant(metric, {**own, "deployment": workload.name}, first, END, scrape, replicas)
        for pod, rs, first, last in workload.pods():
            if first < end and begin < last:
                write_pod(out, workload, pod, rs, np.arange(first, last, scrape, dtype=float))
    return out.exposition


class _Cut:
    """Writes of each series the samples in [begin, end)."""

    def __init__(self, path: Path, begin: int, end: int) -> None:
        self.exposition, self._begin, self._end = Exposition(path), begin, end

    def add(self, name: str, labels: Mapping[str, str], times: Array, values: Array) -> None:
        mine = (times >= self._begin) & (times < self._end)
        if mine.any():
            self.exposition.add(name, labels, times[mine].tolist(), values[mine].tolist())

    def constant(
        self, name: str, labels: Mapping[str, str], first: int, last: int, scrape: int, value: float
    ) -> None:
        times = np.arange(first, last, scrape, dtype=float)
        self.add(name, labels, times, np.full(len(times), float(value)))


def write_pod(out: _Cut, workload: Workload, pod: str, rs: str, times: Array) -> None:
    """Writes what kube-state-metrics and cAdvisor show of one pod."""
    ones = np.ones(len(times))
    rng = np.random.default_rng(zlib.crc32(pod.encode()))
    own = {**KSM, "namespace": "shop", "pod": pod, "uid": f"uid-{pod}"}
    owner = {"owner_kind": "ReplicaSet", "owner_name": rs, "owner_is_controller": "true"}
    out.add("kube_pod_owner", {**own, **owner}, times, ones)
    out.add("kube_pod_created", own, times, times[0] * ones)
    scrape = times[1] - times[0]
    shape = 0.5 * (1 + np.sin(((times % DAY) / 3600 - 8) / 24 * 2 * np.pi))
    for container in workload.containers:
        low = 0.05 if container == "app" else 0.01
        cpu = (low + 6 * low * shape) * rng.uniform(0.7, 1.3, len(times))
        memory = np.round(2e8 * (1 + 0.3 * shape) * rng.uniform(0.97, 1.03, len(times)))
        labels = {**own, "container": container}
        out.add("kube_pod_container_info", {**labels, "image": IMAGE}, times, ones)
        for kind, cores, size in (("requests", 0.5, 5e8), ("limits", 1.0, 1e9)):
            for resource, unit, value in (("cpu", "core", cores), ("memory", "byte", size)):
                more = {**labels, "resource": resource, "unit": unit, **NODE}
                out.add(f"kube_pod_container_resource_{kind}", more, times, value * ones)
        out.add("kube_pod_container_status_restarts_total", labels, times, 0 * ones)
        cgroup = {"image": IMAGE, "name": f"id-{pod}-{container}", "id": f"/kubepods/{pod}/{container}"}
        seen = {**CADVISOR, "namespace": "shop", "pod": pod, "container": container, **cgroup}
        out.add("container_cpu_usage_seconds_total", seen, times, np.round(np.cumsum(cpu * scrape), 6))
        out.add("container_memory_working_set_bytes", seen, times, memory)
        out.add("container_cpu_cfs_periods_total", seen, times, np.cumsum(scrape * 10 * ones))
        throttled = (cpu > 0.25) * scrape if workload.name.endswith("7") else 0 * ones
        out.add("container_cpu_cfs_throttled_periods_total", seen, times, np.cumsum(throttled))


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run took.

    Attributes:
        peak_mib: resident memory of the client and its children together; shared pages count in each.
    """

    seconds: float
    client_cpu: float
    server_cpu: float
    peak_mib: float
    note: str

    def __str__(self) -> str:
        """Returns one row of the table."""
        both = self.client_cpu + self.server_cpu
        return (
            f"{self.seconds:7.1f} {self.client_cpu:10.1f} {self.server_cpu:10.1f} {both:8.1f}"
            f" {self.peak_mib:9.0f}   {self.note}"
        )


HEADER = f"{'':10}{'wall s':>7} {'client s':>10} {'server s':>10} {'both s':>8} {'peak MiB':>9}"


def run(command: Sequence[str | Path], server: int) -> Cost:
    """Runs a client and measures it and the server; the last line it prints is the note."""
    prometheus = psutil.Process(server)
    before, began, used = _cpu(prometheus), time.monotonic(), os.times()
    with tempfile.TemporaryFile("w+") as output:
        # As installed: without byte code each of our processes would compile every module at its start.
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        child = subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL, env=environment)
        peak, process = 0.0, psutil.Process(child.pid)
        while child.poll() is None:
            peak = max(peak, resident_mib(process))
            time.sleep(TICK_SECONDS)
        output.seek(0)
        lines = output.read().splitlines()
    seconds, now = time.monotonic() - began, os.times()
    client = now.children_user + now.children_system - used.children_user - used.children_system
    note = lines[-1] if lines and len(lines[-1]) < 100 else f"{len(lines)} lines"
    return Cost(seconds, client, _cpu(prometheus) - before, peak, f"{note}, exit status {child.returncode}")


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def perfopt(url: str, days: int, types: Sequence[str], server: int) -> Cost:
    """Runs perfopt over the whole fleet."""
    period = ["--until", UNTIL, "--period", f"{days}d", "--format", "ndjson"]
    if types:
        period += ["--types", ",".join(types)]
    return run([PERFOPT, "analyze", "--source", url, "--all", *period], server)


async def krr(url: str, workloads: Sequence[Workload], days: int) -> None:
    """Sends KRR's queries of each container: CPU percentile, memory peak, and the count of each."""
    slots, sent, size = asyncio.Semaphore(KRR_THREADS), 0, 0
    window = f"{days * 24}h:{KRR_STEP}"

    async with httpx.AsyncClient(base_url=url, timeout=600) as http:

        async def ask(query: str) -> None:
            nonlocal sent, size
            async with slots:
                answer = await http.post("/api/v1/query", data={"query": query, "time": str(END)})
            answer.raise_for_status()
            sent, size = sent + 1, size + len(answer.content)

        async def container(workload: Workload, name: str) -> None:
            pods = [pod for pod, *_ in workload.pods()]
            await ask(f'kube_replicaset_owner{{owner_name="{workload.name}",namespace="shop"}}[{days * 24}h]')
            for i in range(0, len(pods), KRR_PODS_PER_QUERY):
                named = "|".join(pods[i : i + KRR_PODS_PER_QUERY])
                some = f'namespace="shop",pod=~"{named}",container="{name}"'
                rate = f"rate(container_cpu_usage_seconds_total{{{some}}}[{KRR_STEP}])"
                cpu = f"max({rate}) by (container, pod, job)"
                memory = f"max(container_memory_working_set_bytes{{{some}}}) by (container, pod, job)"
                counted = f"max(container_cpu_usage_seconds_total{{{some}}}) by (container, pod, job)"
                await asyncio.gather(
                    ask(f"quantile_over_time(0.95, {cpu}[{window}])"),
                    ask(f"count_over_time({counted}[{window}])"),
                    ask(f"max_over_time({memory}[{window}])"),
                    ask(f"count_over_time({memory}[{window}])"),
                )

        await asyncio.gather(*(container(w, name) for w in workloads for name in w.containers))
    print(f"{sent} queries, {size / 1e6:.1f} MB answered")


@contextmanager
def served(given: argparse.Namespace, workloads: Sequence[Workload]) -> Iterator[tuple[str, int]]:
    """Makes the blocks where there are none, and starts Prometheus on them."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(given.data or scratch)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "data").exists():
            samples, first = 0, END - given.days * DAY
            for begin in range(first, END, SLICE):
                part = write(workloads, folder / "samples.om", given.scrape, begin, min(begin + SLICE, END))
                samples += part.samples
                backfill(part, folder)
            pods = sum(len(workload.pods()) for workload in workloads)
            print(f"{len(workloads)} workloads, {pods} pods ever, {samples / 1e6:.1f} M samples", flush=True)
        with running_prometheus(folder / "data", Path(scratch)) as (url, server):
            yield url, server


def main() -> None:
    """Makes the fleet, runs both clients, prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workloads", type=int, default=200)
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--scrape", type=int, default=60, help="seconds between samples")
    parser.add_argument("--data", help="keeps the blocks here")
    parser.add_argument("--only", choices=["perfopt", "krr"])
    parser.add_argument("--types", action="append", default=[], help="of perfopt; all without it")
    parser.add_argument("--url", help=argparse.SUPPRESS)
    given = parser.parse_args()
    workloads = fleet(given.workloads, given.days)
    if given.url:
        asyncio.run(krr(given.url, workloads, given.days))
        return
    with served(given, workloads) as (url, server):
        print(HEADER)
        if given.only != "krr":
            print(f"{'perfopt':10}{perfopt(url, given.days, given.types, server)}", flush=True)
        if given.only != "perfopt":
            again = [sys.executable, __file__, "--url", url, "--workloads", str(given.workloads)]
            print(f"{'KRR':10}{run([*again, '--days', str(given.days)], server)}", flush=True)


if __name__ == "__main__":
    main()
