"""Scores the cost strategy on traces by what accurate means (docs/explanation) and prints its table.

    python benchmarks/cost_accuracy.py --traces DIR [--split tune|report] [--files NAME ...] [--replicas N]
        [--history-days N]
    python benchmarks/cost_accuracy.py --traces DIR --prior

Each recommendation is made by the installed strategy from what was known at the cut, passes the
shipped rules, and is scored on the window after it by the code that scores replays. A series is one service
whose replicas each use what the series says; with `--replicas 4` there are four of them, so that fewer and
larger ones or a schedule can be recommended. Limits stand for requests, as the traces know no requests; the
saving is the median over recommendations by the built-in price book: what the cost of requests falls by, not
money that anyone paid. `report` is the half of bitbrains_rnd that no constant was fitted on; the other files
were not used in fitting at all.

`--prior` prints the strategy's prior: how often its recommendations are accurate on the tuning half, as
services of one and of four replicas, by bounds fitted without their fold of VMs.
"""

import argparse
import json
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from walk_traces import SETTINGS, Setting, Split, cuts, load

from perfopt.domain.price import DEFAULT_PRICE_BOOK
from perfopt.domain.recommendation import Declined
from perfopt.evaluation.score import WindowScore, score
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.plugin import AnalysisContext, Container, Proposal
from perfopt.rules import RuledProposal, default_book
from perfopt_cost.calibration import BoundCalibration, parse_calibration
from perfopt_cost.strategy import CostStrategy
from perfopt_cost.training.fit import FOLDS, fit, fold_of
from perfopt_cost.training.windows import METRICS, FleetWindows, windows

HEADINGS = (
    "traces", "replicas", "scored", "declined", "not scored", "already right", "accuracy",
    "stated confidence", "by fifths of it, stated / accurate", "cpu safe",
    "memory safe", "waste where safe, cpu / memory, median", "schedules", "claims kept",
    "saving claimed / realised (replica-hours)",
    "saving of cost, median", "ms per proposal, median / p99",
)  # fmt: skip


@dataclass
class Tally:
    """What came of the recommendations on one file.

    Attributes:
        strategy: what recommends.
        stated: the probability of each scored one, before the record of the service itself.
        savings: relative fall of the monthly cost, of each recommendation that changes something.
        claims: (claimed, realised) percent of replica-hours, of each schedule.
    """

    strategy: CostStrategy = field(default_factory=CostStrategy)
    scores: list[WindowScore] = field(default_factory=list)
    declined: Counter[str] = field(default_factory=Counter)
    not_scored: int = 0
    no_change_needed: int = 0
    stated: list[float] = field(default_factory=list)
    savings: list[float] = field(default_factory=list)
    claims: list[tuple[float, float]] = field(default_factory=list)
    kept: list[bool] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def take(self, known: WorkloadSnapshot, window: WorkloadSnapshot, setting: Setting) -> None:
        """Recommends at a cut and scores on the window after it."""
        context = AnalysisContext(known, setting.validity, DEFAULT_PRICE_BOOK)
        begin = time.process_time()
        made = self.strategy.propose(context)
        self.seconds.append(time.process_time() - begin)
        ruled = made if isinstance(made, Declined) else _ruled(made, context)
        if isinstance(ruled, Declined):
            self.declined[ruled.code.value] += 1
            return
        self._score(ruled.proposal, known, replace(window, workload=known.workload))

    def _score(self, proposal: Proposal, known: WorkloadSnapshot, window: WorkloadSnapshot) -> None:
        scored = score(proposal, window)
        if not scored.scored:
            self.not_scored += 1
            return
        self.scores.append(scored)
        self.stated.append((proposal.prior or self.strategy.prior).mean)
        self.no_change_needed += proposal.no_change_needed
        now, then = (DEFAULT_PRICE_BOOK.monthly_cost(s) for s in (known.workload.state, proposal.target))
        if now and then is not None and not proposal.no_change_needed:
            self.savings.append(1 - then / now)
        if proposal.claim.saving_percent is not None and scored.realised_saving_percent is not None:
            self.claims.append((proposal.claim.saving_percent, scored.realised_saving_percent))
            self.kept.append(bool(scored.claim_met))


