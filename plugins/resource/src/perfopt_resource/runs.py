"""Whole runs of jobs, and histories of what does not always run."""

import numpy as np

from perfopt.plugin import Array, WorkloadSnapshot

ENOUGH_RUNS = 2  # whole ones, to be sized from where a model of what always runs is not confident


def whole_runs(snapshot: WorkloadSnapshot) -> int | None:
    """Returns how many runs of a job began and ended in the history; None of what is no job."""
    if snapshot.running is None or not snapshot.workload.id.runs_to_completion:
        return None
    ran = np.r_[0, snapshot.running.astype(np.int8), 0]
    begins, ends = np.flatnonzero(np.diff(ran) == 1), np.flatnonzero(np.diff(ran) == -1)
    return int(((begins > 0) & (ends < snapshot.grid.size)).sum())


def while_running(values: Array, steps: int) -> Array:
    """Returns a history, without the steps that have no sample where its latest steps have none at all.

    Args:
        values: shape (pods, n), NaN where missing.
        steps: how many of the latest are looked at.
    """
    present = np.isfinite(values).any(axis=0)
    return values if present[-steps:].any() else values[:, present]
