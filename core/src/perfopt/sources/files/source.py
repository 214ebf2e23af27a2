"""Metric source over Parquet and CSV files in the schema of perfopt.sources.files.samples."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from perfopt.config.loading import FilesConfig
from perfopt.config.paths import suggestion
from perfopt.domain.enums import Basis
from perfopt.domain.period import format_instant
from perfopt.domain.recommendation import Coverage
from perfopt.domain.workload import Container, Slo, Workload, WorkloadId, WorkloadState
from perfopt.errors import NoDataError
from perfopt.metrics.catalogue import METRICS, STARTUP, Metric
from perfopt.metrics.grid import GridReport, to_grid
from perfopt.metrics.plausibility import NodeCapacity, above_limit, dropped, without
from perfopt.metrics.snapshot import Array, PodSeries, PodStart, TimeGrid, WorkloadSnapshot
from perfopt.sources.base import FailedSnapshot
from perfopt.sources.files.index import IndexedFiles, SampleIndex, Times
from perfopt.sources.files.services import DeclaredResources, ServiceEntry, ServicesFile
from perfopt.sources.kubernetes.secrecy import kept_arguments, kept_env
from perfopt.sources.pod_starts import known_starts, pod_start

CONTAINER = "main"
# Metrics that are fractions of a capacity, and the catalogue's metric they become by it.
_FRACTIONS = {"cpu_cores": "cpu_fraction", "memory_bytes": "memory_fraction"}
_UNSET = DeclaredResources()


class FileSource:
    """Reads samples from files and current states from a services file.

    Without a services file the limits in the files, as of the end of the analysis, stand for the
    current state: requests equal to limits, with the basis `assumed_from_limit`, one replica.

    Args:
        name: what the source is called in messages.
        config: paths and grid step.
        services: what the services file says.
    """

    def __init__(self, name: str, config: FilesConfig, services: ServicesFile) -> None:
        self.name = name
        paths = (config.paths,) if isinstance(config.paths, str) else config.paths
        self._files = IndexedFiles(paths)
        self._services = services
        self._step = timedelta(seconds=config.step_seconds)

    async def latest(self) -> datetime:
        """Returns the end of the grid step that holds the last sample of all files.

        Raises:
            SourceError: files that are missing, damaged or have other columns.
        """
        index = await asyncio.to_thread(self._files.index)
        step_ms = _milliseconds(self._step)
        return _instant((index.last_ms // step_ms + 1) * step_ms)

    async def extent(self, workload: Workload) -> tuple[datetime, datetime] | None:
        """Returns the begin of a series' first step and the end of its last; None without a sample.

        Raises:
            SourceError: as `latest`.
        """
        index = await asyncio.to_thread(self._files.index)
        if workload.id.name not in index.metrics:
            return None
        first, last = index.span_ms(workload.id.name)
        step_ms = _milliseconds(self._step)
        return _instant(first // step_ms * step_ms), _instant((last // step_ms + 1) * step_ms)

    async def inventory(self, at: datetime) -> tuple[Workload, ...]:
        """Returns a workload for each series and each service of the services file, ordered by series.

        Args:
            at: states are taken from what was sampled before it.

        Raises:
            SourceError: as `latest`.
        """
        index = await asyncio.to_thread(self._files.index)
        named = {entry.series or name for name, entry in self._services.services.items()}
        entries = [
            *((entry.series or name, name, entry) for name, entry in self._services.services.items()),
            *((series, series, self._services.defaults) for series in index.metrics if series not in named),
        ]
        at_ms = _epoch_ms(at)
        return tuple(
            _workload(index, series, name, entry, self._services.objective(name, entry), at_ms)
            for series, name, entry in sorted(entries, key=lambda e: e[:2])
        )

    async def snapshots(
        self, workloads: Sequence[Workload], start: datetime, end: datetime, metrics: Collection[str]
    ) -> AsyncIterator[WorkloadSnapshot | FailedSnapshot]:
        """Yields the history of each workload in [start, end), in their order.

        A workload without any sample in the period is a FailedSnapshot with NoDataError.

        Raises:
            SourceError: as `latest`.
        """
        index = await asyncio.to_thread(self._files.index)
        grid = TimeGrid.covering(start, end, self._step)
        requested = [METRICS[name] for name in sorted(metrics) if name in METRICS and name != STARTUP]
        for workload in workloads:
            yield await asyncio.to_thread(
                self._snapshot, index, workload, grid, requested, with_starts=STARTUP in metrics
            )

    async def close(self) -> None:
        """Forgets the index and the blocks it holds in memory."""
        self._files.forget()

    def _snapshot(
        self,
        index: SampleIndex,
        workload: Workload,
        grid: TimeGrid,
        requested: Sequence[Metric],
        *,
        with_starts: bool,
    ) -> WorkloadSnapshot | FailedSnapshot:
        series = workload.id.name
        if series not in index.metrics:
            return FailedSnapshot(workload, self._unknown_series(workload, index))
        entry = self._services.services.get(workload.service_name, self._services.defaults)
        alive = (grid.index(_instant(index.span_ms(series)[0])), grid.size)
        gridded = _GriddedSeries()
        for metric in requested:
            raw = _raw_series(index, series, metric, grid, entry.capacity or _UNSET)
            if isinstance(raw, str):
                gridded.warnings.append(("capacity_unknown", raw))
            elif raw is not None:
                gridded.add(metric, *to_grid(*raw, grid, metric, alive=alive))
        gridded.judge(_limit_series(index, series, grid), _largest(entry.capacity or _UNSET), grid)
        if gridded.sampled:
            starts = _starts(index, series, grid) if with_starts else ()
            return replace(gridded.snapshot(workload, grid), starts=starts)
        if _has_samples(index, series, grid):
            return FailedSnapshot(workload, _other_metrics(workload, index, requested, gridded.warnings))
        return FailedSnapshot(workload, _no_data(workload, index, grid))

    def _unknown_series(self, workload: Workload, index: SampleIndex) -> NoDataError:
        series = workload.id.name
        return NoDataError(
            f"{workload.service_name} has no samples: there is no series {series!r} in {self.name}.",
            field="service_name",
            remedy=suggestion(series, tuple(index.metrics)[:1000]),
        )


@dataclass(slots=True)
class _GriddedSeries:
    """The parts of a snapshot while it is put together; `sampled` once any metric has a sample."""

    container: dict[str, PodSeries] = field(default_factory=dict)
    service: dict[str, Array] = field(default_factory=dict)
    coverage: dict[str, Coverage] = field(default_factory=dict)
    warnings: list[tuple[str, str]] = field(default_factory=list)
    sampled: bool = False

    def add(self, metric: Metric, values: Array, report: GridReport) -> None:
        if metric.scope == "workload":
            self.service[metric.name] = values
        else:
            self.container[metric.name] = PodSeries(("",), values[np.newaxis, :])
        if not metric.carry_forward:  # files state such a metric when it changes: nothing is missing between
            name = metric.name if metric.scope == "workload" else f"{CONTAINER}/{metric.name}"
            self.coverage[name] = report.coverage()
            self.sampled |= report.present > 0

    def judge(self, limits: Mapping[str, PodSeries], largest: NodeCapacity, grid: TimeGrid) -> None:
        """Drops and counts use above the limit in force or the capacity of the machine."""
        for use, most in (("cpu_cores", largest.cpu_cores), ("memory_bytes", largest.memory_bytes)):
            if use in self.container:
                bad = above_limit(self.container[use], limits.get(use), most, grid.step_seconds)
                self.container[use] = dropped(self.container[use], bad)
                key = f"{CONTAINER}/{use}"
                self.coverage[key] = without(self.coverage[key], int(bad.sum()))

    def snapshot(self, workload: Workload, grid: TimeGrid) -> WorkloadSnapshot:
        return WorkloadSnapshot(
            workload=workload,
            grid=grid,
            containers={CONTAINER: self.container},
            service=self.service,
            coverage=self.coverage,
            warnings=tuple(self.warnings),
        )


def _limit_series(index: SampleIndex, series: str, grid: TimeGrid) -> dict[str, PodSeries]:
    """Returns the limits that the files hold, by the metric that they bound."""
    pod_series = {}
    for use, name in (("cpu_cores", "cpu_limit_cores"), ("memory_bytes", "memory_limit_bytes")):
        raw = _raw_series(index, series, METRICS[name], grid, _UNSET)
        if raw is not None and not isinstance(raw, str):
            values, _ = to_grid(*raw, grid, METRICS[name])
            pod_series[use] = PodSeries(("",), values[np.newaxis, :])
    return pod_series


def _largest(capacity: DeclaredResources) -> NodeCapacity:
    memory = capacity.memory_bytes
    return NodeCapacity(capacity.cpu_cores, None if memory is None else float(memory))


def _raw_series(
    index: SampleIndex, series: str, metric: Metric, grid: TimeGrid, capacity: DeclaredResources
) -> tuple[Times, Array] | str | None:
    """Returns samples in the catalogue's unit, a warning why there are none, or None without any."""
    present = index.metrics[series]
    start_ms, end_ms = _epoch_ms(grid.start), _epoch_ms(grid.end)
    if metric.name in present:
        times, values = index.read(series, metric.name, start_ms, end_ms)
        before = index.value_before(series, metric.name, start_ms) if metric.carry_forward else None
        if before is not None:
            times, values = np.r_[np.int64(before[0]), times], np.r_[before[1], values]
        return times, values
    fraction = _FRACTIONS.get(metric.name)
    if fraction is None or fraction not in present:
        return None
    scale = capacity.cpu_cores if metric.name == "cpu_cores" else capacity.memory_bytes
    if not scale:
        part = "cpu" if metric.name == "cpu_cores" else "memory"
        return (
            f"The files have {fraction} only, and {metric.name} needs the capacity it is a fraction of:"
            f" state capacity.{part} in the services file."
        )
    times, values = index.read(series, fraction, start_ms, end_ms)
    return times, values * scale


