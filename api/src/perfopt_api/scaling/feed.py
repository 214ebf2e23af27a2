"""The latest minutes of the services that autoscalers ask for, read together and seldom.

KEDA asks for each service every few seconds. A source is asked once a poll interval for all of them: the
minutes since the last time, after a week of history at the first.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import structlog

from perfopt.capacity.throughput import total_cores
from perfopt.domain.workload import Workload
from perfopt.errors import NotFoundError, PerfoptError, SourceError, SourceUnavailableError
from perfopt.metrics.snapshot import Array, WorkloadSnapshot
from perfopt.plugin.history import running_replicas
from perfopt.sources.base import FailedSnapshot, MetricSource

STEP_SECONDS = 60
HISTORY = timedelta(days=7)
METRICS = frozenset({"cpu_cores", "replicas"})
# Read again each time: a sample may come later than those after it.
_OVERLAP = timedelta(minutes=3)
# A service that nobody asked for in this time is no longer read.
_FORGOTTEN_SECONDS = 900.0
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RecentDemand:
    """The demand of a workload up to its last sample.

    Attributes:
        cores: CPU of all its replicas by step of a minute, shape (steps,), NaN where missing; the first and
            the last are known.
        start: of the first step.
        workload: as it is now.
    """

    cores: Array
    start: datetime
    workload: Workload

    @property
    def end(self) -> datetime:
        """The end of the last step with a sample."""
        return self.start + self.cores.size * timedelta(seconds=STEP_SECONDS)


@dataclass
class _TrackedWorkload:
    """What is known of a workload, and when it was asked for (monotonic seconds)."""

    name: str
    asked: float
    tried: float | None = None
    recent: RecentDemand | None = None
    error: PerfoptError | None = None
    read_until: datetime | None = field(default=None)


class DemandFeed:
    """Keeps the latest minutes of one source. It lives on one event loop.

    Args:
        open_source: opens the source on a grid of a minute.
        poll_seconds: the source is not asked more often, however often this is.
        wait_seconds: how long a question waits for the source.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        open_source: Callable[[], Awaitable[MetricSource]],
        *,
        poll_seconds: float,
        wait_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open = open_source
        self._poll_seconds = poll_seconds
        self._wait_seconds = wait_seconds
        self._clock = clock
        self._source: MetricSource | None = None
        self._tracks: dict[str, _TrackedWorkload] = {}
        self._tasks: dict[bool, asyncio.Task[None]] = {}

    async def recent(self, workload: str) -> RecentDemand:
        """Returns what is known of a workload, at most a poll interval and the time of a reading old.

        Args:
            workload: its full name.

        Raises:
            PerfoptError: nothing is known of it, and why.
        """
        now = self._clock()
        track = self._tracks.setdefault(workload, _TrackedWorkload(workload, now))
        track.asked = now
        for _ in range(2):  # a reading that was under way may not have been of this one
            task = self._refreshed(track, now)
            if task is not None:
                await asyncio.wait({task}, timeout=self._wait_seconds)
            if track.tried is not None:
                break
        if track.recent is not None:
            return track.recent
        raise track.error or SourceUnavailableError(
            f"The history of {workload} is being read.", remedy="Ask again in some seconds."
        )

    async def close(self) -> None:
        """Stops reading and closes the source."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        if self._source is not None:
            await self._source.close()

    def _refreshed(self, tracked: _TrackedWorkload, now: float) -> asyncio.Task[None] | None:
        """Starts to read what is due of workloads in the state of this one; returns the reading under way."""
        self._tracks = {n: t for n, t in self._tracks.items() if now - t.asked < _FORGOTTEN_SECONDS}
        new = tracked.recent is None
        under_way = self._tasks.get(new)
        if under_way is not None and not under_way.done():
            return under_way
        due = [
            track
            for track in self._tracks.values()
            if (track.recent is None) is new
            and (track.tried is None or now - track.tried >= self._poll_seconds)
        ]
        if tracked not in due:
            return None
        for track in due:
            track.tried = now
        self._tasks[new] = asyncio.create_task(self._read(due))
        return self._tasks[new]

    async def _read(self, tracks: Sequence[_TrackedWorkload]) -> None:
        try:
            async for snapshot in self._snapshots(tracks):
                track = self._tracks.get(str(snapshot.workload.id))
                if track is None:
                    continue
                if isinstance(snapshot, FailedSnapshot):
                    track.error = snapshot.error
                else:
                    track.recent, track.error = _extended(track.recent, snapshot), None
        except PerfoptError as error:
            _failed(tracks, error)
        except Exception:
            _log.exception("demand_not_read")
            _failed(tracks, SourceError("Reading the source stopped on an unexpected error; see the log."))

    async def _snapshots(
        self, tracks: Sequence[_TrackedWorkload]
    ) -> AsyncIterator[WorkloadSnapshot | FailedSnapshot]:
        source = self._source = self._source or await self._open()
        end = await source.latest()
        inventory = {str(workload.id): workload for workload in await source.inventory(end)}
        for track in tracks:
            if track.name not in inventory:
                track.error = NotFoundError(f"The source {source.name} does not know {track.name} any more.")
        unread = [t for t in tracks if t.name in inventory and t.read_until != end]
        starts = [end - HISTORY if t.recent is None else t.recent.end - _OVERLAP for t in unread]
        if not unread:
            return
        start = max(min(starts), end - HISTORY)
        workloads = [inventory[track.name] for track in unread]
        async for snapshot in source.snapshots(workloads, start, end, METRICS):
            yield snapshot
        for track in unread:
            track.read_until = end


def _failed(tracks: Sequence[_TrackedWorkload], error: PerfoptError) -> None:
    for track in tracks:
        track.error = error


def _extended(known: RecentDemand | None, snapshot: WorkloadSnapshot) -> RecentDemand | None:
    """Returns what is known with the steps of a snapshot in their place, a week of it at most."""
    cores = total_cores(snapshot, running_replicas(snapshot))
    present = np.flatnonzero(np.isfinite(cores))
    if not present.size:
        return known
    first, last = int(present[0]), int(present[-1]) + 1
    start = snapshot.grid.start + first * snapshot.grid.step
    joined = cores[first:last]
    if known is not None and known.start <= start:
        before = (start - known.start) // snapshot.grid.step
        gap = np.full(max(before - known.cores.size, 0), np.nan)
        joined, start = np.r_[known.cores[:before], gap, joined], known.start
    surplus = max(joined.size - HISTORY // snapshot.grid.step, 0)
    surplus += int(np.isfinite(joined[surplus:]).argmax())
    return RecentDemand(joined[surplus:], start + surplus * snapshot.grid.step, snapshot.workload)
