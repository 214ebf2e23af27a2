"""Series and origins on which forecasts are measured, and their split.

`tune` is what the network is fitted and chosen on, `report` is what it is not fitted on:

* bitbrains_rnd (cpu, memory) and bitbrains_rnd_net: by the hash of the VM's name, see walk_traces.split_of;
* nab_aws: all tune;
* request_rates: nasa-http July is tune, all others report;
* market_activity: equity aapl and ticker-mentions crm, pfe, ups are tune, all others report;
* datacenter_totals: report.

The weeks of the index future are joined to one series: the first is moved so that it comes right before
the second. Outside a session there are no rows, which is read as zero.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.compute as compute
import pyarrow.parquet as parquet
from numpy.typing import NDArray
from walk_traces import split_of

from perfopt.metrics.snapshot import Array, TimeGrid

DAY = 86_400
HORIZONS = {"1h": timedelta(hours=1), "1d": timedelta(days=1), "7d": timedelta(days=7)}
LONGEST_HISTORY = timedelta(days=28)
_TUNE = ("nab/", "nasa-http/1995-07", "equity-15min/aapl", "ticker-mentions/crm")
_TUNE += ("ticker-mentions/pfe", "ticker-mentions/ups")
_CALENDARS = {"equity-15min": "XNYS"}  # the weeks of the index future are moved, so no calendar fits them


@dataclass(frozen=True)
class Trace:
    """One measured series on a regular grid.

    Attributes:
        dataset: the table it counts to.
        grid, values: shape (grid.size,), NaN where missing.
        open: where the source has rows, shape (grid.size,).
        calendar: of the exchange its users trade at, by ISO 10383 code.
        history: least days before an origin.
    """

    name: str
    dataset: str
    grid: TimeGrid
    values: Array
    open: NDArray[np.bool_]
    calendar: str | None
    history: int

    @property
    def split(self) -> str:
        """Either tune or report."""
        if self.dataset.startswith("bitbrains"):
            return split_of(self.name)
        return "tune" if self.name.startswith(_TUNE) else "report"

    def window(self, cut: int, size: int) -> tuple[Array, TimeGrid]:
        """Returns what was known at a cut, and its grid; `size` steps at most."""
        begin = max(cut - size, 0)
        grid = TimeGrid(self.grid.start + begin * self.grid.step, self.grid.step, cut - begin)
        return self.values[begin:cut], grid


def _rows(path: Path, metric: str | None) -> Iterator[tuple[str, Array, Array]]:
    table = parquet.read_table(path)
    if metric is not None:
        table = table.filter(compute.equal(table["metric"].cast("string"), metric))
    codes = table["series_id"].combine_chunks()
    indices = np.asarray(codes.indices)
    times = table["timestamp"].cast("int64").to_numpy() // 1000
    values = table["value"].to_numpy().astype(np.float64)
    order = np.argsort(indices, kind="stable")
    bounds = np.searchsorted(indices[order], np.arange(len(codes.dictionary) + 1))
    names = codes.dictionary.to_pylist()
    for code in sorted(range(len(names)), key=lambda code: names[code]):
        rows = order[bounds[code] : bounds[code + 1]]
        if rows.size:
            yield names[code], times[rows], values[rows]


def _trace(name, dataset, times, values, step, history, absent=np.nan, whole_days=False) -> Trace:
    first, last = int(times[0]), int(times[-1]) + step
    if whole_days:
        first, last = first // DAY * DAY, -(-last // DAY) * DAY
    filled = np.full((last - first) // step, absent)
    present = (times - first) // step
    filled[present] = values
    opened = np.zeros(filled.size, dtype=np.bool_)
    opened[present] = True
    grid = TimeGrid(datetime.fromtimestamp(first, UTC), timedelta(seconds=step), filled.size)
    return Trace(name, dataset, grid, filled, opened, _CALENDARS.get(name.split("/")[0]), history)


def _market(path: Path) -> Iterator[Trace]:
    weeks = []
    for name, times, values in _rows(path, None):
        if name.startswith("index-future"):
            weeks.append((times + (21 * DAY if name.endswith("w01") else 0), values))
        elif name.startswith("equity"):
            yield _trace(name, "market_activity", times, values, 900, 10, 0.0, whole_days=True)
        else:
            yield _trace(name, "market_activity", times, values, 300, 14)
    times, values = (np.concatenate(parts) for parts in zip(*weeks, strict=True))
    yield _trace("index-future-1min", "market_activity", times, values, 60, 14, 0.0, whole_days=True)


def load_traces(folder: Path, dataset: str) -> Iterator[Trace]:
    """Yields the series of one dataset, in order of name."""
    if dataset == "market_activity":
        yield from _market(folder / "market_activity.parquet")
        return
    file, metric, step, history = {
        "request_rates": ("request_rates", None, 60, 7),
        "datacenter_totals": ("datacenter_totals", None, 300, 14),
        "bitbrains_cpu": ("bitbrains_rnd", "cpu_cores", 300, 14),
        "bitbrains_memory": ("bitbrains_rnd", "memory_bytes", 300, 14),
        "bitbrains_receive": ("bitbrains_rnd_net", "network_receive_bytes_per_second", 300, 14),
        "bitbrains_transmit": ("bitbrains_rnd_net", "network_transmit_bytes_per_second", 300, 14),
        "nab_aws": ("nab_aws", None, 300, 7),
    }[dataset]
    for name, times, values in _rows(folder / f"{file}.parquet", metric):
        yield _trace(name, dataset, times, values, step, history)


def origins(trace: Trace, horizon: timedelta, most: int) -> list[int]:
    """Returns cuts with enough history and horizon, spread evenly over the time of day and the series."""
    step = trace.grid.step_seconds
    first = trace.history * DAY // step
    last = trace.grid.size - int(horizon.total_seconds()) // step
    if last < first:
        return []
    cuts = np.unique(np.linspace(first, last, most).round().astype(int))
    # a prime number of steps apart in the day: linspace of whole days would see one hour only
    moved = cuts - (np.arange(cuts.size) * 7919 % (DAY // step)) * (cuts > first + DAY // step)
    return sorted({int(cut) for cut in moved})
