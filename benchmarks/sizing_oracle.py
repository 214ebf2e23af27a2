"""What sizing could reach at best on bitbrains_rnd: the same model, told something of the future.

    python benchmarks/sizing_oracle.py --traces DIR

Prints what is recommended above the floor for a standard service, series not trained on (5 folds, all weeks),
by a model that knows the history; by one that also knows the level of the window to come (the median of its
cpu and of its memory, in place of that of the history's days); and by one that knows the level and the P90.
What even these get wrong or waste is not to be had from a history. The bound by the future of other series is
`resource_accuracy.py --split series`: its models have seen the same weeks of other machines.
"""

import argparse
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from train_sizing import series_of

from perfopt.learn.build import judge
from perfopt.learn.examples import Examples, Series, collect
from perfopt.learn.features import NAMES, RESOURCES, Features
from perfopt.learn.train import out_of_fold
from perfopt.metrics.snapshot import Array

# The features that give their place to what is told, by resource: (name, level of the window).
TOLD = {
    "the history": (),
    "and the window's median": (("needs_mid", 0.5),),
    "and its P90": (("needs_mid", 0.5), ("q0.9", 0.9)),
}
_MOST_ASKED = 4000
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
    seen = tuple(
        Features(values, one.references, one.ceilings)
        for values, one in zip(features, examples.seen, strict=True)
    )
    return replace(examples, features=features, seen=seen)


def _window(series: Series, resource: str, examples: Examples, row: int) -> Array:
    values = series.cpu_cores if resource == "cpu" else series.memory_bytes
    assert values is not None
    step = series.grid.step_seconds
    begin = round((float(examples.at[row]) - series.grid.start.timestamp()) / step)
    window = values[0, begin : begin + int(examples.validity[row]) // step]
    finite: Array = window[np.isfinite(window)]
    return finite


def main() -> None:
    """Prints one line for each oracle."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=Path, required=True)
    traces = parser.parse_args().traces
    series = {one.name: one for one in series_of(traces / "bitbrains_rnd.parquet", None)}
    examples = collect(series.values())
    rows = np.flatnonzero((examples.validity == examples.validity.max()) & (examples.weight == 1.0))
    kept = np.zeros(len(examples.at), dtype=np.bool_)
    kept[rows[:: -(-len(rows) // _MOST_ASKED)]] = True
    for name, what in TOLD.items():
        known = told(examples, series, what)
        asked = known.where(kept)
        figures = judge(out_of_fold(known, asked), asked).figures
        print(f"{name}: " + ", ".join(f"{key} {value:g}" for key, value in figures.items()), flush=True)


if __name__ == "__main__":
    main()
