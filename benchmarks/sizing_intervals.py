"""How often needs lie within the intervals that the sizing model names for them.

    python benchmarks/sizing_intervals.py --traces DIR [--split later|series] [--half tune|report]

bitbrains_rnd, VMs not trained on, and with `later` weeks not trained on either (fold_models.py). Much of what
is needed of CPU is one size, the floor or the limit, and an interval that ends there holds all of it. So
beside the share within there is the share that lies there when such a mass is spread over the probabilities
that it covers: what is comparable to the level (the randomised probability integral transform, in
expectation).
"""

import argparse
import math
from collections import defaultdict
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from sizing_cases import Asked, asked_of

from perfopt.learn.features import FLOORS, RESOURCES
from perfopt.learn.model import Outlook

LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)
HEADINGS = ("resource", "level", "within", "below", "above", "within, masses spread", "windows")
_ROUNDING = 1e-9


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


def main() -> None:
    """Prints the share of needs within the intervals of each level, with the shares below and above."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=Path, required=True)
    parser.add_argument("--split", choices=("later", "series"), default="later")
    parser.add_argument("--half", choices=("tune", "report"))
    arguments = parser.parse_args()
    found: dict[tuple[str, float], list[tuple[float, float, float]]] = defaultdict(list)
    for asked in asked_of(arguments.traces, arguments.split, arguments.half):
        outlook = asked.model.outlook(asked.seen.features)
        for resource, level in product(outlook.curves, LEVELS):
            low, high = outlook.interval(resource, asked.model.grid, level)
            need, spread = asked.needs[resource], ranks(asked, outlook, resource).within(level)
            beside = (need < low * (1 - _ROUNDING), need > high * (1 + _ROUNDING))
            found[resource, level].append((*beside, spread))
    print("| " + " | ".join(HEADINGS) + " |\n|" + " --- |" * len(HEADINGS))
    for resource, level in product(RESOURCES, LEVELS):
        below, above, spread = np.array(found[resource, level]).mean(axis=0)
        shares = f"{1 - below - above:.1%} | {below:.1%} | {above:.1%} | {spread:.1%}"
        print(f"| {resource} | {level:.0%} | {shares} | {len(found[resource, level])} |")


if __name__ == "__main__":
    main()
