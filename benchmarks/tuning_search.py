"""How well the search of perfopt-tuning finds the best setting, and whether it ever breaks the constraint.

    python benchmarks/tuning_search.py [--split report|choose] [--traces DIR] [--seeds N]

--split report, as shipped: five public test functions of one variable under a constraint and, with
--traces, the latency testbed (testbed_sweep.parquet): the smallest CPU limit whose P99 latency meets a
target. The scale of CPU limits (search/positions.py) and the length of a step on it were chosen by --split
choose alone: services simulated by the latency model's queue; other public functions and draws of Gaussian
processes stand beside them. The other constants were chosen earlier, on the first three functions and on
the testbed's curves with seeds below 1000; reports draw starts, targets and noise from seeds from 1000. By
the last two functions nothing was chosen.

A start keeps the constraint; a measurement has noise of 2 %. On the testbed the P99 over the limit is
interpolated (PCHIP in logarithms) through the measured runs at one rate: at the other limits
`run_latency_p99_ms`, at the service's own limit the median of the 5-second P99s of the varying run at a rate
within 15 %. Targets are 1.35 to 3 times the least P99; starts have a fifth of room.

A run is 15 evaluations. "within 5 %" is the share of runs whose best setting, as measured, is within 5 % of
the best that can be reached without crossing an unsafe setting: of the range of the function there, or of
the limit. The bound is the upper 95 % bound of the share of unsafe evaluations, as if they were independent
(Clopper and Pearson; 3 / n where there is none).
"""

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.stats import beta

from perfopt.capacity import LEVELS, ReplicaLoad, ServiceParameters
from perfopt.capacity.surrogate import shipped_surrogate
from perfopt.plugin import Array
from perfopt_tuning.knobs.read import shipped_catalogue
from perfopt_tuning.search.gp import matern
from perfopt_tuning.search.positions import by_headroom
from perfopt_tuning.search.safe import ROOM_SCALE, EvaluatedPoints, SearchProblem, next_step
from perfopt_tuning.search.step import CLAIM_WIDTH, MAX_CLAIM_WIDTH, MIN_IMPROVEMENT

EVALUATIONS = 15
NOISE = 0.02
FIRST_SEED = 1000
CONFIDENCE = 0.95
POINTS = 201
X = np.linspace(0, 1, POINTS)
MAX_CORES, WINDOW_SECONDS = 3.0, 25.0


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
    starts: NDArray[np.bool_]


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
    """-z sin(z), z in [0, 10] (Gavana's problem 10)."""
    z = 10 * x
    return np.asarray(-z * np.sin(z))


def ackley(x: Array) -> Array:
    """Ackley 1987 in one dimension, z in [-3, 3], with its cosine of period 1."""
    z = 6 * x - 3
    return np.asarray(-20 * np.exp(-0.2 * np.abs(z)) - np.exp(np.cos(2 * np.pi * z)) + 20 + math.e)


TESTED: dict[str, tuple[Callable[[Array], Array], float]] = {
    "Forrester, f <= 5": (forrester, 5.0),
    "two sines, f <= 1.2": (sines, 1.2),
    "Higdon, f <= 0.9": (higdon, 0.9),
    "-z sin z, f <= 4": (ripple, 4.0),
    "Ackley, f <= 8.5": (ackley, 8.5),
}
# Gavana's problems of one variable and their like, by (from, to, function); for choosing constants.
CHOSEN_ON: dict[str, tuple[float, float, Callable[[Array], Array]]] = {
    "Gramacy and Lee": (0.5, 2.5, lambda z: np.sin(10 * np.pi * z) / (2 * z) + (z - 1) ** 4),
    "problem 3": (-3, 3, lambda z: -sum((k * np.sin((k + 1) * z + k) for k in range(1, 6)), start=0 * z)),
    "problem 5": (0, 1.2, lambda z: -(1.4 - 3 * z) * np.sin(18 * z)),
    "problem 6": (-3, 3, lambda z: -(z + np.sin(z)) * np.exp(-(z**2))),
    "problem 7": (2.7, 7.5, lambda z: np.sin(z) + np.sin(10 * z / 3) + np.log(z) - 0.84 * z + 3),
    "problem 11": (-1.57, 6.28, lambda z: 2 * np.cos(z) + np.cos(2 * z)),
    "problem 14": (0, 4, lambda z: -np.exp(-z) * np.sin(2 * np.pi * z)),
    "problem 15": (-5, 5, lambda z: (z**2 - 5 * z + 6) / (z**2 + 1)),
    "problem 20": (-5, 5, lambda z: -(z - np.sin(z)) * np.exp(-(z**2))),
    "problem 22": (0, 10, lambda z: np.exp(-3 * z) - np.sin(z) ** 3),
    "Rastrigin": (-2, 2, lambda z: 10 + z**2 - 10 * np.cos(2 * np.pi * z)),
    "Griewank": (-12, 12, lambda z: 1 + z**2 / 400 - np.cos(z)),
}


def tested_functions() -> Iterator[Case]:
    """Yields the test functions that are reported."""
    for name, (function, threshold) in TESTED.items():
        yield _function_case(name, function(X), threshold)


