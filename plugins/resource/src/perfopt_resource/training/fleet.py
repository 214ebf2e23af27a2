"""From what a metric source gives to what is learnt from."""

from collections.abc import Iterator

import numpy as np

from perfopt.plugin import Array, PodSeries, WorkloadSnapshot
from perfopt_resource.training.examples import ContainerSeries

METRICS = frozenset({"cpu_cores", "memory_bytes", "cpu_limit_cores", "memory_limit_bytes"})


def containers_of(snapshot: WorkloadSnapshot) -> Iterator[ContainerSeries]:
    """Yields the containers that measure cpu or memory, in order of their names.

    A series has the name of its workload, and of the container as well where there are several.
    """
    several = len(snapshot.containers) > 1
    for name in sorted(snapshot.containers):
        series = {metric: snapshot.series(name, metric) for metric in METRICS}
        cpu, memory = _used(series["cpu_cores"]), _used(series["memory_bytes"])
        if cpu is None and memory is None:
            continue
        yield ContainerSeries(
            name=f"{snapshot.workload.id}/{name}" if several else str(snapshot.workload.id),
            grid=snapshot.grid,
            cpu_cores=cpu,
            memory_bytes=memory,
            cpu_limit_cores=_limit(series["cpu_limit_cores"]),
            memory_limit_bytes=_limit(series["memory_limit_bytes"]),
        )


def _used(series: PodSeries | None) -> Array | None:
    return None if series is None or not np.isfinite(series.values).any() else series.values


def _limit(series: PodSeries | None) -> Array | None:
    return None if series is None else series.hottest()