def _ruled(proposal: Proposal, context: AnalysisContext) -> RuledProposal | Declined:
    return default_book().rules_for(context.snapshot.workload).apply(proposal, context)


def as_service(snapshot: WorkloadSnapshot, replicas: int) -> WorkloadSnapshot:
    """Returns a series as a service of so many replicas that asks for its limits."""
    (old,) = snapshot.workload.state.containers
    container = msgspec.structs.replace(
        old,
        cpu_request_cores=_first(
            old.cpu_request_cores, old.cpu_limit_cores, _peak(snapshot, "cpu_cores", 1.5)
        ),
        memory_request_bytes=_bytes(
            _first(old.memory_request_bytes, old.memory_limit_bytes, _peak(snapshot, "memory_bytes", 1.5))
        ),
    )
    state = msgspec.structs.replace(
        snapshot.workload.state, containers=(_ordered(container),), replicas=replicas
    )
    return replace(snapshot, workload=msgspec.structs.replace(snapshot.workload, state=state))


def _ordered(container: Container) -> Container:
    """Returns a container whose memory limit, where it has one, is not below its request."""
    request, limit = container.memory_request_bytes, container.memory_limit_bytes
    if request is None or limit is None or request <= limit:
        return container
    return msgspec.structs.replace(container, memory_request_bytes=limit)


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value), None)


def _bytes(value: float | None) -> int | None:
    return None if value is None else int(value)


def _peak(snapshot: WorkloadSnapshot, metric: str, factor: float) -> float | None:
    """Returns what a trace without limits is taken to ask for: half as much again as it has used so far."""
    series = snapshot.series("main", metric)
    if series is None or not np.isfinite(series.values).any():
        return None
    return float(np.nanmax(series.values)) * factor


def walk(
    path: Path,
    setting: Setting,
    split: Split | None,
    most: int | None,
    replicas: int,
    history: timedelta | None = None,
) -> Tally:
    """Recommends and scores at each cut of each series, from so much of its history."""
    tally = Tally()
    for snapshot in load(path, keep=split, most=most):
        if snapshot.grid.size * snapshot.grid.step < setting.history + setting.validity:
            continue
        for known, window in cuts(snapshot, setting, history):
            tally.take(as_service(known, replicas), window, setting)
    return tally


def row(name: str, replicas: int, tally: Tally) -> str:
    """Returns the file's line of the table."""
    milliseconds = np.array(tally.seconds or [0.0]) * 1000
    claimed = " / ".join(f"{np.mean(side):.0f} %" for side in zip(*tally.claims, strict=True))
    cells = (
        name,
        str(replicas),
        str(len(tally.scores)),
        str(sum(tally.declined.values())),
        str(tally.not_scored),
        str(tally.no_change_needed),
        _share([made.accurate for made in tally.scores]),
        f"{np.mean(tally.stated):.1%}" if tally.stated else "-",
        _fifths(tally),
        _share([made.cpu_safe for made in tally.scores if made.cpu_safe is not None]),
        _share([made.memory_safe for made in tally.scores if made.memory_safe is not None]),
        f"{_waste(tally, 'cpu')} / {_waste(tally, 'memory')}",
        str(len(tally.claims)),
        _share(tally.kept),
        claimed or "-",
        f"{np.median(tally.savings):.0%}" if tally.savings else "-",
        f"{np.median(milliseconds):.1f} / {np.quantile(milliseconds, 0.99):.1f}",
    )
    return "| " + " | ".join(cells) + " |"


def _fifths(tally: Tally) -> str:
    if len(tally.stated) < 100:
        return "-"
    order = np.argsort(tally.stated, kind="stable")
    stated, accurate = np.array(tally.stated)[order], np.array([one.accurate for one in tally.scores])[order]
    parts = zip(np.array_split(stated, 5), np.array_split(accurate, 5), strict=True)
    return ", ".join(f"{one.mean():.2f} / {other.mean():.2f}" for one, other in parts)


