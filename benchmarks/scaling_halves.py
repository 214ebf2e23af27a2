"""Policies of horizontal scaling on two halves of the series: constants were chosen on the first alone.

    python benchmarks/scaling_halves.py --traces DIR [--processes N]

A series belongs to the half that SHA-256 of its name says: the tuning half where that is even. Each half is
printed as `perfopt backtest --type scaling` prints all of them.
"""

import argparse
import asyncio
import hashlib
from pathlib import Path

from perfopt.backtest.scaling import choose_scaling_policies, run_services, summarise_scaling
from perfopt.backtest.scaling.read import STEP_SECONDS, Unread, read_demands
from perfopt.backtest.scaling.run import Task
from perfopt.cli.output.backtest_scaling import to_scaling_table
from perfopt.config import Config
from perfopt.sources.factory import open_source

FILES = ("request_rates", "market_activity")
HALVES = ("tuning half", "reporting half")


def main() -> None:
    """Prints both halves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    tasks = asyncio.run(read(options.traces))
    for number, name in enumerate(HALVES):
        mine = [task for task in tasks if half(task.service) == number]
        runs = list(run_services(mine, options.processes))
        print(to_scaling_table(summarise_scaling(name, runs, ())))


def half(name: str) -> int:
    """Returns 0 for series of the tuning half, 1 for those of the reporting half."""
    return hashlib.sha256(name.encode()).digest()[-1] % 2


async def read(traces: Path) -> list[Task]:
    """Returns every series that has a demand, with all policies."""
    tasks = []
    for file in FILES:
        source = open_source(str(traces / f"{file}.parquet"), Config(), step_seconds=STEP_SECONDS)
        workloads = await source.inventory(await source.latest())
        async for found in read_demands(source, workloads, None, None):
            if not isinstance(found, Unread):
                tasks.append(Task(found[0], found[1], choose_scaling_policies(()), loop=False))
        await source.close()
    return tasks


if __name__ == "__main__":
    main()
