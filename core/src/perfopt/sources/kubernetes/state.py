"""What a cluster's API says of workloads, and how it completes what metrics say. Pure: no requests here."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from perfopt.domain.enums import Basis
from perfopt.domain.workload import Container, HpaState, InitRequest, Workload, WorkloadId, WorkloadState
from perfopt.errors import InvalidInputError
from perfopt.metrics.snapshot import PodStart
from perfopt.sources.kubernetes.containers import containers_of, init_request
from perfopt.sources.kubernetes.objects import (
    HorizontalAutoscaler,
    ObjectMetadata,
    PodObject,
    VerticalAutoscaler,
    WorkloadController,
)
from perfopt.sources.kubernetes.secrecy import kept_annotations
from perfopt.sources.objectives import annotated_objective
from perfopt.sources.pod_starts import pod_start
from perfopt.sources.prometheus.autoscalers import KEDA_PREFIX
from perfopt.sources.prometheus.declared import workload_state

_OWN = "perfopt.io/"
_HASH_LABEL = "pod-template-hash"
_KEDA_LABEL = "scaledobject.keda.sh/name"


@dataclass(frozen=True, slots=True)
class ClusterObjects:
    """The answers of an API server.

    Attributes:
        controllers: by kind: Deployment, StatefulSet, DaemonSet.
    """

    controllers: Mapping[str, Sequence[WorkloadController]] = field(default_factory=dict)
    pods: Sequence[PodObject] = ()
    autoscalers: Sequence[HorizontalAutoscaler] = ()
    vertical: Sequence[VerticalAutoscaler] = ()


@dataclass(frozen=True, slots=True)
class KnownWorkload:
    """What the API says of one workload."""

    replicas: int | None
    containers: tuple[Container, ...]
    labels: dict[str, str]
    annotations: dict[str, str]
    hpa: HpaState | None = None
    keda: str | None = None
    vpa_mode: str | None = None
    init: InitRequest | None = None


@dataclass(frozen=True, slots=True)
class ClusterState:
    """What there is in one cluster now.

    Attributes:
        workloads: by identity; the cluster in it is "".
        starts: of the pods that run now, by workload.
    """

    workloads: Mapping[WorkloadId, KnownWorkload] = field(default_factory=dict)
    starts: Mapping[WorkloadId, Sequence[PodStart]] = field(default_factory=dict)


def cluster_state(objects: ClusterObjects) -> ClusterState:
    """Puts the objects of an API server together."""
    scaled = {_target(one.metadata, one.spec.scale_target_ref): one for one in objects.autoscalers}
    vertical = {
        _target(one.metadata, one.spec.target_ref): one.spec.update_policy.update_mode
        for one in objects.vertical
    }
    workloads = {
        identity: _known(controller, scaled.get(identity), vertical.get(identity))
        for kind, controllers in objects.controllers.items()
        for controller in controllers
        for identity in (_id(controller.metadata, kind, controller.metadata.name),)
    }
    starts: dict[WorkloadId, list[PodStart]] = defaultdict(list)
    for pod in objects.pods:
        owner, start = _workload_of(pod.metadata), _start(pod)
        if owner in workloads and start is not None:
            starts[owner].append(start)
    return ClusterState(workloads, dict(starts))


def completed(workload: Workload, known: KnownWorkload) -> Workload:
    """Returns a workload of a metric source with what only the API says of it.

    What metrics say of sizes and replicas stays: it goes with the history that is analysed.
    """
    state = workload.state
    annotations = workload.annotations | known.annotations
    try:
        objective = annotated_objective(annotations)
    except InvalidInputError:  # one annotated wrongly is none
        objective = None
    hpa = state.hpa or known.hpa
    if hpa is not None and known.hpa is not None:
        hpa = msgspec.structs.replace(hpa, behavior=known.hpa.behavior)
    sized = _with_containers(state, known.containers)
    return msgspec.structs.replace(
        workload,
        labels=workload.labels | known.labels,
        annotations=annotations,
        slo=objective or workload.slo,
        state=msgspec.structs.replace(
            sized,
            replicas=known.replicas if state.replicas is None else state.replicas,
            hpa=hpa,
            keda=state.keda or known.keda,
            vpa_mode=state.vpa_mode or known.vpa_mode,
            init=known.init or state.init,
        ),
    )


def _with_containers(state: WorkloadState, known: Sequence[Container]) -> WorkloadState:
    """Adds variables and command lines to the containers that run, or takes those of the template."""
    if not state.containers or state.basis is Basis.UNKNOWN:
        declared = workload_state(known)
        return msgspec.structs.replace(state, containers=declared.containers, basis=declared.basis)
    by_name = {container.name: container for container in known}
    return msgspec.structs.replace(
        state, containers=tuple(_completed(one, by_name.get(one.name)) for one in state.containers)
    )


def _completed(container: Container, known: Container | None) -> Container:
    if known is None:
        return container
    return msgspec.structs.replace(
        container,
        image=container.image or known.image,
        env=known.env,
        env_elsewhere=known.env_elsewhere,
        command=known.command,
        args=known.args,
    )


def _known(
    controller: WorkloadController, scaled: HorizontalAutoscaler | None, vpa_mode: str | None
) -> KnownWorkload:
    metadata = controller.metadata
    return KnownWorkload(
        replicas=controller.spec.replicas,
        containers=containers_of(controller.spec.template.spec),
        labels=metadata.labels,
        annotations=kept_annotations(metadata.annotations, _OWN),
        hpa=None if scaled is None else _hpa(scaled),
        keda=None if scaled is None else _keda(scaled.metadata),
        vpa_mode=vpa_mode,
        init=init_request(controller.spec.template.spec),
    )


def _hpa(autoscaler: HorizontalAutoscaler) -> HpaState:
    spec = autoscaler.spec
    utilization: dict[str, int] = {}
    others: set[str] = set()
    for metric in spec.metrics:
        name, percent = _metric(metric)
        if percent is not None and name in ("cpu", "memory"):
            utilization[name] = percent
        else:
            others.add(name)
    return HpaState(
        min_replicas=spec.min_replicas,
        max_replicas=spec.max_replicas,
        target_cpu_utilization_percent=utilization.get("cpu"),
        target_memory_utilization_percent=utilization.get("memory"),
        other_metrics=tuple(sorted(others)),
        behavior=spec.behavior,
    )


def _metric(metric: Mapping[str, Any]) -> tuple[str, int | None]:
    """Returns a metric's name, and its target utilisation where it is that of a pod's resource."""
    kind = str(metric.get("type", ""))
    body = metric.get(kind[:1].lower() + kind[1:]) or {}
    name = str(body.get("name") or (body.get("metric") or {}).get("name") or kind)
    percent = (body.get("target") or {}).get("averageUtilization")
    return name, percent if kind == "Resource" and isinstance(percent, int) else None


def _keda(metadata: ObjectMetadata) -> str | None:
    if _KEDA_LABEL in metadata.labels:
        return metadata.labels[_KEDA_LABEL]
    return metadata.name.removeprefix(KEDA_PREFIX) if metadata.name.startswith(KEDA_PREFIX) else None


def _workload_of(pod: ObjectMetadata) -> WorkloadId | None:
    """Returns what a pod belongs to; a ReplicaSet's name is its Deployment's and the template's hash."""
    owner = next((one for one in pod.owner_references if one.controller), None)
    if owner is None:
        return None
    suffix = f"-{pod.labels.get(_HASH_LABEL, '')}"
    if owner.kind == "ReplicaSet" and len(suffix) > 1 and owner.name.endswith(suffix):
        return _id(pod, "Deployment", owner.name.removesuffix(suffix))
    return _id(pod, owner.kind, owner.name)


def _start(pod: PodObject) -> PodStart | None:
    """Returns how long a pod took; None where a restart may have moved its readiness."""
    created = pod.metadata.creation_timestamp
    if created is None or any(status.restart_count for status in pod.status.container_statuses):
        return None
    for condition in pod.status.conditions:
        if condition.type == "Ready" and condition.status == "True" and condition.last_transition_time:
            return pod_start(pod.metadata.name, created, condition.last_transition_time)
    return None


def _target(metadata: ObjectMetadata, target: Any) -> WorkloadId:
    return _id(metadata, target.kind, target.name)


def _id(metadata: ObjectMetadata, kind: str, name: str) -> WorkloadId:
    return WorkloadId(namespace=metadata.namespace, kind=kind, name=name)
