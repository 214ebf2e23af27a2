"""Some workloads that are read together, and what their series tell. Pure but for the readers it holds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from perfopt.domain.workload import WorkloadId
from perfopt.metrics.grid import Times
from perfopt.metrics.snapshot import TimeGrid
from perfopt.sources.prometheus.answer import RangeSeries
from perfopt.sources.prometheus.exporters import ForeignExporters
from perfopt.sources.prometheus.identity import CopyLabels
from perfopt.sources.prometheus.owners import PodKey
from perfopt.sources.prometheus.promql import QueryAlternative, names_in
from perfopt.sources.prometheus.ranges import RangeReader
from perfopt.sources.prometheus.rows import FetchedRows


@dataclass(frozen=True, slots=True)
class WorkloadBatch:
    """Some workloads that are read together.

    Attributes:
        pods: of theirs, in the whole period.
        names: of the metrics that the server has in the period; None where it does not list them.
        fine: reads at the steps of the grid.
        coarse: reads at longer steps; None where the grid's are as long.
        foreign: whose series of containers' state are left out.
    """

    pods: dict[PodKey, WorkloadId]
    names: frozenset[str] | None
    grid: TimeGrid
    fetched: FetchedRows
    fine: RangeReader
    coarse: RangeReader | None
    foreign: ForeignExporters = field(default_factory=ForeignExporters)

    def may_answer(self, query: str) -> bool:
        """Returns whether there can be an answer: most servers have few of the metrics of the catalogue."""
        names = names_in(query)
        return self.names is None or not names or not names.isdisjoint(self.names)


def pods_of(wanted: Iterable[WorkloadId], pods: Mapping[PodKey, WorkloadId]) -> dict[PodKey, WorkloadId]:
    """Returns the pods of some workloads."""
    identities = set(wanted)
    return {pod: identity for pod, identity in pods.items() if identity in identities}


def is_settled(parts: Sequence[RangeSeries], alternative: QueryAlternative) -> bool:
    """Returns whether longer steps tell all of a value: always zero, or constant and no count or quotient."""
    values = np.concatenate([series.values for series in parts])
    if not values.any():
        return True
    return alternative.per is None and not alternative.counter and not (values != values[0]).any()


def times_of(series: RangeSeries | None) -> Times:
    """Returns the times of a series; none of none."""
    return np.empty(0, dtype=np.int64) if series is None else series.times


def appears_in(series: RangeSeries, grid: TimeGrid) -> bool:
    """Returns whether a series begins after the grid does."""
    return bool(len(series.times)) and int(series.times[0]) > int(grid.start.timestamp()) * 1000


def copy_placeholders(copies: CopyLabels) -> dict[str, str]:
    """Returns the catalogue's placeholders for the labels by which copies differ."""
    return {"replicas": ", ".join(copies.replicas), "target": ", ".join(copies.targets)}
