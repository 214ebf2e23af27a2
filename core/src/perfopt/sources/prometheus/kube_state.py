"""Workloads and what they have, put together from kube-state-metrics series. Pure: no queries here."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from perfopt.domain.enums import Basis
from perfopt.domain.workload import Container, HpaState, Slo, Workload, WorkloadId, WorkloadState
from perfopt.errors import InvalidInputError
from perfopt.sources.objectives import annotated_objective, normalised
from perfopt.sources.prometheus.answer import Sample

NAME_LABEL = "app.kubernetes.io/name"
_STANDARD_LABEL = "app_kubernetes_io_"
_OWN_ANNOTATION = "perfopt_io_"
_ZONE_LABEL = "label_topology_kubernetes_io_zone"
KEDA_PREFIX = "keda-hpa-"
_RUNS_TO_COMPLETION = ("Job", "CronJob")
_KIND_LABELS = {
    "deployment": "Deployment",
    "statefulset": "StatefulSet",
    "daemonset": "DaemonSet",
    "cronjob": "CronJob",
}

_RUNTIMES = {"go_info": "go", "jvm_info": "jvm", "jvm_runtime_info": "jvm", "nodejs_version_info": "node"}


class Pod(NamedTuple):
    """A pod's identity."""

    cluster: str
    namespace: str
    name: str


class Owners:
    """Which workload a pod belongs to: by way of its ReplicaSet or Job where there is one in between."""

    def __init__(self, between: Iterable[Mapping[str, str]], cluster_label: str) -> None:
        """Reads the owners of ReplicaSets and Jobs.

        Args:
            between: label sets of kube_replicaset_owner and kube_job_owner.
            cluster_label: the label that names the cluster.
        """
        self._cluster_label = cluster_label
        self._between: dict[WorkloadId, WorkloadId] = {}
        for labels in between:
            kind, name = ("ReplicaSet", "replicaset") if "replicaset" in labels else ("Job", "job_name")
            child = self._id(labels, kind, labels.get(name, ""))
            self._between[child] = self._id(labels, labels["owner_kind"], labels["owner_name"])

    def workload_of(self, labels: Mapping[str, str]) -> WorkloadId:
        """Returns the workload of a pod, given the labels of its kube_pod_owner series."""
        owner = self._id(labels, labels["owner_kind"], labels["owner_name"])
        return self._between.get(owner, owner)

    def _id(self, labels: Mapping[str, str], kind: str, name: str) -> WorkloadId:
        cluster = labels.get(self._cluster_label, "")
        return WorkloadId(cluster=cluster, namespace=labels.get("namespace", ""), kind=kind, name=name)


