"""What the queries of a batch gave: series by workload, container and pod."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from perfopt.domain.workload import WorkloadId
from perfopt.metrics.grid import Times
from perfopt.metrics.plausibility import NodeCapacity
from perfopt.metrics.snapshot import PodStart
from perfopt.sources.prometheus.answer import RangeSeries


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """One series of one workload; times are the starts of the steps.

    Attributes:
        metric: its name.
        container, pod: "" for a metric of the workload as a whole.
        counter: the values are cumulative.
        where: the starts of the steps in which a counter's growth counts; None is all.
        from_zero: what a counter counts began within the period, so its first value is growth.
        implausible: values that were left out because they cannot be.
        coarse: a value holds for all steps of so long a stretch from its time on; None for its own step.
    """

    metric: str
    container: str
    pod: str
    counter: bool
    series: RangeSeries
    where: Times | None = None
    from_zero: bool = False
    implausible: int = 0
    coarse: timedelta | None = None


@dataclass(frozen=True, slots=True)
class FetchedRows:
    """What a batch's queries gave, by workload.

    Attributes:
        containers: names of regular containers and native sidecars in the period.
        ended: pods to when they were first seen failed or succeeded, ms since the epoch.
        largest: the largest node in the period, by cluster.
    """

    rows: dict[WorkloadId, list[SeriesRow]] = field(default_factory=lambda: defaultdict(list))
    starts: dict[WorkloadId, list[PodStart]] = field(default_factory=lambda: defaultdict(list))
    images: dict[WorkloadId, list[RangeSeries]] = field(default_factory=lambda: defaultdict(list))
    containers: dict[WorkloadId, set[str]] = field(default_factory=lambda: defaultdict(set))
    ended: dict[WorkloadId, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    largest: dict[str, NodeCapacity] = field(default_factory=dict)

    def of(self, identity: WorkloadId) -> list[SeriesRow]:
        """Returns the rows of one workload."""
        return self.rows.get(identity, [])

    def starts_of(self, identity: WorkloadId) -> Sequence[PodStart]:
        """Returns the starts of one workload's pods."""
        return self.starts.get(identity, [])

    def images_of(self, identity: WorkloadId) -> Sequence[RangeSeries]:
        """Returns one series for each (pod, container, image) of one workload."""
        return self.images.get(identity, [])

    def containers_of(self, identity: WorkloadId) -> Collection[str]:
        """Returns the containers that the templates of one workload had; nothing where none are known."""
        return self.containers.get(identity, set())

    def ended_of(self, identity: WorkloadId) -> dict[str, int]:
        """Returns which pods of one workload failed or succeeded, and when."""
        return self.ended.get(identity, {})
