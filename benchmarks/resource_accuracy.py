"""Scores the resource strategy on traces by DESIGN.md section 5 and prints its table.

    python benchmarks/resource_accuracy.py --traces DIR [--split later|series] [--half tune|report]
        [--files NAME ...] [--class critical|standard|batch] [--cost N ...] [--history-days N ...] [--record]

Each recommendation is made by the installed strategy from what was known at the cut, passes the engine's
safety rules, and is scored on the window after it, by the code of `perfopt backtest`; here each series has
cuts of its own, and the strategy runs in this process, so that its time can be taken. bitbrains_rnd, which
the shipped model was trained on, is judged by models that have not seen the series nor, with `later` (the
headline), any outcome after the recommendation was made (fold_models.py). The other files the shipped model
has not seen.

--cost names other costs of a shortage than the class's. --record replays the strategy before each
recommendation as the engine does, and fits how many windows of a service's own record weigh as much as the
model's word: the strength of greatest likelihood.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import product
from pathlib import Path

import msgspec
import numpy as np
from fold_models import Kind, fold_models
from walk_traces import SETTINGS, Setting, Split, load

from perfopt.backtest import OURS, Trial, make_plan, summarise
from perfopt.backtest.summary import TERCILES, PolicySummary, ResourceFigures
from perfopt.backtest.trial import Case
from perfopt.backtest.walk import cases
from perfopt.domain.enums import ServiceClass
from perfopt.domain.period import format_duration
from perfopt.domain.price import DEFAULT_PRICE_BOOK
from perfopt.domain.recommendation import Declined
from perfopt.domain.service_class import UNDER_PROVISIONING_PENALTIES
from perfopt.engine.confidence import confidence
from perfopt.engine.pipeline import run_strategy
from perfopt.learn.model import SizingModel, shipped_model
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.plugin import AnalysisContext
from perfopt.rules import default_book
from perfopt_resource.belief import RECORD_STRENGTH
from perfopt_resource.strategy import ResourceStrategy

HEADINGS = (
    "traces", "cost of shortage", "scored", "abstention", "accuracy (95 %)", "cpu safe", "memory safe",
    "accuracy by tercile of load", "cpu waste median / mean10", "memory waste median / mean10",
    "core-weighted cpu waste", "byte-weighted memory waste", "confidence mean / ECE / Brier skill / AUC",
    "ms per proposal, median / p99",
)  # fmt: skip
STRENGTHS = (*np.geomspace(1, 1000, 31), np.inf)


@dataclass(frozen=True)
class Run:
    """What is asked of every series.

    Attributes:
        traces: folder.
        kind: of models for bitbrains_rnd.
        service_class, cost: of all services; the cost of a shortage is that of the class.
        history: what is known at most, where less than the setting of the file.
        record: see the module's text.
    """

    traces: Path
    kind: Kind
    service_class: ServiceClass
    cost: float
    history: timedelta | None
    record: bool

    def model_for(self, file: str, series: str, at: float) -> SizingModel | None:
        """Returns a model that may size the series at an instant; None where there is none."""
        if file == "bitbrains_rnd":
            return fold_models(self.traces, self.kind).model_for(series, at)
        return shipped_model()


@dataclass
class Walked:
    """What came of one file.

    Attributes:
        trials: one a recommendation asked for.
        seconds: CPU time of each.
        records: where asked for, of each that was scored: the model's word, the share of its own replays that
            were accurate, their effective windows, and whether it was accurate itself.
    """

    trials: list[Trial] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    records: list[tuple[float, float, float, bool]] = field(default_factory=list)


def walk(run: Run, file: str, half: Split | None, most: int | None) -> Walked:
    """Recommends and scores at each cut of each series."""
    walked, setting = Walked(), SETTINGS[file]
    for snapshot in load(run.traces / f"{file}.parquet", keep=half, most=most):
        if snapshot.grid.size * snapshot.grid.step < setting.history + setting.validity:
            continue
        workload = msgspec.structs.replace(snapshot.workload, service_class=run.service_class)
        for case in cases_of(replace(snapshot, workload=workload), setting, run.history):
            made_at = case.known.grid.end.timestamp()
            model = run.model_for(file, snapshot.workload.service_name, made_at)
            if model is not None:
                _try(walked, ResourceStrategy(model=model), case, setting, run)
    return walked


def cases_of(
    snapshot: WorkloadSnapshot, setting: Setting, history: timedelta | None = None
) -> Iterator[Case]:
    """Yields what was known at each cut of a series and what came, at most so much history known."""
    plan = make_plan(
        snapshot.grid.end,
        begin=snapshot.grid.start,
        history=setting.history,
        validity=setting.validity,
        cuts=format_duration(setting.stride),
    )
    for case in cases(snapshot, plan, DEFAULT_PRICE_BOOK):
        known = case.known
        if history is not None:
            known = known.slice(max(known.grid.size - history // known.grid.step, 0), known.grid.size)
        yield replace(case, known=known)


def _try(walked: Walked, strategy: ResourceStrategy, case: Case, setting: Setting, run: Run) -> None:
    costs = {run.service_class: run.cost}
    context = AnalysisContext(case.known, setting.validity, case.book, under_provisioning_penalties=costs)
    begin = time.process_time()
    made = strategy.propose(context)
    walked.seconds.append(time.process_time() - begin)
    if isinstance(made, Declined):
        walked.trials.append(case.trial(OURS, made))
        return
    ruled = default_book().rules_for(context.snapshot.workload).apply(made, context).proposal
    said = made.prior.mean
    trial = case.trial(OURS, ruled.target, confidence=said, already_right=ruled.already_right)
    walked.trials.append(trial)
    if run.record and trial.scored:
        detail = confidence(run_strategy(strategy, context).evidence, made.prior, setting.validity)[1]
        own = (detail.accurate_share or 0.0, detail.n_effective)
        walked.records.append((said, *own, trial.outcome == "accurate"))


def record_strength(records: list[tuple[float, float, float, bool]]) -> str:
    """Says which strength of the model's word, against the service's own record, fits the outcomes best."""
    said, share, windows, accurate = np.array(records).T

    def loss(strength: float) -> float:
        weight = windows / (strength + windows)
        sure = np.clip((1 - weight) * said + weight * share, 1e-3, 1 - 1e-3)
        return float(-np.log(np.where(accurate > 0, sure, 1 - sure)).mean())

    best = min(STRENGTHS, key=loss)
    return (
        f"{len(said)} recommendations, {windows.mean():.2f} windows of own record each: strength {best:.1f}"
        f" at log loss {loss(best):.4f}; as shipped ({RECORD_STRENGTH:.0f}) {loss(RECORD_STRENGTH):.4f};"
        f" without the record {loss(np.inf):.4f}"
    )


def row(name: str, cost: float, walked: Walked) -> str:
    """Returns a line of the table. Abstention is of what could be sized and was not sure enough."""
    summary = summarise(walked.trials)[0]
    whole, milliseconds = summary.all, np.array(walked.seconds) * 1000
    unsure = summary.declined.get("low_confidence", 0)
    accuracy = summary.intervals["accuracy"]
    cells = (
        name,
        f"{cost:g}",
        str(whole.scored),
        _percent(unsure / (unsure + summary.made), 1),
        f"{_percent(whole.accuracy, 1)} ({_percent(accuracy.low, 1)} to {_percent(accuracy.high, 1)})",
        *(_percent(use.safe, 1) for use in (whole.cpu, whole.memory)),
        "/".join(
            f"{share:.2f}" for tercile in TERCILES if (share := _accuracy(summary, tercile)) is not None
        ),
        *(_waste(use) for use in (whole.cpu, whole.memory)),
        *(_percent(use.weighted_waste) for use in (whole.cpu, whole.memory)),
        _calibration(summary, walked.trials),
        f"{np.median(milliseconds):.2f} / {np.quantile(milliseconds, 0.99):.2f}",
    )
    return "| " + " | ".join(cells) + " |"


def _accuracy(summary: PolicySummary, tercile: str) -> float | None:
    return summary.terciles[tercile].accuracy if tercile in summary.terciles else None


def _calibration(summary: PolicySummary, trials: list[Trial]) -> str:
    found = summary.calibration
    if found is None:
        return "-"
    mean = np.mean([trial.confidence for trial in trials if trial.scored])
    parts = ("-" if part is None else f"{part:.3f}" for part in (found.ece, found.brier_skill, found.auc))
    return " / ".join((f"{mean:.3f}", *parts))


def _percent(share: float | None, digits: int = 0) -> str:
    return "-" if share is None else f"{share:.{digits}%}"


def _waste(use: ResourceFigures) -> str:
    return (
        f"{_percent(use.waste_median)} / {_percent(use.waste_mean10)}"
        if use.waste_median is not None
        else "-"
    )


def main() -> None:
    """Walks the files named and prints one line for each and each cost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=Path, required=True)
    parser.add_argument("--vms", type=int, help="at most so many series of each file")
    parser.add_argument("--split", choices=("later", "series"), default="later", help="of bitbrains_rnd")
    parser.add_argument("--half", choices=("tune", "report"), help="half of bitbrains_rnd; both by default")
    parser.add_argument("--files", nargs="+", choices=tuple(SETTINGS), default=tuple(SETTINGS))
    parser.add_argument("--class", dest="kind", type=ServiceClass, default=ServiceClass.STANDARD)
    parser.add_argument("--cost", type=float, nargs="+", help="of a shortage; that of the class by default")
    parser.add_argument("--history-days", type=float, nargs="+", help="know no more than so many days")
    parser.add_argument("--record", action="store_true", help="fit what the service's own record is worth")
    asked = parser.parse_args()
    histories = [timedelta(days=days) for days in asked.history_days] if asked.history_days else [None]
    print("| " + " | ".join(HEADINGS) + " |")
    print("|" + " --- |" * len(HEADINGS))
    for name in asked.files:
        half = asked.half if name == "bitbrains_rnd" else None
        label = " ".join(filter(None, (name, asked.split if name == "bitbrains_rnd" else "", half)))
        for cost, history in product(asked.cost or [UNDER_PROVISIONING_PENALTIES[asked.kind]], histories):
            run = Run(asked.traces, asked.split, asked.kind, cost, history, asked.record)
            walked = walk(run, name, half, asked.vms)
            known = f" of {format_duration(history)}" if history else ""
            print(row(label + known, cost, walked), flush=True)
            if asked.record:
                print(record_strength(walked.records), flush=True)


if __name__ == "__main__":
    main()
