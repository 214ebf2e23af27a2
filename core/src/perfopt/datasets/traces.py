"""Traces in Parquet: series_id, timestamp, metric, value, one row a sample."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from perfopt.domain.enums import Basis
from perfopt.domain.workload import Container, Workload, WorkloadId, WorkloadState
from perfopt.errors import InvalidInputError
from perfopt.metrics.catalogue import METRICS
from perfopt.metrics.grid import to_grid
from perfopt.metrics.snapshot import PodSeries, TimeGrid, WorkloadSnapshot

Split = Literal["tune", "report"]
COLUMNS = ["series_id", "timestamp", "metric", "value"]
_USE = ("cpu_cores", "memory_bytes")
_LIMITS = ("cpu_limit_cores", "memory_limit_bytes")
# Fractions of an unnamed capacity are taken as of one core and 1 GiB.
_FRACTIONS = {"cpu_fraction": ("cpu_cores", 1.0), "memory_fraction": ("memory_bytes", float(2**30))}
STEP = timedelta(minutes=5)


def split_of(series_id: str) -> Split:
    """Returns the half a series belongs to: parity of the SHA-256 of its name, even is `tune`.

    `tune` is what constants may be fitted on, `report` is what they never see. The half does not depend on
    what is loaded beside the series.
    """
    return "tune" if hashlib.sha256(series_id.encode()).digest()[-1] % 2 == 0 else "report"


def read_trace(path: Path) -> pd.DataFrame:
    """Returns the samples of cpu, memory and their limits.

    Returns:
        Columns series_id and metric (text), timestamp (milliseconds since the epoch) and value, in cores and
        bytes; fractions of a capacity as of one core and 1 GiB.

    Raises:
        InvalidInputError: the file can't be read, or has other columns.
    """
    try:
        frame = pd.read_parquet(path, columns=COLUMNS)
    except (OSError, ValueError, KeyError) as error:
        raise InvalidInputError(
            f"{path} is no trace: {error}.",
            field="--dataset",
            remedy=f"Give a Parquet file with the columns {', '.join(COLUMNS)}.",
        ) from error
    known = frame["metric"].isin([*_USE, *_LIMITS, *_FRACTIONS])
    frame = frame[known].astype({"series_id": str, "metric": str, "value": float})
    frame["timestamp"] = frame["timestamp"].astype("datetime64[ms, UTC]").astype("int64")
    for fraction, (metric, capacity) in _FRACTIONS.items():
        rows = frame["metric"] == fraction
        frame.loc[rows, "value"] *= capacity
        frame.loc[rows, "metric"] = metric
    return frame


def load_trace(
    path: Path, *, split: Split | None = None, most: int | None = None, until: datetime | None = None
) -> Iterator[WorkloadSnapshot]:
    """Yields each series that measures cpu or memory as a service of one replica, in order of name.

    Args:
        path: of the trace.
        split: only the series of this half; None is all.
        most: at most so many.
        until: nothing at or after it is read; None is all.

    Yields:
        Snapshots on one grid of 5 minutes over the whole trace, with one container "main".

    Raises:
        InvalidInputError: the file is no trace.
    """
    frame = read_trace(path)
    if until is not None:
        frame = frame[frame["timestamp"] < int(until.timestamp() * 1000)]
    grid = _grid_of(frame)
    names = sorted(frame.loc[frame["metric"].isin(_USE), "series_id"].unique())
    chosen = [name for name in names if split in (None, split_of(name))][:most]
    for name, samples in frame[frame["series_id"].isin(chosen)].groupby("series_id", sort=True):
        yield _snapshot(str(name), samples, grid)


def _grid_of(frame: pd.DataFrame) -> TimeGrid:
    if frame.empty:
        return TimeGrid(datetime.fromtimestamp(0, UTC), STEP, 0)
    first, last = (datetime.fromtimestamp(int(t) / 1000, UTC) for t in frame["timestamp"].agg(["min", "max"]))
    return TimeGrid.covering(first, last + STEP, STEP)


def _snapshot(name: str, samples: pd.DataFrame, grid: TimeGrid) -> WorkloadSnapshot:
    series = {
        str(metric): PodSeries(("",), _on_grid(str(metric), rows, grid))
        for metric, rows in samples.groupby("metric")
    }
    limited = all(metric in series for metric in _LIMITS)
    state = WorkloadState(
        containers=(Container(name="main"),),
        replicas=1,
        basis=Basis.ASSUMED_FROM_LIMIT if limited else Basis.UNKNOWN,
    )
    workload = Workload(id=WorkloadId(name=name), service_name=name, state=state)
    return WorkloadSnapshot(workload, grid, {"main": series})


def _on_grid(
    metric: str, rows: pd.DataFrame, grid: TimeGrid
) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
    values, _ = to_grid(rows["timestamp"].to_numpy(), rows["value"].to_numpy(), grid, METRICS[metric])
    return values[None]
