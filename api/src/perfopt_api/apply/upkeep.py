"""Keeps transient changes in force: pods that came later get the size, as the template does not have it."""

import structlog

from perfopt.errors import PerfoptError
from perfopt_api.apply.canary import has_size, restarts
from perfopt_api.apply.cluster import Cluster, PodView, WorkloadChange, WorkloadView
from perfopt_api.apply.fields import has_sizes, template_size
from perfopt_api.apply.refusals import ClusterUnavailableError
from perfopt_api.apply.rescue import applied_order
from perfopt_api.policy.decide import frozen_by
from perfopt_api.store.apply_port import AppliedWorkload, ApplyWork
from perfopt_api.supervision import BackgroundTask
from perfopt_api.telemetry import TRANSIENT_PENDING

_log = structlog.get_logger(__name__)


class TransientUpkeep(BackgroundTask):
    """Looks at the workloads of transient changes that are in force.

    Args:
        store: knows these.
        cluster: where they are.
        pause_seconds: from one look to the next.
    """

    name = "upkeep"

    def __init__(self, store: ApplyWork, cluster: Cluster, *, pause_seconds: float = 30.0) -> None:
        self._store = store
        self._cluster = cluster
        self.pause_seconds = pause_seconds

    async def round(self) -> None:
        """Resizes the pods that have the template's size, unless frozen; restarts are done one at a time."""
        pending = 0
        for applied in await self._store.in_force(durability="transient"):
            try:
                pending += await self._keep(applied)
            except ClusterUnavailableError:
                raise
            except PerfoptError as error:
                _log.warning("transient_not_kept", workload=applied.workload, reason=error.message)
                pending += 1
        TRANSIENT_PENDING.set(pending)

    async def _keep(self, applied: AppliedWorkload) -> int:
        change = applied_order(applied).whole
        view = await self._cluster.read(change.target)
        frozen = await self._frozen(change, applied.workload)
        new = [] if frozen else [pod for pod in view.pods if _of_template(pod, view, change)]
        for pod in new:
            if not restarts(pod, change):
                await self._cluster.resize(change.target, pod.name, change.containers)
            elif all(other.ready for other in view.pods) and await self._cluster.evict_dry_run(
                change.target, pod.name
            ):
                await self._cluster.resize(change.target, pod.name, change.containers)
                break
        return sum(not has_size(pod, change) for pod in view.pods)

    async def _frozen(self, change: WorkloadChange, workload: str) -> bool:
        by_cluster = await self._cluster.frozen(change.target.namespace)
        freezes = (await self._store.facts()).freezes
        return by_cluster is not None or bool(frozen_by(workload, freezes))


def _of_template(pod: PodView, view: WorkloadView, change: WorkloadChange) -> bool:
    """Returns whether a pod has the template's sizes; others were given theirs by somebody."""
    if pod.deleting or has_sizes(pod.wanted, change.containers):
        return False
    return has_sizes(pod.wanted, {name: template_size(view.fields, name) for name in change.containers})
