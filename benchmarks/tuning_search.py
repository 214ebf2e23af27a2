"""How well the search of perfopt-tuning finds the best setting, and whether it ever breaks the constraint.

    python benchmarks/tuning_search.py [--traces DIR] [--seeds N]

Without --traces: public test functions of one variable under a constraint, from random starts that keep it,
each measured with noise of 2 %. The search's constants were chosen on three of them and on the testbed with
seeds below 1000; what is printed is for seeds from 1000 on, of the same functions and curves. By the
functions called held out nothing was chosen.

With --traces also the latency testbed (testbed_sweep.parquet): the smallest CPU limit whose P99 latency
meets a target. The P99 over the limit is interpolated (PCHIP in logarithms) through the measured runs at one
rate: at the other limits `run_latency_p99_ms`, at the service's own limit the median of the 5-second P99s of
the varying run at a rate within 15 %. Targets are 1.35 to 3 times the least P99; starts have a fifth of room.

A run is 15 evaluations. "within 5 %" is the share of runs whose best setting, as measured, is within 5 % of
the best that can be reached without crossing an unsafe setting: of the range of the function there, or of
the limit.
"""

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from scipy.interpolate import PchipInterpolator

from perfopt.plugin import Array
from perfopt_tuning.knobs.read import shipped_catalogue
from perfopt_tuning.search.safe import ROOM_SCALE, Problem, Trials, next_step
from perfopt_tuning.search.step import LEAST_IMPROVEMENT

EVALUATIONS = 15
NOISE = 0.02
FIRST_SEED = 1000
POINTS = 201


@dataclass(frozen=True)
class Case:
    """A problem with its truth.

    Attributes:
        name: as printed.
        positions: of the settings, in parts of the range, increasing.
        objective, constraint: the truth at each; a constraint is kept where it is not above 0.
        known: whether the objective is the setting itself.
        starts: which settings a run may begin at.
    """

    name: str
    positions: Array
    objective: Array
    constraint: Array
    known: bool
    starts: Array


@dataclass(frozen=True)
class Run:
    """How one run ended: distance from the best, and trials that broke the constraint."""

    regret: float
    unsafe: int


def forrester(x: Array) -> Array:
    """Forrester, Sobester and Keane 2008; x in [0, 1]."""
    return np.asarray((6 * x - 2) ** 2 * np.sin(12 * x - 4))


def sines(x: Array) -> Array:
    """sin(z) + sin(10 z / 3), z in [2.7, 7.5] (Torn and Zilinskas 1989)."""
    z = 2.7 + 4.8 * x
    return np.asarray(np.sin(z) + np.sin(10 * z / 3))


def higdon(x: Array) -> Array:
    """Higdon 2002; z in [0, 10]."""
    z = 10 * x
    return np.asarray(np.sin(2 * np.pi * z / 10) + 0.2 * np.sin(2 * np.pi * z / 2.5))


def ripple(x: Array) -> Array:
    """-z sin(z), z in [0, 10] (Gavana's problem 10); held out."""
    z = 10 * x
    return np.asarray(-z * np.sin(z))


def ackley(x: Array) -> Array:
    """Ackley 1987 in one dimension, z in [-3, 3], with its cosine of period 1; held out."""
    z = 6 * x - 3
    return np.asarray(-20 * np.exp(-0.2 * np.abs(z)) - np.exp(np.cos(2 * np.pi * z)) + 20 + math.e)


FUNCTIONS: dict[str, tuple[Callable[[Array], Array], float]] = {
    "Forrester, f <= 5": (forrester, 5.0),
    "two sines, f <= 1.2": (sines, 1.2),
    "Higdon, f <= 0.9": (higdon, 0.9),
    "-z sin z, f <= 4 (held out)": (ripple, 4.0),
    "Ackley, f <= 8.5 (held out)": (ackley, 8.5),
}


def function_cases() -> Iterator[Case]:
    """Yields the test functions; a start is worse than the median, with a quarter of the room or more."""
    x = np.linspace(0, 1, POINTS)
    for name, (function, threshold) in FUNCTIONS.items():
        values = function(x)
        constraint = values - threshold
        safe = constraint <= 0
        starts = (
            safe & (constraint < np.quantile(constraint[safe], 0.75)) & (values > np.median(values[safe]))
        )
        yield Case(name, x, values, constraint, False, starts)


def testbed_cases(folder: Path, seed: int) -> Iterator[Case]:
    """Yields a case for each service and rate of the testbed, with a target drawn by the seed."""
    draw = np.random.default_rng(seed)
    search = shipped_catalogue().knobs["cpu_limit"].entry.search
    assert search is not None
    for name, limits, latencies in testbed_curves(folder):
        sizes = np.exp(np.linspace(math.log(limits[0]), math.log(limits[-1]), 2 * POINTS))
        truth = PchipInterpolator(np.log(limits), np.log(latencies))(np.log(sizes))
        target = truth.min() + math.log(draw.uniform(1.35, 3))
        constraint = truth - target
        yield Case(
            name,
            np.log(sizes / sizes[0]) / math.log(search.factor),
            np.log(sizes),
            constraint,
            True,
            constraint <= math.log(0.8),
        )


