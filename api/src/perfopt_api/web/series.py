"""Reads what a workload used, for its pictures: apart from its page, kept for minutes, under a deadline."""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from perfopt.cli.output.lanes import TimelineLane, TimelineMark
from perfopt.cli.output.series import drawn_history
from perfopt.config import Config
from perfopt.domain import fields
from perfopt.domain.recommendation import AnalysisResult, PredictionSeries
from perfopt.errors import UnavailableError
from perfopt.forecast import forecast_series
from perfopt.metrics.catalogue import METRICS
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.plugin.forecasting import Forecast
from perfopt.sources.base import MetricSource
from perfopt.sources.factory import open_source

PERIOD = timedelta(days=14)
AHEAD, MAX_AHEAD = timedelta(days=7), timedelta(days=28)
READ_SECONDS = 30.0
KEPT_SECONDS = 300.0
MAX_KEPT = 16
MAX_POINTS = 800
_LEVELS = (("cpu_cores", "cpu"), ("memory_bytes", "memory"))

OpenSource = Callable[[str | None], Awaitable[MetricSource]]


class SeriesReader:
    """Reads snapshots from metric sources, one read at a time of each workload.

    Args:
        opened: opens a source by name; each is opened once.
        clock: seconds that only grow.
    """

    def __init__(self, opened: OpenSource, clock: Callable[[], float] = time.monotonic) -> None:
        self._opened = opened
        self._clock = clock
        self._sources: dict[str | None, asyncio.Task[MetricSource]] = {}
        self._kept: OrderedDict[tuple[str | None, str, str], tuple[float, asyncio.Task[WorkloadSnapshot]]] = (
            OrderedDict()
        )

    async def read(self, source: str | None, result: AnalysisResult, key: str) -> WorkloadSnapshot:
        """Returns the history of an analysed workload.

        Args:
            source: its name; None is the default one.
            result: the result of its analysis.
            key: of the analysis; another one is read anew.

        Raises:
            UnavailableError: the source takes too long.
            PerfoptError: the source is wrong, or does not have it.
        """
        place = (source, result.workload, key)
        since, reading = self._kept.pop(place, (0.0, None))
        if reading is None or self._clock() - since > KEPT_SECONDS or _failed(reading):
            since, reading = self._clock(), asyncio.ensure_future(self._read(source, result))
        self._kept[place] = since, reading
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        done, _ = await asyncio.wait({reading}, timeout=READ_SECONDS)
        if not done:
            raise UnavailableError(
                f"The metric source did not answer within {READ_SECONDS:g} s.",
                remedy="Load the series again in a minute.",
            )
        return reading.result()

    async def _read(self, source: str | None, result: AnalysisResult) -> WorkloadSnapshot:
        opening = self._sources.get(source)
        if opening is None or _failed(opening):
            opening = self._sources[source] = asyncio.ensure_future(self._opened(source))
        metrics = await asyncio.shield(opening)
        return await drawn_history(metrics, result, PERIOD)

    async def close(self) -> None:
        """Ends reads that run, and closes the sources."""
        for _, reading in self._kept.values():
            reading.cancel()
        for opening in self._sources.values():
            if opening.done() and not _failed(opening):
                await opening.result().close()


def _failed(task: "asyncio.Task[Any]") -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


def sources_of(config: Config) -> OpenSource:
    """Returns what opens a source of a configuration."""

    async def opened(name: str | None) -> MetricSource:
        return await asyncio.to_thread(open_source, name, config)

    return opened


def forecasts_of(result: AnalysisResult, snapshot: WorkloadSnapshot) -> dict[str, PredictionSeries]:
    """Returns what each container was expected to use when the analysis was made, its hottest pod.

    The analysis' own forecasts where it was asked for them; else they are made anew of the history it had.
    """
    stored = next((one.predictions for one in result.recommendations if one.predictions), None)
    if stored is not None:
        return stored
    made_at = min((one.made_at for one in result.recommendations), default=snapshot.grid.end)
    ends = max((one.valid_until for one in result.recommendations), default=made_at + AHEAD)
    history = snapshot.slice(0, snapshot.grid.index(made_at))
    computed = {
        f"{name}/{metric}": forecast_series(
            series.hottest(), history.grid, min(ends - made_at, MAX_AHEAD), METRICS[metric].unit
        )
        for name in history.containers
        for metric, _ in _LEVELS
        if (series := history.series(name, metric)) is not None
    }
    return {name: _shown(one) for name, one in computed.items() if one is not None}


def _shown(forecast: Forecast) -> PredictionSeries:
    return PredictionSeries(
        unit=forecast.unit,
        start=forecast.grid.start,
        step_seconds=forecast.grid.step_seconds,
        quantiles={
            f"{level:g}": values.tolist()
            for level, values in zip(forecast.levels, forecast.values, strict=True)
        },
    )


def change_marks(changes: Iterable[Mapping[str, Any]]) -> list[TimelineMark]:
    """Returns the changes of a workload as marks on the time axis of its pictures."""
    kinds = {"APPLIED": "ok", "ROLLED_BACK": "not", "FAILED": "not"}
    return [
        TimelineMark(
            one["started_at"].timestamp(),
            (one["ended_at"] or one["started_at"]).timestamp(),
            kinds.get(one["status"], "info"),
            f"{one['status']}, started {one['started_at']:%Y-%m-%d %H:%M}Z",
        )
        for one in changes
        if one["started_at"] is not None
    ]