def _starts(index: SampleIndex, series: str, grid: TimeGrid) -> tuple[PodStart, ...]:
    """Returns the starts of pods that the files state: a sample of their seconds when each was ready."""
    if STARTUP not in index.metrics[series]:
        return ()
    times, values = index.read(series, STARTUP, _epoch_ms(grid.start), _epoch_ms(grid.end))
    ready = ((_instant(int(at)), float(value)) for at, value in zip(times, values, strict=True))
    stated = (pod_start("", at - timedelta(seconds=value), at) for at, value in ready if np.isfinite(value))
    return known_starts((start for start in stated if start is not None), grid.end)


def _has_samples(index: SampleIndex, series: str, grid: TimeGrid) -> bool:
    """Tells whether any metric that is not sparse by nature was sampled within the grid."""
    start_ms, end_ms = _epoch_ms(grid.start), _epoch_ms(grid.end)
    for name in index.metrics[series]:
        sparse = name in METRICS and METRICS[name].carry_forward
        if not sparse and len(index.read(series, name, start_ms, end_ms)[0]):
            return True
    return False


def _other_metrics(
    workload: Workload, index: SampleIndex, requested: Sequence[Metric], warnings: Sequence[tuple[str, str]]
) -> NoDataError:
    """Says why none of the samples in the period serves: of other metrics, or values that are no use."""
    read = [metric.name for metric in requested if not metric.carry_forward]
    present = index.metrics[workload.id.name]
    unusable = [name for name in read if name in present]
    if unusable:
        return NoDataError(
            f"All samples of {', '.join(unusable)} of {workload.service_name} in the period are NaN, infinite"
            " or implausible.",
            remedy="Correct the values in the files.",
        )
    return NoDataError(
        f"{workload.service_name} has {', '.join(present)} only, and this analysis reads {', '.join(read)}.",
        remedy=" ".join(text for _, text in warnings) or None,
    )


