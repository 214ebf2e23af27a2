"""Single series of published traces, and the halves that forecasts were fitted on and are judged on."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perfopt.datasets.traces import read_samples
from perfopt.errors import InvalidInputError
from perfopt.evaluation.split import Split, split_of
from perfopt.metrics.snapshot import Array, TimeGrid


@dataclass(frozen=True, slots=True)
class MeasuredSeries:
    """One measured series.

    Attributes:
        name: of the series.
        grid: covers it, with the step in which most samples come.
        values: shape (grid.size,), NaN where missing.
    """

    name: str
    grid: TimeGrid
    values: Array

    @property
    def split(self) -> Split:
        """The half it belongs to: `tune` is what forecasters were fitted and chosen on."""
        return split_of(self.name)


def load_series(
    path: Path, metric: str | None = None, *, absent: float = float("nan")
) -> Iterator[MeasuredSeries]:
    """Yields the series of a trace in Parquet, in order of name.

    Args:
        path: columns series_id, timestamp, metric, value.
        metric: only this one; None is the only one there is.
        absent: value of steps without a row, between the first and the last.

    Raises:
        InvalidInputError: as `read_samples`; no such metric, or several where none is named.
    """
    frame = read_samples(path)
    metrics = sorted(map(str, frame["metric"].unique()))
    if metric not in metrics and (metric is not None or len(metrics) > 1):
        problem = (
            f"{path} has {len(metrics)} metrics" if metric is None else f"{path} has no metric {metric!r}"
        )
        raise InvalidInputError(f"{problem}.", field="--metric", remedy=f"Name one of: {', '.join(metrics)}.")
    frame = frame[frame["metric"].astype(str) == (metric or metrics[0])]
    frame = frame.assign(seconds=frame["timestamp"].astype("datetime64[s, UTC]").astype("int64"))
    for name, rows in frame.groupby(frame["series_id"].astype(str), sort=True):
        ordered = rows.sort_values("seconds")
        seconds, values = ordered["seconds"].to_numpy(), ordered["value"].to_numpy(dtype=np.float64)
        if seconds.size > 1:
            yield _series(str(name), seconds, values, absent)


def _series(name: str, seconds: NDArray[np.int64], values: Array, absent: float) -> MeasuredSeries:
    gaps = np.diff(seconds)
    step = int(np.median(gaps[gaps > 0]))
    places = (seconds - seconds[0]) // step
    filled = np.full(int(places[-1]) + 1, absent)
    filled[places] = values
    grid = TimeGrid(datetime.fromtimestamp(int(seconds[0]), UTC), timedelta(seconds=step), filled.size)
    return MeasuredSeries(name, grid, filled)
