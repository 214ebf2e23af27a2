"""From the rows of one workload to its snapshot: grid, pod lifetimes, coverage, image changes. Pure."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from perfopt.domain.recommendation import Coverage
from perfopt.domain.workload import Workload
from perfopt.metrics.catalogue import METRICS, Metric
from perfopt.metrics.counters import counter_increase
from perfopt.metrics.grid import GridReport, edges_without_rate, merge_reports, to_grid
from perfopt.metrics.plausibility import NodeCapacity, above_limit, counted, dropped, without_memory
from perfopt.metrics.snapshot import Array, ImageChange, PodSeries, TimeGrid, WorkloadSnapshot
from perfopt.sources.prometheus.answer import RangeSeries
from perfopt.sources.prometheus.moving import autoscaler_warning, held_by_unknown, unseen_scaling
from perfopt.sources.prometheus.packing import Lifetime, PodRows
from perfopt.sources.prometheus.rows import SeriesRow
from perfopt.sources.prometheus.spreading import is_measured, spread

Flags = NDArray[np.bool_]
_EVERY_CONTAINER_HAS = ("cpu_cores", "memory_bytes")  # absence is a gap, not something it goes without


@dataclass(frozen=True, slots=True)
class SnapshotInputs:
    """What is known beside the rows of a workload.

    Attributes:
        images: one series for each (pod, container, image).
        containers: names that its pods' templates had in the period, native sidecars among them; empty where
            nothing shows them, and then every container that has samples counts.
        ended: pods to the instant (ms since the epoch) at which they had failed or succeeded.
        largest: the largest machine of its cluster in the period.
        warnings: (code, sentence) pairs.
    """

    images: Sequence[RangeSeries] = ()
    containers: Collection[str] = frozenset()
    ended: Mapping[str, int] = field(default_factory=dict)
    largest: NodeCapacity = field(default_factory=NodeCapacity)
    warnings: tuple[tuple[str, str], ...] = ()


def has_usage(rows: Sequence[SeriesRow]) -> bool:
    """Returns whether anything measured is among the rows, not only declarations and event counts."""
    return any(is_measured(row) for row in rows)


def assemble(
    workload: Workload,
    grid: TimeGrid,
    rows: Sequence[SeriesRow],
    metrics: Sequence[str],
    around: SnapshotInputs,
) -> WorkloadSnapshot:
    """Puts the rows of one workload on the grid.

    A pod is expected to have samples from its first to its last one. Steps from a container's first one
    on in which it had no pod at all are missing too, unless the workload was scaled to zero or runs to
    completion: an outage must not pass for a service that was not there. Containers that no template has
    (init containers, those of `kubectl debug`) are left out.
    """
    rows = spread(_of_pods_that_ran(_of_template(rows, around.containers)), grid)
    service, coverage = _service(grid, rows)
    lifetimes = _lifetimes(workload, grid, rows, around.ended)
    if "replicas" in service:
        service["replicas"] = _without_pending(service["replicas"], workload, lifetimes)
    lacking = _absences(workload, grid, lifetimes, service.get("replicas"))
    series, reports = _on_pods(grid, rows, lifetimes, around.largest)
    for (container, name), mine in reports.items():
        coverage[f"{container}/{name}"] = merge_reports([*mine, _absence(lacking[container])])
    containers: dict[str, dict[str, PodSeries]] = defaultdict(dict)
    for (container, name), one in series.items():
        containers[container][name] = one
    for container in containers:
        for name in _EVERY_CONTAINER_HAS:
            if name in metrics and name not in containers[container]:
                coverage[f"{container}/{name}"] = _nothing(container, lifetimes, lacking)
    moved = unseen_scaling(workload, service.get("replicas"), grid, containers)
    warning = moved or autoscaler_warning(workload)
    return WorkloadSnapshot(
        workload=workload if moved is None else held_by_unknown(workload),
        grid=grid,
        containers=dict(containers),
        service=service,
        image_changes=_image_changes(grid, around.images),
        coverage=dict(sorted(coverage.items())),
        warnings=around.warnings if warning is None else (*around.warnings, ("autoscaler_unknown", warning)),
        running=_running(grid, lifetimes, lacking),
    )


def _of_template(rows: Sequence[SeriesRow], containers: Collection[str]) -> Sequence[SeriesRow]:
    if not containers:
        return rows
    return [row for row in rows if not row.container or row.container in containers]


def _of_pods_that_ran(rows: Sequence[SeriesRow]) -> Sequence[SeriesRow]:
    """Returns the rows without those of pods of which only declarations are known: no node took them.

    A pod that is killed before its first sample ran: its kills count.
    """
    ran = {row.pod for row in rows if row.container and (is_measured(row) or _has_events(row))}
    return [row for row in rows if not row.container or row.pod in ran] if ran else rows


def _has_events(row: SeriesRow) -> bool:
    return METRICS[row.metric].aggregation == "sum" and bool(np.any(row.series.values > 0))


_RATES = ("cpu_cores", "cpu_throttled_fraction")
"""Metrics of which a pod's first and last step may have no value: a rate needs two scrapes."""