def other_functions() -> Iterator[Case]:
    """Yields the functions that constants are chosen on; four fifths of the range are safe."""
    for name, (low, high, function) in CHOSEN_ON.items():
        values = function(low + (high - low) * X)
        yield _function_case(name, values, float(np.quantile(values, 0.8)))


def drawn_function(seed: int) -> Case:
    """Returns a draw of a Gaussian process with length scale 0.1 to 0.6, of which 60 to 90 % is safe."""
    draw = np.random.default_rng(seed)
    length = math.exp(draw.uniform(math.log(0.1), math.log(0.6)))
    kernel = matern(X[:, np.newaxis], X[:, np.newaxis], length) + 1e-9 * np.eye(POINTS)
    values = np.linalg.cholesky(kernel) @ draw.standard_normal(POINTS)
    return _function_case("drawn functions", values, float(np.quantile(values, draw.uniform(0.6, 0.9))))


def _function_case(name: str, values: Array, threshold: float) -> Case:
    """Returns a case; a start is worse than the median, with a quarter of the room or more."""
    constraint = values - threshold
    safe = constraint <= 0
    starts = safe & (constraint < np.quantile(constraint[safe], 0.75)) & (values > np.median(values[safe]))
    return Case(name, X, values, constraint, False, starts)


def queue(seed: int) -> Case:
    """Returns a simulated service: the P99 over its limit by the latency model's surrogate.

    No measured service is in it (docs/adr/0007). Limits go from 97 % utilisation to 1.8 to 5 times that.
    """
    draw = np.random.default_rng(seed)
    while True:
        used, sizes, truth = _queue_curve(draw)
        constraint = truth - truth.min() - math.log(draw.uniform(1.35, 3))
        if sizes[-1] >= 1.8 * sizes[0] and np.count_nonzero(constraint <= math.log(0.8)) >= POINTS // 10:
            return limit_case("simulated services", used, sizes, constraint)


def _queue_curve(draw: np.random.Generator) -> tuple[float, Array, Array]:
    """Returns cores used, limits, and the logarithm of the P99 of a random service."""

    def between(low: float, high: float) -> float:
        return math.exp(draw.uniform(math.log(low), math.log(high)))

    cpu, used, two_kinds = between(3e-4, 0.08), between(0.06, 1.2), draw.random() < 0.45
    service = ServiceParameters(
        heavy_share=np.array(draw.uniform(0.02, 0.3) if two_kinds else 0.0),
        heavy_ratio=np.array(between(2, 16) if two_kinds else 1.0),
        spread=np.array(draw.uniform(0.02, 0.5 if two_kinds else 1.8)),
        wait_seconds=np.array(between(2e-3, 0.4) if draw.random() < 0.65 else 0.0),
        wait_spread=np.array(draw.uniform(0.05, 0.9)),
        cores=np.array(draw.choice([1.0, 1.0, 2.0, 4.0, 8.0])),
        threads=np.array(draw.choice([1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 64.0])),
    )
    least = used / 0.97
    sizes = np.geomspace(least, min(least * between(2, 5), MAX_CORES), 2 * POINTS)
    load = ReplicaLoad(np.array(used / cpu), np.array(used), sizes, np.array(WINDOW_SECONDS))
    p99 = shipped_surrogate().predict(service, load)[..., LEVELS.index(0.99)]
    return used, sizes, np.minimum.accumulate(p99)  # a smaller limit is never faster


def testbed_cases(folder: Path, seed: int) -> Iterator[Case]:
    """Yields a case for each service and rate of the testbed, with a target drawn by the seed."""
    draw = np.random.default_rng(seed)
    for name, used, limits, latencies in testbed_curves(folder):
        sizes = np.exp(np.linspace(math.log(limits[0]), math.log(limits[-1]), 2 * POINTS))
        truth = PchipInterpolator(np.log(limits), np.log(latencies))(np.log(sizes))
        target = truth.min() + math.log(draw.uniform(1.35, 3))
        yield limit_case(name, used, sizes, truth - target)


def limit_case(name: str, used: float, sizes: Array, constraint: Array) -> Case:
    """Returns the search of the smallest limit, on the scale that the strategy searches it on."""
    search = shipped_catalogue().knobs["cpu_limit"].entry.search
    assert search is not None
    starts = constraint <= math.log(0.8)
    return Case(name, by_headroom(sizes, used, search.factor), np.log(sizes), constraint, True, starts)


