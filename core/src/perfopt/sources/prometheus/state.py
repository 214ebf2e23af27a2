"""Asks a Prometheus for the series that say which workloads, pods and images there are and were."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from perfopt.config.prometheus import PrometheusConfig
from perfopt.domain.price import PriceBook
from perfopt.domain.workload import Workload, WorkloadId
from perfopt.metrics.snapshot import PodStart, TimeGrid
from perfopt.sources.kubernetes.inventory import KubernetesInventory, completed_by, starts_by
from perfopt.sources.objectives import read_openslo
from perfopt.sources.prometheus.cache import Remembered
from perfopt.sources.prometheus.client import PrometheusClient
from perfopt.sources.prometheus.kube_state import KubeState, Owners, Pod
from perfopt.sources.prometheus.opencost import price_books
from perfopt.sources.prometheus.promql import Catalogue, one_of, quote, render

_MIN_LOOKBACK = timedelta(minutes=15)
_HISTORY = frozenset(
    {"pods_of_owners", "replicasets_of_owners", "jobs_of_owners", "images_of_pods", "images", "pod_starts"}
)
_KEPT = 4  # inventories of as many instants: an analysis asks for its own again, a fleet's for one
_PAST = (
    "The Kubernetes API was not read: it shows the present, and this analysis ends earlier. Environment,"
    " arguments and what else only it knows are left out."
)
_BY_REPLICASET, _BY_JOB = ("Deployment", "Rollout"), ("CronJob",)


@dataclass(frozen=True, slots=True)
class _Inventory:
    """What there was at an instant.

    Attributes:
        books: the price book of each cluster that has prices.
        starts: of the pods that the Kubernetes API shows.
        notes: what the user is to know of it.
    """

    workloads: tuple[Workload, ...]
    books: Mapping[str, PriceBook]
    starts: Mapping[WorkloadId, Sequence[PodStart]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class StateReader:
    """Reads inventory and ownership; remembers the last few inventories, since the past does not change."""

    def __init__(self, client: PrometheusClient, config: PrometheusConfig, catalogue: Catalogue) -> None:
        self._client = client
        self._config = config
        self._state = catalogue.state
        self._objectives = read_openslo([Path(name) for name in config.openslo])
        self._lookback = max(3 * config.step, _MIN_LOOKBACK)
        self._cluster = None if config.kubernetes is None else KubernetesInventory(config.kubernetes)
        self._known = Remembered(self._read, _KEPT)

    async def inventory(self, at: datetime) -> tuple[Workload, ...]:
        """Returns the workloads just before an instant; raises what PrometheusClient.query does."""
        return (await self._known.get(at)).workloads

    async def price_books(self, at: datetime) -> Mapping[str, PriceBook]:
        """Returns what nodes cost just before an instant, by cluster; nothing where no OpenCost says so."""
        return (await self._known.get(at)).books

    async def starts(self, at: datetime) -> Mapping[WorkloadId, Sequence[PodStart]]:
        """Returns the starts of the pods that the Kubernetes API shows, by workload; nothing without it."""
        return (await self._known.get(at)).starts

    async def notes(self, at: datetime) -> tuple[str, ...]:
        """Returns what the user is to know of the state at an instant."""
        return (await self._known.get(at)).notes

    async def close(self) -> None:
        """Gives the connections to the Kubernetes API back."""
        if self._cluster is not None:
            await self._cluster.close()

    async def pods(self, workloads: Sequence[Workload], grid: TimeGrid) -> dict[Pod, WorkloadId]:
        """Returns the pods that the workloads had in the period, those gone by its end included.

        Args:
            workloads: of one cluster.
            grid: the period.
        """
        wanted = {workload.id for workload in workloads}
        between = await self._between(wanted, grid)
        owners = Owners(between, self._config.cluster_label)
        names = {labels.get("replicaset") or labels.get("job_name", "") for labels in between}
        names |= {identity.name for identity in wanted if identity.kind not in _BY_REPLICASET + _BY_JOB}
        if not names:
            return {}
        selector = self.selector(wanted, "namespace", "owner_name", names)
        rows = await self._series("pods_of_owners", selector, grid)
        found = {}
        for labels in rows:
            identity = owners.workload_of(labels)
            if identity in wanted:
                cluster = labels.get(self._config.cluster_label, "")
                found[Pod(cluster, labels["namespace"], labels["pod"])] = identity
        return found

    async def images(self, selector: str, grid: TimeGrid) -> list[dict[str, str]]:
        """Returns pod, container and image of all that the index knows of the period."""
        return await self._series("images_of_pods", selector, grid)

    def selector(
        self, identities: Iterable[WorkloadId], namespace_label: str, label: str, values: Iterable[str]
    ) -> str:
        """Returns the matchers for a label's values in the namespaces of workloads of one cluster."""
        identities = list(identities)
        cluster = identities[0].cluster
        return ",".join(
            [
                one_of(namespace_label, [identity.namespace for identity in identities]),
                one_of(label, values),
                *([f"{self._config.cluster_label}={quote(cluster)}"] if cluster else []),
                *self._config.matchers,
            ]
        )

    async def _read(self, at: datetime) -> _Inventory:
        values = {
            "matchers": ",".join(self._config.matchers),
            "cluster": self._config.cluster_label,
            "lookback": f"{int(self._lookback.total_seconds())}s",
        }
        names = [name for name in self._state if name not in _HISTORY]
        answers = await asyncio.gather(
            *(self._client.query(render(self._state[name], values), at) for name in names)
        )
        samples = dict(zip(names, answers, strict=True))
        label = self._config.cluster_label
        books = price_books(samples["node_prices"], label, self._config.opencost_currency)
        state = KubeState(samples=samples, cluster_label=label, objectives=self._objectives)
        return await self._completed(_Inventory(state.workloads(), books), at)

    async def _completed(self, found: _Inventory, at: datetime) -> _Inventory:
        """Adds what the Kubernetes API says, which knows the present only: nothing to an earlier instant."""
        if self._cluster is None or self._config.kubernetes is None:
            return found
        if datetime.now(UTC) - at > self._lookback:
            return replace(found, notes=(_PAST,))
        state = await self._cluster.read()
        cluster = self._config.kubernetes.cluster
        workloads = completed_by(found.workloads, state, cluster)
        own = [workload.id for workload in workloads]
        starts = starts_by(own, state, cluster)
        return replace(found, workloads=workloads, starts=starts)

    async def _between(self, wanted: set[WorkloadId], grid: TimeGrid) -> list[dict[str, str]]:
        """Returns the labels of the ReplicaSets and Jobs that the workloads owned in the period."""
        asked = []
        for kinds, query in ((_BY_REPLICASET, "replicasets_of_owners"), (_BY_JOB, "jobs_of_owners")):
            if mine := [identity for identity in wanted if identity.kind in kinds]:
                selector = self.selector(mine, "namespace", "owner_name", [i.name for i in mine])
                asked.append(self._series(query, selector, grid))
        return [labels for rows in await asyncio.gather(*asked) for labels in rows]

    async def _series(self, query: str, selector: str, grid: TimeGrid) -> list[dict[str, str]]:
        rendered = render(self._state[query], {"selector": selector})
        return await self._client.series(rendered, grid.start, grid.end)
