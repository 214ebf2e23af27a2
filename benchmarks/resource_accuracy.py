"""Scores the resource strategy on traces by DESIGN.md section 5 and prints its table.

    python benchmarks/resource_accuracy.py --traces DIR [--vms N] [--split tune|report] [--files NAME ...]

Each recommendation is made by the installed strategy from what was known at the cut, passes the engine's
safety rules, and is scored on the window after it. `report` is the half of bitbrains_rnd that no constant
was fitted on; the other files were not used in fitting at all.
"""

import argparse
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from walk_traces import SETTINGS, Setting, Split, cuts, load

from perfopt.domain.price import DEFAULT_PRICE_BOOK
from perfopt.domain.recommendation import Declined
from perfopt.plugin import AnalysisContext
from perfopt.replay.score import WindowScore, score_resources
from perfopt.rules import SAFETY_RULES, apply_rules
from perfopt_resource.strategy import ResourceStrategy

TERCILES = 3
MOST_WASTE = 10.0


@dataclass
class Tally:
    """What came of one file.

    Attributes:
        scores: of the windows that were scored, with the P99 of the history before each.
        declined: recommendations not made; unscored: made, and the window held too little data.
        seconds: CPU time of each call of the strategy.
    """

    scores: list[WindowScore] = field(default_factory=list)
    levels: list[float] = field(default_factory=list)
    right: int = 0
    declined: int = 0
    unscored: int = 0
    seconds: list[float] = field(default_factory=list)


def walk(path: Path, setting: Setting, split: Split | None, most: int | None) -> Tally:
    """Recommends and scores at each cut of each series."""
    tally, strategy = Tally(), ResourceStrategy()
    for snapshot in load(path, keep=split, most=most):
        for known, window in cuts(snapshot, setting):
            context = AnalysisContext(known, setting.validity, DEFAULT_PRICE_BOOK)
            begin = time.process_time()
            made = strategy.propose(context)
            tally.seconds.append(time.process_time() - begin)
            if isinstance(made, Declined):
                tally.declined += 1
                continue
            score = score_resources(apply_rules(SAFETY_RULES, made, context).proposal.target, window)
            if not score.scored:
                tally.unscored += 1
                continue
            cpu = known.series("main", "cpu_cores")
            tally.levels.append(float(np.nanquantile(cpu.values, 0.99)) if cpu is not None else 0.0)
            tally.scores.append(score)
            tally.right += made.already_right
    return tally


def row(name: str, tally: Tally) -> str:
    """Returns the file's line of the table."""
    scores = tally.scores
    if not scores:
        return f"| {name} | 0 | {tally.declined} |"
    accurate = np.array([score.accurate for score in scores])
    bounds = np.quantile(tally.levels, np.arange(1, TERCILES) / TERCILES)
    group = np.digitize(tally.levels, bounds)
    terciles = "/".join(f"{accurate[group == i].mean():.2f}" for i in range(TERCILES) if (group == i).any())
    milliseconds = np.array(tally.seconds) * 1000
    cells = [
        name,
        f"{len(scores)}",
        f"{tally.declined}",
        f"{tally.unscored}",
        f"{accurate.mean():.1%}",
        *(_safe(scores, resource) for resource in ("cpu", "memory")),
        terciles,
        *(_waste(scores, resource) for resource in ("cpu", "memory")),
        *(_weighted(scores, resource) for resource in ("cpu", "memory")),
        *(_shortage(scores, resource) for resource in ("cpu", "memory")),
        f"{tally.right}",
        f"{np.median(milliseconds):.2f} / {np.quantile(milliseconds, 0.99):.2f}",
    ]
    return "| " + " | ".join(cells) + " |"


HEADINGS = (
    "traces", "scored", "declined", "not scored", "accuracy", "cpu safe", "memory safe",
    "accuracy by tercile of load", "cpu waste median / mean10", "memory waste median / mean10",
    "core-weighted cpu waste", "byte-weighted memory waste", "cpu shortage median", "memory shortage median",
    "already right", "ms per proposal, median / p99",
)  # fmt: skip


def _values(scores: list[WindowScore], resource: str, *, safe: bool) -> np.ndarray:
    found = [getattr(s, f"{resource}_waste") for s in scores if getattr(s, f"{resource}_safe") is safe]
    return np.array(found)


def _safe(scores: list[WindowScore], resource: str) -> str:
    judged = [getattr(s, f"{resource}_safe") for s in scores if getattr(s, f"{resource}_safe") is not None]
    return f"{np.mean(judged):.1%}" if judged else "-"


def _waste(scores: list[WindowScore], resource: str) -> str:
    waste = _values(scores, resource, safe=True)
    return f"{np.median(waste):.0%} / {np.minimum(waste, MOST_WASTE).mean():.0%}" if waste.size else "-"


def _weighted(scores: list[WindowScore], resource: str) -> str:
    unit = "cores" if resource == "cpu" else "bytes"
    sums = [
        (getattr(s, f"{resource}_recommended_{unit}"), getattr(s, f"{resource}_needed_{unit}"))
        for s in scores
        if getattr(s, f"{resource}_safe") is not None
    ]
    if not sums:
        return "-"
    recommended, needed = np.array(sums).sum(axis=0)
    return f"{recommended / needed - 1:.0%}"


def _shortage(scores: list[WindowScore], resource: str) -> str:
    shortage = -_values(scores, resource, safe=False)
    return f"{np.median(shortage):.0%}" if shortage.size else "-"


def main() -> None:
    """Walks the files named and prints one line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=Path, required=True)
    parser.add_argument("--vms", type=int, help="at most so many series of each file")
    parser.add_argument("--split", choices=("tune", "report"), help="half of bitbrains_rnd; both by default")
    parser.add_argument("--files", nargs="+", choices=tuple(SETTINGS), default=tuple(SETTINGS))
    arguments = parser.parse_args()
    print("| " + " | ".join(HEADINGS) + " |")
    print("|" + " --- |" * len(HEADINGS))
    for name in arguments.files:
        split = arguments.split if name == "bitbrains_rnd" else None
        tally = walk(arguments.traces / f"{name}.parquet", SETTINGS[name], split, arguments.vms)
        print(row(f"{name} ({split})" if split else name, tally), flush=True)


if __name__ == "__main__":
    main()
