"""Scores sizing by a learnt model on traces by DESIGN.md section 5 and prints its table.

    python benchmarks/learnt_accuracy.py --traces DIR [--vms N] [--split tune|report] [--files NAME ...]
        [--model FILE] [--class critical|standard|batch] [--record]

Each recommendation is made by the installed strategy from what was known at the cut, passes the engine's
safety rules, and is scored on the window after it, by the code of `perfopt backtest`; here each series has
cuts of its own, and the strategy runs in this process, so that its time can be taken. On bitbrains_rnd, which
the shipped model was trained on, each half of the series is judged by a model trained on the other half
(half_models.py); with --model FILE the table says IN-SAMPLE there. The other files no model has seen.

--record replays the strategy before each recommendation as the engine does, and fits how many windows of a
service's own record weigh as much as the model's word: the strength of greatest likelihood.
"""

import argparse
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import numpy as np
from half_models import trained_without
from walk_traces import SETTINGS, Setting, Split, load, split_of

from perfopt.backtest import OURS, Trial, make_plan, summarise
from perfopt.backtest.summary import TERCILES, PolicySummary, ResourceFigures
from perfopt.backtest.trial import Case
from perfopt.backtest.walk import cases
from perfopt.domain.enums import ServiceClass
from perfopt.domain.period import format_duration
from perfopt.domain.price import DEFAULT_PRICE_BOOK
from perfopt.domain.recommendation import Declined
from perfopt.engine.confidence import confidence
from perfopt.engine.pipeline import run_strategy
from perfopt.learn.model import SizingModel, shipped_model
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.plugin import AnalysisContext, Proposal
from perfopt.rules import default_book
from perfopt_resource.learnt.strategy import LearntSizing
from perfopt_resource.strategy import ResourceStrategy

HEADINGS = (
    "traces", "scored", "declined", "not scored", "accuracy", "cpu safe", "memory safe",
    "accuracy by tercile of load", "cpu waste median / mean10", "memory waste median / mean10",
    "core-weighted cpu waste", "byte-weighted memory waste", "cpu shortage median", "memory shortage median",
    "confidence mean / ECE / AUC", "already right", "ms per proposal, median / p99",
)  # fmt: skip
STRENGTHS = (*np.geomspace(1, 1000, 31), np.inf)


@dataclass
class Learnt(ResourceStrategy):
    """The resource strategy with one model, whatever the context says."""

    model: SizingModel = field(default_factory=shipped_model)

    def propose(self, context: AnalysisContext) -> Proposal | Declined:
        """Sizes by the model."""
        return LearntSizing(self.model).propose(context)


@dataclass(frozen=True)
class Run:
    """What is asked of every series."""

    traces: Path
    model: Path | None
    service_class: ServiceClass
    record: bool

    def model_for(self, file: str, series: str) -> SizingModel:
        """Returns the model given, or one that has not seen the series."""
        if self.model is not None:
            return SizingModel.load(self.model)
        if file == "bitbrains_rnd":
            return trained_without(self.traces, split_of(series))
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


def walk(run: Run, file: str, split: Split | None, most: int | None) -> Walked:
    """Recommends and scores at each cut of each series."""
    walked, setting = Walked(), SETTINGS[file]
    for snapshot in load(run.traces / f"{file}.parquet", keep=split, most=most):
        if snapshot.grid.size * snapshot.grid.step < setting.history + setting.validity:
            continue
        strategy = Learnt(model=run.model_for(file, snapshot.workload.service_name))
        workload = msgspec.structs.replace(snapshot.workload, service_class=run.service_class)
        for case in _cases(replace(snapshot, workload=workload), setting):
            _try(walked, strategy, case, setting, record=run.record)
    return walked


def _cases(snapshot: WorkloadSnapshot, setting: Setting) -> list[Case]:
    plan = make_plan(
        snapshot.grid.end,
        begin=snapshot.grid.start,
        history=setting.history,
        validity=setting.validity,
        cuts=format_duration(setting.stride),
    )
    return list(cases(snapshot, plan, DEFAULT_PRICE_BOOK))


def _try(walked: Walked, strategy: Learnt, case: Case, setting: Setting, *, record: bool) -> None:
    context = AnalysisContext(case.known, setting.validity, case.book)
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
    if record and trial.scored:
        detail = confidence(run_strategy(strategy, context).evidence, made.prior, setting.validity)[1]
        own = (detail.accurate_share or 0.0, detail.n_effective)
        walked.records.append((said, *own, trial.outcome == "accurate"))


def record_strength(records: list[tuple[float, float, float, bool]]) -> str:
    """Says which strength of the model's word, against the service's own record, fits the outcomes best."""
    said, share, windows, accurate = np.array(records).T
    losses = []
    for strength in STRENGTHS:
        weight = windows / (strength + windows)
        sure = np.clip((1 - weight) * said + weight * share, 1e-3, 1 - 1e-3)
        losses.append(-np.log(np.where(accurate > 0, sure, 1 - sure)).mean())
    best = int(np.argmin(losses))
    return (
        f"{len(said)} recommendations, {windows.mean():.2f} windows of own record each: strength"
        f" {STRENGTHS[best]:.1f} at log loss {losses[best]:.4f}; without the record {losses[-1]:.4f}, with a"
        f" strength of {STRENGTHS[10]:.0f} {losses[10]:.4f}"
    )


def row(name: str, walked: Walked) -> str:
    """Returns the file's line of the table."""
    summary = summarise(walked.trials)[0]
    whole, milliseconds = summary.all, np.array(walked.seconds) * 1000
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
        _calibration(summary, walked.trials),
        str(summary.already_right),
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
    return f"{mean:.3f} / {found.ece:.3f} / {'-' if found.auc is None else f'{found.auc:.2f}'}"


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
    parser.add_argument("--model", type=Path, help="file; one that has not seen the series otherwise")
    parser.add_argument("--class", dest="kind", type=ServiceClass, default=ServiceClass.STANDARD)
    parser.add_argument("--record", action="store_true", help="fit what the service's own record is worth")
    arguments = parser.parse_args()
    run = Run(arguments.traces, arguments.model, arguments.kind, arguments.record)
    print("| " + " | ".join(HEADINGS) + " |")
    print("|" + " --- |" * len(HEADINGS))
    for name in arguments.files:
        split = arguments.split if name == "bitbrains_rnd" else None
        walked = walk(run, name, split, arguments.vms)
        caveat = " IN-SAMPLE" if name == "bitbrains_rnd" and arguments.model else ""
        print(row((f"{name} ({split})" if split else name) + caveat, walked), flush=True)
        if arguments.record:
            print(record_strength(walked.records), flush=True)


if __name__ == "__main__":
    main()
