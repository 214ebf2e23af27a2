"""Keeps what services used while they are analysed, to draw it."""

from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime

from perfopt.domain.workload import Workload
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.sources.base import FailedSnapshot, MetricSource


class Recorder:
    """A source that keeps the history of each workload it hands on.

    Attributes:
        series: by the identity of the workload.
    """

    def __init__(self, source: MetricSource) -> None:
        self._source = source
        self.name = source.name
        self.series: dict[str, WorkloadSnapshot] = {}

    async def latest(self) -> datetime:
        """Returns what the source does."""
        return await self._source.latest()

    async def inventory(self, at: datetime) -> tuple[Workload, ...]:
        """Returns what the source does."""
        return await self._source.inventory(at)

    async def snapshots(
        self, workloads: Sequence[Workload], start: datetime, end: datetime, metrics: Collection[str]
    ) -> AsyncIterator[WorkloadSnapshot | FailedSnapshot]:
        """Reads what the source does, and keeps it."""
        async for found in self._source.snapshots(workloads, start, end, metrics):
            if isinstance(found, WorkloadSnapshot):
                self.series[str(found.workload.id)] = found
            yield found

    async def close(self) -> None:
        """Gives back connections and files."""
        await self._source.close()
