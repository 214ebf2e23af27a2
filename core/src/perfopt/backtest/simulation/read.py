"""Reads the demand of services from a metric source."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from perfopt.backtest.simulation.demand import DEMAND_METRICS, ServiceDemand, demand_of
from perfopt.domain.workload import Workload
from perfopt.errors import PerfoptError
from perfopt.sources.base import FailedSnapshot, KnowsExtent, MetricSource

STEP_SECONDS = 60
DEFAULT_PERIOD = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class UnreadDemand:
    """A service without a demand to run, and why."""

    service: str
    error: PerfoptError


async def read_demands(
    source: MetricSource,
    workloads: Sequence[Workload],
    begin: datetime | None,
    until: datetime | None,
) -> AsyncIterator[tuple[str, ServiceDemand] | UnreadDemand]:
    """Yields the demand of each service, in their order.

    Args:
        source: on a grid of one minute.
        workloads: the services.
        begin: start of the data; None is all that files hold, and otherwise two weeks.
        until: end of the data; None is the last sample.

    Raises:
        SourceUnavailableError: the source stopped answering.
    """
    for workload in workloads:
        start, end = await _period(source, workload, begin, until)
        async for answer in source.snapshots([workload], start, end, DEMAND_METRICS):
            if isinstance(answer, FailedSnapshot):
                yield UnreadDemand(workload.service_name, answer.error)
                continue
            try:
                demand = demand_of(answer)
            except PerfoptError as error:
                yield UnreadDemand(workload.service_name, error)
            else:
                yield workload.service_name, demand


async def _period(
    source: MetricSource, workload: Workload, begin: datetime | None, until: datetime | None
) -> tuple[datetime, datetime]:
    if begin is not None and until is not None:
        return begin, until
    extent = await source.extent(workload) if isinstance(source, KnowsExtent) else None
    end = until or (extent[1] if extent is not None else await source.latest())
    start = begin or (extent[0] if extent is not None else end - DEFAULT_PERIOD)
    return min(start, end), end