def owner_lanes(seen: Sequence[tuple[datetime, tuple[str, ...]]], until: datetime) -> Iterator[TimelineLane]:
    """Returns for each autoscaler of a workload when analyses saw that it sets replicas or requests.

    Args:
        seen: the instants of analyses, rising, each with the autoscalers there were then.
        until: where the axis ends; the last that was seen holds until then.
    """
    bounds = [*(at for at, _ in seen), until]
    for name in sorted({name for _, names in seen for name in names}):
        had = [name in names for _, names in seen]
        marks = [
            TimelineMark(bounds[first].timestamp(), bounds[last].timestamp(), "info", f"{name} sets it")
            for first, last in _runs(had)
        ]
        yield TimelineLane(name, tuple(marks), _turns(had, bounds))


def _runs(had: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """Returns the first of each run of True, and the first after it."""
    turns = [i for i in range(len(had) + 1) if (i < len(had) and had[i]) != (i > 0 and had[i - 1])]
    return zip(turns[::2], turns[1::2], strict=True)


def _turns(had: Sequence[bool], at: Sequence[datetime]) -> str:
    """Returns when it last came or went, as the summary of its lane."""
    last = next((i for i in range(len(had) - 1, 0, -1) if had[i] != had[i - 1]), None)
    if last is None:
        return "at each analysis"
    return f"{'since' if had[last] else 'gone since'} {at[last]:%d %b %H:%M}Z"


def plots_of(
    result: AnalysisResult, snapshot: WorkloadSnapshot, forecasts: Mapping[str, PredictionSeries]
) -> list[dict[str, Any]]:
    """Returns one plot for each container and resource: seconds, use, forecast, and levels.

    Use is the median and the highest of the pods, the forecast is of the highest: its low quantile, median
    and high quantile. Both are in cores or bytes; None is a gap. A level is a request or limit, current or
    recommended.
    """
    return [
        _plot(result, snapshot, forecasts.get(f"{name}/{metric}"), name, metric, resource)
        for name in sorted(snapshot.containers)
        for metric, resource in _LEVELS
        if (series := snapshot.series(name, metric)) is not None and np.isfinite(series.values).any()
    ]


def _plot(
    result: AnalysisResult,
    snapshot: WorkloadSnapshot,
    forecast: PredictionSeries | None,
    name: str,
    metric: str,
    resource: str,
) -> dict[str, Any]:
    series = snapshot.series(name, metric)
    assert series is not None
    seconds: list[float] = []
    middles: list[float | None] = []
    highs: list[float | None] = []
    steps = np.arange(snapshot.grid.epoch_seconds().size)
    for column in np.array_split(steps, min(MAX_POINTS, steps.size)):
        known = series.values[:, column]
        known = known[np.isfinite(known)]
        seconds.append(float(snapshot.grid.epoch_seconds()[column[0]]))
        middles.append(float(np.median(known)) if known.size else None)
        highs.append(float(known.max()) if known.size else None)
    first = next((at for at, high in enumerate(highs) if high is not None), 0)
    seconds, middles, highs = seconds[first:], middles[first:], highs[first:]
    after, quantiles = _ahead(forecast, seconds[-1] if seconds else -math.inf)
    gap: list[float | None] = [None]
    return {
        "title": f"{name}: {resource} used per pod",
        "resource": resource,
        "data": [
            [*seconds, *after],
            *([*used, *(gap * len(after))] for used in (middles, highs)),
            *([*(gap * len(seconds)), *ahead] for ahead in quantiles),
        ],
        "levels": list(_levels(result, snapshot, name, resource)),
    }


def _ahead(forecast: PredictionSeries | None, since: float) -> tuple[list[float], list[list[float]]]:
    """Returns the instants of a forecast after one, and its low quantile, median and high quantile there."""
    if forecast is None:
        return [], [[], [], []]
    levels = sorted(forecast.quantiles, key=float)
    chosen = [forecast.quantiles[level] for level in (levels[0], levels[len(levels) // 2], levels[-1])]
    every = max(1, len(chosen[0]) // MAX_POINTS)
    at = {
        step: forecast.start.timestamp() + step * forecast.step_seconds
        for step in range(0, len(chosen[0]), every)
    }
    after = [step for step, seconds in at.items() if seconds > since]
    return [at[step] for step in after], [[values[step] for step in after] for values in chosen]


def _levels(
    result: AnalysisResult, snapshot: WorkloadSnapshot, name: str, resource: str
) -> Iterator[dict[str, Any]]:
    whole = result.plan or next(iter(result.recommendations), None)
    states = [("current", snapshot.workload.state)]
    if whole is not None:
        states = [
            ("current", fields.parse_state(whole.current_state)),
            ("recommended", fields.parse_state(whole.recommended_state)),
        ]
    suffix = "cores" if resource == "cpu" else "bytes"
    for kind, state in states:
        container = state.container(name)
        for part in ("request", "limit"):
            value = None if container is None else getattr(container, f"{resource}_{part}_{suffix}")
            if value is not None:
                yield {"label": f"{kind} {part}", "value": float(value)}
