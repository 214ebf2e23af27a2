"""Traces in Parquet: series_id, timestamp, metric, value, one row a sample."""

from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from perfopt.domain.enums import Basis
from perfopt.domain.workload import Container, Workload, WorkloadId, WorkloadState
from perfopt.errors import InvalidInputError
from perfopt.evaluation.split import Split, split_of
from perfopt.metrics.catalogue import METRICS
from perfopt.metrics.grid import to_grid
from perfopt.metrics.snapshot import PodSeries, TimeGrid, WorkloadSnapshot

COLUMNS = ["series_id", "timestamp", "metric", "value"]
_USE = ("cpu_cores", "memory_bytes")
_LIMITS = ("cpu_limit_cores", "memory_limit_bytes")
SIZED = (*_USE, *_LIMITS)
# Fractions of an unnamed capacity are taken as of one core and 1 GiB.
_FRACTIONS = {"cpu_fraction": ("cpu_cores", 1.0), "memory_fraction": ("memory_bytes", float(2**30))}
STEP = timedelta(minutes=5)


def read_samples(path: Path) -> pd.DataFrame:
    """Returns the samples of a Parquet file: the columns of COLUMNS, as they are.

    Raises:
        InvalidInputError: the file can't be read, is not Parquet, lacks a column or holds no row.
    """
    if not path.is_file():
        raise _refused(path, "does not exist")
    try:
        missing = [name for name in COLUMNS if name not in pq.read_schema(path).names]
        frame = pd.DataFrame() if missing else pd.read_parquet(path, columns=COLUMNS)
    except (OSError, ValueError) as error:
        raise _refused(path, "is not Parquet, truncated, or may not be read") from error
    if missing:
        raise _refused(path, f"has no column {missing[0]}")
    if frame.empty:
        raise _refused(path, "holds no rows")
    return frame


def _refused(path: Path, problem: str) -> InvalidInputError:
    remedy = f"Give a Parquet file with the columns {', '.join(COLUMNS)}."
    return InvalidInputError(f"The file {path} {problem}.", field="--dataset", remedy=remedy)


def read_trace(path: Path, metrics: Collection[str] = SIZED) -> pd.DataFrame:
    """Returns the samples of some metrics: cpu, memory and their limits, if no others are named.

    Returns:
        Columns series_id and metric (text), timestamp (milliseconds since the epoch) and value, in cores and
        bytes; fractions of a capacity as of one core and 1 GiB.

    Raises:
        InvalidInputError: as `read_samples`.
    """
    frame = read_samples(path)
    fractions = [name for name, (metric, _) in _FRACTIONS.items() if metric in metrics]
    known = frame["metric"].isin([*metrics, *fractions])
    frame = frame[known].astype({"series_id": str, "metric": str, "value": float})
    frame["timestamp"] = frame["timestamp"].astype("datetime64[ms, UTC]").astype("int64")
    for fraction, (metric, capacity) in _FRACTIONS.items():
        rows = frame["metric"] == fraction
        frame.loc[rows, "value"] *= capacity
        frame.loc[rows, "metric"] = metric
    return frame


def load_trace(
    path: Path,
    *,
    metrics: Collection[str] = SIZED,
    step: timedelta | None = STEP,
    split: Split | None = None,
    most: int | None = None,
    until: datetime | None = None,
) -> Iterator[WorkloadSnapshot]:
    """Yields each series that measures any of some metrics as a service of one replica, in order of name.

    Args:
        path: of the trace.
        metrics: names from the metric catalogue; of limits alone there is no service.
        step: of the grid; None is the one in which most samples of each series come.
        split: only the series of this half; None is all.
        most: at most so many.
        until: nothing at or after it is read; None is all.

    Yields:
        Snapshots with one container "main", on one grid over the whole trace, or with `step` None each on a
        grid of its own.

    Raises:
        InvalidInputError: the file is no trace.
    """
    frame = read_trace(path, metrics)
    if until is not None:
        frame = frame[frame["timestamp"] < int(until.timestamp() * 1000)]
    names = sorted(frame.loc[~frame["metric"].isin(_LIMITS), "series_id"].unique())
    whole = None if step is None else _grid_of(frame, step)
    chosen = [name for name in names if split in (None, split_of(name))][:most]
    for name, samples in frame[frame["series_id"].isin(chosen)].groupby("series_id", sort=True):
        yield _snapshot(str(name), samples, whole or _grid_of(samples, _recorded_step(samples)))


def _grid_of(frame: pd.DataFrame, step: timedelta) -> TimeGrid:
    if frame.empty:
        return TimeGrid(datetime.fromtimestamp(0, UTC), step, 0)
    first, last = (datetime.fromtimestamp(int(t) / 1000, UTC) for t in frame["timestamp"].agg(["min", "max"]))
    return TimeGrid.covering(first, last + step, step)


def _recorded_step(samples: pd.DataFrame) -> timedelta:
    """Returns the median time between the samples of a series, 5 minutes of a single one."""
    gaps = np.diff(np.unique(samples["timestamp"].to_numpy()))
    return timedelta(milliseconds=float(np.median(gaps))) if gaps.size else STEP


def _snapshot(name: str, samples: pd.DataFrame, grid: TimeGrid) -> WorkloadSnapshot:
    values = {str(metric): _on_grid(str(metric), rows, grid) for metric, rows in samples.groupby("metric")}
    service = {metric: pods[0] for metric, pods in values.items() if METRICS[metric].scope == "workload"}
    series = {metric: PodSeries(("",), pods) for metric, pods in values.items() if metric not in service}
    limited = all(metric in series for metric in _LIMITS)
    state = WorkloadState(
        containers=(Container(name="main"),),
        replicas=1,
        basis=Basis.ASSUMED_FROM_LIMIT if limited else Basis.UNKNOWN,
    )
    workload = Workload(id=WorkloadId(name=name), service_name=name, state=state)
    return WorkloadSnapshot(workload, grid, {"main": series}, service=service)


def _on_grid(
    metric: str, rows: pd.DataFrame, grid: TimeGrid
) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
    values, _ = to_grid(rows["timestamp"].to_numpy(), rows["value"].to_numpy(), grid, METRICS[metric])
    return values[None]
