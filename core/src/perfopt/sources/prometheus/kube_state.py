"""Workloads and what they have, put together from kube-state-metrics series. Pure: no queries here."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from perfopt.domain.limits import ClusterLimits
from perfopt.domain.workload import Container, InitRequest, Slo, Workload, WorkloadId
from perfopt.errors import InvalidInputError
from perfopt.sources.objectives import annotated_objective, normalised
from perfopt.sources.prometheus.answer import InstantSample
from perfopt.sources.prometheus.autoscalers import AutoscalerSamples, WorkloadScaling
from perfopt.sources.prometheus.declared import declared_container, with_runtimes, workload_state
from perfopt.sources.prometheus.limits import cluster_limits
from perfopt.sources.prometheus.numbers import amount, replica_count
from perfopt.sources.prometheus.owners import NO_OWNER, THROUGH_OTHERS, PodKey, PodOwners

NAME_LABEL = "app.kubernetes.io/name"
_STANDARD_LABEL = "app_kubernetes_io_"
_OWN_ANNOTATION = "perfopt_io_"
_ZONE_LABEL = "label_topology_kubernetes_io_zone"
_KIND_LABELS = {
    "deployment": "Deployment",
    "statefulset": "StatefulSet",
    "daemonset": "DaemonSet",
    "cronjob": "CronJob",
}
# A request or limit above these is no declaration that any node could take; 2^63 bytes stand for no limit.
_MOST = {"cpu": 1e6, "memory": 2.0**47}
# Of a workload's replicas: what runs, before what was asked for.
_REPLICAS = (
    "kube_deployment_status_replicas",
    "kube_statefulset_status_replicas",
    "kube_daemonset_status_current_number_scheduled",
    "kube_deployment_spec_replicas",
    "kube_statefulset_replicas",
    "kube_daemonset_status_desired_number_scheduled",
    "kube_deployment_status_replicas_available",
)
_RUNTIMES = {"go_info": "go", "jvm_info": "jvm", "jvm_runtime_info": "jvm", "nodejs_version_info": "node"}


class KubeState(msgspec.Struct, kw_only=True):
    """What the metrics of a cluster show of its workloads.

    Attributes:
        samples: the answers to the catalogue's state queries, by the name of the query.
        cluster_label: the label that names the cluster.
        objectives: latency objectives by normalised service name, for workloads whose annotations state none.
    """

    samples: Mapping[str, Sequence[InstantSample]]
    cluster_label: str
    objectives: Mapping[str, Slo] = {}

    def workloads(self) -> tuple[Workload, ...]:
        """Returns every workload with its state, ordered by identity."""
        replicas, pods = self._replicas(), self._pods()
        vpas, labels = self._vpas(), self._metadata("label_")
        annotations = self._metadata("annotation_")
        containers, init = self._containers(), self._init_requests()
        created = {self._pod(sample.labels): sample.value for sample in self.samples.get("pods_created", ())}
        ended, pending = self._ended(), self._pending()
        zones, limits = self._zones(), cluster_limits(self.samples, self.cluster_label)
        ids = sorted({*replicas, *pods, *(self._cronjobs())}, key=_order)
        scaled = AutoscalerSamples(self.samples, self.cluster_label).of(ids)
        shared = Counter(labels.get(i, {}).get(NAME_LABEL) for i in ids)
        listed = []
        for identity in ids:
            mine = pods.get(identity, ())
            running = [pod for pod in mine if pod not in ended]
            newest = _newest(running or mine, created)
            scaling = scaled.get(identity, WorkloadScaling())
            state = workload_state(containers.get(newest, ()) if newest else ())
            counted = None if identity.runs_to_completion else len(running)
            desired = replicas.get(identity, counted)
            waiting = sum(pod in pending for pod in running)
            name = labels.get(identity, {}).get(NAME_LABEL)
            service = name if name and shared[name] == 1 else identity.name
            annotated = annotations.get(identity, {})
            listed.append(
                Workload(
                    id=identity,
                    service_name=service,
                    state=msgspec.structs.replace(
                        state,
                        replicas=desired if desired is None else max(desired - waiting, 0),
                        hpa=scaling.hpa,
                        keda=scaling.keda,
                        vpa_mode=vpas.get(identity),
                        init=init.get(newest) if newest else None,
                    ),
                    labels=labels.get(identity, {}),
                    annotations=annotated,
                    slo=self._objective(service, annotated),
                    zones=tuple(sorted(zones[identity.cluster])),
                    unknown_autoscalers=scaling.unknown,
                    limits=_limits_of(identity, limits),
                )
            )
        return tuple(listed)

    def _ended(self) -> set[PodKey]:
        """Returns the pods that failed, succeeded or were evicted and did not come back."""
        ended = {(self._pod(s.labels), s.labels.get("uid", "")) for s in self.samples.get("ended_pods", ())}
        alive = {
            self._pod(s.labels)
            for s in self.samples.get("pod_owners", ())
            if not {(self._pod(s.labels), s.labels.get("uid", "")), (self._pod(s.labels), "")} & ended
        }
        return {pod for pod, _ in ended} - alive

    def _pending(self) -> set[PodKey]:
        """Returns the pods that no node took: they reserve nothing and cost nothing."""
        return {self._pod(sample.labels) for sample in self.samples.get("pending_pods", ())}

    def _objective(self, service: str, annotations: Mapping[str, str]) -> Slo | None:
        """Returns the objective of a workload; one annotated wrongly is none, and costs no other workload."""
        try:
            annotated = annotated_objective(annotations)
        except InvalidInputError:
            return None
        return annotated or self.objectives.get(normalised(service))

    def _zones(self) -> dict[str, set[str]]:
        """Returns the zones that each cluster has nodes in."""
        zones: dict[str, set[str]] = defaultdict(set)
        for sample in self.samples.get("zones", ()):
            zones[sample.labels.get(self.cluster_label, "")].add(sample.labels[_ZONE_LABEL])
        return zones

    def _id(self, labels: Mapping[str, str], kind: str, name: str) -> WorkloadId:
        cluster = labels.get(self.cluster_label, "")
        return WorkloadId(cluster=cluster, namespace=labels.get("namespace", ""), kind=kind, name=name)

    def _pod(self, labels: Mapping[str, str]) -> PodKey:
        return PodKey(labels.get(self.cluster_label, ""), labels.get("namespace", ""), labels.get("pod", ""))

    def _kind_id(self, labels: Mapping[str, str]) -> WorkloadId | None:
        for label, kind in _KIND_LABELS.items():
            if labels.get(label):
                return self._id(labels, kind, labels[label])
        return None

    def _replicas(self) -> dict[WorkloadId, int]:
        by_name: dict[str, dict[WorkloadId, int]] = defaultdict(dict)
        for sample in self.samples.get("replicas", ()):
            identity, count = self._kind_id(sample.labels), replica_count(sample.value)
            if identity is not None and count is not None:
                known = by_name[sample.labels.get("__name__", _REPLICAS[0])]
                known[identity] = max(count, known.get(identity, 0))
        replicas: dict[WorkloadId, int] = {}
        for name in reversed(_REPLICAS):
            replicas |= by_name.get(name, {})
        for sample in self.samples.get("rollout_replicas", ()):
            count = replica_count(sample.value)
            if count is not None:
                replicas[self._id(sample.labels, "Rollout", sample.labels.get("name", ""))] = count
        return replicas

    def _deployments(self) -> set[WorkloadId]:
        """Returns every Deployment that any series names."""
        named = {
            self._id(s.labels, "Deployment", s.labels.get("deployment", ""))
            for name in ("replicas", "labels")
            for s in self.samples.get(name, ())
        }
        scaled = {
            self._id(s.labels, "Deployment", s.labels.get("scaletargetref_name", ""))
            for s in self.samples.get("hpa", ())
            if s.labels.get("scaletargetref_kind") == "Deployment"
        }
        return {identity for identity in named | scaled if identity.name}

    def _cronjobs(self) -> list[WorkloadId]:
        return [
            self._id(s.labels, "CronJob", s.labels.get("cronjob", ""))
            for s in self.samples.get("cronjobs", ())
        ]

    def _pods(self) -> dict[WorkloadId, list[PodKey]]:
        """Returns the pods of each workload; static and bare ones, of a Node or of nobody, are left out."""
        names = ("replicaset_owners", "replicationcontroller_owners", "job_owners")
        between = [s.labels for name in names for s in self.samples.get(name, ())]
        owners = PodOwners(between, self.cluster_label, self._deployments())
        owned: dict[WorkloadId, dict[PodKey, None]] = defaultdict(dict)
        for sample in self.samples.get("pod_owners", ()):
            if sample.labels.get("owner_kind", "") not in ("Node", *THROUGH_OTHERS, *NO_OWNER):
                owned[owners.workload_of(sample.labels)][self._pod(sample.labels)] = None
        return {identity: list(pods) for identity, pods in owned.items()}

    def _containers(self) -> dict[PodKey, list[Container]]:
        images: dict[tuple[PodKey, str], str | None] = {}
        for name in ("containers", *_SIDECARS):
            for sample in self.samples.get(name, ()):
                images[self._pod(sample.labels), sample.labels["container"]] = sample.labels.get("image")
        sidecars = {
            (self._pod(s.labels), s.labels["container"])
            for name in _SIDECARS
            for s in self.samples.get(name, ())
        }
        amounts: dict[tuple[PodKey, str], dict[str, float]] = defaultdict(dict)
        for name, what in _AMOUNTS:
            for sample in self.samples.get(name, ()):
                key = self._pod(sample.labels), sample.labels["container"]
                if _is_possible(sample) and (not name.startswith("sidecar") or key in sidecars):
                    amounts[key][f"{sample.labels['resource']}_{what}"] = sample.value
        for declared in amounts.values():
            _without_contradictions(declared)
        by_pod: dict[PodKey, list[Container]] = defaultdict(list)
        for pod, container in sorted({*images, *amounts}):
            key = pod, container
            by_pod[pod].append(
                declared_container(container, images.get(key), amounts[key], sidecar=key in sidecars)
            )
        runtimes = self._runtimes()
        return {pod: with_runtimes(containers, runtimes.get(pod, {})) for pod, containers in by_pod.items()}

    def _init_requests(self) -> dict[PodKey, InitRequest]:
        """Returns the largest request of each pod's init containers, without native sidecars."""
        sidecars = {
            (self._pod(s.labels), s.labels["container"])
            for name in _SIDECARS
            for s in self.samples.get(name, ())
        }
        largest: dict[PodKey, dict[str, float]] = defaultdict(dict)
        for sample in self.samples.get("sidecar_requests", ()):
            pod, resource = self._pod(sample.labels), sample.labels["resource"]
            possible = _is_possible(sample)
            if possible and (pod, sample.labels["container"]) not in sidecars:
                largest[pod][resource] = max(sample.value, largest[pod].get(resource, 0.0))
        return {
            pod: InitRequest(cpu_cores=one.get("cpu", 0.0), memory_bytes=int(one.get("memory", 0.0)))
            for pod, one in largest.items()
        }

    def _runtimes(self) -> dict[PodKey, dict[str, dict[str, str]]]:
        """Returns the runtimes that each pod's containers name, with their versions; "" is no container."""
        runtimes: dict[PodKey, dict[str, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
        for sample in self.samples.get("runtimes", ()):
            name = _RUNTIMES.get(sample.labels.get("__name__", ""))
            if name is not None:
                own = runtimes[self._pod(sample.labels)][sample.labels.get("container", "")]
                own[name] = sample.labels.get("version", "")
        return runtimes

    def notes(self) -> tuple[tuple[str, str], ...]:
        """Returns warnings of pods that no node took."""
        pending = sorted(pod.name for pod in self._pending())
        if not pending:
            return ()
        shown = ", ".join([*pending[:3], *(["..."] if len(pending) > 3 else [])])
        text = (
            f"No node took these pods for an hour: {shown} ({len(pending)} in all). They cost nothing and are"
            " not counted as replicas."
        )
        return (("pending_pods", text),)

    def _vpas(self) -> dict[WorkloadId, str]:
        return {
            self._id(s.labels, s.labels["target_kind"], s.labels["target_name"]): s.labels["update_mode"]
            for s in self.samples.get("vpa", ())
            if s.labels.get("target_kind") and s.labels.get("target_name") and s.labels.get("update_mode")
        }

    def _metadata(self, prefix: str) -> dict[WorkloadId, dict[str, str]]:
        """Returns labels or annotations, as kube-state-metrics exposes both: with a prefix."""
        metadata: dict[WorkloadId, dict[str, str]] = {}
        for sample in self.samples.get("labels", ()):
            identity = self._kind_id(sample.labels)
            if identity is not None:
                metadata.setdefault(identity, {}).update(
                    (_kubernetes_name(name.removeprefix(prefix)), value)
                    for name, value in sorted(sample.labels.items())
                    if name.startswith(prefix) and value
                )
        return metadata


def image_name(labels: Mapping[str, str]) -> str:
    """Returns what tells images apart: nodes call one by tag or by digest, its manifest always the same."""
    return labels.get("image_spec") or labels.get("image_id") or labels.get("image", "")


def _limits_of(identity: WorkloadId, limits: Mapping[tuple[str, str], ClusterLimits]) -> ClusterLimits | None:
    return limits.get((identity.cluster, identity.namespace)) or limits.get((identity.cluster, ""))


def _newest(pods: Sequence[PodKey], created: Mapping[PodKey, float]) -> PodKey | None:
    """Returns the pod that shows the present template: during a rollout the old ones still run."""
    return max(pods, key=lambda pod: (created.get(pod, 0.0), pod.name), default=None)


_SIDECARS = ("sidecars", "unmarked_sidecars")


def _is_possible(sample: InstantSample) -> bool:
    """Tells whether a container can declare so much of a resource."""
    most = _MOST.get(sample.labels.get("resource", ""), math.inf)
    return amount(sample.value) is not None and sample.value <= most


def _without_contradictions(declared: dict[str, float]) -> None:
    """Removes requests above their limits, which Kubernetes takes from nobody: they are of two objects."""
    for resource in _MOST:
        request, limit = f"{resource}_request", f"{resource}_limit"
        if declared.get(request, 0.0) > declared.get(limit, math.inf):
            del declared[request]


_AMOUNTS = (
    ("requests", "request"),
    ("limits", "limit"),
    ("sidecar_requests", "request"),
    ("sidecar_limits", "limit"),
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