def testbed_curves(folder: Path) -> list[tuple[str, Array, Array]]:
    """Returns (service and rate, limits in cores, P99 in ms), limits increasing."""
    table = pq.read_table(folder / "testbed_sweep.parquet").to_pandas()
    table["series_id"] = table["series_id"].astype(str)
    wide = table.pivot_table(
        index=["series_id", "timestamp"], columns="metric", values="value", observed=True
    )
    found = []
    for service in sorted({series.split("/")[1] for series in table["series_id"]}):
        varying = wide.loc[f"testbed/{service}/varying"]
        own = float(varying["cpu_limit_cores"].dropna().iloc[0])
        for rate in ("median", "busy"):
            points, rates = {}, []
            for series in sorted(set(wide.index.get_level_values(0))):
                if series.startswith(f"testbed/{service}/whatif/") and series.endswith(rate):
                    run = wide.loc[series]
                    limit = float(series.split("limit=")[1].split("/")[0])
                    points[limit] = float(run["run_latency_p99_ms"].dropna().iloc[0])
                    rates.append(float(run["requests_per_second"].mean()))
            near = varying[(varying["requests_per_second"] / np.mean(rates) - 1).abs() < 0.15]
            points[own] = float(near["latency_p99_ms"].median())
            order = sorted(points)
            found.append((f"{service}, {rate} rate", np.array(order), np.array([points[at] for at in order])))
    return found


def run(case: Case, seed: int) -> Run:
    """Searches from a random start; what cannot be bettered is measured again."""
    draw = np.random.default_rng(seed)
    start = int(draw.choice(np.flatnonzero(case.starts)))
    room = -case.constraint[start]
    reachable = _reachable(case.constraint <= 0, start)
    spread = 1.0 if case.known else float(np.std(case.objective[case.constraint <= 0]))
    unit = 1.0 if case.known else room
    noise = NOISE if case.known else NOISE * spread
    indices: list[int] = []
    objectives: list[float] = []
    constraints: list[float] = []

    def measure(index: int) -> None:
        indices.append(index)
        off = 0.0 if case.known else noise * draw.standard_normal()
        objectives.append(float(case.objective[index] + off))
        constraints.append(float(case.constraint[index] / unit + NOISE * draw.standard_normal()))

    measure(start)
    while len(indices) < EVALUATIONS:
        problem = Problem(
            grid=case.positions[:, np.newaxis],
            known=case.objective if case.known else None,
            noise=noise,
            constraint_noise=NOISE,
            constraint_scale=max(ROOM_SCALE * room / unit, 1.0),
        )
        trials = Trials(case.positions[indices][:, np.newaxis], np.array(objectives), np.array(constraints))
        step = next_step(problem, trials)
        if step is None or (case.known and step.improvement < LEAST_IMPROVEMENT):
            measure(_best(indices, objectives, constraints))
        else:
            measure(step.index)
    best = _best(indices, objectives, constraints)
    ideal = case.objective[reachable].min()
    gap = float(case.objective[best] - ideal)
    regret = math.exp(gap) - 1 if case.known else gap / float(np.ptp(case.objective[reachable]))
    return Run(regret, sum(case.constraint[index] > 0 for index in indices))


def _best(indices: list[int], objectives: list[float], constraints: list[float]) -> int:
    kept = [(o, i) for i, o, c in zip(indices, objectives, constraints, strict=True) if c <= 0]
    return min(kept)[1] if kept else indices[0]


def _reachable(safe: Array, start: int) -> slice:
    """Returns the stretch of safe settings around a start."""
    low = high = start
    while low > 0 and safe[low - 1]:
        low -= 1
    while high + 1 < len(safe) and safe[high + 1]:
        high += 1
    return slice(low, high + 1)


def report(name: str, runs: list[Run]) -> None:
    """Prints a line of figures."""
    regrets = np.array([one.regret for one in runs])
    trials = sum(one.unsafe for one in runs)
    print(
        f"{name:30} within 5 % {np.mean(regrets <= 0.05):6.1%}   median gap {np.median(regrets):5.1%}"
        f"   unsafe trials {trials} of {EVALUATIONS * len(runs)}"
    )


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--traces", type=Path, help="folder with testbed_sweep.parquet")
    parser.add_argument("--seeds", type=int, default=50)
    given = parser.parse_args()
    seeds = range(FIRST_SEED, FIRST_SEED + given.seeds)
    print(f"{EVALUATIONS} evaluations, {given.seeds} starts each")
    for case in function_cases():
        report(case.name, [run(case, seed) for seed in seeds])
    if given.traces is None:
        return
    runs: dict[str, list[Run]] = {}
    for seed in seeds:
        for case in testbed_cases(given.traces, seed):
            runs.setdefault(case.name, []).append(run(case, seed))
    for name, those in runs.items():
        report(name, those)
    report("testbed, all", [one for those in runs.values() for one in those])


if __name__ == "__main__":
    main()
