"""What any policy could make of the sizing model's curves: the frontier of its figures, at one accuracy.

    python benchmarks/sizing_policies.py --traces DIR [--half tune|report] [--accuracy 0.92] [--declined 0.07]

bitbrains_rnd, unseen VMs and later weeks (fold_models.py). Each policy chooses of the same curves the sizes
that are worth most by another cost of slack, at the cost of shortage at which it reaches the accuracy, and
declines the least worthy share. `step` counts only whether more than half of the need is wasted: by these
curves no policy of this accuracy can expect fewer to waste more, of CPU and memory together. `waste` counts
the waste itself: none can expect a lower mean. `decision 12` is the cost that was used before. `exact` is
the Brier skill and the AUC to be expected of the same choices if every confidence were exactly right.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sizing_cases import asked_of

from perfopt.learn.calibrate import Calibration, reliability
from perfopt.learn.candidates import Candidates
from perfopt.learn.features import RESOURCES
from perfopt.learn.policy import choose_each, slack_cost, worth
from perfopt.learn.train import offered
from perfopt.metrics.snapshot import Array

Cost = Callable[[Array], Array]
_MAX_WASTE = 10.0
_DRAWS = 200


def step(excess: Array) -> Array:
    """Returns whether more than half of the need is wasted."""
    return (excess > math.log(1.5)).astype(np.float64)


def waste(excess: Array) -> Array:
    """Returns the waste, clipped at 10."""
    clipped: Array = np.minimum(np.expm1(np.maximum(excess, 0)), _MAX_WASTE)
    return clipped


def logarithm(excess: Array) -> Array:
    """Returns the cost of slack by decision 12 (docs/adr), which decision 17 replaced."""
    cost: Array = np.log1p(np.maximum(excess, 0) / 0.2)
    return cost


POLICIES: dict[str, Cost] = {
    "as shipped": slack_cost,
    "step": step,
    "waste": waste,
    "decision 12": logarithm,
}


@dataclass(frozen=True, slots=True)
class Row:
    """One window: what may be chosen, what was needed, and how the joint probability is calibrated."""

    offered: dict[str, Candidates]
    needs: dict[str, float]
    calibration: Calibration
    known: float


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a policy chose: confidence, worth, and by resource the log of size / need; shape (n,) each."""

    sure: Array
    worth: Array
    excess: dict[str, Array]

    @property
    def kept(self) -> Array:
        """Whether all resources were enough."""
        safe = [np.isnan(one) | (one >= -1e-9) for one in self.excess.values()]
        return np.logical_and.reduce(safe)


def choose(rows: Sequence[Row], slacks: Sequence[list[Array]], cost: float) -> Chosen:
    """Returns the choices at a cost of shortage."""
    sure, worths = np.ones(len(rows)), np.zeros(len(rows))
    excess = {resource: np.full(len(rows), np.nan) for resource in RESOURCES}
    for at, (row, slack) in enumerate(zip(rows, slacks, strict=True)):
        parts = list(row.offered.values())
        (pick,) = choose_each([part.probabilities for part in parts], slack, [cost])
        joint = math.prod(float(part.probabilities[i]) for part, i in zip(parts, pick, strict=True))
        sure[at] = row.calibration(np.array([joint]), row.known)[0]
        worths[at] = worth(sure[at], sum(float(s[i]) for s, i in zip(slack, pick, strict=True)), cost)
        for (resource, part), i in zip(row.offered.items(), pick, strict=True):
            excess[resource][at] = math.log(part.sizes[i] / row.needs[resource])
    return Chosen(sure, worths, excess)


def expected(part: Candidates, cost: Cost) -> Array:
    """Returns the expected cost of slack of each size."""
    at = np.log(part.sizes)
    found: Array = cost(at[:, None] - at) @ np.diff(part.probabilities, prepend=0.0)
    return found


def line(name: str, chosen: Chosen, declined: float) -> str:
    """Returns a line of the table."""
    made = chosen.worth >= np.quantile(chosen.worth, declined)
    record = reliability(chosen.sure[made], chosen.kept[made])
    rng = np.random.default_rng(0)
    draws = [
        reliability(chosen.sure[made], rng.random(made.sum()) < chosen.sure[made]) for _ in range(_DRAWS)
    ]
    cells = [name, f"{record.rate:.1%}"]
    for one in chosen.excess.values():
        wasted = waste(one[made & (one >= -1e-9)])
        cells.append(f"{np.median(wasted):.0%} / {wasted.mean():.0%}")
    skills = (record.brier_skill or 0.0, np.mean([draw.brier_skill or 0.0 for draw in draws]))
    areas = (record.auc or 0.0, np.mean([draw.auc or 0.0 for draw in draws]))
    cells += [f"{found:.2f} (exact {ideal:.2f})" for found, ideal in (skills, areas)]
    return "| " + " | ".join(cells) + " |"


def at_accuracy(rows: Sequence[Row], cost: Cost, accuracy: float, declined: float) -> Chosen:
    """Returns the choices at the least cost of shortage that reaches the accuracy."""
    slacks = [[expected(part, cost) for part in row.offered.values()] for row in rows]
    low, high = 0.2, 200.0
    found = choose(rows, slacks, high)
    for _ in range(9):
        middle = math.sqrt(low * high)
        chosen = choose(rows, slacks, middle)
        made = chosen.worth >= np.quantile(chosen.worth, declined)
        if chosen.kept[made].mean() >= accuracy:
            high, found = middle, chosen
        else:
            low = middle
    return found


def rows_of(arguments: argparse.Namespace) -> Iterator[Row]:
    """Yields the windows."""
    for asked in asked_of(arguments.traces, half=arguments.half):
        features, model = asked.seen.features, asked.model
        yield Row(offered(model.trees, features), asked.needs, model.calibration, features.known)


def main() -> None:
    """Prints a line for each policy."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=Path, required=True)
    parser.add_argument("--half", choices=("tune", "report"))
    parser.add_argument("--accuracy", type=float, default=0.92)
    parser.add_argument("--declined", type=float, default=0.07)
    arguments = parser.parse_args()
    rows = list(rows_of(arguments))
    print("| policy | accuracy | CPU waste | memory waste | Brier skill | AUC |\n|" + " --- |" * 6)
    for name, cost in POLICIES.items():
        chosen = at_accuracy(rows, cost, arguments.accuracy, arguments.declined)
        print(line(name, chosen, arguments.declined), flush=True)


if __name__ == "__main__":
    main()
