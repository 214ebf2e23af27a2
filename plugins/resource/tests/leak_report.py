"""How often memory is taken for leaking where it does not, and how often a leak is found.

    python plugins/resource/tests/leak_report.py [--seeds N]

Memory of 1 GB scatters about a level, or about a straight climb: noise of an AR(1) process whose correlation
falls to 1/e within half an hour, 6 hours, a day or three days, with a standard deviation of 3 or 10 % of the
level, over 6, 8, 10 or 14 days of 5-minute steps. "line" is the rule before: peaks that never fall, of which
a straight line explains 90 %. The levels in perfopt_resource.leak were chosen on other draws of such
series; this reads seeds from 1000.
"""

import argparse
from collections.abc import Callable
from itertools import product

import numpy as np
from scipy.signal import lfilter

from perfopt.plugin import Array
from perfopt_resource.leak import find_leak

DAY = 288
DAYS, HOURS, DEVIATIONS, CLIMBS = (6, 8, 10, 14), (0.5, 6.0, 24.0, 72.0), (0.03, 0.1), (0.0, 0.3, 0.6, 1.2)
Rule = Callable[[Array], bool]


def memory(rng: np.random.Generator, days: int, hours: float, deviation: float, climb: float) -> Array:
    """Returns bytes at 5-minute steps; `climb` is that of two weeks, as a share of the level."""
    steps, settling = days * DAY, 3 * DAY
    keep = np.exp(-1 / 12 / hours)
    noise = lfilter([1], [1, -keep], rng.normal(size=steps + settling) * np.sqrt(1 - keep**2))[settling:]
    level = 1 + deviation * noise + climb * np.arange(steps) / (14 * DAY)
    result: Array = 1e9 * np.maximum(level, 0.05)
    return result


def line(peaks: Array) -> bool:
    """Returns whether the daily peaks never fall and a straight line explains 90 % of their variance."""
    times = np.arange(peaks.size) - (peaks.size - 1) / 2
    spread = peaks - peaks.mean()
    slope = spread @ times / (times @ times)
    explained = slope**2 * (times @ times) >= 0.9 * (spread @ spread)
    return bool((np.diff(peaks) >= 0).all() and explained and slope * (peaks.size - 1) >= 0.1 * peaks[-1])


def trend(peaks: Array) -> bool:
    """Returns whether the resource plugin takes it for a leak."""
    return find_leak(peaks[None], 7) is not None


def shares(seeds: range, rules: dict[str, Rule]) -> dict[tuple[str, int, float, float], float]:
    """Returns by rule, days, deviation and climb in which share of series a leak was found."""
    found: dict[tuple[str, int, float, float], list[bool]] = {}
    for seed in seeds:
        for days, hours, deviation, climb in product(DAYS, HOURS, DEVIATIONS, CLIMBS):
            rng = np.random.default_rng((seed, days, int(hours * 2), int(deviation * 100), int(climb * 10)))
            peaks = memory(rng, days, hours, deviation, climb).reshape(days, DAY).max(axis=1)
            for name, rule in rules.items():
                found.setdefault((name, days, deviation, climb), []).append(rule(peaks))
    return {key: float(np.mean(each)) for key, each in found.items()}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=120)
    seeds = range(1000, 1000 + parser.parse_args().seeds)
    measured = shares(seeds, {"line": line, "trend": trend})
    print("| rule | noise | " + " | ".join(f"climb {climb:.0%}" for climb in CLIMBS) + " |")
    print("|---|---|" + "---|" * len(CLIMBS))
    for name, deviation in product(("line", "trend"), DEVIATIONS):
        cells = [np.mean([measured[name, days, deviation, climb] for days in DAYS]) for climb in CLIMBS]
        print(f"| {name} | {deviation:.0%} | " + " | ".join(f"{cell:.2%}" for cell in cells) + " |")


if __name__ == "__main__":
    main()
