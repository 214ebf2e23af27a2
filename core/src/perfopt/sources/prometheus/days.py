"""Days that were read before: their series are kept by workload, so that a daily pass reads one day.

A server evaluates each step of a range query by itself, so the answer for a period is that for its days, put
together. What was stored and what is read are joined series by series before anything is made of them, so
that results are those of a full read. Days are UTC; one is stored once its last step is older than `SETTLED`.
"""

import itertools
import zlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

import msgspec
import numpy as np

from perfopt.domain.workload import WorkloadId
from perfopt.metrics.snapshot import TimeGrid
from perfopt.sources.prometheus.answer import RangeSeries

SETTLED = timedelta(hours=1)
"""Samples and pods that the server learns of later than this after a day are not seen by later passes."""
_DAY = timedelta(days=1)
_PODS = "pods"  # no query: the pods of a workload that were known when a day was read
_LEVEL = 1  # a tenth of the time of the default, for a tenth more bytes


class DayStore(Protocol):
    """Where days are kept between passes, as bytes."""

    async def load(
        self, source: str, workloads: Sequence[str], days: Sequence[date]
    ) -> Mapping[tuple[str, date], bytes]:
        """Returns what is stored of the workloads' days."""

    async def save(self, source: str, content: Mapping[tuple[str, date], bytes]) -> None:
        """Stores days of workloads, each in place of what was stored of it."""


class _StoredSeries(msgspec.Struct, array_like=True, frozen=True):
    """A series of one day: labels, times in ms and values, as bytes of little-endian numbers."""

    labels: dict[str, str]
    times: bytes
    values: bytes


type _Day = dict[str, dict[str, list[_StoredSeries]]]
"""By query, then by pod or workload; without a series where there was none."""
_DECODER = msgspec.msgpack.Decoder(dict[str, dict[str, list[_StoredSeries]]])


@dataclass(slots=True)
class StoredDays:
    """What is stored of the days of some workloads, and what was read of them since.

    Attributes:
        source: its name and what else its answers depend on.
    """

    store: DayStore
    source: str
    known: dict[tuple[str, date], _Day] = field(default_factory=dict)
    changed: set[tuple[str, date]] = field(default_factory=set)

    @classmethod
    async def load(
        cls, store: DayStore, source: str, workloads: Sequence[WorkloadId], grid: TimeGrid
    ) -> "StoredDays":
        """Reads what is stored of the days of a grid."""
        days = [day.day for day in days_of(grid)]
        content = await store.load(source, [str(identity) for identity in workloads], days)
        return cls(
            store, source, {key: _DECODER.decode(zlib.decompress(raw)) for key, raw in content.items()}
        )

    async def save(self) -> None:
        """Stores what was read since."""
        content = {key: _encoded(self.known[key]) for key in self.changed}
        if content:
            await self.store.save(self.source, content)
        self.changed.clear()

    def get(self, workload: WorkloadId, day: date, query: str, item: str) -> list[RangeSeries] | None:
        """Returns the series of a pod or workload on a day; None where they are not stored."""
        stored = self.known.get((str(workload), day), {}).get(query, {}).get(item)
        return None if stored is None else [_restored(one) for one in stored]

    def lacks(self, workload: WorkloadId, day: date, pod: str) -> bool:
        """Returns whether a day was read when the workload had no such pod in or before it."""
        listed = self.known.get((str(workload), day), {}).get(_PODS)
        return listed is not None and pod not in listed

    def list_pods(
        self, workloads: Sequence[WorkloadId], pods: Mapping[str, WorkloadId], grid: TimeGrid
    ) -> None:
        """Keeps, of the whole days of a grid that were not read before, which pods the workloads had."""
        mine: dict[WorkloadId, list[str]] = defaultdict(list)
        for pod, workload in pods.items():
            mine[workload].append(pod)
        whole = [day.day for day in days_of(grid) if day.whole]
        for workload, day in itertools.product(workloads, whole):
            content = self.known.setdefault((str(workload), day), {})
            if _PODS not in content:
                content[_PODS] = {pod: [] for pod in mine[workload]}
                self.changed.add((str(workload), day))

    def put(
        self, workload: WorkloadId, day: date, query: str, item: str, series: Sequence[RangeSeries]
    ) -> None:
        """Keeps the series of a pod or workload on a day for `save`."""
        key = str(workload), day
        stored = [
            _StoredSeries(one.labels, one.times.astype("<i8").tobytes(), one.values.astype("<f8").tobytes())
            for one in series
        ]
        self.known.setdefault(key, {}).setdefault(query, {})[item] = stored
        self.changed.add(key)


