"""What calendars, changes and calibration are worth where they have something to say.

Over all origins they hardly show: few days are holidays, and few histories hold a change. Here the loss
without a part over that with it is taken over the occasions that it is for, and coverage is set against
what intervals state.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
from forecast_ablation import swapped, uncalibrated
from forecast_accuracy import (
    DATASETS,
    INTERVALS,
    Forecaster,
    Result,
    calendar_of,
    cases,
    geometric,
    judge,
    naive,
    ours,
    pinball,
)
from forecast_traces import DAY, HORIZONS, LONGEST_HISTORY, Trace, load_traces

from perfopt.forecast import SessionCalendar
from perfopt.forecast.changes import climb, relevant
from perfopt.metrics.snapshot import Array, TimeGrid
from perfopt.plugin.calendar import weekend

ORIGINS = DATASETS | {"bitbrains_memory": 24}
CALIBRATED_AT = DATASETS | {"bitbrains_cpu": 6}

Losses = tuple[str, float, float, float]  # series; with the part, without it, of the naive forecast


def occasions(folder: Path, split: str) -> None:
    """Prints the three tables; calendars on both halves, as nothing of them is fitted."""
    print("\nLoss without a part over that with it, where it has something to say: of mean losses, each over")
    print("that of the seasonal naive forecast, and geometric mean over origins")
    _print_losses("calendar", _calendars(folder))
    _print_losses(f"changes, split {split}", _changes(folder, split))
    _print_coverage(folder, split)


def _print_losses(title: str, found: Iterator[tuple[str, Losses]]) -> None:
    by_kind = defaultdict(list)
    for kind, losses in found:
        by_kind[kind].append(losses)
    print(f"{title:40s} {'origins':>7s} {'series':>6s}   {'mean':>6s} {'geo':>6s}")
    for kind in sorted(by_kind):
        table = np.maximum(np.array([one[1:] for one in by_kind[kind]]), 1e-12)
        series = len({one[0] for one in by_kind[kind]})
        with_it, without, base = table.T
        mean = (without / base).sum() / (with_it / base).sum()
        geo = geometric(without / with_it)
        print(f"  {kind:38s} {len(table):7d} {series:6d}   {mean:6.2f} {geo:6.2f}", flush=True)


def _losses(trace: Trace, cut: int, steps: int, with_it: Forecaster, without: Forecaster) -> Losses:
    values, grid = trace.window(cut, LONGEST_HISTORY // trace.grid.step)
    outcome = trace.values[cut : cut + steps]
    known = np.isfinite(outcome)
    made = [forecast(values, grid, steps, trace) for forecast in (with_it, without)]
    made.append(naive(values, grid.step_seconds, steps, 1))
    first, second, base = (float(pinball(outcome, one)[known].mean()) for one in made)
    return trace.name, first, second, base


def _weekends_only(values: Array, grid: TimeGrid, steps: int, trace: Trace) -> Array:
    return ours(values, grid, steps, replace(trace, calendar=None))


def _calendars(folder: Path) -> Iterator[tuple[str, Losses]]:
    """Yields the days of exchanges, forecast at midnight, on which a calendar says more than weekends do."""
    for trace in load_traces(folder, "market_activity"):
        calendar = calendar_of(trace)
        if calendar is None:
            continue
        size = DAY // trace.grid.step_seconds
        for cut in range(trace.history * size, trace.grid.size, size):
            values, grid = trace.window(cut, LONGEST_HISTORY // trace.grid.step)
            kind = _what_it_says(calendar, values, grid, TimeGrid(grid.end, grid.step, size))
            if kind is not None:
                yield kind, _losses(trace, cut, size, ours, _weekends_only)


def _what_it_says(calendar: SessionCalendar, values: Array, grid: TimeGrid, ahead: TimeGrid) -> str | None:
    if (calendar.closed(ahead) != weekend(ahead)).any():
        return "a holiday or half day is ahead"
    if not np.array_equal(calendar.align(values, grid), values, equal_nan=True):
        return "clocks changed in the history"
    if (calendar.closed(grid) != weekend(grid)).any():
        return "a holiday lies in the history"
    return None


def _changes(folder: Path, split: str) -> Iterator[tuple[str, Losses]]:
    """Yields the origins whose history holds a change that forecasts use; with two kinds, once for each."""
    unchanged = swapped("relevant", lambda values, grid: values)
    unclimbing = swapped("climb", lambda values, grid: (0.0, np.zeros(grid.size)))
    for dataset, most in ORIGINS.items():
        for horizon in HORIZONS.values():
            for trace, cut, values, grid, steps in cases(folder, dataset, horizon, most, split):
                for kind in _kinds(values, grid):
                    without = unclimbing if kind == "leak" else unchanged
                    yield f"{kind}, {_hours(horizon)} ahead", _losses(trace, cut, steps, ours, without)


def _hours(horizon: timedelta) -> str:
    return f"{horizon // timedelta(hours=1):3d} h"


def _kinds(values: Array, grid: TimeGrid) -> list[str]:
    slope, levelling = climb(values, grid)
    level = values + levelling
    used = relevant(level, grid)
    left, known = np.isfinite(used), np.isfinite(level)
    found = {
        "leak": slope != 0.0,
        "dead period": bool((known & ~left).any()),
        "level shift": not np.array_equal(used[left], level[left]),
    }
    return [kind for kind, there in found.items() if there]


def _print_coverage(folder: Path, split: str) -> None:
    """Prints how far intervals are from what they state, mean over datasets, by horizon."""
    stated = np.array([share / 100 for share in INTERVALS])
    print(f"calibration, split {split}: points off what is stated, mean over datasets")
    print(f"{'':34s}" + " ".join(f"{share:4d}%" for share in INTERVALS))
    for name, horizon in HORIZONS.items():
        off: dict[str, list[Array]] = {"with": [], "without": []}
        for dataset, most in CALIBRATED_AT.items():
            found = list(cases(folder, dataset, horizon, most, split))
            if not found:
                continue
            for which, forecast in (("with", ours), ("without", uncalibrated())):
                covered = _covered([judge(*case, forecast) for case in found])
                off[which].append(np.abs(covered - stated))
        for which, tables in off.items():
            points = " ".join(f"{100 * one:5.1f}" for one in np.mean(tables, axis=0))
            print(f"  {name + ' ahead, ' + which:32s}{points}", flush=True)


def _covered(results: list[Result]) -> Array:
    """Returns the coverage of each interval, series alike, shape (intervals,)."""
    by_series = defaultdict(list)
    for one in results:
        if np.isfinite(one.covered).all():
            by_series[one.series].append(one.covered)
    shares: Array = np.mean([np.mean(rows, axis=0) for rows in by_series.values()], axis=0)
    return shares
