"""The inventory of a cluster by its API: what metrics do not show of workloads."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from perfopt.config.kubernetes import KubernetesConfig
from perfopt.domain.workload import Workload, WorkloadId
from perfopt.errors import InvalidInputError
from perfopt.metrics.snapshot import PodStart
from perfopt.sources.kubernetes.objects import (
    HorizontalAutoscaler,
    PodObject,
    VerticalAutoscaler,
    WorkloadController,
)
from perfopt.sources.kubernetes.state import ClusterObjects, ClusterState, cluster_state, completed

if TYPE_CHECKING:
    from perfopt.sources.kubernetes.client import KubernetesClient

_CONTROLLERS = {"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets"}


class KubernetesInventory:
    """Reads Deployments, StatefulSets, DaemonSets, autoscalers and pods; never a Secret or ConfigMap."""

    def __init__(self, config: KubernetesConfig, *, sleep: Callable[[float], object] = time.sleep) -> None:
        """Prepares the inventory; asks nothing yet.

        Args:
            config: how to reach the API.
            sleep: waits between attempts.
        """
        self._config = config
        self._sleep = sleep
        self._client: KubernetesClient | None = None
        self._lock = asyncio.Lock()

    async def read(self) -> ClusterState:
        """Returns what there is now.

        Raises:
            InvalidInputError: no way to reach a cluster is configured, or the package kubernetes lacks.
            SourceError: the server refused, or answered nonsense.
            SourceUnavailableError: it did not answer, after retries.
        """
        async with self._lock:
            return await asyncio.to_thread(self._read)

    async def close(self) -> None:
        """Closes the connections."""
        if self._client is not None:
            self._client.close()

    def _read(self) -> ClusterState:
        client = self._client = self._client or _client(self._config, self._sleep)
        controllers = {
            kind: self._all(client, "/apis/apps/v1", plural, WorkloadController)
            for kind, plural in _CONTROLLERS.items()
        }
        return cluster_state(
            ClusterObjects(
                controllers,
                self._all(client, "/api/v1", "pods", PodObject),
                self._all(client, "/apis/autoscaling/v2", "horizontalpodautoscalers", HorizontalAutoscaler),
                self._all(
                    client,
                    "/apis/autoscaling.k8s.io/v1",
                    "verticalpodautoscalers",
                    VerticalAutoscaler,
                    optional=True,
                ),
            )
        )

    def _all[Item](
        self, client: "KubernetesClient", api: str, plural: str, kind: type[Item], *, optional: bool = False
    ) -> list[Item]:
        places = [f"{api}/namespaces/{name}/{plural}" for name in self._config.namespaces]
        return [
            item
            for path in places or [f"{api}/{plural}"]
            for item in client.objects(path, kind, optional=optional)
        ]


def completed_by(
    workloads: Sequence[Workload], state: ClusterState, cluster: str | None
) -> tuple[Workload, ...]:
    """Returns the workloads of a metric source with what the API says of those in its cluster.

    Args:
        workloads: of the source.
        state: of the API's cluster.
        cluster: its name in the source's label; None where the source knows one only.

    Raises:
        InvalidInputError: the source knows several clusters, and none is named, or another one.
    """
    name = _cluster(workloads, cluster)
    merged = []
    for workload in workloads:
        known = state.workloads.get(_plain(workload.id)) if workload.id.cluster == name else None
        merged.append(workload if known is None else completed(workload, known))
    return tuple(merged)


def starts_by(
    identities: Iterable[WorkloadId], state: ClusterState, cluster: str | None
) -> dict[WorkloadId, Sequence[PodStart]]:
    """Returns the starts of the workloads' pods; the arguments are those of `completed_by`."""
    named = {identity for identity in identities if cluster is None or identity.cluster == cluster}
    return {
        identity: state.starts[_plain(identity)] for identity in named if _plain(identity) in state.starts
    }


def _plain(identity: WorkloadId) -> WorkloadId:
    return WorkloadId(namespace=identity.namespace, kind=identity.kind, name=identity.name)


def _cluster(workloads: Iterable[Workload], stated: str | None) -> str:
    names = sorted({workload.id.cluster for workload in workloads})
    if stated is not None:
        if names and stated not in names:
            raise InvalidInputError(
                f"the metrics know no cluster {stated!r}.",
                field="kubernetes.cluster",
                remedy=f"Name one of {', '.join(name or 'none (leave it out)' for name in names)}.",
            )
        return stated
    if len(names) > 1:
        raise InvalidInputError(
            f"the metrics are of {len(names)} clusters ({', '.join(names)}), and the API is of one.",
            field="kubernetes.cluster",
            remedy="Name it.",
        )
    return names[0] if names else ""


def _client(config: KubernetesConfig, sleep: Callable[[float], object]) -> "KubernetesClient":
    try:
        from perfopt.sources.kubernetes.client import KubernetesClient  # slow to import, and an extra
    except ImportError as error:
        raise InvalidInputError(
            f"the Kubernetes API cannot be read: {error}.",
            field="kubernetes",
            remedy="Install perfopt[kubernetes], or leave `kubernetes` out of the source.",
        ) from error
    return KubernetesClient(config, sleep=sleep)