@dataclass(frozen=True, slots=True)
class DaySteps:
    """The steps of a grid that begin on a day: from `first` to before `last`.

    Attributes:
        whole: the grid holds every step of the day, and the last of them is settled.
    """

    day: date
    first: int
    last: int
    whole: bool


def days_of(grid: TimeGrid) -> list[DaySteps]:
    """Returns the days of a grid; none where a day has no whole number of steps."""
    if _DAY % grid.step:
        return []
    length, epoch = _DAY // grid.step, datetime(1970, 1, 1, tzinfo=UTC)
    days: list[DaySteps] = []
    number = (grid.start - epoch) // _DAY
    while (begin := epoch + number * _DAY) < grid.end:
        first = -(
            (grid.start - begin) // grid.step
        )  # of the day's steps, before the grid where it is negative
        clipped = max(first, 0), min(first + length, grid.size)
        whole = clipped == (first, first + length) and begin + _DAY + SETTLED <= grid.end
        if clipped[0] < clipped[1]:
            days.append(DaySteps(begin.date(), *clipped, whole))
        number += 1
    return days


async def read_by_days[Item](
    stored: StoredDays,
    grid: TimeGrid,
    query: str,
    items: Mapping[Item, WorkloadId],
    ask: Callable[[Sequence[Item], int, int], Awaitable[Sequence[tuple[Item, RangeSeries]]]],
    *,
    pods: bool = False,
) -> list[tuple[Item, RangeSeries]]:
    """Reads series of pods or workloads: of days that are stored from there, and the rest from the server.

    Args:
        stored: of the workloads.
        grid: the steps wanted.
        query: what tells the answers of this query from those of others.
        items: pods or workloads, to the workload whose days they are stored with.
        ask: reads series of some items, from a step to before another.
        pods: the items are pods; of days before one was there nothing is read.
    """
    days = days_of(grid)
    parts: dict[Item, list[RangeSeries]] = {}
    missing: dict[tuple[tuple[int, int], ...], list[Item]] = defaultdict(list)
    for item, workload in items.items():
        known = {day: stored.get(workload, day.day, query, str(item)) for day in days}
        if pods:
            born_later = [day for day in days if stored.lacks(workload, day.day, str(item))]
            known |= {day: [] for day in born_later if known[day] is None}
        parts[item] = [one for day, series in known.items() for one in _within(series or (), grid, day)]
        have = [day for day, series in known.items() if series is not None]
        missing[tuple(_gaps(have, grid.size))].append(item)
    for gaps, some in missing.items():
        for first, last in gaps:
            read: dict[Item, list[RangeSeries]] = {item: [] for item in some}
            for item, series in await ask(some, first, last):
                if item in read:
                    read[item].append(series)
            for day in (one for one in days if one.whole and first <= one.first and one.last <= last):
                for item in some:
                    stored.put(items[item], day.day, query, str(item), _within(read[item], grid, day))
            for item in some:
                parts[item] += read[item]
    return [(item, series) for item in items for series in _joined(parts[item])]


def _gaps(have: Sequence[DaySteps], size: int) -> Iterator[tuple[int, int]]:
    """Yields the stretches of a grid of a size that no day covers."""
    place = 0
    for day in have:
        if day.first > place:
            yield place, day.first
        place = day.last
    if place < size:
        yield place, size


def _within(series: Sequence[RangeSeries], grid: TimeGrid, day: DaySteps) -> list[RangeSeries]:
    """Returns what series hold of a day's steps; those without a sample in it are left out."""
    step, start = grid.step_seconds * 1000, round(grid.start.timestamp() * 1000)
    first, last = start + day.first * step, start + day.last * step
    parts = []
    for one in series:
        inside = (one.times >= first) & (one.times < last)
        if inside.any():
            parts.append(RangeSeries(one.labels, one.times[inside], one.values[inside]))
    return parts


def _joined(parts: Sequence[RangeSeries]) -> list[RangeSeries]:
    """Puts the parts of each series together in order of time; series come in order of their labels."""
    by_labels: dict[tuple[tuple[str, str], ...], list[RangeSeries]] = defaultdict(list)
    for part in parts:
        by_labels[tuple(sorted(part.labels.items()))].append(part)
    return [
        RangeSeries.concatenated(sorted(pieces, key=lambda piece: int(piece.times[0])))
        for _, pieces in sorted(by_labels.items())
    ]


def _encoded(day: _Day) -> bytes:
    return zlib.compress(msgspec.msgpack.encode(day), _LEVEL)


def _restored(stored: _StoredSeries) -> RangeSeries:
    return RangeSeries(
        stored.labels, np.frombuffer(stored.times, dtype="<i8"), np.frombuffer(stored.values, dtype="<f8")
    )
