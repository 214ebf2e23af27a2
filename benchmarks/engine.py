"""CPU of the engine alone: one service, resource type, 14 days at 5 minutes, replays included.

python benchmarks/engine.py [--source FILE]
"""

import argparse
import asyncio
import time
from datetime import timedelta
from pathlib import Path

import numpy as np

from perfopt.config import Config
from perfopt.domain.enums import OptimizationType
from perfopt.domain.price import DEFAULT_PRICE_BOOK
from perfopt.engine.pipeline import run_strategy
from perfopt.engine.registry import load_plugins
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.plugin.context import AnalysisContext
from perfopt.sources.factory import open_source

SAMPLES = Path(__file__).parent.parent / "api/src/perfopt_api/demo/data/bitbrains.parquet"
PERIOD, VALIDITY = timedelta(days=14), timedelta(days=7)
METRICS = ("cpu_cores", "memory_bytes", "cpu_limit_cores", "memory_limit_bytes")
REPEATS = 5


async def read(path: str) -> list[WorkloadSnapshot]:
    """Returns the last 14 days of every series of a file, as the engine gets them."""
    source = open_source(path, Config())
    end = await source.latest()
    found = source.snapshots(await source.inventory(end), end - PERIOD, end, METRICS)
    return [snapshot async for snapshot in found if isinstance(snapshot, WorkloadSnapshot)]


def main() -> None:
    """Prints the milliseconds of CPU for a service: median, 99th percentile, largest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", default=str(SAMPLES), help="file of samples (default: the bundled ones)")
    snapshots = asyncio.run(read(parser.parse_args().source))
    kind = OptimizationType.RESOURCE_OPTIMIZATION
    strategies = [s for s in load_plugins().instances.values() if s.optimization_type is kind]
    milliseconds = []
    for snapshot in snapshots * REPEATS:
        context = AnalysisContext(snapshot, VALIDITY, DEFAULT_PRICE_BOOK)
        before = time.process_time()
        for strategy in strategies:
            run_strategy(strategy, context)
        milliseconds.append(1000 * (time.process_time() - before))
    median, high, most = np.percentile(milliseconds, [50, 99, 100])
    print(
        f"engine, resource type, {len(snapshots)} services x {REPEATS}:"
        f" median {median:.1f} ms, p99 {high:.1f} ms, max {most:.1f} ms of CPU a service"
    )


if __name__ == "__main__":
    main()
