"""How well the latency model predicts p99 at other CPU limits and loads, on a trace of measured what-ifs.

python benchmarks/latency_accuracy.py --traces DIR

DIR holds testbed_sweep.parquet. The model of a service is identified on its varying run alone (5 s steps at
its own limit) and predicts the p99 of its short runs, whose utilisation is below 0.95. Nothing is fitted on
those. Constants that are common to all services are also chosen leaving out the service they are used on.
"""

import argparse
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from perfopt.capacity import (
    History,
    LatencyModel,
    Load,
    NotIdentified,
    Observations,
    Outlook,
    identify,
    observe,
)
from perfopt.capacity.identify import Fitting
from perfopt.metrics.snapshot import Array
from perfopt_latency.bottleneck import inferred

STEP_SECONDS, RUN_SECONDS = 5.0, 25.0
BUSIEST = 0.95
QUANTILES = ("latency_p50_ms", "latency_p90_ms", "latency_p95_ms", "latency_p99_ms")
# Constants of the fit that were tried; the shipped one is among them.
TRIED = [
    Fitting(huber=huber, prior=prior) for huber, prior in itertools.product((0.7, 1.0, 1.5), (1.0, 2.0, 3.0))
]
MARGINS = (1.0, 1.1, 1.2, 1.25, 1.3, 1.35, 1.4)
APART, MARGIN, TARGETS = 1.5, 1.1, 5
MIN_CHANGE = 1.3


@dataclass(frozen=True)
class Run:
    """A short run: its means over 25 s, and the p99 of all its requests."""

    name: str
    limit_cores: float
    rate: float
    cpu_cores: float
    throttled: float
    p99_ms: float

    @property
    def utilisation(self) -> float:
        """Of the limit."""
        return self.cpu_cores / self.limit_cores

    @property
    def load(self) -> Load:
        """What the run was under, by its own measured CPU."""
        return Load(*(np.array([x]) for x in (self.rate, self.cpu_cores, self.limit_cores, RUN_SECONDS)))


@dataclass(frozen=True)
class Service:
    """What is known of one service: the varying run, and the short runs to predict."""

    name: str
    observed: Observations
    runs: tuple[Run, ...]


def main() -> None:
    """Prints all figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=Path, required=True)
    services = read(parser.parse_args().traces / "testbed_sweep.parquet")
    models = {service.name: model_of(service) for service in services}
    print_accuracy(services, models)
    print_constants(services)
    print_limits(services, models)
    print_changes(services, models)
    print_bottlenecks(services, models)


def read(path: Path) -> list[Service]:
    """Reads the varying and the short runs of each service."""
    table = pq.read_table(path)
    names = [str(name) for name in pc.unique(table["series_id"].cast("string")).to_pylist()]
    series = {name: columns(table, name) for name in names}
    found = []
    for service in sorted({name.split("/")[1] for name in names}):
        observed = _observed(series[f"testbed/{service}/varying"])
        assert observed is not None
        mine = {name: data for name, data in series.items() if name.startswith(f"testbed/{service}/")}
        runs = [_run(name, data) for name, data in mine.items() if not name.endswith("/varying")]
        found.append(Service(service, observed, tuple(runs)))
    return found


def columns(table: object, name: str) -> dict[str, Array]:
    """Returns a run's metrics on the grid of its steps, by name."""
    rows = table.filter(pc.equal(table["series_id"].cast("string"), name))  # type: ignore[attr-defined]
    stamps = rows["timestamp"].cast("int64").to_numpy()
    grid = {stamp: i for i, stamp in enumerate(np.unique(stamps).tolist())}
    metrics = rows["metric"].to_pylist()
    columns = {metric: np.full(len(grid), np.nan) for metric in set(metrics)}
    for metric, stamp, value in zip(metrics, stamps.tolist(), rows["value"].to_pylist(), strict=True):
        columns[metric][grid[stamp]] = value
    columns["cpu_limit_cores"] = np.full(len(grid), np.nanmax(columns["cpu_limit_cores"]))
    return columns


def _observed(data: dict[str, Array]) -> Observations | None:
    return observe(
        data["requests_per_second"],
        data["cpu_cores"],
        data["cpu_limit_cores"],
        np.stack([data[name] for name in QUANTILES], -1) / 1000,
        data["cpu_throttled_fraction"],
        STEP_SECONDS,
    )


def _run(name: str, data: dict[str, Array]) -> Run:
    means = [
        float(np.nanmean(data[metric]))
        for metric in ("cpu_limit_cores", "requests_per_second", "cpu_cores", "cpu_throttled_fraction")
    ]
    return Run(name.removeprefix("testbed/"), *means, p99_ms=float(np.nanmax(data["run_latency_p99_ms"])))


