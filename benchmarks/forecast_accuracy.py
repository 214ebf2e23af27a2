"""Accuracy of perfopt.forecast against the seasonal naive forecast, on measured traces.

    python benchmarks/forecast_accuracy.py --traces DIR [--split report|tune|all] [--ablate] [--statistical N]
        [--dataset NAME [--origins N]] [--hindsight] [--occasions]

For each dataset and horizon, over origins spread evenly: the mean pinball loss over LEVELS, divided by that
of the seasonal naive forecast (the value of the same time yesterday plus the empirical quantiles of its
errors in the history), as ratio of sums over series (`sums`) and as geometric mean over series (`geo`), and
the same against the naive forecast of the same time last week (`week`); and the coverage of the central
intervals, series alike, where the market is open. The split is by series, see forecast_traces.py: `report`
was not trained on. --ablate takes one part out at a time (forecast_ablation.py); --statistical N sets
statsmodels' ETS and MSTL beside it at N origins; --hindsight scores the quantiles of the outcomes themselves,
the same at every step, in place of our forecast; --occasions says what calendars, changes and calibration
are worth where they have something to say (forecast_occasions.py).
"""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path

import numpy as np
from forecast_traces import DAY, HORIZONS, LONGEST_HISTORY, Trace, load_traces, origins

from perfopt.forecast import SessionCalendar, exchange_sessions, forecast_metric
from perfopt.forecast.experts import LEVELS
from perfopt.metrics.snapshot import Array, TimeGrid

INTERVALS = {50: (4, 6), 80: (3, 7), 90: (2, 8), 95: (1, 9), 99: (0, 10)}
DATASETS = {"request_rates": 24, "market_activity": 24, "datacenter_totals": 24, "bitbrains_cpu": 24}
Forecaster = Callable[[Array, TimeGrid, int, Trace], Array]


def pinball(values: Array, quantiles: Array) -> Array:
    """Returns the loss of each step, shape (n,), mean over LEVELS."""
    tau = np.array(LEVELS)[:, None]
    error = values - quantiles
    return np.maximum(tau * error, (tau - 1) * error).mean(axis=0)


