"""Who a workload is and what it has now."""

from collections.abc import Callable
from typing import Any

import msgspec

from perfopt.domain.enums import Basis, ServiceClass
from perfopt.domain.limits import ClusterLimits
from perfopt.domain.quantity import CONTAINER_QUANTITIES

CALENDAR_ANNOTATION = "perfopt.io/calendar"
INIT_KEY = "init_containers"
"""Of a state map: what the largest init container requests."""
CONCEALED = "***"
"""Stands in a command line or variable for what looks like a secret."""


_ENDING_KINDS = ("job", "jobset", "run", "workflow", "sparkapplication")


class WorkloadId(msgspec.Struct, frozen=True, kw_only=True):
    """Identity of a workload: `[cluster/]namespace/[kind/]name`.

    Series of file sources have no namespace; their name is the series_id.
    """

    name: str
    namespace: str = ""
    kind: str = ""
    cluster: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.cluster, self.namespace, self.kind.lower(), self.name) if part)

    @property
    def runs_to_completion(self) -> bool:
        """Whether its pods end by themselves: Jobs, and what operators run so (ScaledJob, TaskRun, ...)."""
        return self.kind.lower().endswith(_ENDING_KINDS)


class Container(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one container of a replica asks for; None is unknown or unset.

    Attributes:
        cpu_request_cores, cpu_limit_cores: cores.
        memory_request_bytes, memory_limit_bytes: bytes.
        image: the image it runs now, if known.
        env: environment variables with known values; None where the source does not say. Values from
            secrets are never read, and of variables whose names look like secrets nothing is kept.
        env_elsewhere: variables that a manifest takes from somewhere else, to the place's name; "*" is any
            variable, where a whole ConfigMap or Secret is taken.
        command, args: as the manifest has them; None where the source does not say. What looks like a secret
            in them is CONCEALED.
        runtimes: what it says of itself in metrics: runtime to version ({"go": "1.24.1"}).
        sidecar: a native sidecar, which manifests list under initContainers.
    """

    name: str
    cpu_request_cores: float | None = None
    memory_request_bytes: int | None = None
    cpu_limit_cores: float | None = None
    memory_limit_bytes: int | None = None
    image: str | None = None
    env: dict[str, str] | None = None
    env_elsewhere: dict[str, str] = {}
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None
    runtimes: dict[str, str] = {}
    sidecar: bool = False

    def to_map(self) -> dict[str, str]:
        """Returns the four quantities as Kubernetes strings; what is unknown is absent."""
        return _printed(lambda attribute: getattr(self, attribute))


class InitRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a pod reserves while its init containers run: the largest of them, one after another.

    The scheduler reserves the larger of this and of the sum of the other containers, for the life of the pod.

    Attributes:
        cpu_cores, memory_bytes: of the largest, with the native sidecars that start before it where known.
    """

    cpu_cores: float = 0.0
    memory_bytes: int = 0

    def to_map(self) -> dict[str, str]:
        """Returns it as Kubernetes strings."""
        both = {"cpu_request_cores": self.cpu_cores, "memory_request_bytes": self.memory_bytes}
        return _printed(both.get)


class HpaState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A HorizontalPodAutoscaler that owns the replicas.

    Attributes:
        target_cpu_utilization_percent: of the cpu request, where it scales on CPU.
        other_metrics: names of further metrics it scales on.
        behavior: windows and policies in the form of autoscaling/v2; None is Kubernetes' default or unknown.
    """

    min_replicas: int = 1
    max_replicas: int
    target_cpu_utilization_percent: int | None = None
    target_memory_utilization_percent: int | None = None
    other_metrics: tuple[str, ...] = ()
    behavior: dict[str, Any] | None = None


class Slo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A latency objective: the quantile of latency stays below the target."""

    latency_ms: float
    quantile: float = 0.99


class WorkloadState(msgspec.Struct, frozen=True, kw_only=True):
    """What a workload has now, or should have: per container, and replicas.

    Attributes:
        containers: regular containers and native sidecars; init containers do not count.
        replicas: how many run; None where the source does not say.
        basis: what the requests rest on.
        hpa: the autoscaler that owns replicas, if any.
        vpa_mode: update mode of a VerticalPodAutoscaler that owns requests ("Auto", "Off", ...), if any.
        keda: name of a ScaledObject that owns replicas, if any.
        extra: further state keys by type (schedule, knobs, node_type, ...), JSON values.
        init: what its init containers reserve; None where it has none or they are not known.
    """

    containers: tuple[Container, ...]
    replicas: int | None = None
    basis: Basis = Basis.DECLARED
    hpa: HpaState | None = None
    vpa_mode: str | None = None
    keda: str | None = None
    extra: dict[str, Any] = {}
    init: InitRequest | None = None

    def container(self, name: str) -> Container | None:
        """Returns the container of that name, or None."""
        return next((c for c in self.containers if c.name == name), None)

    def total(self, field: str) -> float | None:
        """Sums a quantity over the containers of one replica; None unless all of them state it."""
        values = [getattr(container, field) for container in self.containers]
        return sum(values) if values and None not in values else None

    def reserved(self) -> tuple[float, float] | None:
        """Returns CPU cores and memory bytes that are reserved for a replica; None where unknown."""
        cpu, memory = self.total("cpu_request_cores"), self.total("memory_request_bytes")
        if cpu is None or memory is None:
            return None
        return self.reserving(cpu, memory)

    def reserving(self, cpu_cores: float, memory_bytes: float) -> tuple[float, float]:
        """Returns what is reserved for a replica whose containers request so much in sum."""
        init = self.init or InitRequest()
        return max(cpu_cores, init.cpu_cores), max(memory_bytes, float(init.memory_bytes))

    def to_map(self) -> dict[str, Any]:
        """Returns the flat state map of the REST contract."""
        state: dict[str, Any] = {**_printed(self.total)}
        if self.replicas is not None:
            state["replicas"] = self.replicas
        state["containers"] = {container.name: container.to_map() for container in self.containers}
        sidecars = [container.name for container in self.containers if container.sidecar]
        if sidecars:
            state["sidecars"] = sidecars
        if self.hpa is not None:
            state["hpa"] = msgspec.to_builtins(self.hpa)
        if self.vpa_mode is not None:
            state["vpa_mode"] = self.vpa_mode
        if self.keda is not None:
            state["keda"] = self.keda
        if self.init is not None:
            state[INIT_KEY] = self.init.to_map()
        if self.basis is not Basis.DECLARED:
            state["basis"] = self.basis.value
        return state | self.extra


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """A workload as a source's inventory knows it.

    Attributes:
        service_name: the name it is asked for and reported by.
        labels, annotations: of the workload, for rules and for name resolution.
        slo, service_class: from a services file or annotations.
        calendar: the exchange whose sessions its load follows, ISO 10383 (XNYS); from a services file.
        price_book: the name of the price book to cost it by, if it names one.
        zones: names of the availability zones that it has nodes in; empty where that is not known.
        unknown_autoscalers: names of autoscalers that may be for it and of which the source does not show
            what they scale, or by what; and of several that scale it at once.
        limits: what its cluster takes of it, where that is known.
    """

    id: WorkloadId
    service_name: str
    state: WorkloadState
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    slo: Slo | None = None
    calendar: str | None = None
    service_class: ServiceClass = ServiceClass.STANDARD
    price_book: str | None = None
    zones: tuple[str, ...] = ()
    unknown_autoscalers: tuple[str, ...] = ()
    limits: ClusterLimits | None = None

    @property
    def exchange(self) -> str | None:
        """The exchange whose sessions its load follows: `calendar`, or the annotation perfopt.io/calendar."""
        return self.calendar or self.annotations.get(CALENDAR_ANNOTATION)


def _printed(read: Callable[[str], float | None]) -> dict[str, str]:
    """Prints the four quantities that `read` gives by their attribute; what is unknown is absent."""
    values = ((quantity, read(quantity.attribute)) for quantity in CONTAINER_QUANTITIES)
    return {quantity.name: quantity.print(value) for quantity, value in values if value is not None}
