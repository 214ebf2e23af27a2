"""Range queries of one batch: small enough for the server, and smaller after it refused one as too large."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from perfopt.errors import QueryTooLargeError
from perfopt.metrics.snapshot import TimeGrid
from perfopt.sources.prometheus.answer import RangeSeries
from perfopt.sources.prometheus.client import PrometheusClient
from perfopt.sources.prometheus.days import StoredDays

_MAX_HALVINGS = 5  # of the period: a query of a thirty-second of it that is still refused fails


@dataclass(slots=True)
class QueryLimits:
    """What a server takes, as far as it is known: lowered when it refuses, for all later queries.

    Attributes:
        query_bytes: length of a query.
        items: pods or workloads that one query asks for.
    """

    query_bytes: int
    items: int

    def for_part(self, share: float) -> "QueryLimits":
        """Returns the limits of queries for a share of the period: as much more items fit one."""
        return QueryLimits(self.query_bytes, max(int(self.items / share), 1))

    def lower(self, size: int, items: int) -> None:
        """Remembers that a query of a size, for so many pods or workloads, was refused."""
        if items > 1:
            self.items = max(min(self.items, items // 2), 1)
        if size > self.query_bytes // 2:
            self.query_bytes = max(size // 2, 1024)


def pieces[Item](
    items: Sequence[Item], size_of: Callable[[Sequence[Item]], int], limits: QueryLimits
) -> Iterator[Sequence[Item]]:
    """Cuts items into as few stretches as fit a query.

    Args:
        items: pods or workloads, in order.
        size_of: bytes of the query for some of them.
        limits: of the server. An item that is too large by itself is a stretch of its own.
    """
    pending = [items]
    while pending:
        part = pending.pop()
        if len(part) > 1 and (len(part) > limits.items or size_of(part) > limits.query_bytes):
            count = max(-(-len(part) // limits.items), 2)
            length = -(-len(part) // count)
            pending += [part[i : i + length] for i in range(0, len(part), length)][::-1]
        elif part:
            yield part


def coarser(grid: TimeGrid, step: timedelta) -> TimeGrid | None:
    """Returns longer steps over a grid that end with it; None where they save nothing.

    Args:
        grid: the steps wanted.
        step: the longer one; the first may begin before the grid does.
    """
    if step % grid.step or step < 2 * grid.step or grid.size * grid.step < 2 * step:
        return None
    size = -(-grid.size * grid.step // step)
    return TimeGrid(grid.end - size * step, step, size)


@dataclass(slots=True)
class RangeReader:
    """Asks each query of a batch once, and in parts where the server finds it too large.

    Attributes:
        values: for the placeholders of the catalogue that follow from the step.
        asked: PromQL to the task of its answer; a task gives the refusal rather than raise it, which would
            stop the others of its group.
        parts: readers of parts of the period.
        days: what is stored of it; None reads all of it.
    """

    client: PrometheusClient
    grid: TimeGrid
    limits: QueryLimits
    group: asyncio.TaskGroup
    values: Mapping[str, str]
    asked: dict[str, asyncio.Task[list[RangeSeries] | QueryTooLargeError]] = field(default_factory=dict)
    parts: dict[tuple[int, int], "RangeReader"] = field(default_factory=dict)
    days: StoredDays | None = None

    def within(self, first: int, last: int) -> "RangeReader":
        """Returns a reader of the steps from one to before another."""
        if (first, last) == (0, self.grid.size):
            return self
        part = self.parts.get((first, last))
        if part is None:
            grid = TimeGrid(self.grid.start + first * self.grid.step, self.grid.step, last - first)
            limits = self.limits.for_part(grid.size / self.grid.size)
            part = RangeReader(self.client, grid, limits, self.group, self.values)
            self.parts[first, last] = part
        return part

    async def read[Item](
        self, items: Sequence[Item], query: Callable[[Sequence[Item]], str]
    ) -> list[list[RangeSeries]]:
        """Returns the answers for stretches of the items, in order.

        Args:
            items: pods or workloads.
            query: the PromQL for some of them.

        Raises:
            QueryTooLargeError: the server refuses even a part of the period for one item.
        """
        parts = pieces(items, lambda some: len(query(some).encode()), self.limits)
        answers = await asyncio.gather(*(self._part(part, query) for part in parts))
        return [answer for several in answers for answer in several]

    async def _part[Item](
        self, items: Sequence[Item], query: Callable[[Sequence[Item]], str]
    ) -> list[list[RangeSeries]]:
        promql = query(items)
        answer = await self._once(promql)
        if not isinstance(answer, QueryTooLargeError):
            return [answer]
        self.limits.lower(len(promql.encode()), len(items))
        if len(items) == 1:
            return [await self._halved(promql, self.grid, 0, answer)]
        return await self.read(items, query)

    async def _once(self, promql: str) -> list[RangeSeries] | QueryTooLargeError:
        if promql not in self.asked:
            self.asked[promql] = self.group.create_task(self._answer_or_refusal(promql, self.grid))
        return await self.asked[promql]

    async def _halved(
        self, promql: str, grid: TimeGrid, depth: int, refusal: QueryTooLargeError
    ) -> list[RangeSeries]:
        """Asks for the halves of a period one after the other, so that a hopeless query ends soon."""
        if depth == _MAX_HALVINGS or grid.size < 2:
            raise refusal
        half = grid.size // 2
        series: list[RangeSeries] = []
        for part in (
            TimeGrid(grid.start, grid.step, half),
            TimeGrid(grid.start + half * grid.step, grid.step, grid.size - half),
        ):
            answer = await self._answer_or_refusal(promql, part)
            if isinstance(answer, QueryTooLargeError):
                answer = await self._halved(promql, part, depth + 1, answer)
            series += answer
        return _joined(series)

    async def _answer_or_refusal(self, promql: str, grid: TimeGrid) -> list[RangeSeries] | QueryTooLargeError:
        """Evaluates at the end of each step and dates the values to its start."""
        try:
            answer = await self.client.query_range(
                promql, grid.start + grid.step, grid.end, grid.step_seconds
            )
        except QueryTooLargeError as refusal:
            return refusal
        back = grid.step_seconds * 1000
        return [RangeSeries(series.labels, series.times - back, series.values) for series in answer]


def _joined(series: Sequence[RangeSeries]) -> list[RangeSeries]:
    by_labels: dict[frozenset[tuple[str, str]], list[RangeSeries]] = {}
    for one in series:
        by_labels.setdefault(frozenset(one.labels.items()), []).append(one)
    return [RangeSeries.concatenated(parts) for parts in by_labels.values()]
