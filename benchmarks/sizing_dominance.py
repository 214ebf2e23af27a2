"""Sets the frontier of the sizing model beside every baseline of `perfopt backtest`.

    python benchmarks/sizing_dominance.py --traces DIR [--half tune|report]

bitbrains_rnd, unseen VMs and later weeks (fold_models.py), the same windows for all, and nothing declined.
For each baseline: its accuracy and waste; what the model wastes at that accuracy; and how accurate the model
is where it wastes no more than the baseline in any of the four figures (median and mean10, CPU and memory).
The model's points differ in two costs, of a shortage and of the slack of memory where that of CPU costs 1,
and in how slack is costed: as shipped, or by the logarithm (sizing_policies.py), which stays nearer to what
is needed where little accuracy is asked for.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import msgspec
import numpy as np
from sizing_cases import Asked, asked_of
from sizing_policies import Cost, expected, logarithm

from perfopt.backtest import Trial, summarise
from perfopt.backtest.summary import Figures
from perfopt.domain.workload import Container, WorkloadState
from perfopt.evaluation.baselines import BASELINES
from perfopt.learn.policy import choose_each, slack_cost
from perfopt.learn.train import offered

COSTS = tuple(np.geomspace(0.05, 60, 32))
MEMORY_COSTS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
SLACKS: tuple[Cost, ...] = (slack_cost, logarithm)
HEADINGS = (
    "baseline", "its accuracy", "its waste", "waste at its accuracy", "wins in", "accuracy at its waste",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Point:
    """How one policy did: its accuracy, and median and mean10 of the waste of CPU and of memory."""

    accuracy: float
    waste: tuple[float, float, float, float]

    @classmethod
    def of(cls, figures: Figures) -> "Point":
        """Returns the point of a summary."""
        cpu, memory = figures.cpu, figures.memory
        waste = (cpu.waste_median, cpu.waste_mean10, memory.waste_median, memory.waste_mean10)
        return cls(figures.accuracy or 0.0, tuple(np.nan if one is None else one for one in waste))  # type: ignore[arg-type]

    def __str__(self) -> str:
        """Prints the waste."""
        return "{:.0%} / {:.0%}, {:.0%} / {:.0%}".format(*self.waste)


def trials_of(asked: Asked) -> Iterator[Trial]:
    """Yields the trials of all baselines, and of the model at all costs, on one window."""
    case = asked.case
    for name, baseline in BASELINES.items():
        yield case.trial(name, baseline.decide(asked.context))
    found = offered(asked.model.trees, asked.seen.features)
    parts = list(found.values())
    for slack, memory in product(SLACKS, MEMORY_COSTS):
        slacks = [expected(part, slack) * (memory if name == "memory" else 1) for name, part in found.items()]
        picks = choose_each([part.probabilities for part in parts], slacks, COSTS)
        for cost, pick in zip(COSTS, picks, strict=True):
            sizes = {name: float(part.sizes[i]) for (name, part), i in zip(found.items(), pick, strict=True)}
            yield case.trial(_name(slack, memory, cost), _state(case.known.workload.state, sizes))


def _name(slack: Cost, memory: float, cost: float) -> str:
    return f"{SLACKS.index(slack)} {memory:g} {cost:g}"


def _state(current: WorkloadState, sizes: dict[str, float]) -> WorkloadState:
    memory = sizes.get("memory")
    container = Container(
        name="main",
        cpu_request_cores=sizes.get("cpu"),
        memory_request_bytes=None if memory is None else int(memory),
    )
    return msgspec.structs.replace(current, containers=(container,))


def lines(trials: Sequence[Trial]) -> Iterator[str]:
    """Yields the table, a line for each baseline."""
    points = {one.policy: Point.of(one.all) for one in summarise(trials)}
    ours = [points[_name(*point)] for point in product(SLACKS, MEMORY_COSTS, COSTS)]
    yield "| " + " | ".join(HEADINGS) + " |"
    yield "|" + " --- |" * len(HEADINGS)
    for name in BASELINES:
        baseline = points[name]
        best = nearest(baseline, ours)
        wins = "-" if best is None else f"{sum(_less(best, baseline))} of 4"
        sure = [one.accuracy for one in ours if all(_less(one, baseline))]
        cells = (name, f"{baseline.accuracy:.1%}", str(baseline), str(best or "-"), wins)
        yield "| " + " | ".join((*cells, f"{max(sure):.1%}" if sure else "-")) + " |"


def nearest(baseline: Point, ours: Sequence[Point]) -> Point | None:
    """Returns the point as accurate as a baseline that does best against it: most wins, then least waste."""
    able = [one for one in ours if one.accuracy >= baseline.accuracy]
    return max(able, key=lambda one: (sum(_less(one, baseline)), -sum(one.waste)), default=None)


def _less(one: Point, other: Point) -> list[bool]:
    """Returns in which figures a point wastes no more than another."""
    return [a <= b for a, b in zip(one.waste, other.waste, strict=True)]


def main() -> None:
    """Walks the windows and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=Path, required=True)
    parser.add_argument("--half", choices=("tune", "report"))
    arguments = parser.parse_args()
    trials = [
        trial for asked in asked_of(arguments.traces, half=arguments.half) for trial in trials_of(asked)
    ]
    for line in lines(trials):
        print(line, flush=True)


if __name__ == "__main__":
    main()
