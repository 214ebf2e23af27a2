"""Series of a traces folder on 5-minute grids, walk-forward cuts, and the split of series in two halves.

The split is by a hash of the series' name, so that it is the same whatever is loaded beside it: `tune` is
what constants may be fitted on, `report` is what they never see.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow.parquet as parquet

from perfopt.domain.enums import Basis
from perfopt.domain.workload import Container, Workload, WorkloadId, WorkloadState
from perfopt.evaluation.known import known_at
from perfopt.metrics.catalogue import METRICS
from perfopt.metrics.grid import to_grid
from perfopt.metrics.snapshot import Array, PodSeries, TimeGrid, WorkloadSnapshot

STEP = timedelta(minutes=5)
USE = ("cpu_cores", "memory_bytes")
LIMITS = ("cpu_limit_cores", "memory_limit_bytes")
# Fractions of an unnamed capacity are taken as of one core and 1 GiB.
FRACTIONS = {"cpu_fraction": ("cpu_cores", 1.0), "memory_fraction": ("memory_bytes", float(2**30))}

Split = Literal["tune", "report"]


@dataclass(frozen=True)
class Setting:
    """How a traces file is walked.

    Attributes:
        history, validity: given to each recommendation, and scored after it.
        stride: from one cut to the next.
    """

    history: timedelta
    validity: timedelta
    stride: timedelta


SETTINGS = {
    "bitbrains_rnd": Setting(timedelta(days=14), timedelta(days=7), timedelta(days=7)),
    "nab_aws": Setting(timedelta(days=7), timedelta(days=3.5), timedelta(days=1)),
    "testbed_nezha": Setting(timedelta(hours=8), timedelta(hours=4), timedelta(hours=2)),
    "google2011_jobs": Setting(timedelta(hours=12), timedelta(hours=6), timedelta(hours=6)),
}


def split_of(series_id: str) -> Split:
    """Returns the half a series belongs to: parity of the SHA-256 of its name, even is `tune`."""
    return "tune" if hashlib.sha256(series_id.encode()).digest()[-1] % 2 == 0 else "report"


def load(path: Path, keep: Split | None = None, most: int | None = None) -> Iterator[WorkloadSnapshot]:
    """Yields the whole history of each series that measures cpu or memory, in order of name."""
    table = parquet.read_table(path)
    wanted = {*USE, *LIMITS, *FRACTIONS}
    ids = table["series_id"].combine_chunks()
    metrics = table["metric"].combine_chunks()
    times = table["timestamp"].cast("int64").to_numpy()
    values = table["value"].to_numpy().astype(np.float64)
    codes, names = np.asarray(ids.indices), ids.dictionary.to_pylist()
    kinds, kind_names = np.asarray(metrics.indices), metrics.dictionary.to_pylist()
    given = 0
    for code in np.argsort(np.asarray(names)):
        if keep is not None and split_of(names[code]) != keep:
            continue
        rows = np.flatnonzero(codes == code)
        found = {
            kind_names[kind]: (times[rows[kinds[rows] == kind]], values[rows[kinds[rows] == kind]])
            for kind in np.unique(kinds[rows])
            if kind_names[kind] in wanted
        }
        if not any(name in USE or name in FRACTIONS for name in found):
            continue
        yield _snapshot(names[code], _in_units(found))
        given += 1
        if given == most:
            return


def _in_units(found: dict[str, tuple[Array, Array]]) -> dict[str, tuple[Array, Array]]:
    result = {}
    for name, (times, values) in found.items():
        unit, capacity = FRACTIONS.get(name, (name, 1.0))
        result[unit] = (times, values * capacity)
    return result


def _snapshot(name: str, found: dict[str, tuple[Array, Array]]) -> WorkloadSnapshot:
    used = [found[metric][0] for metric in USE if metric in found]
    start = datetime.fromtimestamp(min(times[0] for times in used) / 1000, UTC)
    end = datetime.fromtimestamp(max(times[-1] for times in used) / 1000, UTC) + STEP
    grid = TimeGrid.covering(start, end, STEP)
    series = {
        metric: PodSeries(("",), to_grid(times, values, grid, METRICS[metric])[0][None])
        for metric, (times, values) in found.items()
    }
    limited = all(metric in found for metric in LIMITS)
    basis = Basis.ASSUMED_FROM_LIMIT if limited else Basis.UNKNOWN
    state = WorkloadState(containers=(Container(name="main"),), replicas=1, basis=basis)
    workload = Workload(id=WorkloadId(name=name), service_name=name, state=state)
    return WorkloadSnapshot(workload, grid, {"main": series})


def cuts(
    snapshot: WorkloadSnapshot, setting: Setting, history: timedelta | None = None
) -> Iterator[tuple[WorkloadSnapshot, WorkloadSnapshot]]:
    """Yields (what was known at a cut, the validity window after it), oldest first.

    Cuts are the same whatever the history: each has the setting's history before it in the grid.
    Limits stand for requests and are those recorded last before the cut.
    """
    horizon, stride = setting.validity // STEP, setting.stride // STEP
    length = (history or setting.history) // STEP
    for cut in range(setting.history // STEP, snapshot.grid.size - horizon + 1, stride):
        known = known_at(snapshot, cut)
        yield known.slice(cut - length, cut), snapshot.slice(cut, cut + horizon)