def _on_grid(
    row: SeriesRow, grid: TimeGrid, metric: Metric, alive: Lifetime | None = None
) -> tuple[Array, GridReport]:
    """Puts a row on the grid; the server already made one value of each step, and rows have no history."""
    if not row.counter:
        values, report = to_grid(row.series.times, row.series.values, grid, metric, alive=alive)
        if metric.name in _RATES and alive is not None:
            report = replace(report, expected=report.expected - edges_without_rate(values, *alive))
        return values, counted(replace(report, present=report.present + row.implausible), row.implausible)
    last = msgspec.structs.replace(metric, aggregation="last", carry_forward=False)
    cumulative, report = to_grid(row.series.times, row.series.values, grid, last, alive=alive)
    growth, resets = counter_increase(cumulative, from_zero=row.from_zero)
    if row.where is not None:
        counts = np.isin((grid.epoch_seconds() * 1000).astype(np.int64), row.where)
        growth = np.where(counts | np.isnan(growth), growth, 0.0)
    return growth, GridReport(report.expected, report.present, report.filled, report.dropped, resets)


def _service(grid: TimeGrid, rows: Sequence[SeriesRow]) -> tuple[dict[str, Array], dict[str, Coverage]]:
    service: dict[str, Array] = {}
    coverage: dict[str, Coverage] = {}
    for row in sorted((r for r in rows if not r.container), key=lambda r: r.metric):
        service[row.metric], report = _on_grid(row, grid, METRICS[row.metric])
        coverage[row.metric] = report.coverage()
    return service, coverage


def _lifetimes(
    workload: Workload, grid: TimeGrid, rows: Sequence[SeriesRow], ended: Mapping[str, int]
) -> dict[tuple[str, str], Lifetime]:
    """Returns the steps [first, last) in which each (container, pod) existed, over all of its metrics.

    What is declared of a pod that failed or succeeded stays in kube-state-metrics: it prolongs no life
    beyond its end, and beyond its last sample none of a workload that runs to completion.
    """
    measured: dict[str, Lifetime] = {}
    declared: dict[str, Lifetime] = {}
    for row in rows:
        if row.container and len(row.series.times):
            lives = measured if is_measured(row) else declared
            first, last = _steps(row.series, grid)
            known = lives.get(row.pod, (first, last))
            lives[row.pod] = min(first, known[0]), max(last, known[1])
    finishes = workload.id.runs_to_completion
    pods = {
        pod: _life(measured.get(pod), declared.get(pod), _step(ended.get(pod), grid), finishes=finishes)
        for pod in {*measured, *declared}
    }
    return {(row.container, row.pod): pods[row.pod] for row in rows if row.container and row.pod in pods}


def _life(
    measured: Lifetime | None, declared: Lifetime | None, ended: int | None, *, finishes: bool
) -> Lifetime:
    if measured is None or declared is None:
        first, last = measured or declared or (0, 0)
        return (first, last) if measured or ended is None else (first, max(min(last, ended), first))
    if finishes:
        return measured
    last = declared[1] if ended is None else min(declared[1], ended)
    return min(measured[0], declared[0]), max(measured[1], last)


