"""How well the latency model predicts p99 at CPU limits and loads that it was not identified on.

    python plugins/latency/tests/accuracy_report.py --traces DIR

DIR holds testbed_sweep.parquet: five services, measured under a CPU quota. A model is identified on the
varying run of a service alone (5 s steps at its own limit) and predicts the p99 of its runs of 25 s, below
0.95 of the limit. Beside it stands what knows the truth: the same queue simulated 400 times with the
parameters that the service was built with, at the run's measured CPU per request. "The true queue" predicts
its median over those repetitions; "chance alone" is how far single repetitions stray from that median, which
no model avoids. The last table chooses limits: of the measured ones, the smallest whose predicted p99 times
the margin meets a target between the p99 of two neighbours. Needs a C compiler.
"""

import argparse
import ctypes
import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from perfopt.capacity import (
    GroupedObservations,
    LatencyModel,
    NotIdentified,
    ReplicaLoad,
    identify,
    observe,
)
from perfopt.capacity.predictor import MARGIN
from perfopt.capacity.training.simulation import OUTPUTS, compiled_queue
from perfopt.metrics.snapshot import Array

STEP_SECONDS, RUN_SECONDS, BUSIEST, REPETITIONS = 5.0, 25.0, 0.95, 400
QUANTILES = ("latency_p50_ms", "latency_p90_ms", "latency_p95_ms", "latency_p99_ms")
DIFFERENT, CLEAR, TARGETS = 1.5, 1.1, 5
# How the services were built: share and cost of heavy requests, spread of CPU, wait in s and its spread,
# cores, threads.
BUILT = {
    "auth": (0.0, 1.0, 1.5, 0.05, 0.3, 1.0, 16.0),
    "ingest": (0.1, 8.0, 0.02, 0.02, 0.3, 2.0, 16.0),
    "portfolio": (0.1, 8.0, 0.02, 0.04, 0.3, 1.0, 4.0),
    "report": (0.0, 1.0, 0.7, 0.0, 0.0, 1.0, 4.0),
    "risk-calc": (0.1, 8.0, 0.02, 0.0, 0.0, 1.0, 2.0),
}


@dataclass(frozen=True)
class Run:
    """A run of 25 s: means, and the p99 of all its requests."""

    service: str
    name: str
    limit_cores: float
    rate: float
    cpu_cores: float
    p99_ms: float

    @property
    def utilisation(self) -> float:
        """Of the limit."""
        return self.cpu_cores / self.limit_cores

    @property
    def load(self) -> ReplicaLoad:
        """What the replica was under, by its own measured CPU."""
        values = (self.rate, self.cpu_cores, self.limit_cores, RUN_SECONDS)
        return ReplicaLoad(*(np.array([value]) for value in values))


@dataclass(frozen=True)
class LimitChoice:
    """A target p99 at one load, the measured limits in rising order and the p99 of each."""

    service: str
    rate: float
    target_ms: float
    limits: tuple[float, ...]
    measured_ms: tuple[float, ...]

    def chosen(self, model: LatencyModel, margin: float) -> float:
        """Returns the smallest limit predicted to meet the target with a margin, or the largest."""
        load = model.load(self.rate, np.array(self.limits), RUN_SECONDS)
        predicted = np.minimum.accumulate(model.latency_ms(load, 0.99))
        good = np.flatnonzero((predicted * margin <= self.target_ms) & (load.utilisation < BUSIEST))
        return self.limits[int(good[0]) if good.size else -1]

    def met(self, limit: float) -> bool:
        """Whether the p99 measured at a limit meets the target."""
        return self.measured_ms[self.limits.index(limit)] <= self.target_ms

    def smallest(self) -> float:
        """Returns the smallest limit that met the target."""
        return next(limit for limit in self.limits if self.met(limit))


def read(path: Path) -> tuple[dict[str, LatencyModel], list[Run]]:
    """Returns the model of each service, and all runs of 25 s."""
    table = pd.read_parquet(path)
    wide = table.pivot_table(
        index=["series_id", "timestamp"], columns="metric", values="value", observed=True
    )
    models: dict[str, LatencyModel] = {}
    runs: list[Run] = []
    for name, rows in wide.groupby("series_id", observed=True):
        service, run = str(name).split("/", 2)[1:]
        if run == "varying":
            models[service] = _model(service, rows)
        else:
            runs.append(_run(service, run, rows))
    return models, runs


def _model(service: str, rows: pd.DataFrame) -> LatencyModel:
    observed = _observed(rows)
    model = None if observed is None else identify(observed)
    if not isinstance(model, LatencyModel):
        reason = model.reason if isinstance(model, NotIdentified) else "too few steps"
        raise SystemExit(f"{service} has no model: {reason}.")
    return model


def _observed(rows: pd.DataFrame) -> GroupedObservations | None:
    limit = np.full(len(rows), rows["cpu_limit_cores"].max())
    rate, cpu, throttled = (
        rows[metric].to_numpy() for metric in ("requests_per_second", "cpu_cores", "cpu_throttled_fraction")
    )
    latency = rows[list(QUANTILES)].to_numpy() / 1000
    return observe(rate, cpu, limit, latency, throttled, STEP_SECONDS)


