"""The parts of Kubernetes objects that perfopt reads, as the API server writes them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec


class _Object(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What no field is named for is skipped when an answer is decoded, and never becomes an object."""


class OwnerReference(_Object, frozen=True, kw_only=True):
    """Who made an object."""

    kind: str
    name: str
    controller: bool = False


class ObjectMetadata(_Object, frozen=True, kw_only=True):
    """Of any object."""

    name: str = ""
    namespace: str = ""
    creation_timestamp: datetime | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: tuple[OwnerReference, ...] = ()


class KeyReference(_Object, frozen=True, kw_only=True):
    """A ConfigMap or Secret, or one key of it."""

    name: str = ""
    key: str = ""


class FieldReference(_Object, frozen=True, kw_only=True):
    """A field of the pod."""

    field_path: str = ""


class ResourceReference(_Object, frozen=True, kw_only=True):
    """A request or limit of a container of the pod."""

    resource: str = ""
    container_name: str = ""
    divisor: str = "1"


class ValueFrom(_Object, frozen=True, kw_only=True):
    """Where a variable's value comes from: one of these."""

    config_map_key_ref: KeyReference | None = None
    secret_key_ref: KeyReference | None = None
    field_ref: FieldReference | None = None
    resource_field_ref: ResourceReference | None = None


class EnvironmentVariable(_Object, frozen=True, kw_only=True):
    """An environment variable: a value, or where it comes from; neither is the empty text."""

    name: str
    value: str = ""
    value_from: ValueFrom | None = None


class VariablesFrom(_Object, frozen=True, kw_only=True):
    """All entries of a ConfigMap or Secret as variables."""

    prefix: str = ""
    config_map_ref: KeyReference | None = None
    secret_ref: KeyReference | None = None


class ResourceRequirements(_Object, frozen=True, kw_only=True):
    """Requests and limits, as Kubernetes quantities."""

    requests: dict[str, str | int | float] = {}
    limits: dict[str, str | int | float] = {}


class ContainerSpec(_Object, frozen=True, kw_only=True):
    """A container of a pod."""

    name: str
    image: str | None = None
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None
    env: tuple[EnvironmentVariable, ...] = ()
    env_from: tuple[VariablesFrom, ...] = ()
    resources: ResourceRequirements = ResourceRequirements()
    restart_policy: str = ""


class PodSpec(_Object, frozen=True, kw_only=True):
    """Of a template."""

    containers: tuple[ContainerSpec, ...] = ()
    init_containers: tuple[ContainerSpec, ...] = ()


class PodTemplate(_Object, frozen=True, kw_only=True):
    """What pods are made by."""

    spec: PodSpec = PodSpec()


class ControllerSpec(_Object, frozen=True, kw_only=True):
    """Of a Deployment, StatefulSet or DaemonSet."""

    replicas: int | None = None
    template: PodTemplate = PodTemplate()


class WorkloadController(_Object, frozen=True, kw_only=True):
    """A Deployment, StatefulSet or DaemonSet."""

    metadata: ObjectMetadata
    spec: ControllerSpec = ControllerSpec()


class PodCondition(_Object, frozen=True, kw_only=True):
    """Of a pod."""

    type: str
    status: str
    last_transition_time: datetime | None = None


class ContainerStatus(_Object, frozen=True, kw_only=True):
    """Of a container of a pod."""

    restart_count: int = 0


class PodStatus(_Object, frozen=True, kw_only=True):
    """What a pod came to."""

    conditions: tuple[PodCondition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()


class PodObject(_Object, frozen=True, kw_only=True):
    """A pod."""

    metadata: ObjectMetadata
    status: PodStatus = PodStatus()


class ScaleTarget(_Object, frozen=True, kw_only=True):
    """What an autoscaler works on."""

    kind: str = ""
    name: str = ""


class AutoscalerSpec(_Object, frozen=True, kw_only=True):
    """Of a HorizontalPodAutoscaler, autoscaling/v2."""

    scale_target_ref: ScaleTarget = ScaleTarget()
    min_replicas: int = 1
    max_replicas: int = 1
    metrics: tuple[Mapping[str, Any], ...] = ()
    behavior: dict[str, Any] | None = None


class HorizontalAutoscaler(_Object, frozen=True, kw_only=True):
    """A HorizontalPodAutoscaler."""

    metadata: ObjectMetadata
    spec: AutoscalerSpec = AutoscalerSpec()


class UpdatePolicy(_Object, frozen=True, kw_only=True):
    """Of a VerticalPodAutoscaler."""

    update_mode: str = "Auto"


class VerticalSpec(_Object, frozen=True, kw_only=True):
    """Of a VerticalPodAutoscaler."""

    target_ref: ScaleTarget = ScaleTarget()
    update_policy: UpdatePolicy = UpdatePolicy()


class VerticalAutoscaler(_Object, frozen=True, kw_only=True):
    """A VerticalPodAutoscaler."""

    metadata: ObjectMetadata
    spec: VerticalSpec = VerticalSpec()


class PageMetadata(_Object, frozen=True, kw_only=True):
    """Of a list."""

    continue_: str = msgspec.field(name="continue", default="")


class ListPage[Item](_Object, frozen=True, kw_only=True):
    """One answer to a list."""

    metadata: PageMetadata = PageMetadata()
    items: tuple[Item, ...] | None = None


class ListStatus(_Object, frozen=True, kw_only=True):
    """What the API server says when it refuses."""

    message: str = ""
    reason: str = ""
