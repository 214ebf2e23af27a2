"""Analyses workloads of a metric source: fetch, then the engine. The one place where the two meet."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, aclosing, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

import numpy as np

from perfopt.domain.enums import OptimizationType
from perfopt.domain.period import AnalysisPeriod, format_duration, parse_validity
from perfopt.domain.recommendation import AnalysisResult
from perfopt.domain.request import PerformanceAnalysisRequest, requested_types
from perfopt.domain.resolve import resolve_workload
from perfopt.domain.workload import Workload
from perfopt.engine import Engine
from perfopt.errors import NoDataError, PerfoptError
from perfopt.metrics.catalogue import METRICS
from perfopt.metrics.snapshot import Array, TimeGrid, WorkloadSnapshot
from perfopt.sources.base import FailedSnapshot, MetricSource
from perfopt.sources.orderly import in_order

# A history is called short when more than this share of the period lacks: a scrape that began a few
# minutes into the period is no news to anyone.
SHORT_BY = 0.05


@dataclass(frozen=True)
class AnalysisWindow:
    """The period analysed, and what is asked of it."""

    start: datetime
    end: datetime
    validity: timedelta
    types: tuple[OptimizationType, ...]
    include_predictions: bool


Timed = Callable[[str], AbstractContextManager[None]]


async def analyze_request(
    request: PerformanceAnalysisRequest,
    source: MetricSource,
    engine: Engine,
    timed: Timed = lambda _: nullcontext(),
) -> AnalysisResult:
    """Answers one request of the contract.

    Args:
        request: what to analyse; `source` and `auto_apply` in it are the caller's business.
        source: where the metrics are.
        engine: runs the strategies; it blocks, so it runs in a thread.
        timed: gives a context around each stage: inventory, fetch, engine.

    Raises:
        InvalidInputError: a malformed period or validity.
        NotFoundError, AmbiguousError: no workload, or several, of that name; lists candidates.
        NoDataError: the source holds nothing for the workload in the period.
        SourceError: the source is down or answers nonsense.
    """
    period = AnalysisPeriod.parse(request.analysis_period)
    validity = parse_validity(request.validity)
    with timed("inventory"):
        end = period.end if period.end is not None else await source.latest()
        workload = resolve_workload(request.service_name, await source.inventory(end))
    types = requested_types(request)
    window = AnalysisWindow(end - period.length, end, validity, types, request.include_predictions)
    with timed("fetch"):
        answer = await _first(source, workload, window, engine.metrics(types))
    if isinstance(answer, FailedSnapshot):
        raise answer.error
    with timed("engine"):
        return await asyncio.to_thread(_analyze, answer, window, engine)


async def _first(
    source: MetricSource, workload: Workload, window: AnalysisWindow, metrics: frozenset[str]
) -> WorkloadSnapshot | FailedSnapshot:
    async for snapshot in source.snapshots([workload], window.start, window.end, metrics):
        return snapshot
    raise NoDataError(f"The source {source.name} gave no answer for {workload.service_name}.")


async def analyze_fleet(
    source: MetricSource,
    engine: Engine,
    names: Sequence[str] | None = None,
    *,
    until: datetime | None = None,
    period: timedelta = timedelta(days=14),
    validity: timedelta = timedelta(days=7),
    types: Sequence[OptimizationType] = tuple(OptimizationType),
    include_predictions: bool = False,
    concurrency: int = 4,
    expect: Callable[[int], object] = lambda _: None,
) -> AsyncIterator[AnalysisResult | tuple[Workload, PerfoptError]]:
    """Analyses many workloads; a failing one is an item of the answer, not the end of it.

    Args:
        source: where the metrics are.
        engine: runs the strategies.
        names: service names; None is all workloads of the inventory.
        until: the end of the period; None is the source's own.
        period: how much history.
        validity: how long recommendations must hold.
        types: what to look for.
        include_predictions: put the forecasts on each recommendation.
        concurrency: workloads analysed at once; the order of the answers does not depend on it.
        expect: takes the number of workloads before the first is analysed.

    Yields:
        One item a workload, in the order of the names or of the inventory.

    Raises:
        NotFoundError, AmbiguousError: a name that matches no workload, or several.
        SourceError: the source is down or answers nonsense.
    """
    end = until if until is not None else await source.latest()
    inventory = await source.inventory(end)
    workloads = inventory if names is None else [resolve_workload(name, inventory) for name in names]
    expect(len(workloads))
    window = AnalysisWindow(end - period, end, validity, tuple(types), include_predictions)
    async with aclosing(analyze_workloads(source, engine, workloads, window, concurrency)) as answers:
        async for answer in answers:
            yield answer


async def analyze_workloads(
    source: MetricSource,
    engine: Engine,
    workloads: Sequence[Workload],
    window: AnalysisWindow,
    concurrency: int,
) -> AsyncGenerator[AnalysisResult | tuple[Workload, PerfoptError]]:
    """Analyses workloads of an inventory in their order; a failing one is an item of the answer.

    Args:
        source: where the metrics are.
        engine: runs the strategies.
        workloads: of the source's inventory.
        window: the period, and what is asked of it.
        concurrency: workloads analysed at once.

    Raises:
        SourceError: the source is down or answers nonsense.
    """
    snapshots = source.snapshots(workloads, window.start, window.end, engine.metrics(window.types))
    settle = partial(_settle, window=window, engine=engine)
    async with aclosing(in_order(snapshots, settle, at_once=max(concurrency, 1))) as answers:
        async for answer in answers:
            yield answer


async def _settle(
    snapshot: WorkloadSnapshot | FailedSnapshot, window: AnalysisWindow, engine: Engine
) -> AnalysisResult | tuple[Workload, PerfoptError]:
    if isinstance(snapshot, FailedSnapshot):
        return snapshot.workload, snapshot.error
    try:
        return await asyncio.to_thread(_analyze, snapshot, window, engine)
    except PerfoptError as error:
        return snapshot.workload, error


def _analyze(snapshot: WorkloadSnapshot, window: AnalysisWindow, engine: Engine) -> AnalysisResult:
    return engine.analyze(
        _with_history_warning(snapshot, window),
        window.types,
        window.validity,
        include_predictions=window.include_predictions,
    )


def _with_history_warning(snapshot: WorkloadSnapshot, window: AnalysisWindow) -> WorkloadSnapshot:
    """Adds `short_history` where the first sample is late in the period.

    Raises:
        NoDataError: there is no sample at all.
    """
    requested = window.end - window.start
    first = _first_sample(snapshot)
    if first is None:
        raise NoDataError(
            f"There is no sample of {snapshot.workload.service_name} in the {format_duration(requested)}"
            f" before {window.end.isoformat()}.",
            field="analysis_period",
            remedy="Ask for a period in which it ran.",
        )
    if first - window.start <= SHORT_BY * requested:
        return snapshot
    known = timedelta(seconds=round((window.end - first).total_seconds()))
    text = (
        f"The source has {format_duration(known)} of the {format_duration(requested)} of history requested."
    )
    return replace(snapshot, warnings=(*snapshot.warnings, ("short_history", text)))


def _first_sample(snapshot: WorkloadSnapshot) -> datetime | None:
    """Returns the start of the first step at which anything was measured; recorded settings do not count."""
    measured = [
        series.values.T
        for metrics in snapshot.containers.values()
        for name, series in metrics.items()
        if not METRICS[name].carry_forward
    ]
    measured += [values for name, values in snapshot.service.items() if not METRICS[name].carry_forward]
    steps = [_first_step(values) for values in measured]
    instants = [step for step in steps if step is not None]
    return _at(snapshot.grid, min(instants)) if instants else None


def _first_step(values: Array) -> int | None:
    present = np.isfinite(values)
    rows = present if present.ndim == 1 else present.any(axis=1)
    return int(rows.argmax()) if rows.any() else None


def _at(grid: TimeGrid, step: int) -> datetime:
    return grid.start + step * grid.step