def model_of(service: Service, fitting: Fitting | None = None) -> LatencyModel:
    """Identifies the model of a service on its varying run."""
    model = identify(service.observed, fitting=fitting)
    if isinstance(model, NotIdentified):
        raise SystemExit(f"{service.name}: {model.reason}")
    return model


def scored(service: Service) -> list[Run]:
    """Returns the short runs that count."""
    return [run for run in service.runs if run.utilisation < BUSIEST]


def errors(model: LatencyModel, runs: Iterable[Run], *, by_rate: bool = False) -> Array:
    """Returns log(predicted / measured) p99 of runs; by the rate alone, or by the CPU measured too."""
    logs = []
    for run in runs:
        load = model.load(run.rate, run.limit_cores, RUN_SECONDS) if by_rate else run.load
        logs.append(np.log(model.latency_ms(load, 0.99)[0] / run.p99_ms))
    return np.array(logs)


def summary(logs: Array) -> str:
    """Returns the two figures of the comparison."""
    return (
        f"median error {np.median(np.abs(np.expm1(logs))):5.1%}   within 1.5x"
        f" {np.mean(np.abs(logs) < np.log(1.5)):4.0%}   of {logs.size}"
    )


def print_accuracy(services: Sequence[Service], models: dict[str, LatencyModel]) -> None:
    """Prints the error of p99."""
    print(f"p99 of the short runs (utilisation < {BUSIEST}), models identified on the varying runs only")
    every = {
        "all": [errors(models[s.name], scored(s)) for s in services],
        "all, without the residual": [
            errors(models[s.name].with_residual(None), scored(s)) for s in services
        ],
        "all, CPU by the model": [errors(models[s.name], scored(s), by_rate=True) for s in services],
    }
    for name, parts in every.items():
        print(f"  {name:28} {summary(np.concatenate(parts))}")
    for service, logs in zip(services, every["all"], strict=True):
        print(f"  {service.name:28} {summary(logs)}")
    print()


def print_constants(services: Sequence[Service]) -> None:
    """Prints the accuracy with each service's constants chosen on the other services."""
    found = {
        fitting: {service.name: errors(model_of(service, fitting), scored(service)) for service in services}
        for fitting in TRIED
    }
    held_out = []
    for service in services:
        others = [other.name for other in services if other is not service]
        best = min(TRIED, key=lambda f: np.mean([np.mean(np.abs(found[f][name])) for name in others]))
        held_out.append(found[best][service.name])
    print(f"constants of the fit: {len(TRIED)} sets, chosen for each service on the other four")
    print(f"  leave one service out        {summary(np.concatenate(held_out))}")
    medians = [np.median(np.abs(np.expm1(np.concatenate(list(f.values()))))) for f in found.values()]
    print(f"  over the sets                median error {min(medians):.1%} to {max(medians):.1%}\n")


@dataclass(frozen=True)
class Case:
    """At one load, a target p99, the limits that were measured and whether each met it."""

    service: str
    rate: float
    target_ms: float
    limits: tuple[float, ...]
    measured_ms: tuple[float, ...]

    def chosen(self, model: LatencyModel, margin: float) -> float:
        """Returns the smallest of the limits whose predicted p99 is below the target, or the largest."""
        load = model.load(self.rate, np.array(self.limits), RUN_SECONDS)
        predicted = np.minimum.accumulate(model.latency_ms(load, 0.99))
        good = np.flatnonzero((predicted * margin <= self.target_ms) & (load.utilisation < BUSIEST))
        return self.limits[int(good[0]) if good.size else -1]

    def smallest(self) -> float:
        """Returns the smallest limit that met the target."""
        return next(
            lim for lim, p99 in zip(self.limits, self.measured_ms, strict=True) if p99 <= self.target_ms
        )

    def met(self, limit: float) -> bool:
        """Whether the target was met at a limit."""
        return self.measured_ms[self.limits.index(limit)] <= self.target_ms


def cases(services: Sequence[Service]) -> list[Case]:
    """Returns the cases: targets between the p99 of neighbouring limits that were measured at one load.

    Only limits whose p99 differ by more than two runs alike may; targets keep clear of both by a tenth.
    """
    found = []
    for service in services:
        for load in ("median", "busy"):
            runs = sorted(
                (run for run in service.runs if run.name.endswith(f"rate={load}")),
                key=lambda run: run.limit_cores,
            )
            measured = tuple(run.p99_ms for run in runs)
            limits = tuple(run.limit_cores for run in runs)
            rate = float(np.mean([run.rate for run in runs]))
            for slower, faster in itertools.pairwise(measured):
                if slower < APART * faster:
                    continue
                for target in np.geomspace(faster * MARGIN, slower / MARGIN, TARGETS):
                    found.append(Case(service.name, rate, float(target), limits, measured))
    return found


