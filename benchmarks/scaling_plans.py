"""How well the plans of perfopt-scaling do: DESIGN.md section 5 on every trace that has a demand.

    python benchmarks/scaling_plans.py --traces DIR [--split tune|report|all]

Each series of request_rates, market_activity and datacenter_totals becomes the CPU of a workload of
eight replicas whose requests carry its mean, in steps of 5 minutes (15 where bars are longer). Every
day the strategy plans the next three days from all that was before, at least seven; the plan is scored
on what came. The series of each family are taken in turns for tuning and for reporting.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from perfopt.engine.pipeline import run_strategy
from perfopt.evaluation.score import score
from perfopt.plugin import Array, Container, Declined, WorkloadState
from perfopt.testing import make_context, make_snapshot
from perfopt_scaling.strategy import ScalingStrategy

FILES = ("request_rates", "market_activity", "datacenter_totals")
VALIDITY = timedelta(days=3)
MIN_HISTORY = timedelta(days=7)
STRIDE = timedelta(days=1)
REPLICAS = 8
WORKLOAD = Container(name="main", cpu_request_cores=1.0)


@dataclass
class Tally:
    """What came of the plans of a group."""

    made: int = 0
    declined: int = 0
    accurate: int = 0
    fallback: int = 0
    waste: float = 0.0


def main() -> None:
    """Prints a row for each family, and all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=Path, required=True)
    parser.add_argument("--split", choices=("tune", "report", "all"), default="report")
    options = parser.parse_args()
    tallies: dict[str, Tally] = {}
    begin, asked = time.process_time(), 0
    seen: dict[str, int] = {}
    for name, start, step, values in series(options.traces):
        family = name.split("/")[0]
        turn = seen[family] = seen.get(family, -1) + 1
        if options.split != "all" and (turn % 2 == 0) != (options.split == "tune"):
            continue
        for found in (tallies.setdefault(family, Tally()), tallies.setdefault("all", Tally())):
            asked += walk(found, start, step, values)
    took = 1000 * (time.process_time() - begin) / max(asked, 1)
    print(f"split {options.split}: {took:.1f} ms a plan, scored")
    for family, one in tallies.items():
        if not one.made:
            continue
        scored = max(one.made, 1)
        print(
            f"{family:20} made {one.made:4} declined {one.declined:3} without schedule {one.fallback:3}"
            f"  accurate {one.accurate / scored:6.1%}  replicas over the smallest constant number"
            f" {one.waste / scored - 1:+6.1%}"
        )
    took = analysis_milliseconds()
    print(f"an analysis of 14 days in steps of 5 minutes with its replays: {took:.0f} ms CPU")


def analysis_milliseconds(rounds: int = 10) -> float:
    """Returns the CPU time of an analysis with its replays."""
    context = make_context(make_snapshot(state=WorkloadState(containers=(WORKLOAD,), replicas=REPLICAS)))
    run_strategy(ScalingStrategy(), context)
    begin = time.process_time()
    for _ in range(rounds):
        run_strategy(ScalingStrategy(), context)
    return 1000 * (time.process_time() - begin) / rounds


def series(traces: Path) -> Iterator[tuple[str, datetime, timedelta, Array]]:
    """Yields name, start, step and demand; where there is no sample there was no demand."""
    for file in FILES:
        table = pq.read_table(traces / f"{file}.parquet")
        names = np.array(table["series_id"].cast("string").to_pylist())
        minutes = table["timestamp"].cast("int64").to_numpy() // 60_000
        values = table["value"].to_numpy().astype(np.float64)
        for name in sorted(set(names.tolist())):
            mine = names == name
            at, held = minutes[mine], values[mine]
            step = max(int(np.bincount(np.minimum(np.diff(at), 60)).argmax()), 5)
            steps = (at - at[0] // step * step) // step
            total, count = np.zeros(steps[-1] + 1), np.zeros(steps[-1] + 1)
            np.add.at(total, steps, held)
            np.add.at(count, steps, 1)
            first = datetime.fromtimestamp(int(at[0] // step * step) * 60, UTC)
            yield name, first, timedelta(minutes=step), total / np.maximum(count, 1)


def walk(tally: Tally, start: datetime, step: timedelta, demand: Array) -> int:
    """Plans every day and scores each plan; returns how many were asked for."""
    cores = demand / demand.mean()  # of each of eight replicas, which request a core
    state = WorkloadState(containers=(WORKLOAD,), replicas=REPLICAS)
    ahead, stride = VALIDITY // step, STRIDE // step
    asked = 0
    for cut in range(MIN_HISTORY // step, cores.size - ahead + 1, stride):
        until = cut + ahead
        past, came = ({"main": {"cpu_cores": part}} for part in (cores[:cut], cores[cut:until]))
        known = make_snapshot(past, state=state, step=step, end=start + cut * step)
        window = make_snapshot(came, state=state, step=step, end=start + until * step)
        made = ScalingStrategy().propose(make_context(known, VALIDITY))
        asked += 1
        if isinstance(made, Declined):
            tally.declined += 1
            continue
        found = score(made, window)
        tally.made += 1
        tally.accurate += bool(found.cpu_safe)
        tally.fallback += "schedule" not in made.target.extra
        smallest = np.quantile(REPLICAS * cores[cut : cut + ahead], 0.99, method="higher")
        assert made.target.replicas is not None
        tally.waste += made.target.replicas / max(np.ceil(smallest), 1)
    return asked


if __name__ == "__main__":
    main()
