"""Scores the resource strategy on traces by DESIGN.md section 5 and prints its table.

    python benchmarks/resource_accuracy.py --traces DIR [--vms N] [--split tune|report] [--files NAME ...]

Each recommendation is made by the installed strategy from what was known at the cut, passes the engine's
safety rules, and is scored on the window after it, by the code of `perfopt backtest`; here each series has
cuts of its own, and the strategy runs in this process, so that its time can be taken. `report` is the half of
bitbrains_rnd that no constant was fitted on; the other files were not used in fitting at all.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from walk_traces import SETTINGS, Setting, Split, load

from perfopt.backtest import OURS, Trial, make_plan, summarise
from perfopt.backtest.summary import TERCILES, PolicySummary, ResourceFigures
from perfopt.backtest.trial import Case
from perfopt.backtest.walk import cases
from perfopt.domain.period import format_duration
from perfopt.domain.price import DEFAULT_PRICE_BOOK
from perfopt.domain.recommendation import Declined
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.plugin import AnalysisContext
from perfopt.rules import default_book
from perfopt_resource.strategy import ResourceStrategy

HEADINGS = (
    "traces", "scored", "declined", "not scored", "accuracy", "cpu safe", "memory safe",
    "accuracy by tercile of load", "cpu waste median / mean10", "memory waste median / mean10",
    "core-weighted cpu waste", "byte-weighted memory waste", "cpu shortage median", "memory shortage median",
    "already right", "ms per proposal, median / p99",
)  # fmt: skip


def walk(
    path: Path, setting: Setting, split: Split | None, most: int | None
) -> tuple[list[Trial], list[float]]:
    """Recommends and scores at each cut of each series; returns the trials and the CPU seconds of each."""
    trials: list[Trial] = []
    seconds: list[float] = []
    for snapshot in load(path, keep=split, most=most):
        if snapshot.grid.size * snapshot.grid.step < setting.history + setting.validity:
            continue
        for case in _cases(snapshot, setting):
            trial, took = _trial(case, setting)
            trials.append(trial)
            seconds.append(took)
    return trials, seconds


def _cases(snapshot: WorkloadSnapshot, setting: Setting) -> list[Case]:
    plan = make_plan(
        snapshot.grid.end,
        begin=snapshot.grid.start,
        history=setting.history,
        validity=setting.validity,
        cuts=format_duration(setting.stride),
    )
    return list(cases(snapshot, plan, DEFAULT_PRICE_BOOK))


def _trial(case: Case, setting: Setting) -> tuple[Trial, float]:
    context = AnalysisContext(case.known, setting.validity, case.book)
    begin = time.process_time()
    made = ResourceStrategy().propose(context)
    took = time.process_time() - begin
    if isinstance(made, Declined):
        return case.trial(OURS, made), took
    ruled = default_book().rules_for(context.snapshot.workload).apply(made, context).proposal
    return case.trial(OURS, ruled.target, already_right=ruled.already_right), took


def row(name: str, summary: PolicySummary, seconds: list[float]) -> str:
    """Returns the file's line of the table."""
    whole, milliseconds = summary.all, np.array(seconds) * 1000
    cells = (
        name,
        str(whole.scored),
        str(sum(summary.declined.values())),
        str(summary.not_scored),
        _percent(whole.accuracy, 1),
        *(_percent(use.safe, 1) for use in (whole.cpu, whole.memory)),
        "/".join(
            f"{share:.2f}" for tercile in TERCILES if (share := _accuracy(summary, tercile)) is not None
        ),
        *(_waste(use) for use in (whole.cpu, whole.memory)),
        *(_percent(use.weighted_waste) for use in (whole.cpu, whole.memory)),
        *(_percent(use.shortage_median) for use in (whole.cpu, whole.memory)),
        str(summary.already_right),
        f"{np.median(milliseconds):.2f} / {np.quantile(milliseconds, 0.99):.2f}",
    )
    return "| " + " | ".join(cells) + " |"


def _accuracy(summary: PolicySummary, tercile: str) -> float | None:
    return summary.terciles[tercile].accuracy if tercile in summary.terciles else None


def _percent(share: float | None, digits: int = 0) -> str:
    return "-" if share is None else f"{share:.{digits}%}"


def _waste(use: ResourceFigures) -> str:
    return (
        f"{_percent(use.waste_median)} / {_percent(use.waste_mean10)}"
        if use.waste_median is not None
        else "-"
    )


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
        trials, seconds = walk(arguments.traces / f"{name}.parquet", SETTINGS[name], split, arguments.vms)
        label = f"{name} ({split})" if split else name
        print(row(label, summarise(trials)[0], seconds), flush=True)


if __name__ == "__main__":
    main()
