"""From what a metric source gives to what is learnt from."""

from collections.abc import Iterator

import numpy as np

from perfopt.learn.examples import Series
from perfopt.metrics.snapshot import Array, PodSeries, TimeGrid, WorkloadSnapshot

METRICS = frozenset({"cpu_cores", "memory_bytes", "cpu_limit_cores", "memory_limit_bytes"})


def containers_of(snapshot: WorkloadSnapshot) -> Iterator[Series]:
    """Yields the containers that measure cpu or memory, from their first sample to their last."""
    for name in sorted(snapshot.containers):
        found = {metric: snapshot.series(name, metric) for metric in METRICS}
        used = [found[metric] for metric in ("cpu_cores", "memory_bytes")]
        present = [np.isfinite(series.values).any(axis=0) for series in used if series is not None]
        steps = np.flatnonzero(np.logical_or.reduce(present)) if present else np.array([], dtype=int)
        if not steps.size:
            continue
        begin, end = int(steps[0]), int(steps[-1]) + 1
        grid = snapshot.grid
        yield Series(
            name=f"{snapshot.workload.id}/{name}",
            grid=TimeGrid(grid.start + begin * grid.step, grid.step, end - begin),
            cpu_cores=_cut(found["cpu_cores"], begin, end),
            memory_bytes=_cut(found["memory_bytes"], begin, end),
            cpu_limit_cores=_limit(found["cpu_limit_cores"], begin, end),
            memory_limit_bytes=_limit(found["memory_limit_bytes"], begin, end),
        )


def _cut(series: PodSeries | None, begin: int, end: int) -> Array | None:
    if series is None or not np.isfinite(series.values[:, begin:end]).any():
        return None
    return series.values[:, begin:end]


def _limit(series: PodSeries | None, begin: int, end: int) -> Array | None:
    return None if series is None else series.hottest()[begin:end]
