"""Reads what a workload used, for its pictures: apart from its page, kept for minutes, under a deadline."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any

import numpy as np

from perfopt.cli.output.series import drawn_history
from perfopt.config import Config
from perfopt.domain import fields
from perfopt.domain.recommendation import AnalysisResult
from perfopt.errors import UnavailableError
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.sources.base import MetricSource
from perfopt.sources.factory import open_source

PERIOD = timedelta(days=14)
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

    async def read(self, source: str | None, found: AnalysisResult, key: str) -> WorkloadSnapshot:
        """Returns the history of an analysed workload.

        Args:
            source: its name; None is the default one.
            found: the result of its analysis.
            key: of the analysis; another one is read anew.

        Raises:
            UnavailableError: the source takes too long.
            PerfoptError: the source is wrong, or does not have it.
        """
        place = (source, found.workload, key)
        since, reading = self._kept.pop(place, (0.0, None))
        if reading is None or self._clock() - since > KEPT_SECONDS or _failed(reading):
            since, reading = self._clock(), asyncio.ensure_future(self._read(source, found))
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

    async def _read(self, source: str | None, found: AnalysisResult) -> WorkloadSnapshot:
        opening = self._sources.get(source)
        if opening is None or _failed(opening):
            opening = self._sources[source] = asyncio.ensure_future(self._opened(source))
        metrics = await asyncio.shield(opening)
        return await drawn_history(metrics, found, PERIOD)

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


def plots_of(found: AnalysisResult, snapshot: WorkloadSnapshot) -> list[dict[str, Any]]:
    """Returns one plot for each container and resource: seconds, median and highest use, and levels.

    Use is per pod, in cores or bytes; None is a gap. A level is a request or limit, current or recommended.
    """
    return [
        _plot(found, snapshot, name, metric, resource)
        for name in sorted(snapshot.containers)
        for metric, resource in _LEVELS
        if (series := snapshot.series(name, metric)) is not None and np.isfinite(series.values).any()
    ]


def _plot(
    found: AnalysisResult, snapshot: WorkloadSnapshot, name: str, metric: str, resource: str
) -> dict[str, Any]:
    series = snapshot.series(name, metric)
    assert series is not None
    seconds, middles, highs = [], [], []
    steps = np.arange(snapshot.grid.epoch_seconds().size)
    for column in np.array_split(steps, min(MAX_POINTS, steps.size)):
        known = series.values[:, column]
        known = known[np.isfinite(known)]
        seconds.append(float(snapshot.grid.epoch_seconds()[column[0]]))
        middles.append(float(np.median(known)) if known.size else None)
        highs.append(float(known.max()) if known.size else None)
    return {
        "title": f"{name}: {resource} used per pod",
        "resource": resource,
        "data": [seconds, middles, highs],
        "levels": list(_levels(found, snapshot, name, resource)),
    }


def _levels(
    found: AnalysisResult, snapshot: WorkloadSnapshot, name: str, resource: str
) -> Iterator[dict[str, Any]]:
    whole = found.plan or next(iter(found.recommendations), None)
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