def _no_data(workload: Workload, index: SampleIndex, grid: TimeGrid) -> NoDataError:
    period = f"from {format_instant(grid.start)} to {format_instant(grid.end)}"
    first, last = (format_instant(_instant(ms)) for ms in index.span_ms(workload.id.name))
    return NoDataError(
        f"{workload.service_name} has no samples {period}.",
        field="analysis_period",
        remedy=f"Its samples are from {first} to {last}.",
    )


def _workload(
    index: SampleIndex, series: str, name: str, entry: ServiceEntry, slo: Slo | None, at_ms: int
) -> Workload:
    return Workload(
        id=WorkloadId(name=series),
        service_name=name,
        state=_state(entry, _limits(index, series, at_ms)),
        labels=dict(entry.labels),
        annotations=dict(entry.annotations),
        slo=slo,
        calendar=entry.calendar,
        service_class=entry.service_class,
        price_book=entry.price_book,
        zones=entry.zones,
    )


def _limits(index: SampleIndex, series: str, at_ms: int) -> DeclaredResources:
    cpu = index.value_before(series, "cpu_limit_cores", at_ms)
    memory = index.value_before(series, "memory_limit_bytes", at_ms)
    return DeclaredResources(
        cpu_cores=cpu[1] if cpu else None,
        memory_bytes=int(np.ceil(memory[1])) if memory else None,
    )


def _state(entry: ServiceEntry, sampled: DeclaredResources) -> WorkloadState:
    limits = entry.limits if entry.limits is not None else sampled
    given = entry.requests or _UNSET
    cpu = given.cpu_cores if given.cpu_cores is not None else limits.cpu_cores
    memory = given.memory_bytes if given.memory_bytes is not None else limits.memory_bytes
    if cpu is None and memory is None:
        basis = Basis.UNKNOWN
    else:
        basis = (
            Basis.DECLARED
            if (cpu, memory) == (given.cpu_cores, given.memory_bytes)
            else Basis.ASSUMED_FROM_LIMIT
        )
    container = Container(
        name=CONTAINER,
        cpu_request_cores=cpu,
        memory_request_bytes=memory,
        cpu_limit_cores=limits.cpu_cores,
        memory_limit_bytes=limits.memory_bytes,
        image=entry.image,
        env=None if entry.env is None else kept_env(entry.env),
        command=kept_arguments(entry.command),
        args=kept_arguments(entry.args),
    )
    return WorkloadState(
        containers=(container,),
        replicas=entry.replicas if entry.replicas is not None else 1,
        basis=basis,
        hpa=entry.hpa,
        extra=_extra(entry),
    )


def _extra(entry: ServiceEntry) -> dict[str, Any]:
    """Returns the further state keys that the services file states."""
    stated = {
        "node_type": entry.node_type,
        "topology_spread_constraints": list(entry.topology_spread_constraints),
    }
    return {key: value for key, value in stated.items() if value}


def _milliseconds(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)


def _epoch_ms(instant: datetime) -> int:
    return _milliseconds(instant - datetime(1970, 1, 1, tzinfo=UTC))


def _instant(epoch_ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=epoch_ms)
