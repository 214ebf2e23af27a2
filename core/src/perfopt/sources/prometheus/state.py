"""Reads from a Prometheus which workloads, pods and images there are and were."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from perfopt.config.prometheus import PrometheusConfig
from perfopt.domain.price import PriceBook
from perfopt.domain.workload import Workload, WorkloadId
from perfopt.errors import NoDataError
from perfopt.metrics.plausibility import NodeCapacity
from perfopt.metrics.snapshot import PodStart, TimeGrid
from perfopt.sources.kubernetes.inventory import KubernetesInventory, completed_by, starts_by
from perfopt.sources.objectives import read_openslo
from perfopt.sources.prometheus.answer import InstantSample
from perfopt.sources.prometheus.cache import AnswerCache
from perfopt.sources.prometheus.client import PrometheusClient
from perfopt.sources.prometheus.exporters import foreign_exporters
from perfopt.sources.prometheus.identity import (
    CopyLabels,
    copy_labels,
    differing_labels,
    require_namespaces,
    require_one_cluster,
    require_own_labels,
)
from perfopt.sources.prometheus.kube_state import KubeState
from perfopt.sources.prometheus.opencost import price_books
from perfopt.sources.prometheus.owners import TEMPLATE_HASH, THROUGH_OTHERS, PodKey, PodOwners
from perfopt.sources.prometheus.promql import QueryCatalogue, escape_regex, one_of, quote, render
from perfopt.sources.prometheus.seen import SEEN_BEFORE, SeenSeries, nothing_to_analyse, seen_series

_MIN_LOOKBACK = timedelta(minutes=15)
_HISTORY = frozenset(
    {
        "pods_of_owners",
        "replicasets_of_owners",
        "replicationcontrollers_of_owners",
        "jobs_of_owners",
        "images_of_pods",
        "images",
        "pod_starts",
        "pod_creations",
        "pods_born",
        "pods_ended",
        "largest_nodes",
        "copies_of_pods",
        "last_state",
        "seen",
        "seen_renamed",
        "seen_exported",
    }
)
_PODS_SEEN = 20  # are looked at where a workload has no use
_KEPT = 4  # inventories of as many instants: an analysis asks for its own again, a fleet's for one
_DIRECT = ("StatefulSet", "DaemonSet", "ReplicaSet", "Job", "ReplicationController")  # own their pods
_BETWEEN = {
    "replicasets_of_owners": ("Deployment", "Rollout"),
    "jobs_of_owners": ("CronJob",),
    "replicationcontrollers_of_owners": ("DeploymentConfig",),
}
_BY_ANOTHER = frozenset(kind for kinds in _BETWEEN.values() for kind in kinds)
_PAST = (
    "The Kubernetes API was not read: it shows the present, and this analysis ends earlier. Environment,"
    " arguments and what else only it knows are left out."
)


@dataclass(frozen=True, slots=True)
class _ClusterInventory:
    """What there was at an instant.

    Attributes:
        books: the price book of each cluster that has prices.
        starts: of the pods that the Kubernetes API shows.
        copies: labels by which copies of its series differ.
        notes: (code, sentence) pairs for the user.
    """

    workloads: tuple[Workload, ...]
    books: Mapping[str, PriceBook]
    starts: Mapping[WorkloadId, Sequence[PodStart]] = field(default_factory=dict)
    copies: CopyLabels = field(default_factory=lambda: CopyLabels((), ()))
    notes: tuple[tuple[str, str], ...] = ()


class StateReader:
    """Reads inventory and ownership; keeps the last few inventories, since the past does not change."""

    def __init__(self, client: PrometheusClient, config: PrometheusConfig, catalogue: QueryCatalogue) -> None:
        self._client = client
        self._config = config
        self._state = catalogue.state
        self._objectives = read_openslo([Path(name) for name in config.openslo])
        self._lookback = max(3 * config.step, _MIN_LOOKBACK)
        self._values = {
            "matchers": ",".join(config.matchers),
            "cluster": config.cluster_label,
            "lookback": f"{int(self._lookback.total_seconds())}s",
        }
        self._cluster = None if config.kubernetes is None else KubernetesInventory(config.kubernetes)
        self._known = AnswerCache(self._read, _KEPT)

    async def inventory(self, at: datetime) -> tuple[Workload, ...]:
        """Returns the workloads just before an instant.

        Raises:
            NoDataError: there are none; it names what the server has instead.
            SourceError: as PrometheusClient.query.
        """
        workloads = (await self._known.get(at)).workloads
        if not workloads:
            raise await self._nothing(at)
        return workloads

    async def known(self, at: datetime) -> tuple[Workload, ...]:
        """Returns the workloads just before an instant, also where there are none."""
        return (await self._known.get(at)).workloads

    async def price_books(self, at: datetime) -> Mapping[str, PriceBook]:
        """Returns what nodes cost just before an instant, by cluster; nothing without OpenCost."""
        return (await self._known.get(at)).books

    async def starts(self, at: datetime) -> Mapping[WorkloadId, Sequence[PodStart]]:
        """Returns the starts of the pods that the Kubernetes API shows, by workload; nothing without it."""
        return (await self._known.get(at)).starts

    async def notes(self, at: datetime) -> tuple[tuple[str, str], ...]:
        """Returns (code, sentence) pairs for the user about the state at an instant."""
        return (await self._known.get(at)).notes

    async def copies(self, grid: TimeGrid) -> CopyLabels:
        """Returns the labels by which copies of one series differ."""
        return (await self._known.get(grid.end)).copies

    async def asked(self, name: str, at: datetime, more: Mapping[str, str]) -> list[InstantSample]:
        """Evaluates a state query of the catalogue at an instant, with further placeholders."""
        return await self._client.query(render(self._state[name], {**self._values, **more}), at)

    async def close(self) -> None:
        """Gives the connections to the Kubernetes API back."""
        if self._cluster is not None:
            await self._cluster.close()

    async def pods(self, workloads: Sequence[Workload], grid: TimeGrid) -> dict[PodKey, WorkloadId]:
        """Returns the pods that the workloads had in the period, those gone by its end included.

        Args:
            workloads: of one cluster.
            grid: the period.
        """
        wanted = {workload.id for workload in workloads}
        between = await self._between(wanted, grid)
        owners = PodOwners(between, self._config.cluster_label, wanted)
        names = {_name_between(labels) for labels in between}
        names |= {identity.name for identity in wanted if identity.kind not in _BY_ANOTHER}
        workload_of = {}
        for labels in await self._pods_of(wanted, names, _unseen(wanted, between), grid):
            identity = owners.workload_of(labels)
            if identity in wanted and labels.get("pod") and labels["owner_kind"] not in THROUGH_OTHERS:
                cluster = labels.get(self._config.cluster_label, "")
                workload_of[PodKey(cluster, labels.get("namespace", ""), labels["pod"])] = identity
        return workload_of

    async def _pods_of(
        self, wanted: set[WorkloadId], names: set[str], deployments: Sequence[str], grid: TimeGrid
    ) -> list[dict[str, str]]:
        """Returns the labels of pods by their direct owners' names.

        Args:
            wanted: the workloads, for their cluster and namespaces.
            names: of direct owners.
            deployments: names of Deployments whose ReplicaSets kube-state-metrics does not show.
            grid: the period.
        """
        answers = []
        for some in _chunks(sorted(names), self._config.max_query_bytes // 2):
            selector = self.selector(wanted, "namespace", "owner_name", some)
            answers.append(self._series("pods_of_owners", selector, grid))
        for some in _chunks(deployments, self._config.max_query_bytes // 2):
            pattern = f"(?:{'|'.join(map(escape_regex, some))})-{TEMPLATE_HASH}"
            place = self.selector(wanted, "namespace", "owner_kind", ["ReplicaSet"])
            selector = f"{place},owner_name=~{quote(pattern)}"
            answers.append(self._series("pods_of_owners", selector, grid))
        return [labels for rows in await asyncio.gather(*answers) for labels in rows]

    async def seen(self, workload: Workload, grid: TimeGrid) -> SeenSeries | None:
        """Returns what series there are of a workload's pods, in any cluster; None where no pod is known."""
        pods = [pod.name for pod in sorted(await self.pods([workload], grid))[:_PODS_SEEN]]
        if not pods:
            return None
        period = {"period": f"{grid.size * grid.step_seconds}s"}
        anywhere = [msgspec.structs.replace(workload.id, cluster="")]
        plain = self.selector(anywhere, "namespace", "pod", pods)
        moved = self.selector(anywhere, "exported_namespace", "exported_pod", pods)
        renamed = self.selector(anywhere, "namespace", "pod_name", pods)
        answers = await asyncio.gather(
            self.asked("seen", grid.end, period | {"selector": plain}),
            self.asked("seen_exported", grid.end, period | {"selector": moved}),
            self.asked("seen_renamed", grid.end, period | {"selector": renamed}),
        )
        samples = [sample for answer in answers for sample in answer]
        return seen_series(samples, self._config.cluster_label, workload.id.cluster)

    async def largest_nodes(self, grid: TimeGrid) -> dict[str, NodeCapacity]:
        """Returns the most cores and memory that a node had in the period, by cluster."""
        period = {"period": f"{grid.size * grid.step_seconds}s"}
        capacities: dict[str, dict[str, float]] = defaultdict(dict)
        for sample in await self.asked("largest_nodes", grid.end, period):
            cluster, resource = (
                sample.labels.get(self._config.cluster_label, ""),
                sample.labels.get("resource", ""),
            )
            capacities[cluster][resource] = sample.value
        return {
            cluster: NodeCapacity(amounts.get("cpu"), amounts.get("memory"))
            for cluster, amounts in capacities.items()
        }

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

    async def _read(self, at: datetime) -> _ClusterInventory:
        names = [name for name in self._state if name not in _HISTORY]
        answers = await asyncio.gather(*(self.asked(name, at, {}) for name in names))
        samples = dict(zip(names, answers, strict=True))
        label = self._config.cluster_label
        copies = await self._copy_labels(samples, at)
        exporters = foreign_exporters(samples, self._config.address, label)
        samples |= {name: exporters.without(samples[name]) for name in ("requests", "limits")}
        copies = replace(copies, foreign=exporters)
        require_namespaces([*samples["pod_owners"], *samples["replicas"]], self._config.address)
        others = bool(samples["pod_owners"] or samples["replicas"])
        foreign = require_own_labels(samples["foreign"], self._config.address, others=others)
        foreign += exporters.notes()
        books = price_books(samples["node_prices"], label, self._config.opencost_currency)
        state = KubeState(samples=samples, cluster_label=label, objectives=self._objectives)
        notes = tuple(("foreign_series", text) for text in foreign) + state.notes()
        workloads = state.workloads()
        inventory = _ClusterInventory(workloads, books, copies=copies, notes=notes)
        return await self._completed(inventory, at)

    async def _nothing(self, at: datetime) -> NoDataError:
        names = await self._client.metric_names(at - SEEN_BEFORE, at, self._config.matchers)
        last = await self.asked("last_state", at, {"look": "1d", "every": "5m"})
        if not any(sample.value for sample in last):
            last = await self.asked("last_state", at, {"look": "60d", "every": "1h"})
        return nothing_to_analyse(self._config.address, at, names, last)

    async def _copy_labels(self, samples: Mapping[str, Sequence[InstantSample]], at: datetime) -> CopyLabels:
        """Returns the labels by which copies differ; refuses several clusters that no label tells apart."""
        start = at - self._lookback
        known = copy_labels(self._config.replica_labels, await self._client.label_names(start, at))
        objects = [*samples["replicas"], *samples["cronjobs"]]
        differing = differing_labels(objects, self._config.cluster_label, known.replicas)
        if not differing:
            return known
        pods = await self.asked("copies_of_pods", at, {"by": ", ".join(differing)})
        server, cluster = self._config.address, self._config.cluster_label
        more = require_one_cluster(differing, pods, server, cluster)
        return CopyLabels(known.replicas, tuple(dict.fromkeys([*known.targets, *more])))

    async def _completed(self, inventory: _ClusterInventory, at: datetime) -> _ClusterInventory:
        """Adds what the Kubernetes API says, which knows the present only: nothing to an earlier instant."""
        if self._cluster is None or self._config.kubernetes is None:
            return inventory
        if datetime.now(UTC) - at > self._lookback:
            return replace(inventory, notes=(*inventory.notes, ("source_note", _PAST)))
        state = await self._cluster.read()
        cluster = self._config.kubernetes.cluster
        workloads = completed_by(inventory.workloads, state, cluster)
        own = [workload.id for workload in workloads]
        starts = starts_by(own, state, cluster)
        return replace(inventory, workloads=workloads, starts=starts)

    async def _between(self, wanted: set[WorkloadId], grid: TimeGrid) -> list[dict[str, str]]:
        """Returns the labels of the ReplicaSets and Jobs that the workloads owned in the period."""
        asked = []
        custom = {i for i in wanted if i.kind not in _BY_ANOTHER and i.kind not in _DIRECT}
        for query, kinds in _BETWEEN.items():
            mine = [identity for identity in wanted if identity.kind in kinds or identity in custom]
            for some in _chunks(sorted({i.name for i in mine}), self._config.max_query_bytes // 2):
                selector = self.selector(mine, "namespace", "owner_name", some)
                asked.append(self._series(query, selector, grid))
        return [labels for rows in await asyncio.gather(*asked) for labels in rows]

    async def _series(self, query: str, selector: str, grid: TimeGrid) -> list[dict[str, str]]:
        rendered = render(self._state[query], {"selector": selector})
        return await self._client.series(rendered, grid.start, grid.end)


def _name_between(labels: Mapping[str, str]) -> str:
    return labels.get("replicaset") or labels.get("replicationcontroller") or labels.get("job_name", "")


def _unseen(wanted: Iterable[WorkloadId], between: Iterable[Mapping[str, str]]) -> list[str]:
    """Returns the Deployments none of whose ReplicaSets has an owner in the metrics."""
    seen = {(labels.get("namespace", ""), labels.get("owner_name", "")) for labels in between}
    mine = (i for i in wanted if i.kind == "Deployment" and (i.namespace, i.name) not in seen)
    return sorted({identity.name for identity in mine})


def _chunks(names: Sequence[str], size: int) -> list[list[str]]:
    """Cuts names into lists of so many characters at most."""
    chunks: list[list[str]] = []
    room = 0
    for name in names:
        if room < len(name) + 1:
            chunks.append([])
            room = size
        chunks[-1].append(name)
        room -= len(name) + 1
    return chunks
