"""Types of fields: what decoding, patches and field ownership need to know of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Scalar = Literal["string", "int32", "int64", "bool", "quantity", "time", "microtime", "intstr"]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value without parts."""

    kind: Scalar


@dataclass(frozen=True, slots=True)
class Struct:
    """An object of known fields.

    Attributes:
        fields: by name in JSON.
        name: of the Go type, for messages.
        atomic: owned as a whole.
        always: fields that are printed even when they are empty objects.
    """

    fields: Mapping[str, "Type"]
    name: str = ""
    atomic: bool = False
    always: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MapOf:
    """An object with free keys."""

    value: "Type"
    atomic: bool = False


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list: owned as a whole, or by the keys of its items, or by its values.

    Attributes:
        item: type of an item.
        keys: of an item, for ownership; empty is a list owned as a whole, or by values.
        merge_key: of an item, for a strategic merge patch; empty is replaced as a whole.
        values: scalars, owned and merged one by one.
        defaults: values of keys where an item leaves them out.
    """

    item: "Type"
    keys: tuple[str, ...] = ()
    merge_key: str = ""
    values: bool = False
    defaults: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Free:
    """Anything: maps are owned key by key, lists as a whole."""


Type = Leaf | Struct | MapOf | ListOf | Free

STRING, INT, LONG, BOOL = Leaf("string"), Leaf("int32"), Leaf("int64"), Leaf("bool")
QUANTITY, TIME, MICRO_TIME, INT_OR_STRING = Leaf("quantity"), Leaf("time"), Leaf("microtime"), Leaf("intstr")
FREE = Free()
STRINGS = MapOf(STRING)
QUANTITIES = MapOf(QUANTITY)
ATOMIC_LIST = ListOf(FREE)
SELECTOR = Struct({"matchLabels": STRINGS, "matchExpressions": ATOMIC_LIST}, "LabelSelector", atomic=True)

OWNER = Struct(
    {
        "apiVersion": STRING,
        "kind": STRING,
        "name": STRING,
        "uid": STRING,
        "controller": BOOL,
        "blockOwnerDeletion": BOOL,
    },
    "OwnerReference",
    atomic=True,
)
METADATA = Struct(
    {
        "name": STRING,
        "generateName": STRING,
        "namespace": STRING,
        "selfLink": STRING,
        "uid": STRING,
        "resourceVersion": STRING,
        "generation": LONG,
        "creationTimestamp": TIME,
        "deletionTimestamp": TIME,
        "deletionGracePeriodSeconds": LONG,
        "labels": STRINGS,
        "annotations": STRINGS,
        "ownerReferences": ListOf(OWNER, keys=("uid",), merge_key="uid"),
        "finalizers": ListOf(STRING, values=True),
        "managedFields": ATOMIC_LIST,
    },
    "ObjectMeta",
)


def conditions(*fields: str, atomic: bool = False) -> ListOf:
    """A list of conditions, keyed by type."""
    names = ("type", "status", "reason", "message", "lastTransitionTime", *fields)
    item = Struct(dict.fromkeys(names, STRING) | {"observedGeneration": LONG}, "Condition")
    return ListOf(item) if atomic else ListOf(item, keys=("type",), merge_key="type")


RESOURCES = Struct(
    {
        "limits": QUANTITIES,
        "requests": QUANTITIES,
        "claims": ListOf(FREE, keys=("name",), merge_key="name"),
    },
    "ResourceRequirements",
)
PORT = Struct(
    {"name": STRING, "hostPort": INT, "containerPort": INT, "protocol": STRING, "hostIP": STRING},
    "ContainerPort",
)
CONTAINER = Struct(
    {
        "name": STRING,
        "image": STRING,
        "command": ListOf(STRING),
        "args": ListOf(STRING),
        "workingDir": STRING,
        "ports": ListOf(
            PORT,
            keys=("containerPort", "protocol"),
            merge_key="containerPort",
            defaults={"protocol": "TCP"},
        ),
        "envFrom": ATOMIC_LIST,
        "env": ListOf(
            Struct({"name": STRING, "value": STRING, "valueFrom": FREE}, "EnvVar"),
            keys=("name",),
            merge_key="name",
        ),
        "resources": RESOURCES,
        "resizePolicy": ListOf(
            Struct({"resourceName": STRING, "restartPolicy": STRING}, "ContainerResizePolicy")
        ),
        "restartPolicy": STRING,
        "restartPolicyRules": ATOMIC_LIST,
        "volumeMounts": ListOf(FREE, keys=("mountPath",), merge_key="mountPath"),
        "volumeDevices": ListOf(FREE, keys=("devicePath",), merge_key="devicePath"),
        "livenessProbe": FREE,
        "readinessProbe": FREE,
        "startupProbe": FREE,
        "lifecycle": FREE,
        "terminationMessagePath": STRING,
        "terminationMessagePolicy": STRING,
        "imagePullPolicy": STRING,
        "securityContext": FREE,
        "stdin": BOOL,
        "stdinOnce": BOOL,
        "tty": BOOL,
    },
    "Container",
    always=("resources",),
)
CONTAINERS = ListOf(CONTAINER, keys=("name",), merge_key="name")
_NODE_AFFINITY: dict[str, Type] = {
    "requiredDuringSchedulingIgnoredDuringExecution": MapOf(FREE, atomic=True),
    "preferredDuringSchedulingIgnoredDuringExecution": ATOMIC_LIST,
}
AFFINITY = Struct(
    {"nodeAffinity": Struct(_NODE_AFFINITY, "NodeAffinity"), "podAffinity": FREE, "podAntiAffinity": FREE},
    "Affinity",
)
POD_SPEC = Struct(
    {
        "volumes": ListOf(FREE, keys=("name",), merge_key="name"),
        "initContainers": CONTAINERS,
        "containers": CONTAINERS,
        "ephemeralContainers": CONTAINERS,
        "restartPolicy": STRING,
        "terminationGracePeriodSeconds": LONG,
        "activeDeadlineSeconds": LONG,
        "dnsPolicy": STRING,
        "nodeSelector": MapOf(STRING, atomic=True),
        "serviceAccountName": STRING,
        "serviceAccount": STRING,
        "automountServiceAccountToken": BOOL,
        "nodeName": STRING,
        "hostNetwork": BOOL,
        "hostPID": BOOL,
        "hostIPC": BOOL,
        "shareProcessNamespace": BOOL,
        "securityContext": FREE,
        "imagePullSecrets": ListOf(FREE, keys=("name",), merge_key="name"),
        "hostname": STRING,
        "subdomain": STRING,
        "affinity": AFFINITY,
        "schedulerName": STRING,
        "tolerations": ATOMIC_LIST,
        "hostAliases": ListOf(FREE, keys=("ip",), merge_key="ip"),
        "priorityClassName": STRING,
        "priority": INT,
        "dnsConfig": FREE,
        "readinessGates": ATOMIC_LIST,
        "runtimeClassName": STRING,
        "enableServiceLinks": BOOL,
        "preemptionPolicy": STRING,
        "overhead": QUANTITIES,
        "topologySpreadConstraints": ListOf(
            FREE, keys=("topologyKey", "whenUnsatisfiable"), merge_key="topologyKey"
        ),
        "setHostnameAsFQDN": BOOL,
        "os": FREE,
        "hostUsers": BOOL,
        "schedulingGates": ListOf(FREE, keys=("name",), merge_key="name"),
        "resourceClaims": ListOf(FREE, keys=("name",), merge_key="name"),
        "resources": RESOURCES,
    },
    "PodSpec",
)
TEMPLATE = Struct({"metadata": METADATA, "spec": POD_SPEC}, "PodTemplateSpec", always=("metadata", "spec"))


def kind_schema(name: str, /, *, always: tuple[str, ...] = (), **fields: Type) -> Struct:
    """The type of a whole object."""
    common: dict[str, Type] = {"apiVersion": STRING, "kind": STRING, "metadata": METADATA}
    return Struct(common | fields, name, always=("metadata", *always))


def struct(name: str, /, *, always: tuple[str, ...] = (), **fields: Type) -> Struct:
    """A Go struct with these fields."""
    return Struct(fields, name, always=always)