def _steps(series: RangeSeries, grid: TimeGrid) -> Lifetime:
    step, origin = grid.step_seconds * 1000, int(grid.start.timestamp()) * 1000
    first = max(int(series.times[0] - origin) // step, 0)
    return first, min(int(series.times[-1] - origin) // step + 1, grid.size)


def _step(at: int | None, grid: TimeGrid) -> int | None:
    return None if at is None else (at - int(grid.start.timestamp()) * 1000) // (grid.step_seconds * 1000)


def _without_pending(
    replicas: Array, workload: Workload, lifetimes: Mapping[tuple[str, str], Lifetime]
) -> Array:
    """Returns the replicas that ran, where the state shows that fewer run than are wanted.

    Pods that no node takes are among the recorded ones: then those count that have samples.
    """
    now, known = workload.state.replicas, replicas[np.isfinite(replicas)]
    if not now or not known.size or known[-1] <= now:
        return replicas
    alive: dict[str, Array] = defaultdict(lambda: np.zeros(replicas.size))
    for (container, _), (begin, end) in lifetimes.items():
        alive[container][begin:end] += 1
    return np.minimum(replicas, np.maximum(np.max([*alive.values(), np.zeros(replicas.size)], axis=0), now))


def _absences(
    workload: Workload,
    grid: TimeGrid,
    lifetimes: Mapping[tuple[str, str], Lifetime],
    replicas: Array | None,
) -> dict[str, Flags]:
    """Returns, for each container, the steps in which no pod ran it although one should have."""
    absences = {}
    for container in {container for container, _ in lifetimes}:
        spans = [span for (name, _), span in lifetimes.items() if name == container]
        first = min(begin for begin, _ in spans)
        current = workload.state.container(container) is not None or not workload.state.containers
        last = grid.size if current else max(end for _, end in spans)
        lacking: Flags = np.zeros(grid.size, dtype=bool)
        if not workload.id.runs_to_completion:
            lacking[first:last] = True
        for begin, end in spans:
            lacking[begin:end] = False
        if replicas is not None:
            lacking &= replicas != 0
        absences[container] = lacking
    return absences


def _absence(lacking: Flags) -> GridReport:
    return GridReport(expected=int(lacking.sum()), present=0)


def _running(
    grid: TimeGrid, lifetimes: Mapping[tuple[str, str], Lifetime], lacking: Mapping[str, Flags]
) -> Flags:
    """Returns the steps in which the workload had a pod, or should have had one."""
    running: Flags = np.zeros(grid.size, dtype=bool)
    for begin, end in lifetimes.values():
        running[begin:end] = True
    for absent in lacking.values():
        running |= absent
    return running


def _nothing(
    container: str, lifetimes: Mapping[tuple[str, str], Lifetime], lacking: Mapping[str, Flags]
) -> Coverage:
    spans = [span for (name, _), span in lifetimes.items() if name == container]
    reports = [GridReport(expected=end - begin, present=0) for begin, end in spans]
    return merge_reports([*reports, _absence(lacking[container])])


Key = tuple[str, str]


def _on_pods(
    grid: TimeGrid,
    rows: Iterable[SeriesRow],
    lifetimes: Mapping[tuple[str, str], Lifetime],
    largest: NodeCapacity,
) -> tuple[dict[Key, PodSeries], dict[Key, list[GridReport]]]:
    """Returns the series of each (container, metric), and a report for each of its pods.

    One pod at a time, so that memory is for the pods that lived at once and not for all there ever were.
    """
    groups: dict[str, dict[str, dict[str, list[SeriesRow]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for row in rows:
        if row.container:
            groups[row.container][row.pod][row.metric].append(row)
    packing = PodRows(lifetimes)
    series: dict[Key, PodSeries] = {}
    reports: dict[Key, list[GridReport]] = defaultdict(list)
    for container, pods in sorted(groups.items()):
        having: dict[str, list[str]] = defaultdict(list)
        for pod, metrics in pods.items():
            for name in metrics:
                having[name].append(pod)
        packed = {name: packing.series(some, grid.size) for name, some in sorted(having.items())}
        for pod, metrics in sorted(pods.items()):
            alive = lifetimes.get((container, pod))
            for name, (values, report) in _of_pod(grid, metrics, alive, largest).items():
                packed[name].add(pod, values)
                reports[container, name].append(report)
        series |= {(container, name): one.done() for name, one in packed.items()}
    return series, reports


def _of_pod(
    grid: TimeGrid, metrics: Mapping[str, Sequence[SeriesRow]], alive: Lifetime | None, largest: NodeCapacity
) -> dict[str, tuple[Array, GridReport]]:
    """Returns the samples of one pod's container by metric, without those that cannot be."""
    series = {name: _together(grid, same, METRICS[name], alive) for name, same in metrics.items()}
    bounds = (
        ("cpu_cores", "cpu_limit_cores", largest.cpu_cores),
        ("memory_bytes", "memory_limit_bytes", largest.memory_bytes),
    )
    cpu = _single(series, "cpu_cores")
    for use, limit, most in bounds:
        mine = _single(series, use)
        if mine is not None:
            bad = above_limit(mine, _single(series, limit), most, grid.step_seconds)
            if use == "memory_bytes":
                bad |= without_memory(mine, cpu)
            series[use] = dropped(mine, bad).values[0], counted(series[use][1], int(bad.sum()))
    return series


def _single(series: Mapping[str, tuple[Array, GridReport]], name: str) -> PodSeries | None:
    return PodSeries(("",), series[name][0][np.newaxis]) if name in series else None


def _together(
    grid: TimeGrid, rows: Sequence[SeriesRow], metric: Metric, alive: Lifetime | None
) -> tuple[Array, GridReport]:
    """Puts what several sources count of one pod on the grid: the largest of each step."""
    values, report = _on_grid(rows[0], grid, metric, alive)
    for row in rows[1:]:
        more, other = _on_grid(row, grid, metric, alive)
        values, report = np.fmax(values, more), max(report, other, key=lambda one: one.present)
    return values, report


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
