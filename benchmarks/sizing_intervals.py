"""How often needs lie within the intervals that the sizing model names for them.

    python benchmarks/sizing_intervals.py --traces DIR [--split later|series] [--half tune|report]

bitbrains_rnd, VMs not trained on, and with `later` weeks not trained on either (fold_models.py). Much of what
is needed of CPU is one size, the floor or the limit, and an interval that ends there holds all of it. So
beside the share within there is the share that lies there when such a mass is spread over the probabilities
that it covers: what is comparable to the level (the randomised probability integral transform, in
expectation). New levels come to many machines in the same week, so the standard error is that of the weeks.
"""

import argparse
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from sizing_cases import Asked, asked_of

from perfopt.learn.features import FLOORS, RESOURCES
from perfopt.learn.model import Outlook

LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)
HEADINGS = (
    "resource", "level", "within", "standard error", "below", "above", "within, masses spread", "windows",
)  # fmt: skip
_ROUNDING = 1e-9
_WEEK_SECONDS = 7 * 86400
_FEW = 20  # windows that say nothing of a week


@dataclass(frozen=True, slots=True)
class Found:
    """Where a need lay: below or above the interval, within it by ranks, and in which week."""

    below: bool
    above: bool
    spread: float
    week: int


@dataclass(frozen=True, slots=True)
class Ranks:
    """The probabilities that a curve gives to sizes below a need and up to it; apart where it has mass."""

    below: float
    up_to: float

    def within(self, level: float) -> float:
        """Returns which part of them lies within the central interval."""
        low, high = (1 - level) / 2, (1 + level) / 2
        if self.up_to <= self.below:
            return float(low <= self.below <= high)
        return max(min(self.up_to, high) - max(self.below, low), 0.0) / (self.up_to - self.below)


def ranks(asked: Asked, outlook: Outlook, resource: str) -> Ranks:
    """Returns where the need lies on the curve of its container."""
    grid, seen, need = asked.model.grid, asked.seen.features, asked.needs[resource]
    curve = outlook.curves[resource].probabilities(grid)
    at = float(np.interp(math.log(need / seen.references[resource]), grid, curve, left=0.0, right=1.0))
    ceiling = seen.ceilings.get(resource)
    least = need <= FLOORS[resource] * (1 + _ROUNDING)
    most = ceiling is not None and need >= ceiling.size * (1 - _ROUNDING)
    return Ranks(0.0 if least else at, 1.0 if most else at)


def find(asked: Asked, outlook: Outlook, resource: str, level: float) -> Found:
    """Returns where the need lay beside the central interval of a level."""
    low, high = outlook.interval(resource, asked.model.grid, level)
    need, spread = asked.needs[resource], ranks(asked, outlook, resource).within(level)
    week = int(asked.case.known.grid.end.timestamp() // _WEEK_SECONDS)
    return Found(need < low * (1 - _ROUNDING), need > high * (1 + _ROUNDING), spread, week)


def line(resource: str, level: float, found: Sequence[Found]) -> str:
    """Returns a line of the table."""
    within = np.array([not (one.below or one.above) for one in found])
    weeks = np.array([one.week for one in found])
    shares = [within[weeks == week].mean() for week in np.unique(weeks) if (weeks == week).sum() >= _FEW]
    cells = (
        resource,
        f"{level:.0%}",
        f"{within.mean():.1%}",
        f"{np.std(shares, ddof=1) / np.sqrt(len(shares)):.1%}",
        *(f"{np.mean([getattr(one, side) for one in found]):.1%}" for side in ("below", "above", "spread")),
        str(len(found)),
    )
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Prints the share of needs within the intervals of each level, with the shares below and above."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=Path, required=True)
    parser.add_argument("--split", choices=("later", "series"), default="later")
    parser.add_argument("--half", choices=("tune", "report"))
    arguments = parser.parse_args()
    found: dict[tuple[str, float], list[Found]] = defaultdict(list)
    for asked in asked_of(arguments.traces, arguments.split, arguments.half):
        outlook = asked.model.outlook(asked.seen.features)
        for resource, level in product(outlook.curves, LEVELS):
            found[resource, level].append(find(asked, outlook, resource, level))
    print("| " + " | ".join(HEADINGS) + " |\n|" + " --- |" * len(HEADINGS))
    for resource, level in product(RESOURCES, LEVELS):
        print(line(resource, level, found[resource, level]))


if __name__ == "__main__":
    main()