def testbed_curves(folder: Path) -> list[tuple[str, float, Array, Array]]:
    """Returns (service and rate, cores used at the largest limit, limits in cores, P99 in ms)."""
    table = pq.read_table(folder / "testbed_sweep.parquet").to_pandas()
    table["series_id"] = table["series_id"].astype(str)
    wide = table.pivot_table(
        index=["series_id", "timestamp"], columns="metric", values="value", observed=True
    )
    curves = []
    for service in sorted({series.split("/")[1] for series in table["series_id"]}):
        varying = wide.loc[f"testbed/{service}/varying"]
        own = float(varying["cpu_limit_cores"].dropna().iloc[0])
        for rate in ("median", "busy"):
            points, rates, used = {}, [], {}
            for series in sorted(set(wide.index.get_level_values(0))):
                if series.startswith(f"testbed/{service}/whatif/") and series.endswith(rate):
                    run = wide.loc[series]
                    limit = float(series.split("limit=")[1].split("/")[0])
                    points[limit] = float(run["run_latency_p99_ms"].dropna().iloc[0])
                    rates.append(float(run["requests_per_second"].mean()))
                    used[limit] = float(run["cpu_cores"].mean())
            near = varying[(varying["requests_per_second"] / np.mean(rates) - 1).abs() < 0.15]
            points[own] = float(near["latency_p99_ms"].median())
            order = sorted(points)
            latencies = np.array([points[at] for at in order])
            curves.append((f"{service}, {rate} rate", used[max(used)], np.array(order), latencies))
    return curves


@dataclass(frozen=True)
class Run:
    """How one run ended.

    Attributes:
        regret: distance from the best.
        unsafe: evaluations that broke the constraint.
        kept: of each step narrow enough to be claimed, whether what was measured lay in the claimed interval
            and kept the constraint.
    """

    regret: float
    unsafe: int
    kept: tuple[bool, ...]


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
    within: list[bool] = []

    def measure(index: int) -> None:
        indices.append(index)
        off = 0.0 if case.known else noise * draw.standard_normal()
        objectives.append(float(case.objective[index] + off))
        constraints.append(float(case.constraint[index] / unit + NOISE * draw.standard_normal()))

    measure(start)
    while len(indices) < EVALUATIONS:
        problem = SearchProblem(
            grid=case.positions[:, np.newaxis],
            known=case.objective if case.known else None,
            noise=noise,
            constraint_noise=NOISE,
            constraint_scale=max(ROOM_SCALE * room / unit, 1.0),
        )
        evaluations = EvaluatedPoints(
            case.positions[indices][:, np.newaxis], np.array(objectives), np.array(constraints)
        )
        step = next_step(problem, evaluations)
        if step is None or (case.known and step.improvement < MIN_IMPROVEMENT):
            measure(_best(indices, objectives, constraints))
        else:
            measure(step.index)
            width = CLAIM_WIDTH * step.constraint_deviation
            if math.expm1(width) <= MAX_CLAIM_WIDTH:
                within.append(abs(constraints[-1] - step.constraint) <= width and constraints[-1] <= 0)
    best = _best(indices, objectives, constraints)
    ideal = case.objective[reachable].min()
    gap = float(case.objective[best] - ideal)
    regret = math.exp(gap) - 1 if case.known else gap / float(np.ptp(case.objective[reachable]))
    return Run(regret, sum(case.constraint[index] > 0 for index in indices), tuple(within))


def _best(indices: list[int], objectives: list[float], constraints: list[float]) -> int:
    """Returns the best setting whose constraint was kept in the mean of its measurements."""
    means = {
        index: (
            float(np.mean([o for o, i in zip(objectives, indices, strict=True) if i == index])),
            float(np.mean([c for c, i in zip(constraints, indices, strict=True) if i == index])),
        )
        for index in indices
    }
    feasible = [(objective, index) for index, (objective, constraint) in means.items() if constraint <= 0]
    return min(feasible)[1] if feasible else indices[0]


def _reachable(safe: NDArray[np.bool_], start: int) -> slice:
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
    unsafe, evaluations = sum(one.unsafe for one in runs), EVALUATIONS * len(runs)
    bound = float(beta.ppf(CONFIDENCE, unsafe + 1, evaluations - unsafe))
    print(
        f"{name:24} within 5 % {np.mean(regrets <= 0.05):6.1%}   median gap {np.median(regrets):5.1%}"
        f"   unsafe evaluations {unsafe:3} of {evaluations:6}, at most {bound:.3%}"
    )


def chosen_on(seeds: int) -> Iterator[tuple[str, Run]]:
    """Yields the runs that constants are chosen by."""
    for case in other_functions():
        for seed in range(max(seeds // 10, 1)):
            yield "other functions", run(case, seed)
    for seed in range(seeds):
        for case in (drawn_function(seed), queue(seed)):
            if case.starts.any():
                yield case.name, run(case, seed)


def reported(seeds: int, traces: Path | None) -> Iterator[tuple[str, Run]]:
    """Yields the runs that are reported."""
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        for case in tested_functions():
            yield case.name, run(case, seed)
        for case in testbed_cases(traces, seed) if traces is not None else ():
            one = run(case, seed)
            yield case.name, one
            yield "testbed, all", one


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--split", choices=("report", "choose"), default="report")
    parser.add_argument("--traces", type=Path, help="folder with testbed_sweep.parquet")
    parser.add_argument("--seeds", type=int, default=50)
    given = parser.parse_args()
    print(f"split {given.split}: {EVALUATIONS} evaluations, {given.seeds} starts each")
    found: dict[str, list[Run]] = {}
    runs = chosen_on(given.seeds) if given.split == "choose" else reported(given.seeds, given.traces)
    for name, one in runs:
        found.setdefault(name, []).append(one)
    for name, those in found.items():
        report(name, those)


if __name__ == "__main__":
    main()
