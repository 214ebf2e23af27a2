"""Measured traces of one replica as pod histories: requests, and a latency histogram from percentiles."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from pod_worlds import BOUNDS

from perfopt.metrics.pods import LatencyHistogram, PodHistory
from perfopt.metrics.snapshot import Array, TimeGrid

_OVER = {
    "latency_p50_ms": 0.5,
    "latency_p90_ms": 0.1,
    "latency_p95_ms": 0.05,
    "latency_p99_ms": 0.01,
}
_NEEDED = "latency_p99_ms"
_WINDOW = 5  # steps around a fault of testbed_petshop


@dataclass(frozen=True, slots=True)
class TraceChange:
    """A step of a measured history at which something changed, or nothing did.

    Attributes:
        trace: the name of the file.
        harmful: whether a fault was put in, or a CPU limit lowered, at this step.
        history: of one pod.
        p99: its 99th percentile in seconds, shape (steps,).
        changed: the step.
        horizon: steps that are observed after it.
    """

    trace: str
    harmful: bool
    history: PodHistory
    p99: Array
    changed: int
    horizon: int


def changes(folder: Path) -> Iterator[TraceChange]:
    """Gives the changes of every trace of a folder that holds requests and latency percentiles."""
    yield from _faults(folder / "testbed_nezha.parquet", "nezha", timedelta(minutes=1), 12)
    yield from _quiet(folder / "testbed_petshop.parquet", "petshop", timedelta(minutes=5), 12)
    yield from _windows(folder / "testbed_petshop.parquet", "petshop", timedelta(minutes=5), 3)
    yield from _limits(folder / "testbed_sweep.parquet", "sweep", timedelta(seconds=5), 10)


def _faults(file: Path, trace: str, step: timedelta, horizon: int) -> Iterator[TraceChange]:
    """Faults put into a running service; and hours of it in which none was put into any."""
    table = _table(file)
    every = table.loc[table["metric"] == "fault_injected", ["series_id", "timestamp"]]
    for name, series in _series(table, step):
        run = name.rpartition("/")[0]
        grid, history, p99 = series
        injected = every[every["series_id"].str.startswith(run)]
        at = [grid.index(each.to_pydatetime()) for each in injected["timestamp"]]
        own = [
            grid.index(t.to_pydatetime()) for t in injected.loc[injected["series_id"] == name, "timestamp"]
        ]
        for step_of in own:
            yield TraceChange(trace, True, history, p99, step_of, horizon)
        for step_of in _nominal(grid.size, at, horizon):
            yield TraceChange(trace, False, history, p99, step_of, horizon)


def _quiet(file: Path, trace: str, step: timedelta, horizon: int) -> Iterator[TraceChange]:
    """Days without faults."""
    table = _table(file)
    for _, (grid, history, p99) in _series(table[table["series_id"].str.contains("/normal/")], step):
        for step_of in _nominal(grid.size, [], horizon):
            yield TraceChange(trace, False, history, p99, step_of, horizon)


def _windows(file: Path, trace: str, step: timedelta, horizon: int) -> Iterator[TraceChange]:
    """The front service, two days of it without faults, then one window with a fault from its third step on.

    The service of a fault is not named; all of them serve the front. Runs without quiet days are left out.
    """
    table = _table(file)
    quiet = table[table["series_id"] == "petshop/high_traffic/normal/PetSite"]
    faults = table[table["series_id"] == "petshop/high_traffic/faults/PetSite"]
    times = sorted(faults["timestamp"].unique())
    for first in range(0, len(times), _WINDOW):
        window = faults[faults["timestamp"].isin(times[first : first + _WINDOW])]
        _, history, p99 = _joined([quiet, window], step)
        changed = quiet["timestamp"].nunique() + _WINDOW - horizon
        yield TraceChange(trace, True, history, p99, changed, horizon)


def _limits(file: Path, trace: str, step: timedelta, horizon: int) -> Iterator[TraceChange]:
    """Runs under another CPU limit, at the median and a busy rate, after one under the own limit."""
    table = _table(file)
    names = sorted(table["series_id"].unique())
    for service in sorted({name.split("/")[1] for name in names}):
        before = table[table["series_id"] == f"testbed/{service}/varying"]
        own = float(before.loc[before["metric"] == "cpu_limit_cores", "value"].iloc[0])
        for limit in sorted({n.split("limit=")[1][:4] for n in names if f"/{service}/whatif/" in n}):
            runs = [
                table[table["series_id"] == f"testbed/{service}/whatif/limit={limit}/rate={rate}"]
                for rate in ("median", "busy")
            ]
            _, history, p99 = _joined([before, *runs], step)
            changed = before["timestamp"].nunique()
            yield TraceChange(trace, float(limit) < own, history, p99, changed, horizon)


def _nominal(size: int, faults: list[int], horizon: int) -> Iterator[int]:
    """Steps with a day of past before them, as far as there is one, and no fault near."""
    for step in range(size // 2, size - horizon, 4 * horizon):
        if not any(step - 5 * horizon <= at < step + horizon for at in faults):
            yield step


def _table(file: Path) -> pd.DataFrame:
    table = pd.read_parquet(file)
    return table.assign(series_id=table["series_id"].astype(str), metric=table["metric"].astype(str))


def _series(table: pd.DataFrame, step: timedelta) -> Iterator[tuple[str, tuple[TimeGrid, PodHistory, Array]]]:
    for name, rows in table.groupby("series_id"):
        known = set(rows["metric"])
        if {_NEEDED, "requests_per_second"} <= known and (rows["metric"] == _NEEDED).sum() > 200:
            yield str(name), _joined([rows], step)


def _joined(parts: list[pd.DataFrame], step: timedelta) -> tuple[TimeGrid, PodHistory, Array]:
    """Returns one history of several runs, one after the other."""
    wide = []
    for rows in parts:
        by_time = rows.pivot_table(index="timestamp", columns="metric", values="value")
        if len(parts) == 1:
            whole = pd.date_range(by_time.index[0], by_time.index[-1], freq=step)
            by_time = by_time.reindex(whole, method="nearest", tolerance=step / 2)
        wide.append(by_time)
    start = wide[0].index[0].to_pydatetime()
    table = pd.concat(wide, ignore_index=True)
    grid = TimeGrid(start, step, len(table))
    requests = table["requests_per_second"].to_numpy(float) * step.total_seconds()
    p99 = table[_NEEDED].to_numpy(float) / 1000
    requests = np.where(np.isfinite(p99), requests, np.nan)
    failed = None
    if "availability_fraction" in table:
        failed = (requests * (1 - table["availability_fraction"].to_numpy(float)))[None]
    levels = {}
    if "cpu_throttled_fraction" in table:
        levels["cpu_throttled_fraction"] = table["cpu_throttled_fraction"].to_numpy(float)[None]
    histogram = LatencyHistogram(BOUNDS, (requests[:, None] * (1 - _over(table)))[None])
    history = PodHistory(grid, ("pod-0",), requests[None], failed, histogram, levels)
    return grid, history, p99


def _over(table: pd.DataFrame) -> Array:
    """Returns the share of requests over each bound, log-linear in the latency, shape (steps, buckets)."""
    names = [name for name in _OVER if name in table]
    shares = np.log([_OVER[name] for name in names])
    at = np.log(np.maximum(table[names].to_numpy(float) / 1000, 1e-6))
    result = np.full((len(table), BOUNDS.size), np.nan)
    for row in np.flatnonzero(np.isfinite(at).all(axis=1)):
        points = np.maximum.accumulate(at[row] + 1e-6 * np.arange(len(names)))
        slope = (shares[-1] - shares[0]) / max(points[-1] - points[0], 0.05)
        bounds = np.log(BOUNDS)
        inside = np.interp(bounds, points, shares)
        outside = np.where(bounds > points[-1], shares[-1] + slope * (bounds - points[-1]), inside)
        below = shares[0] + slope * (bounds - points[0])
        result[row] = np.exp(np.minimum(np.where(bounds < points[0], below, outside), 0.0))
    return result