def _waste(tally: Tally, resource: str) -> str:
    found = [
        getattr(made, f"{resource}_waste")
        for made in tally.scores
        if getattr(made, f"{resource}_safe") is True
    ]
    return f"{np.median(found):.0%}" if found else "-"


def _share(flags: list[bool]) -> str:
    return f"{np.mean(flags):.1%}" if flags else "-"


def prior(path: Path) -> str:
    """Returns mean and strength of the accuracy on VMs that the bounds were not fitted on."""
    snapshots = list(load(path, keep="tune"))
    setting = SETTINGS[path.stem]
    found = {name: windows(snapshots, name, setting.validity) for name in METRICS}
    strategies = [CostStrategy(calibration=_without(found, fold)) for fold in range(FOLDS)]
    by_vm: dict[str, list[bool]] = {}
    for snapshot in snapshots:
        vm = snapshot.workload.service_name
        for replicas in (1, 4):
            tally = Tally(strategies[fold_of(vm)])
            for known, window in cuts(snapshot, setting):
                tally.take(as_service(known, replicas), window, setting)
            by_vm.setdefault(vm, []).extend(made.accurate for made in tally.scores)
    known_vms = [np.array(flags) for flags in by_vm.values() if flags]
    mean, strength = beta_binomial(known_vms)
    scored = sum(flags.size for flags in known_vms)
    return f"mean {mean:.3f}, strength {strength:.2f}: {len(known_vms)} VMs, {scored} windows"


def _without(found: dict[str, FleetWindows], fold: int) -> BoundCalibration:
    """Returns the bounds fitted to the VMs of the other folds."""
    bounds = {
        name: fit(one.where(np.array([fold_of(vm) != fold for vm in one.names])), name)
        for name, one in found.items()
    }
    unknown = {"mean": 0.5, "strength": 2.0, "source": "none"}
    return parse_calibration(json.dumps({"prior": unknown, **bounds}))


def beta_binomial(series: list[NDArray[np.bool_]]) -> tuple[float, float]:
    """Returns mean and strength of the beta distribution that accuracies of series come from, by moments.

    Kleinman 1973: the variance between series beyond binomial noise gives the intraclass correlation rho, and
    the strength is 1 / rho - 1.
    """
    counts = np.array([flags.size for flags in series], dtype=float)
    shares = np.array([flags.mean() for flags in series])
    total = counts.sum()
    mean = float(counts @ shares / total)
    noise = mean * (1 - mean)
    spread = float(counts @ (shares - mean) ** 2)
    rho = (spread - noise * (counts.size - 1)) / (
        noise * (total - (counts**2).sum() / total - counts.size + 1)
    )
    return mean, 1 / min(max(rho, 0.01), 0.99) - 1


def main() -> None:
    """Walks the files named and prints one line for each and each number of replicas."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=Path, required=True)
    parser.add_argument("--vms", type=int, help="at most so many series of each file")
    parser.add_argument("--split", choices=("tune", "report"), help="half of bitbrains_rnd; both by default")
    parser.add_argument("--files", nargs="+", choices=tuple(SETTINGS), default=tuple(SETTINGS))
    parser.add_argument("--replicas", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--history-days", type=float, help="known at a cut; default: as the file has it")
    parser.add_argument("--prior", action="store_true", help="print the prior of the strategy only")
    arguments = parser.parse_args()
    if arguments.prior:
        print(prior(arguments.traces / "bitbrains_rnd.parquet"))
        return
    history = None if arguments.history_days is None else timedelta(days=arguments.history_days)
    print("| " + " | ".join(HEADINGS) + " |")
    print("|" + " --- |" * len(HEADINGS))
    for name in arguments.files:
        split = arguments.split if name == "bitbrains_rnd" else None
        for replicas in arguments.replicas:
            path = arguments.traces / f"{name}.parquet"
            tally = walk(path, SETTINGS[name], split, arguments.vms, replicas, history)
            print(row(f"{name} ({split})" if split else name, replicas, tally), flush=True)


if __name__ == "__main__":
    main()
