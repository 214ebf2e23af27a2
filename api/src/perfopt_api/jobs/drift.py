"""Watches what is applied between two analyses: where use drifts above it, it is analysed again at once."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Protocol

import numpy as np
import structlog

from perfopt.domain.enums import OptimizationType
from perfopt.domain.request import PerformanceAnalysisRequest
from perfopt.domain.workload import Workload
from perfopt.engine.loop import ContainerSample, drifted
from perfopt.metrics.snapshot import Array, WorkloadSnapshot
from perfopt.sources.base import FailedSnapshot
from perfopt_api.jobs.outcomes import OpenSource
from perfopt_api.store.apply_port import AppliedWorkload
from perfopt_api.supervision import BackgroundTask

METRICS = frozenset({"cpu_cores", "memory_bytes", "cpu_throttled_fraction", "oom_kills"})
RECENT = timedelta(minutes=10)
AGAIN_SECONDS = 900
"""A workload is analysed for drift at most once in so long."""
THROTTLED_FRACTION = 0.05
MAX_NAME = 100
REQUESTER = "drift-watch"
_log = structlog.get_logger(__name__)


class AppliedChanges(Protocol):
    """Knows which changes are in force."""

    async def in_force(self) -> Sequence[AppliedWorkload]:
        """Returns them."""


Ask = Callable[[PerformanceAnalysisRequest, str], Awaitable[None]]
"""Asks for an analysis, once for each key."""


class DriftWatch(BackgroundTask):
    """Reads the latest use of the workloads whose sizes were applied, and has those that drifted analysed.

    What the analysis recommends is applied where policy allows it.

    Args:
        applied: knows the changes that are in force.
        source: opens the default metric source.
        ask: for an analysis.
        pause_seconds: from one look to the next.
    """

    name = "drift_watch"

    def __init__(
        self, applied: AppliedChanges, source: OpenSource, ask: Ask, *, pause_seconds: float
    ) -> None:
        self._applied = applied
        self._source = source
        self._ask = ask
        self.pause_seconds = pause_seconds

    async def round(self) -> None:
        """Looks once."""
        names = {one.workload for one in await self._applied.in_force()}
        if not names:
            return
        source = await self._source(None)
        latest = await source.latest()
        watched = [one for one in await source.inventory(latest) if str(one.id) in names]
        async for snapshot in source.snapshots(watched, latest - RECENT, latest, METRICS):
            if isinstance(snapshot, FailedSnapshot):
                _log.warning(
                    "drift_not_read", workload=str(snapshot.workload.id), reason=snapshot.error.message
                )
            elif drifted(snapshot.workload.state, samples_of(snapshot)) is not None:
                await self._again(snapshot.workload, int(latest.timestamp()) // AGAIN_SECONDS)

    async def _again(self, workload: Workload, period: int) -> None:
        name = str(workload.id)
        _log.info("drift_seen", workload=name)
        request = PerformanceAnalysisRequest(
            service_name=name if len(name) <= MAX_NAME else workload.service_name,
            optimization_types=(OptimizationType.RESOURCE_OPTIMIZATION,),
            auto_apply=True,
        )
        await self._ask(request, f"{name}/{period}")


def samples_of(snapshot: WorkloadSnapshot) -> dict[str, ContainerSample]:
    """Returns what was last seen of each container, of its hottest pod, and kills in the whole snapshot."""
    return {name: _sample(snapshot, name) for name in snapshot.containers}


def _sample(snapshot: WorkloadSnapshot, name: str) -> ContainerSample:
    def hottest(metric: str) -> Array:
        series = snapshot.series(name, metric)
        values = np.empty(0) if series is None else series.hottest()
        finite: Array = values[np.isfinite(values)]
        return finite

    throttled, kills = hottest("cpu_throttled_fraction"), hottest("oom_kills")
    return ContainerSample(
        cpu_cores=_last(hottest("cpu_cores")),
        memory_bytes=_last(hottest("memory_bytes")),
        throttled=(_last(throttled) or 0.0) > THROTTLED_FRACTION,
        oom_killed=bool((kills > 0).any()),
    )


def _last(values: Array) -> float | None:
    return float(values[-1]) if values.size else None
