"""Rolling origins over the series of a traces folder, each from its first to its last sample of use."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np

from perfopt.datasets import Split, load_trace, split_of
from perfopt.evaluation.known import known_at
from perfopt.metrics.snapshot import WorkloadSnapshot

__all__ = ["SETTINGS", "STEP", "Setting", "Split", "cuts", "load", "split_of"]

STEP = timedelta(minutes=5)
USE = ("cpu_cores", "memory_bytes")


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


def load(path: Path, keep: Split | None = None, most: int | None = None) -> Iterator[WorkloadSnapshot]:
    """Yields the whole history of each series that measures cpu or memory, in order of name."""
    for snapshot in load_trace(path, split=keep, most=most):
        used = [snapshot.series("main", metric) for metric in USE]
        present = [np.isfinite(series.values).any(axis=0) for series in used if series is not None]
        steps = np.flatnonzero(np.logical_or.reduce(present))
        yield snapshot.slice(int(steps[0]), int(steps[-1]) + 1)


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
