"""What sizing could reach at best on bitbrains_rnd: the same model, told something of the future.

    python benchmarks/sizing_oracle.py --traces DIR

Series not trained on (5 folds, all weeks). Four models. One knows the history. One also knows what the VMs
that moved most like this one will need in the same week: of the five whose daily peaks of the history
correlate most with its own, the mean of log(window's peak / history's peak). One knows the level of the
window to come (the median of its cpu and of its memory, in place of that of the history's days), and one
that level and the P90. A line for each cost of a shortage: the frontier. What even these get wrong or waste
is not to be had from a history. (Another bound by the future of other series is `resource_accuracy.py
--split series`: its models have seen the same weeks of other machines.)
"""

import argparse
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from train_sizing import series_of

from perfopt.learn.build import figures_of, judge, replay, thin, whole_histories
from perfopt.learn.examples import Examples, Series, collect
from perfopt.learn.features import FLOORS, NAMES, RESOURCES, Features
from perfopt.learn.model import FRONTIER_COSTS
from perfopt.learn.train import out_of_fold
from perfopt.metrics.snapshot import Array

# The features that give their place to what is told, by resource: (name, level of the window).
TOLD = {
    "the window's median": (("needs_mid", 0.5),),
    "the window's median and P90": (("needs_mid", 0.5), ("q0.9", 0.9)),
}
_SIBLINGS = 5
_SIBLINGS_TOLD = "needs_mid"
_DAY = 86400
_PEAK = {"cpu": 0.99, "memory": 1.0}  # of a day; rules 1 and 2 of DESIGN.md section 5
_MAX_ASKED = 4000
_TINY = 1e-3


def told(examples: Examples, series: dict[str, Series], what: tuple[tuple[str, float], ...]) -> Examples:
    """Returns the examples with quantiles of their windows in the place of features."""
    features = examples.features.copy()
    for row in range(len(features)):
        for resource in RESOURCES:
            window = _window(series[str(examples.series[row])], resource, examples, row)
            reference = examples.seen[row].references.get(resource)
            if reference is None or not window.size:
                continue
            for name, level in what:
                ratio = max(float(np.quantile(window, level)) / reference, _TINY)
                features[row, NAMES.index(f"{resource}_{name}")] = np.float32(math.log(ratio))
    return _with(examples, features)


def _window(series: Series, resource: str, examples: Examples, row: int) -> Array:
    values = series.cpu_cores if resource == "cpu" else series.memory_bytes
    assert values is not None
    step = series.grid.step_seconds
    begin = round((float(examples.at[row]) - series.grid.start.timestamp()) / step)
    window = values[0, begin : begin + int(examples.validity[row]) // step]
    finite: Array = window[np.isfinite(window)]
    return finite


def told_siblings(examples: Examples, series: dict[str, Series]) -> Examples:
    """Returns the examples with what their siblings will need in the place of a feature.

    Only of the longest validity, as days are too coarse for the others: there it is NaN.
    """
    features, names = examples.features.copy(), list(series)
    place = {name: row for row, name in enumerate(names)}
    weeks = np.flatnonzero(examples.validity == examples.validity.max())
    start = min(one.grid.start.timestamp() for one in series.values())
    days = ((examples.at[weeks] - start) // _DAY).astype(int)
    length = round(float(examples.validity.max()) / _DAY)
    for resource in RESOURCES:
        peaks, column = _daily(series, resource), NAMES.index(f"{resource}_{_SIBLINGS_TOLD}")
        features[:, column] = np.nan
        for day in np.unique(days[days >= length]):
            rows = weeks[days == day]
            means = _siblings_rise(peaks, int(day), length)
            features[rows, column] = means[[place[str(name)] for name in examples.series[rows]]]
    return _with(examples, features)


def _daily(series: dict[str, Series], resource: str) -> Array:
    """Returns the log of each day's peak, shape (series, days)."""
    rows = []
    for one in series.values():
        values = one.cpu_cores if resource == "cpu" else one.memory_bytes
        assert values is not None
        steps = _DAY // one.grid.step_seconds
        table = values[0, : values.shape[1] // steps * steps].reshape(-1, steps)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a day that was not measured stays NaN
            rows.append(np.nanquantile(table, _PEAK[resource], axis=1))
    return np.log(np.maximum(np.array(rows), FLOORS[resource]))


def _siblings_rise(peaks: Array, day: int, length: int) -> Array:
    """Returns by how much the siblings of each series pass their history's peak in the days from `day`."""
    history, window = peaks[:, max(day - 2 * length, 0) : day], peaks[:, day : day + length]
    rise = np.clip(np.fmax.reduce(window, axis=1) - np.fmax.reduce(history, axis=1), -1, 1)
    moves = np.nan_to_num(np.diff(history, axis=1))
    size = np.sqrt((moves**2).sum(axis=1)) + 0.05  # what hardly moves is like nothing
    alike = moves @ moves.T / np.outer(size, size)
    np.fill_diagonal(alike, -np.inf)
    alike[:, np.isnan(rise)] = -np.inf
    means: Array = rise[np.argsort(-alike, axis=1)[:, :_SIBLINGS]].mean(axis=1)
    return means.astype(np.float32)


def _with(examples: Examples, features: Array) -> Examples:
    seen = tuple(
        Features(values, one.references, one.ceilings)
        for values, one in zip(features, examples.seen, strict=True)
    )
    return replace(examples, features=features, seen=seen)


def lines(name: str, known: Examples, kept: NDArray[np.bool_]) -> Iterator[str]:
    """Yields a line of the table for each cost of a shortage."""
    asked = known.where(kept)
    found = out_of_fold(known, asked)
    calibration = judge(found, asked).calibration
    for cost in FRONTIER_COSTS:
        figures = figures_of(replay(found, asked, cost), calibration)
        waste = " | ".join(
            f"{figures[f'{resource}_waste_median']:.0%} / {figures[f'{resource}_waste_mean10']:.0%}"
            for resource in RESOURCES
        )
        yield f"| {name} | {cost:g} | {figures['accuracy']:.1%} | {waste} | {figures['auc']:.2f} |"


def main() -> None:
    """Prints the frontier of each oracle."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=Path, required=True)
    traces = parser.parse_args().traces
    series = {one.name: one for one in series_of(traces / "bitbrains_rnd.parquet", None)}
    examples = collect(series.values())
    kept = thin(whole_histories(examples), _MAX_ASKED)
    models: dict[str, Callable[[], Examples]] = {
        "the history": lambda: examples,
        "the siblings' rise": partial(told_siblings, examples, series),
    }
    models |= {name: partial(told, examples, series, what) for name, what in TOLD.items()}
    print("| told | cost of shortage | accuracy | CPU waste | memory waste | AUC |\n|" + " --- |" * 6)
    for name, known in models.items():
        for line in lines(name, known(), kept):
            print(line, flush=True)


if __name__ == "__main__":
    main()
