"""The port through which metrics and current state come in. Adapters: Prometheus, files."""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

from perfopt.domain.workload import Workload
from perfopt.errors import PerfoptError
from perfopt.metrics.pods import PodHistory
from perfopt.metrics.snapshot import WorkloadSnapshot


@dataclass(frozen=True, slots=True)
class FailedSnapshot:
    """A workload that no history could be read for; the others of the same call are not affected.

    Attributes:
        workload: as it was asked for.
        error: NoDataError where the source holds no sample of it in the period, SourceError where the
            source refused the query it stood in.
    """

    workload: Workload
    error: PerfoptError


class MetricSource(Protocol):
    """A place that knows what workloads did and what they have now."""

    name: str

    async def latest(self) -> datetime:
        """Returns the end of an analysis that names none: the last whole step the source can know of."""
        ...

    async def inventory(self, at: datetime) -> tuple[Workload, ...]:
        """Returns the workloads and their states as known just before an instant, ordered by identity.

        Raises:
            SourceError: the source refused, or answered what could not be understood.
            SourceUnavailableError: it did not answer.
        """
        ...

    def snapshots(
        self, workloads: Sequence[Workload], start: datetime, end: datetime, metrics: Collection[str]
    ) -> AsyncIterator[WorkloadSnapshot | FailedSnapshot]:
        """Reads the history of many workloads over [start, end), a few queries for many of them.

        Results come in the order of the workloads, one for each, with states as of `end`. Nothing at or
        after `end` is read.

        Raises:
            SourceUnavailableError: the source did not answer. Where it stops after some results, those that
                are left fail with it.
        """
        ...

    async def close(self) -> None:
        """Gives back connections and files."""
        ...


@runtime_checkable
class KnowsExtent(Protocol):
    """A source that can tell cheaply when a workload's samples begin and end."""

    async def extent(self, workload: Workload) -> tuple[datetime, datetime] | None:
        """Returns the begin of its first step and the end of its last, or None where it has no sample."""
        ...


@runtime_checkable
class KnowsPods(Protocol):
    """A source that knows what each pod did, finely enough to judge a change by."""

    async def pod_history(
        self, workload: Workload, pods: Sequence[str] | None, start: datetime, end: datetime, step: timedelta
    ) -> PodHistory:
        """Returns what some pods of a workload did over [start, end).

        Args:
            workload: of the inventory.
            pods: names; one without any sample has rows of NaN. None is all that it had in the period.
            start: of the period; whole steps of it are read.
            end: of the period.
            step: of the grid; longer where samples are rarer.

        Raises:
            NoDataError: none of the pods is known.
            SourceError: a query was refused.
            SourceUnavailableError: the source did not answer.
        """
        ...
