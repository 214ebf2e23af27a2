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
the limit. The bound is the upper 95 % bound of the share of unsafe trials, as if they were independent
(Clopper and Pearson; 3 / n where there is none).
"""

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import beta
from tuning_cases import Case, drawn_function, other_functions, queue, testbed_cases, tested_functions

from perfopt.plugin import Array
from perfopt_tuning.search.safe import ROOM_SCALE, Problem, Trials, next_step
from perfopt_tuning.search.step import CLAIM_WIDTH, MIN_IMPROVEMENT, WIDEST_CLAIM

EVALUATIONS = 15
NOISE = 0.02
FIRST_SEED = 1000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Run:
    """How one run ended.

    Attributes:
        regret: distance from the best.
        unsafe: trials that broke the constraint.
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
    kept: list[bool] = []

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
        if step is None or (case.known and step.improvement < MIN_IMPROVEMENT):
            measure(_best(indices, objectives, constraints))
        else:
            measure(step.index)
            width = CLAIM_WIDTH * step.constraint_deviation
            if math.expm1(width) <= WIDEST_CLAIM:
                kept.append(abs(constraints[-1] - step.constraint) <= width and constraints[-1] <= 0)
    best = _best(indices, objectives, constraints)
    ideal = case.objective[reachable].min()
    gap = float(case.objective[best] - ideal)
    regret = math.exp(gap) - 1 if case.known else gap / float(np.ptp(case.objective[reachable]))
    return Run(regret, sum(case.constraint[index] > 0 for index in indices), tuple(kept))


def _best(indices: list[int], objectives: list[float], constraints: list[float]) -> int:
    """Returns the best setting whose constraint was kept in the mean of its measurements."""
    means = {
        index: (
            float(np.mean([o for o, i in zip(objectives, indices, strict=True) if i == index])),
            float(np.mean([c for c, i in zip(constraints, indices, strict=True) if i == index])),
        )
        for index in indices
    }
    kept = [(objective, index) for index, (objective, constraint) in means.items() if constraint <= 0]
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
    unsafe, trials = sum(one.unsafe for one in runs), EVALUATIONS * len(runs)
    bound = float(beta.ppf(CONFIDENCE, unsafe + 1, trials - unsafe))
    print(
        f"{name:24} within 5 % {np.mean(regrets <= 0.05):6.1%}   median gap {np.median(regrets):5.1%}"
        f"   unsafe trials {unsafe:3} of {trials:6}, at most {bound:.3%}"
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