def print_limits(services: Sequence[Service], models: dict[str, LatencyModel]) -> None:
    """Prints how often the limit recommended for a target meets it, and at how much more CPU."""
    every = cases(services)

    def outcome(among: Sequence[Case], margin: float) -> tuple[float, float]:
        chosen = [case.chosen(models[case.service], margin) for case in among]
        met = np.mean([case.met(limit) for case, limit in zip(among, chosen, strict=True)])
        more = [
            limit / case.smallest() - 1 for case, limit in zip(among, chosen, strict=True) if case.met(limit)
        ]
        return float(met), float(np.mean(more))

    print(
        f"the limit for a target p99: {len(every)} cases (loads measured at three limits, {TARGETS} targets"
    )
    print(f"between each two neighbours whose p99 differ by {APART}x); the smallest predicted to meet it")
    for margin in MARGINS:
        met, more = outcome(every, margin)
        print(f"  predicted x {margin:<4}   met {met:4.0%}   CPU {more:+.0%} over the smallest that does")
    held_out = [
        (case, _margin(outcome, [other for other in every if other.service != case.service]))
        for case in every
    ]
    chosen = [(case, case.chosen(models[case.service], margin)) for case, margin in held_out]
    met = np.mean([case.met(limit) for case, limit in chosen])
    more = np.mean([limit / case.smallest() - 1 for case, limit in chosen if case.met(limit)])
    print(f"  smallest margin with 95% on the other four services: met {met:4.0%}   CPU {more:+.0%}\n")


def _margin(outcome: object, others: Sequence[Case]) -> float:
    for margin in MARGINS:
        if outcome(others, margin)[0] >= 0.95:  # type: ignore[operator]
            return margin
    return MARGINS[-1]


def print_changes(services: Sequence[Service], models: dict[str, LatencyModel]) -> None:
    """Prints how far predicted changes of latency between two limits missed, as a share of the change."""
    misses = []
    for service in services:
        for load in ("median", "busy"):
            runs = [run for run in scored(service) if run.name.endswith(f"rate={load}")]
            for one, other in itertools.combinations(runs, 2):
                predicted = errors(models[service.name], [one, other])
                change = np.log(one.p99_ms / other.p99_ms) + predicted[0] - predicted[1]
                if abs(change) > np.log(MIN_CHANGE):
                    misses.append(abs((predicted[0] - predicted[1]) / change))
    print(f"predicted changes of p99 by {MIN_CHANGE}x or more between limits at one load: {len(misses)}")
    middle, high = np.quantile(misses, (0.5, 0.8))
    print(f"  miss as a share of the change: median {middle:.0%}, P80 {high:.0%}\n")


def print_bottlenecks(services: Sequence[Service], models: dict[str, LatencyModel]) -> None:
    """Prints what is said to hold each service in its busiest runs, and what any CPU limit would give."""
    print("what holds each service, at the most loaded run of each limit")
    for service in services:
        busiest: dict[float, Run] = {}
        for run in scored(service):
            if run.limit_cores not in busiest or run.rate > busiest[run.limit_cores].rate:
                busiest[run.limit_cores] = run
        for limit, run in sorted(busiest.items()):
            seen = Outlook(models[service.name], 1, 0.99, run.rate, run.rate, limit, 1.0)
            cause = inferred(seen, _history(run))
            now, free = seen.now_and_with_any_cpu_ms()
            print(
                f"  {service.name:10} limit {limit:.2f} at {run.rate:5.1f}/s: {now:4.0f} ms,"
                f" with any CPU {free:4.0f}   {cause.cause:16} threads {cause.data['threads_inferred']:.0f}"
            )


def _history(run: Run) -> History:
    def one(value: float) -> Array:
        return np.array([value])

    return History(
        container="main",
        rate=one(run.rate),
        cpu_cores=one(run.cpu_cores),
        limit_cores=one(run.limit_cores),
        throttled=one(run.throttled),
        latency_seconds=np.full((1, 4), run.p99_ms / 1000),
        replicas=one(1.0),
        parts=1,
        limited=True,
        step_seconds=int(RUN_SECONDS),
    )


if __name__ == "__main__":
    main()