class KubeState(msgspec.Struct, kw_only=True):
    """What a cluster said of its workloads.

    Attributes:
        samples: the answers to the catalogue's state queries, by the name of the query.
        cluster_label: the label that names the cluster.
        objectives: latency objectives by normalised service name, for workloads whose annotations state none.
    """

    samples: Mapping[str, Sequence[Sample]]
    cluster_label: str
    objectives: Mapping[str, Slo] = {}

    def workloads(self) -> tuple[Workload, ...]:
        """Returns every workload with its state, ordered by identity."""
        replicas = self._replicas()
        pods = self._pods()
        hpas, vpas, labels = self._hpas(), self._vpas(), self._metadata("label_")
        annotations = self._metadata("annotation_")
        containers = self._containers()
        created = {self._pod(sample.labels): sample.value for sample in self.samples["pods_created"]}
        zones = self._zones()
        ids = sorted({*replicas, *pods, *(self._cronjobs())}, key=_order)
        shared = Counter(labels.get(i, {}).get(NAME_LABEL) for i in ids)
        found = []
        for identity in ids:
            newest = _newest(pods.get(identity, ()), created)
            hpa, keda = hpas.get(identity, (None, None))
            state = workload_state(containers.get(newest, ()) if newest else ())
            running = None if identity.kind in _RUNS_TO_COMPLETION else len(pods.get(identity, ()))
            name = labels.get(identity, {}).get(NAME_LABEL)
            service = name if name and shared[name] == 1 else identity.name
            annotated = annotations.get(identity, {})
            found.append(
                Workload(
                    id=identity,
                    service_name=service,
                    state=msgspec.structs.replace(
                        state,
                        replicas=replicas.get(identity, running),
                        hpa=hpa,
                        keda=keda,
                        vpa_mode=vpas.get(identity),
                    ),
                    labels=labels.get(identity, {}),
                    annotations=annotated,
                    slo=self._objective(service, annotated),
                    zones=tuple(sorted(zones[identity.cluster])),
                )
            )
        return tuple(found)

    def _objective(self, service: str, annotations: Mapping[str, str]) -> Slo | None:
        """Returns the objective of a workload; one annotated wrongly is none, and costs no other workload."""
        try:
            annotated = annotated_objective(annotations)
        except InvalidInputError:
            return None
        return annotated or self.objectives.get(normalised(service))

    def _zones(self) -> dict[str, set[str]]:
        """Returns the zones that each cluster has nodes in."""
        found: dict[str, set[str]] = defaultdict(set)
        for sample in self.samples["zones"]:
            found[sample.labels.get(self.cluster_label, "")].add(sample.labels[_ZONE_LABEL])
        return found

    def _id(self, labels: Mapping[str, str], kind: str, name: str) -> WorkloadId:
        cluster = labels.get(self.cluster_label, "")
        return WorkloadId(cluster=cluster, namespace=labels.get("namespace", ""), kind=kind, name=name)

    def _pod(self, labels: Mapping[str, str]) -> Pod:
        return Pod(labels.get(self.cluster_label, ""), labels.get("namespace", ""), labels.get("pod", ""))

    def _kind_id(self, labels: Mapping[str, str]) -> WorkloadId | None:
        for label, kind in _KIND_LABELS.items():
            if labels.get(label):
                return self._id(labels, kind, labels[label])
        return None

    def _replicas(self) -> dict[WorkloadId, int]:
        found = {}
        for sample in self.samples["replicas"]:
            identity = self._kind_id(sample.labels)
            if identity is not None:
                found[identity] = int(sample.value)
        for sample in self.samples["rollout_replicas"]:
            found[self._id(sample.labels, "Rollout", sample.labels.get("name", ""))] = int(sample.value)
        return found

    def _cronjobs(self) -> list[WorkloadId]:
        return [self._id(s.labels, "CronJob", s.labels.get("cronjob", "")) for s in self.samples["cronjobs"]]

    def _pods(self) -> dict[WorkloadId, list[Pod]]:
        """Returns the pods of each workload; static pods, which a Node owns, are nobody's to size."""
        between = [s.labels for name in ("replicaset_owners", "job_owners") for s in self.samples[name]]
        owners = Owners(between, self.cluster_label)
        found: dict[WorkloadId, list[Pod]] = defaultdict(list)
        for sample in self.samples["pod_owners"]:
            if sample.labels["owner_kind"] != "Node":
                found[owners.workload_of(sample.labels)].append(self._pod(sample.labels))
        return found

    def _containers(self) -> dict[Pod, list[Container]]:
        images: dict[tuple[Pod, str], str | None] = {}
        for name in ("containers", "sidecars"):
            for sample in self.samples[name]:
                images[self._pod(sample.labels), sample.labels["container"]] = sample.labels.get("image")
        sidecars = {(self._pod(s.labels), s.labels["container"]) for s in self.samples["sidecars"]}
        amounts: dict[tuple[Pod, str], dict[str, float]] = defaultdict(dict)
        for name, what in _AMOUNTS:
            for sample in self.samples[name]:
                key = self._pod(sample.labels), sample.labels["container"]
                if not name.startswith("sidecar") or key in sidecars:
                    amounts[key][f"{sample.labels['resource']}_{what}"] = sample.value
        found: dict[Pod, list[Container]] = defaultdict(list)
        for pod, container in sorted({*images, *amounts}):
            key = pod, container
            found[pod].append(_container(container, images.get(key), amounts[key], sidecar=key in sidecars))
        said = self._runtimes()
        return {pod: _with_runtimes(containers, said.get(pod, {})) for pod, containers in found.items()}

    def _runtimes(self) -> dict[Pod, dict[str, dict[str, str]]]:
        """Returns the runtimes that each pod's containers name, with their versions; "" is no container."""
        found: dict[Pod, dict[str, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
        for sample in self.samples["runtimes"]:
            name = _RUNTIMES.get(sample.labels.get("__name__", ""))
            if name is not None:
                own = found[self._pod(sample.labels)][sample.labels.get("container", "")]
                own[name] = sample.labels.get("version", "")
        return found

    def _hpas(self) -> dict[WorkloadId, tuple[HpaState, str | None]]:
        least = {self._hpa_key(s): int(s.value) for s in self.samples["hpa_min"]}
        most = {self._hpa_key(s): int(s.value) for s in self.samples["hpa_max"]}
        targets: dict[tuple[str, str, str], list[Sample]] = defaultdict(list)
        for sample in self.samples["hpa_targets"]:
            targets[self._hpa_key(sample)].append(sample)
        found = {}
        for sample in self.samples["hpa"]:
            key = self._hpa_key(sample)
            if key not in most:
                continue
            kind, name = sample.labels["scaletargetref_kind"], sample.labels["scaletargetref_name"]
            keda = key[2].removeprefix(KEDA_PREFIX) if key[2].startswith(KEDA_PREFIX) else None
            state = _hpa(least.get(key, 1), most[key], targets[key])
            found[self._id(sample.labels, kind, name)] = (state, keda)
        return found

    def _hpa_key(self, sample: Sample) -> tuple[str, str, str]:
        labels = sample.labels
        name = labels.get("horizontalpodautoscaler", "")
        return labels.get(self.cluster_label, ""), labels.get("namespace", ""), name

    def _vpas(self) -> dict[WorkloadId, str]:
        return {
            self._id(s.labels, s.labels["target_kind"], s.labels["target_name"]): s.labels["update_mode"]
            for s in self.samples["vpa"]
            if s.labels.get("target_kind") and s.labels.get("target_name") and s.labels.get("update_mode")
        }

    def _metadata(self, prefix: str) -> dict[WorkloadId, dict[str, str]]:
        """Returns labels or annotations, as kube-state-metrics exposes both: with a prefix."""
        found: dict[WorkloadId, dict[str, str]] = {}
        for sample in self.samples["labels"]:
            identity = self._kind_id(sample.labels)
            if identity is not None:
                found.setdefault(identity, {}).update(
                    (_kubernetes_name(name.removeprefix(prefix)), value)
                    for name, value in sorted(sample.labels.items())
                    if name.startswith(prefix) and value
                )
        return found


def _with_runtimes(containers: list[Container], said: Mapping[str, Mapping[str, str]]) -> list[Container]:
    """Adds the runtimes; those of a scrape that names no container only where there is but one."""
    alone = sum(not container.sidecar for container in containers) == 1
    return [
        msgspec.structs.replace(
            one, runtimes={**(said.get("", {}) if alone else {}), **said.get(one.name, {})}
        )
        if said and not one.sidecar
        else one
        for one in containers
    ]


def _newest(pods: Sequence[Pod], created: Mapping[Pod, float]) -> Pod | None:
    """Returns the pod that shows the present template: during a rollout the old ones still run."""
    return max(pods, key=lambda pod: (created.get(pod, 0.0), pod.name), default=None)


_AMOUNTS = (
    ("requests", "request"),
    ("limits", "limit"),
    ("sidecar_requests", "request"),
    ("sidecar_limits", "limit"),
)


def workload_state(containers: Sequence[Container]) -> WorkloadState:
    """Returns the state of containers, with requests taken from limits where only those are known.

    The basis says so (DESIGN.md section 3); it is UNKNOWN where nothing is known of any container.
    """
    filled = tuple(
        msgspec.structs.replace(
            container,
            cpu_request_cores=_first(container.cpu_request_cores, container.cpu_limit_cores),
            memory_request_bytes=_first(container.memory_request_bytes, container.memory_limit_bytes),
        )
        for container in containers
    )
    if filled != tuple(containers):
        return WorkloadState(containers=filled, basis=Basis.ASSUMED_FROM_LIMIT)
    known = any(c.cpu_request_cores is not None or c.memory_request_bytes is not None for c in filled)
    return WorkloadState(containers=filled, basis=Basis.DECLARED if known else Basis.UNKNOWN)


def _first[T](value: T | None, otherwise: T | None) -> T | None:
    return otherwise if value is None else value


def _container(name: str, image: str | None, amounts: Mapping[str, float], *, sidecar: bool) -> Container:
    request, limit = amounts.get("memory_request"), amounts.get("memory_limit")
    return Container(
        name=name,
        image=image or None,
        sidecar=sidecar,
        cpu_request_cores=amounts.get("cpu_request"),
        cpu_limit_cores=amounts.get("cpu_limit"),
        memory_request_bytes=None if request is None else int(request),
        memory_limit_bytes=None if limit is None else int(limit),
    )


def _hpa(least: int, most: int, targets: Sequence[Sample]) -> HpaState:
    utilization: dict[str, int] = {}
    others = set()
    for sample in targets:
        metric, how = sample.labels.get("metric_name", ""), sample.labels.get("metric_target_type", "")
        if metric in ("cpu", "memory") and how == "utilization":
            utilization[metric] = int(sample.value)
        else:
            others.add(metric)
    return HpaState(
        min_replicas=least,
        max_replicas=most,
        target_cpu_utilization_percent=utilization.get("cpu"),
        target_memory_utilization_percent=utilization.get("memory"),
        other_metrics=tuple(sorted(others)),
    )


def _kubernetes_name(exposed: str) -> str:
    """Returns the name that kube-state-metrics exposed with dots and slashes as underscores, where known."""
    if exposed.startswith(_OWN_ANNOTATION):
        return f"perfopt.io/{exposed.removeprefix(_OWN_ANNOTATION).replace('_', '-')}"
    if exposed.startswith(_STANDARD_LABEL):
        return f"app.kubernetes.io/{exposed.removeprefix(_STANDARD_LABEL).replace('_', '-')}"
    return exposed


def _order(identity: WorkloadId) -> tuple[str, str, str, str]:
    return identity.cluster, identity.namespace, identity.kind, identity.name