def _run(service: str, name: str, rows: pd.DataFrame) -> Run:
    return Run(
        service,
        name,
        limit_cores=float(rows["cpu_limit_cores"].mean()),
        rate=float(rows["requests_per_second"].mean()),
        cpu_cores=float(rows["cpu_cores"].mean()),
        p99_ms=float(rows["run_latency_p99_ms"].max()),
    )


def repetitions(queue: ctypes.CDLL, run: Run) -> Array:
    """Returns the p99 in ms of runs like this of the queue that the service was built as."""
    share, ratio, spread, wait, wait_spread, cores, threads = BUILT[run.service]
    cpu = run.cpu_cores / run.rate
    row = (
        run.rate, cpu, share, ratio, spread, wait, wait_spread, run.limit_cores, cores, threads, RUN_SECONDS,
    )  # fmt: skip
    inputs, outputs = np.tile(np.array(row), (REPETITIONS, 1)), np.zeros((REPETITIONS, OUTPUTS))
    double = ctypes.POINTER(ctypes.c_double)
    seed = ctypes.c_uint64(5)
    queue.simulate(REPETITIONS, inputs.ctypes.data_as(double), outputs.ctypes.data_as(double), seed)
    alike = np.abs(outputs[:, 1] / run.cpu_cores - 1) < 0.05
    chosen: Array = outputs[alike if alike.sum() > 30 else slice(None), 6] * 1000
    return chosen


def figures(logs: Array) -> str:
    """Returns the cells of a row of log(predicted / measured)."""
    return f"{np.median(np.abs(np.expm1(logs))):.1%} | {np.mean(np.abs(logs) < np.log(1.5)):.0%}"


def print_accuracy(models: dict[str, LatencyModel], runs: Sequence[Run]) -> None:
    """Prints the error of p99, of the model, of the true queue and by chance."""
    scored = [run for run in runs if run.utilisation < BUSIEST]
    model = {
        run: float(np.log(models[run.service].latency_ms(run.load, 0.99)[0] / run.p99_ms)) for run in scored
    }
    with tempfile.TemporaryDirectory() as folder:
        queue = compiled_queue(Path(folder))
        repeated = {run: np.log(repetitions(queue, run)) for run in scored}
    true = {run: float(logs.mean() - np.log(run.p99_ms)) for run, logs in repeated.items()}
    chance = np.concatenate([logs - logs.mean() for logs in repeated.values()])
    print(f"| p99 of {len(scored)} runs of 25 s | median error | within 1.5 x |\n|---|---|---|")
    print(f"| latency model | {figures(np.array(list(model.values())))} |")
    print(f"| the true queue | {figures(np.array(list(true.values())))} |")
    print(f"| chance alone | {figures(chance)} |")
    for service in models:
        logs = np.array([log for run, log in model.items() if run.service == service])
        print(f"| latency model, {service} ({logs.size}) | {figures(logs)} |")


def choices(runs: Sequence[Run]) -> list[LimitChoice]:
    """Returns targets between the p99 of neighbouring limits at one load, clear of both by a tenth."""
    result = []
    for service, load in itertools.product(BUILT, ("median", "busy")):
        alike = [run for run in runs if run.service == service and run.name.endswith(f"rate={load}")]
        alike.sort(key=lambda run: run.limit_cores)
        limits, measured = tuple(run.limit_cores for run in alike), tuple(run.p99_ms for run in alike)
        rate = float(np.mean([run.rate for run in alike]))
        for slower, faster in itertools.pairwise(measured):
            if slower >= DIFFERENT * faster:
                targets = np.geomspace(faster * CLEAR, slower / CLEAR, TARGETS).tolist()
                result += [LimitChoice(service, rate, target, limits, measured) for target in targets]
    return result


def print_limits(models: dict[str, LatencyModel], runs: Sequence[Run]) -> None:
    """Prints how often the limit chosen for a target meets it, and how much more CPU it has than needed."""
    cases = choices(runs)
    print(f"\n| {len(cases)} choices of a limit | target met | CPU above the smallest that meets it |")
    print("|---|---|---|")
    for margin in sorted({1.0, 1.1, 1.2, MARGIN, 1.4}):
        chosen = [(case, case.chosen(models[case.service], margin)) for case in cases]
        met = [(case, limit) for case, limit in chosen if case.met(limit)]
        more = np.mean([limit / case.smallest() - 1 for case, limit in met])
        shipped = ", as shipped" if margin == MARGIN else ""
        print(f"| predicted p99 x {margin:g}{shipped} | {len(met) / len(cases):.0%} | {more:+.0%} |")


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=Path, required=True, help="folder with testbed_sweep.parquet")
    models, runs = read(parser.parse_args().traces / "testbed_sweep.parquet")
    print_accuracy(models, runs)
    print_limits(models, runs)


if __name__ == "__main__":
    main()