def naive(values: Array, step: int, steps: int, days: int) -> Array:
    """Returns the seasonal naive forecast: the same time `days` before, plus its errors' quantiles."""
    season = days * DAY // step
    ahead = np.arange(steps) % season
    point = np.full(steps, np.nan)
    for back in range(1, values.size // season + 1):  # a missing sample is that of the day before
        earlier = values[values.size - back * season + ahead]
        point = np.where(np.isfinite(point), point, earlier)
    errors = values[season:] - values[:-season]
    errors = errors[np.isfinite(errors)]
    spread = np.quantile(errors, LEVELS) if errors.size else np.zeros(len(LEVELS))
    made = np.where(np.isfinite(point), point, np.nanmedian(values)) + spread[:, None]
    return np.maximum(made, 0.0) if np.nanmin(values) >= 0 else made


@lru_cache
def _calendar(code: str, trace_start, trace_end) -> SessionCalendar:
    return exchange_sessions(code, trace_start, trace_end)


def calendar_of(trace: Trace) -> SessionCalendar | None:
    """Returns the sessions of the exchange that a trace names, if it names one."""
    return None if trace.calendar is None else _calendar(trace.calendar, trace.grid.start, trace.grid.end)


def ours(values: Array, grid: TimeGrid, steps: int, trace: Trace) -> Array:
    """Forecasts as the product does, with the exchange's calendar where the trace names one."""
    made = forecast_metric(values, grid, steps * grid.step, "1", LEVELS, calendar=calendar_of(trace))
    if made is None:
        raise ValueError(f"no forecast for {trace.name}")
    return made.values


def hindsight(values: Array, grid: TimeGrid, steps: int, trace: Trace) -> Array:
    """Returns the empirical quantiles of what came: what knowing level and spread, not when, would give."""
    cut = (grid.end - trace.grid.start) // grid.step
    outcome = trace.values[cut : cut + steps]
    return np.repeat(np.quantile(outcome[np.isfinite(outcome)], LEVELS)[:, None], steps, axis=1)


@dataclass(frozen=True)
class Result:
    """One origin: mean losses, coverage of each interval (NaN where closed), CPU seconds."""

    series: str
    loss: float
    by_day: float
    by_week: float
    covered: tuple[float, ...]
    seconds: float


def cases(
    folder: Path, dataset: str, horizon: timedelta, most: int, split: str
) -> Iterator[tuple[Trace, int, Array, TimeGrid, int]]:
    """Yields trace, cut, history, its grid and steps ahead."""
    for trace in load_traces(folder, dataset):
        if split not in ("all", trace.split):
            continue
        steps = horizon // trace.grid.step
        for cut in origins(trace, horizon, most):
            values, grid = trace.window(cut, LONGEST_HISTORY // trace.grid.step)
            outcome = trace.values[cut : cut + steps]
            if np.isfinite(outcome).mean() >= 0.5 and np.isfinite(values).mean() >= 0.5:
                yield trace, cut, values, grid, steps


def judge(trace: Trace, cut: int, values: Array, grid: TimeGrid, steps: int, forecast: Forecaster) -> Result:
    """Scores one origin."""
    began = time.process_time()
    made = forecast(values, grid, steps, trace)
    seconds = time.process_time() - began
    outcome = trace.values[cut : cut + steps]
    known = np.isfinite(outcome)
    step = grid.step_seconds
    weekly = values.size >= 14 * DAY // step
    return Result(
        trace.name,
        float(pinball(outcome, made)[known].mean()),
        float(pinball(outcome, naive(values, step, steps, 1))[known].mean()),
        float(pinball(outcome, naive(values, step, steps, 7))[known].mean()) if weekly else np.nan,
        coverage(outcome, made, known & trace.open[cut : cut + steps]),
        seconds,
    )


def coverage(outcome: Array, made: Array, used: Array) -> tuple[float, ...]:
    """Returns the share of the steps used that lie in each interval, ends included."""
    if not used.any():
        return (np.nan,) * len(INTERVALS)
    slack = 1e-9 * (1 + np.abs(outcome))
    inside = [
        ((made[low] <= outcome + slack) & (outcome - slack <= made[high]))[used].mean()
        for low, high in INTERVALS.values()
    ]
    return tuple(float(share) for share in inside)


def by_series(results: list[Result]) -> Array:
    """Returns (loss, by day, by week, covered..., seconds) of each series, shape (series, 9)."""
    rows: dict[str, list[tuple[float, ...]]] = {}
    for one in results:
        rows.setdefault(one.series, []).append((one.loss, one.by_day, one.by_week, *one.covered, one.seconds))
    with np.errstate(all="ignore"):
        table = np.array([_nanmean(np.array(found)) for found in rows.values()])
    return table[table[:, 1] > 0]


def _nanmean(table: Array) -> Array:
    counts = np.isfinite(table).sum(axis=0)
    sums = np.where(np.isfinite(table), table, 0.0).sum(axis=0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def geometric(ratios: Array) -> float:
    """Returns the geometric mean of the finite ratios; one below a thousandth counts as that."""
    known = ratios[np.isfinite(ratios)]
    return float(np.exp(np.log(np.maximum(known, 1e-3)).mean())) if known.size else np.nan


def line(name: str, results: list[Result], detail: bool) -> None:
    """Prints one row, and the series below it where they are few."""
    table = by_series(results)
    loss, day, week = table[:, 0], table[:, 1], table[:, 2]
    with np.errstate(all="ignore"):
        weekly = geometric(np.where(week > 0, loss / week, np.nan))
    covered = " ".join(f"{100 * share:5.1f}" for share in _nanmean(table[:, 3:8]))
    sums, geo = loss.sum() / day.sum(), geometric(loss / day)
    print(
        f"{name:28s} {len(table):4d} {len(results):5d}   {sums:6.3f} {geo:6.3f}"
        f" {weekly:6.3f}   {covered}   {1e3 * table[:, 8].mean():5.1f}",
        flush=True,
    )
    if detail and 1 < len(table) <= 12:
        for series in dict.fromkeys(one.series for one in results):
            line("  " + series[-26:], [one for one in results if one.series == series], detail=False)


HEADER = (
    f"{'':28s} {'n':>4s} {'cuts':>5s}   {'sums':>6s} {'geo':>6s} {'week':>6s}   "
    + " ".join(f"{share:4d}%" for share in INTERVALS)
    + "   ms CPU"
)


def accuracy(
    folder: Path, split: str, detail: bool, datasets: Mapping[str, int], forecast: Forecaster = ours
) -> None:
    """Prints the main table, with so many origins of each series."""
    print(f"\nPinball loss relative to seasonal naive, and coverage; split: {split}, held out by series")
    print(HEADER)
    for dataset, most in datasets.items():
        for name, horizon in HORIZONS.items():
            count = most if name != "7d" else max(most // 4, 2)
            found = [judge(*case, forecast) for case in cases(folder, dataset, horizon, count, split)]
            if found:
                line(f"{dataset} {name}", found, detail)


def opens(folder: Path, forecast: Forecaster = ours) -> None:
    """Prints the first ten minutes of the index future's sessions, forecast an hour and a day before."""
    print("\nMarket opens: the first ten minutes of the index future's sessions, minute by minute")
    print(HEADER)
    trace = next(t for t in load_traces(folder, "market_activity") if t.name == "index-future-1min")
    size = DAY // 60
    starts = [
        day * size + int(np.argmax(trace.open[day * size : (day + 1) * size]))
        for day in range(7, trace.values.size // size)
        if trace.open[day * size : (day + 1) * size].any()
    ]
    for name, lead in (("an hour before", 60), ("a day before", size - 60)):
        found = []
        for start in starts:
            values, grid = trace.window(start - lead, LONGEST_HISTORY // trace.grid.step)
            found.append(_open(trace, start, lead, values, grid, forecast))
        line(name, found, detail=False)


def _open(trace: Trace, start: int, lead: int, values: Array, grid: TimeGrid, forecast: Forecaster) -> Result:
    outcome = trace.values[start : start + 10]
    began = time.process_time()
    made = forecast(values, grid, lead + 10, trace)[:, lead:]
    seconds = time.process_time() - began
    day, week = (pinball(outcome, naive(values, 60, lead + 10, d)[:, lead:]).mean() for d in (1, 7))
    inside = coverage(outcome, made, np.ones(10, dtype=bool))
    return Result(trace.name, float(pinball(outcome, made).mean()), float(day), float(week), inside, seconds)


def main() -> None:
    """Prints the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=Path, required=True)
    parser.add_argument("--split", choices=("report", "tune", "all"), default="report")
    parser.add_argument("--detail", action="store_true", help="each series of small datasets")
    parser.add_argument("--ablate", action="store_true")
    parser.add_argument("--occasions", action="store_true", help="parts where they have something to say")
    parser.add_argument("--hindsight", action="store_true", help="quantiles of what came, for a bound")
    parser.add_argument("--statistical", type=int, metavar="N", help="ETS and MSTL at N origins")
    parser.add_argument("--dataset", choices=tuple(DATASETS), help="only this one")
    parser.add_argument("--origins", type=int, metavar="N", help="of each series of --dataset")
    arguments = parser.parse_args()
    if arguments.origins and not arguments.dataset:
        parser.error("--origins needs --dataset")
    one = {arguments.dataset: arguments.origins or DATASETS[arguments.dataset]} if arguments.dataset else None
    if arguments.statistical:
        from forecast_statistical import compare

        compare(arguments.traces, arguments.split, arguments.statistical)
    elif arguments.occasions:
        from forecast_occasions import occasions

        occasions(arguments.traces, arguments.split)
    elif arguments.ablate:
        from forecast_ablation import ORIGINS, ablate

        ablate(arguments.traces, arguments.split, one or ORIGINS)
    else:
        forecast = hindsight if arguments.hindsight else ours
        accuracy(arguments.traces, arguments.split, arguments.detail, one or DATASETS, forecast)
        if not (arguments.dataset or arguments.hindsight):
            opens(arguments.traces)


if __name__ == "__main__":
    main()
