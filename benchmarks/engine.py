"""CPU of the engine alone: one service, all types, 14 days at 5 minutes, replays and the merge included.

    python benchmarks/engine.py [--source FILE]

Use is measured; what the traces do not hold is made from it, so that every strategy has its full work: three
replicas, a Go runtime, an objective, requests in proportion to CPU, latency that rises with utilisation, and
the CPU that the limit throttled.
"""

import argparse
import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec
import numpy as np

from perfopt.config import Config
from perfopt.domain.enums import Basis, OptimizationType
from perfopt.domain.price import DEFAULT_PRICE_BOOK
from perfopt.domain.recommendation import Coverage
from perfopt.domain.workload import Slo, WorkloadState
from perfopt.engine.assembly import assemble
from perfopt.engine.loading import load_plugins
from perfopt.engine.messages import StrategyAnswers, StrategyOutcome
from perfopt.engine.pipeline import run_strategy
from perfopt.engine.registry import LoadedRegistry
from perfopt.metrics.snapshot import Array, PodSeries, WorkloadSnapshot
from perfopt.plugin.context import AnalysisContext
from perfopt.rules import default_book
from perfopt.sources.factory import open_source

SAMPLES = Path(__file__).parent.parent / "api/src/perfopt_api/demo/data/bitbrains.parquet"
PERIOD, VALIDITY = timedelta(days=14), timedelta(days=7)
METRICS = ("cpu_cores", "memory_bytes", "cpu_limit_cores", "memory_limit_bytes")
REPEATS = 3
REPLICAS = 3
CPU_SECONDS_A_REQUEST = 0.004
IDLE_MS = {"latency_p50_ms": 8.0, "latency_p90_ms": 16.0, "latency_p95_ms": 21.0, "latency_p99_ms": 35.0}
OBJECTIVE_MS = 60.0
BUSY = 0.9  # of the largest use: the limit that is set, so that the busiest hours are throttled


async def read(path: str) -> list[WorkloadSnapshot]:
    """Returns the last 14 days of every series of a file, as the engine gets them."""
    source = open_source(path, Config())
    end = await source.latest()
    snapshots = source.snapshots(await source.inventory(end), end - PERIOD, end, METRICS)
    return [snapshot async for snapshot in snapshots if isinstance(snapshot, WorkloadSnapshot)]


def as_service(snapshot: WorkloadSnapshot) -> WorkloadSnapshot | None:
    """Returns the series as a service of which everything is known; None without CPU."""
    name, metrics = next(iter(snapshot.containers.items()))
    if "cpu_cores" not in metrics or not np.isfinite(metrics["cpu_cores"].values).any():
        return None
    cpu = metrics["cpu_cores"].hottest()
    limit = max(float(np.nanmax(cpu)) * BUSY, 0.05)
    rho = np.minimum(cpu / limit, 0.98)
    noise = np.exp(np.random.default_rng(1).normal(0, 0.05, cpu.size))
    service = {metric: idle * (1 + 0.5 * rho / (1 - rho)) * noise for metric, idle in IDLE_MS.items()}
    service["requests_per_second"] = REPLICAS * cpu / CPU_SECONDS_A_REQUEST
    service["replicas"] = np.full(cpu.size, float(REPLICAS))
    throttled = PodSeries(("",), np.clip(rho - 0.7, 0, 1)[None])
    workload = msgspec.structs.replace(
        snapshot.workload,
        state=_declared(snapshot.workload.state, limit),
        slo=Slo(latency_ms=OBJECTIVE_MS),
        annotations={"perfopt.io/runtime": "go1.22"},
    )
    return replace(
        snapshot,
        workload=workload,
        containers={name: {**metrics, "cpu_throttled_fraction": throttled}},
        service=service,
        coverage={**snapshot.coverage, **{metric: _coverage(values) for metric, values in service.items()}},
    )


def _declared(state: WorkloadState, limit: float) -> WorkloadState:
    containers = tuple(
        msgspec.structs.replace(
            container,
            cpu_request_cores=limit / 2,
            cpu_limit_cores=limit,
            memory_request_bytes=container.memory_limit_bytes,
            env={},
            args=(),
        )
        for container in state.containers
    )
    return msgspec.structs.replace(state, containers=containers, replicas=REPLICAS, basis=Basis.DECLARED)


def _coverage(values: Array) -> Coverage:
    present = int(np.isfinite(values).sum())
    return Coverage(expected=values.size, present=present, fraction=present / values.size)


def analyse(registry: LoadedRegistry, snapshot: WorkloadSnapshot) -> tuple[dict[str, float], dict[str, str]]:
    """Analyses one service in this process; returns milliseconds of CPU by part, and what each type said."""
    context = AnalysisContext(snapshot, VALIDITY, DEFAULT_PRICE_BOOK)
    rules = default_book().rules_for(snapshot.workload)
    infos = registry.of_types(tuple(OptimizationType))
    spent: dict[str, float] = {}
    outcomes: list[StrategyOutcome] = []
    for info in infos:
        before = time.process_time()
        outcomes.append(run_strategy(registry.instances[info.key], context, rules))
        spent[info.key] = 1000 * (time.process_time() - before)
    before = time.process_time()
    assemble(context, tuple(OptimizationType), infos, StrategyAnswers(tuple(outcomes)), (), "", rules)
    spent["merge"] = 1000 * (time.process_time() - before)
    return spent, {info.key: outcome.status for info, outcome in zip(infos, outcomes, strict=True)}


def quantiles(milliseconds: Sequence[float]) -> str:
    """Prints median, 99th percentile and largest."""
    median, high, most = np.percentile(milliseconds, [50, 99, 100])
    return f"median {median:6.1f} ms, p99 {high:6.1f} ms, max {most:6.1f} ms of CPU a service"


def main() -> None:
    """Prints the CPU for a service, as a whole and by part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--source", default=str(SAMPLES), help="file of samples (default: the bundled ones)")
    read_in = asyncio.run(read(parser.parse_args().source))
    services = [service for snapshot in read_in if (service := as_service(snapshot)) is not None]
    registry = load_plugins()
    for service in services:  # what is read once a process is not counted
        analyse(registry, service)
    parts: dict[str, list[float]] = defaultdict(list)
    answered: dict[str, int] = defaultdict(int)
    for service in services * REPEATS:
        spent, statuses = analyse(registry, service)
        for part, milliseconds in (spent | {"all": sum(spent.values())}).items():
            parts[part].append(milliseconds)
        for key, status in statuses.items():
            answered[key] += status == "ok"
    print(f"engine, all types, {len(services)} services x {REPEATS}: {quantiles(parts.pop('all'))}")
    for part, each in parts.items():
        share = "" if part == "merge" else f", {answered[part] / len(each):.0%} recommended"
        print(f"  {part:24s} {quantiles(each)}{share}")


if __name__ == "__main__":
    main()
