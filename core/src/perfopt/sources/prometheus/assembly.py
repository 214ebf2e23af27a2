"""From the rows of one workload to its snapshot: grid, pod lifetimes, coverage, image changes. Pure."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from perfopt.domain.recommendation import Coverage
from perfopt.domain.workload import Workload
from perfopt.metrics.catalogue import METRICS, Metric
from perfopt.metrics.counters import counter_increase
from perfopt.metrics.grid import GridReport, merge_reports, to_grid
from perfopt.metrics.snapshot import Array, ImageChange, PodSeries, TimeGrid, WorkloadSnapshot
from perfopt.sources.prometheus.answer import RangeSeries
from perfopt.sources.prometheus.fetch import Row

Lifetime = tuple[int, int]
_RUNS_TO_COMPLETION = ("Job", "CronJob")
_EVERY_CONTAINER_HAS = ("cpu_cores", "memory_bytes")  # absence is a gap, not something it goes without


def has_usage(rows: Sequence[Row]) -> bool:
    """Returns whether anything measured is among the rows, not only declarations and event counts."""
    return any(METRICS[row.metric].aggregation in ("mean", "max", "min") for row in rows)


def assemble(
    workload: Workload,
    grid: TimeGrid,
    rows: Sequence[Row],
    images: Sequence[RangeSeries],
    metrics: Sequence[str],
    warnings: tuple[tuple[str, str], ...],
) -> WorkloadSnapshot:
    """Puts the rows of one workload on the grid.

    A pod is expected to have samples from its first to its last one. Steps from a container's first one
    on in which it had no pod at all are missing too, unless the workload was scaled to zero or runs to
    completion: an outage must not pass for a service that was not there.
    """
    service, coverage = _service(grid, rows)
    lifetimes = _lifetimes(grid, rows)
    absent = _absences(workload, grid, lifetimes, service.get("replicas"))
    containers: dict[str, dict[str, PodSeries]] = defaultdict(dict)
    by_metric: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if row.container:
            by_metric[row.container, row.metric].append(row)
    for (container, name), mine in sorted(by_metric.items()):
        series, reports = _pod_series(grid, mine, METRICS[name], lifetimes)
        containers[container][name] = series
        coverage[f"{container}/{name}"] = merge_reports([*reports, absent[container]])
    for container in containers:
        for name in _EVERY_CONTAINER_HAS:
            if name in metrics and name not in containers[container]:
                coverage[f"{container}/{name}"] = _nothing(container, lifetimes, absent)
    return WorkloadSnapshot(
        workload=workload,
        grid=grid,
        containers=dict(containers),
        service=service,
        image_changes=_image_changes(grid, images),
        coverage=dict(sorted(coverage.items())),
        warnings=warnings,
    )


def _on_grid(
    row: Row, grid: TimeGrid, metric: Metric, alive: Lifetime | None = None
) -> tuple[Array, GridReport]:
    """Puts a row on the grid; the server already made one value of each step, and rows have no history."""
    if not row.counter:
        return to_grid(row.series.times, row.series.values, grid, metric, alive=alive)
    last = msgspec.structs.replace(metric, aggregation="last", carry_forward=False)
    cumulative, report = to_grid(row.series.times, row.series.values, grid, last, alive=alive)
    growth, resets = counter_increase(cumulative)
    if row.where is not None:
        counts = np.isin((grid.epoch_seconds() * 1000).astype(np.int64), row.where)
        growth = np.where(counts | np.isnan(growth), growth, 0.0)
    return growth, GridReport(report.expected, report.present, report.filled, report.dropped, resets)


def _service(grid: TimeGrid, rows: Sequence[Row]) -> tuple[dict[str, Array], dict[str, Coverage]]:
    service: dict[str, Array] = {}
    coverage: dict[str, Coverage] = {}
    for row in sorted((r for r in rows if not r.container), key=lambda r: r.metric):
        service[row.metric], report = _on_grid(row, grid, METRICS[row.metric])
        coverage[row.metric] = report.coverage()
    return service, coverage


def _lifetimes(grid: TimeGrid, rows: Sequence[Row]) -> dict[tuple[str, str], Lifetime]:
    """Returns the steps [first, last) in which each (container, pod) existed, over all of its metrics."""
    pods: dict[str, Lifetime] = {}
    step = grid.step_seconds * 1000
    origin = int(grid.start.timestamp()) * 1000
    for row in rows:
        if row.container and len(row.series.times):
            first = max(int(row.series.times[0] - origin) // step, 0)
            last = min(int(row.series.times[-1] - origin) // step + 1, grid.size)
            known = pods.get(row.pod, (first, last))
            pods[row.pod] = min(first, known[0]), max(last, known[1])
    return {(row.container, row.pod): pods[row.pod] for row in rows if row.container and row.pod in pods}


def _absences(
    workload: Workload,
    grid: TimeGrid,
    lifetimes: Mapping[tuple[str, str], Lifetime],
    replicas: Array | None,
) -> dict[str, GridReport]:
    """Returns, for each container, the steps in which no pod ran it although one should have."""
    found = {}
    for container in {container for container, _ in lifetimes}:
        spans = [span for (name, _), span in lifetimes.items() if name == container]
        first = min(begin for begin, _ in spans)
        current = workload.state.container(container) is not None or not workload.state.containers
        last = grid.size if current else max(end for _, end in spans)
        lacking: NDArray[np.bool_] = np.ones(grid.size, dtype=bool)
        for begin, end in spans:
            lacking[begin:end] = False
        if replicas is not None:
            lacking &= replicas != 0
        count = 0 if workload.id.kind in _RUNS_TO_COMPLETION else int(lacking[first:last].sum())
        found[container] = GridReport(expected=count, present=0)
    return found


def _nothing(
    container: str, lifetimes: Mapping[tuple[str, str], Lifetime], absent: Mapping[str, GridReport]
) -> Coverage:
    spans = [span for (name, _), span in lifetimes.items() if name == container]
    reports = [GridReport(expected=end - begin, present=0) for begin, end in spans]
    return merge_reports([*reports, absent[container]])


def _pod_series(
    grid: TimeGrid,
    rows: Sequence[Row],
    metric: Metric,
    lifetimes: Mapping[tuple[str, str], Lifetime],
) -> tuple[PodSeries, list[GridReport]]:
    ordered = sorted(rows, key=lambda row: row.pod)
    values = np.empty((len(ordered), grid.size))
    reports = []
    for number, row in enumerate(ordered):
        values[number], report = _on_grid(row, grid, metric, lifetimes.get((row.container, row.pod)))
        reports.append(report)
    return PodSeries(tuple(row.pod for row in ordered), values), reports


def _image_changes(grid: TimeGrid, images: Sequence[RangeSeries]) -> tuple[ImageChange, ...]:
    """Returns when each container first ran another image than the pod before; a rollback counts too."""
    starts: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for series in images:
        if len(series.times) and series.labels.get("image") and series.labels.get("container"):
            starts[series.labels["container"]].append((int(series.times[0]), series.labels["image"]))
    changes = []
    for container, seen in starts.items():
        running = None
        for at, image in sorted(seen):
            if running is not None and image != running:
                changes.append(ImageChange(container, datetime.fromtimestamp(at / 1000, UTC), image))
            running = image
    return tuple(sorted(changes, key=lambda change: (change.at, change.container)))
