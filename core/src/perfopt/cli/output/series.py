"""Keeps what services used while they are analysed, to draw it."""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from perfopt.domain.recommendation import AnalysisResult
from perfopt.domain.resolve import resolve_workload
from perfopt.domain.workload import Workload
from perfopt.errors import NoDataError
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.sources.base import FailedSnapshot, MetricSource

DRAWN = ("cpu_cores", "memory_bytes", "cpu_throttled_fraction", "oom_kills", "restarts", "replicas")
"""Metrics that a picture shows."""


async def drawn_history(source: MetricSource, result: AnalysisResult, period: timedelta) -> WorkloadSnapshot:
    """Reads what an analysed workload used before, and up to the end of the validity as far as it is known.

    Args:
        source: of metrics.
        result: the result of the analysis.
        period: before the analysis.

    Raises:
        NotFoundError: the source does not have it.
        SourceError: the source refuses, or has no sample of it.
    """
    latest = await source.latest()
    made_at = min((one.made_at for one in result.recommendations), default=latest)
    end = min(max((one.valid_until for one in result.recommendations), default=latest), latest)
    inventory = await source.inventory(end)
    known = [one for one in inventory if str(one.id) == result.workload]
    workload = known[0] if known else resolve_workload(result.service_name, inventory)
    async for item in source.snapshots([workload], made_at - period, max(end, made_at), DRAWN):
        if isinstance(item, FailedSnapshot):
            raise item.error
        return item
    raise NoDataError(f"The source {source.name} has no sample of {result.service_name}.")


class SeriesRecorder:
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
        """Reads what is asked for and what is drawn; keeps both, and hands on what was asked for."""
        async for answer in self._source.snapshots(workloads, start, end, {*metrics, *DRAWN}):
            if isinstance(answer, WorkloadSnapshot):
                self.series[str(answer.workload.id)] = answer
                yield _only(answer, metrics)
            else:
                yield answer

    async def close(self) -> None:
        """Gives back connections and files."""
        await self._source.close()


def _only(snapshot: WorkloadSnapshot, metrics: Collection[str]) -> WorkloadSnapshot:
    """Returns a snapshot as it is read with these metrics, so that drawing changes no result."""
    return replace(
        snapshot,
        containers={
            name: {metric: series for metric, series in own.items() if metric in metrics}
            for name, own in snapshot.containers.items()
        },
        service={metric: values for metric, values in snapshot.service.items() if metric in metrics},
        coverage={
            name: share for name, share in snapshot.coverage.items() if name.rpartition("/")[2] in metrics
        },
    )
