"""Trains the sizing model that ships with the package, from a folder of traces.

Bitbrains only: of the traces whose licences allow it (BSD-2-Clause, citation), the one with weeks of history.
"""

import argparse
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from perfopt.metrics.snapshot import Array, TimeGrid
from perfopt_resource.training.build import build
from perfopt_resource.training.examples import Series, collect

_STEP = 300
_DATA = (
    "Grid Workloads Archive GWA-T-12 Bitbrains, trace rnd, 244 of 250 VMs, July-September 2013, "
    "BSD-2-Clause. S. Shen, V. van Beek, A. Iosup, Statistical Characterization of Business-Critical "
    "Workloads Hosted in Cloud Datacenters, CCGRID 2015.",
)


def series_of(path: Path, until: float | None) -> Iterator[Series]:
    """Yields the series of a trace file, on one grid of 5 minutes, in order of their names."""
    table = pq.read_table(path)
    table = table.set_column(1, "timestamp", pc.divide(table["timestamp"].cast("int64"), 1000))
    times = table["timestamp"].to_numpy()
    start = int(times.min()) // _STEP * _STEP
    size = (int(times.max()) - start) // _STEP + 1
    if until is not None:
        size = min(size, int(until - start) // _STEP)
    grid = TimeGrid(datetime.fromtimestamp(start, UTC), timedelta(seconds=_STEP), size)
    names = np.array(table["series_id"].combine_chunks().dictionary.to_pylist())
    owner = table["series_id"].combine_chunks().indices.to_numpy()
    labels = np.array(table["metric"].combine_chunks().dictionary.to_pylist())
    metric = labels[table["metric"].combine_chunks().indices.to_numpy()]
    values = table["value"].to_numpy().astype(np.float64)
    order = np.argsort(owner, kind="stable")
    ends = np.searchsorted(owner[order], np.arange(len(names) + 1))
    for index in np.argsort(names):
        rows = order[ends[index] : ends[index + 1]]
        step = (times[rows] - start) // _STEP

        def array(name: str, rows: Array = rows, step: Array = step) -> Array:
            kept = (metric[rows] == name) & (step < size)
            out = np.full(size, np.nan)
            out[step[kept]] = values[rows[kept]]
            return out

        yield Series(
            str(names[index]),
            grid,
            array("cpu_cores")[None],
            array("memory_bytes")[None],
            _carried(array("cpu_limit_cores")),
            _carried(array("memory_limit_bytes")),
        )


def _carried(values: Array) -> Array:
    """Returns values with each gap filled by the value before it: limits are written when they change."""
    latest = np.maximum.accumulate(np.where(np.isfinite(values), np.arange(len(values)), 0))
    carried: Array = values[latest]
    return carried


def demo_series() -> set[str]:
    """Returns the series that `perfopt demo` shows: what it says of them must not be known beforehand."""
    sample = Path(__file__).parent.parent / "api/src/perfopt_api/demo/data/bitbrains.parquet"
    return set(pq.read_table(sample, columns=["series_id"])["series_id"].unique().to_pylist())


def main() -> None:
    """Trains, saves, and prints the figures and the hash."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    shown = demo_series()
    every = series_of(arguments.traces / "bitbrains_rnd.parquet", None)
    examples = collect(one for one in every if one.name not in shown)
    model = build(
        examples,
        name="sizing",
        version="3",
        data=_DATA,
        command="python benchmarks/train_sizing.py --traces DIR --out FILE",
        trained_until="2013-09-30T00:00:00Z",
    )
    digest = model.save(arguments.out)
    for key, value in model.card.figures.items():
        sys.stdout.write(f"{key}: {value}\n")
    for cost, floor in model.card.floors:
        sys.stdout.write(f"least worth at cost of shortage {cost:g}: {floor}\n")
    sys.stdout.write(f"{model.calibration}\nsha256: {digest}\n")


if __name__ == "__main__":
    main()
