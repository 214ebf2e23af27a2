"""The port between the apply state machine and a cluster: what is read, what is changed, and how it fails.

Fields of a workload are named by flat paths, the same in a change, a view and a snapshot:

- `containers.<container>.<cpu_request | memory_request | cpu_limit | memory_limit>`: Kubernetes quantities
- `env.<container>.<NAME>`: the text of an environment variable
- `replicas`: of the workload's own spec
- `hpa.min_replicas`, `hpa.max_replicas`, `hpa.metrics`, `hpa.behavior`: of the HorizontalPodAutoscaler
- `keda`: the spec of the ScaledObject
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Protocol

import msgspec

from perfopt_api.apply.related import DisruptionBudget, RolloutStatus, WorkloadOwners

FIELD_MANAGER = "perfopt"
"""The manager of server-side apply under which every field of ours is owned."""
FREEZE_ANNOTATION = "perfopt.io/freeze"
"""On a namespace: its value is the reason; no new change is made in it."""
FREEZE_CONFIG_MAP = "perfopt-freeze"
"""In the service's own namespace: keys are namespaces (`_all` for every one), values are reasons."""
QUANTITIES = ("cpu_request", "memory_request", "cpu_limit", "memory_limit")

SINGLE_REPLICA = "single_replica"
"""Code of the finding that a change ends the only pod before another is ready."""

Durability = Literal["template", "transient"]


class WorkloadTarget(msgspec.Struct, frozen=True, kw_only=True):
    """A workload as Kubernetes addresses it.

    Attributes:
        api_version: such as apps/v1; empty of a custom kind that is found by its name.
        kind: such as Deployment.
        namespace: never empty.
        name: of the object.
        cluster: its name in the configuration; empty where there is one.
    """

    api_version: str
    kind: str
    namespace: str
    name: str
    cluster: str = ""

    @property
    def key(self) -> str:
        """What locks and counters are kept by: `[cluster/]namespace/kind/name`, kind in lower case."""
        return "/".join(part for part in (self.cluster, self.namespace, self.kind.lower(), self.name) if part)

    @property
    def runs(self) -> bool:
        """Whether its pods come and go with its runs."""
        return self.kind == "CronJob"

    @property
    def scalable(self) -> bool:
        """Whether the kind has a number of replicas that a user sets."""
        return self.kind not in ("DaemonSet", "CronJob")


class ContainerSize(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Requests and limits of a container as Kubernetes quantities; None is unset; in a change, left alone."""

    cpu_request: str | None = None
    memory_request: str | None = None
    cpu_limit: str | None = None
    memory_limit: str | None = None

    def quantities(self) -> dict[str, str]:
        """Returns what is set, by name."""
        return {name: value for name in QUANTITIES if (value := getattr(self, name)) is not None}


class AutoscalerChange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What of a HorizontalPodAutoscaler changes; None leaves alone.

    Attributes:
        name: of the object; None is the one that targets the workload, or else the workload's name.
        metrics: the whole list of `spec.metrics` (autoscaling/v2); Kubernetes knows no change of a part.
        behavior: `spec.behavior`.
    """

    name: str | None = None
    min_replicas: int | None = None
    max_replicas: int | None = None
    metrics: tuple[dict[str, Any], ...] | None = None
    behavior: dict[str, Any] | None = None

    def fields(self) -> dict[str, Any]:
        """Returns the paths that change with their new values."""
        values = {
            "hpa.min_replicas": self.min_replicas,
            "hpa.max_replicas": self.max_replicas,
            "hpa.metrics": None if self.metrics is None else list(self.metrics),
            "hpa.behavior": self.behavior,
        }
        return {path: value for path, value in values.items() if value is not None}


class WorkloadChange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One change of one workload, complete: nothing that it does not name is touched.

    Attributes:
        target: the workload.
        containers: new sizes by container; native sidecars count, init containers do not.
        removed: paths of quantities that are removed, such as `containers.app.cpu_limit`.
        env: runtime knobs by container: a variable and its text.
        replicas: of the spec; only where no autoscaler owns them.
        autoscaler: what of the HPA changes, together with the sizes as one change.
        keda: the whole spec of the ScaledObject.
        durability: `template` changes the workload's template; `transient` resizes pods and leaves it alone.
    """

    target: WorkloadTarget
    containers: dict[str, ContainerSize] = {}
    removed: tuple[str, ...] = ()
    env: dict[str, dict[str, str]] = {}
    replicas: int | None = None
    autoscaler: AutoscalerChange | None = None
    keda: dict[str, Any] | None = None
    durability: Durability = "template"

    def fields(self) -> dict[str, Any]:
        """Returns every path that the change sets with its new value; None is removed."""
        fields: dict[str, Any] = {
            f"containers.{container}.{name}": value
            for container, size in self.containers.items()
            for name, value in size.quantities().items()
        }
        fields |= dict.fromkeys(self.removed)
        fields |= {
            f"env.{container}.{name}": text
            for container, knobs in self.env.items()
            for name, text in knobs.items()
        }
        if self.replicas is not None:
            fields["replicas"] = self.replicas
        if self.autoscaler is not None:
            fields |= self.autoscaler.fields()
        if self.keda is not None:
            fields["keda"] = self.keda
        return fields

    @property
    def resizable(self) -> bool:
        """Whether pods can be brought to it one by one by `pods/resize`: sizes only, nothing removed."""
        return bool(self.containers) and not self.removed and not self.env


class ResizeState(msgspec.Struct, frozen=True, kw_only=True):
    """Where the resize of a pod stands.

    Attributes:
        state: none (as asked for, or never asked), in_progress, deferred (waits for room on the node),
            infeasible (never fits the node), error (the kubelet failed and tries again).
        message: of the condition.
        since: when the condition began.
    """

    state: Literal["none", "in_progress", "deferred", "infeasible", "error"] = "none"
    message: str = ""
    since: datetime | None = None


class PodView(msgspec.Struct, frozen=True, kw_only=True):
    """A pod as its status shows it, not as its spec asks.

    Attributes:
        name, uid: of the pod.
        node: empty while it is not scheduled.
        revision: of the template it was made from (ReplicaSet or ControllerRevision).
        created_at, started_at: of the pod; started is None before its first container runs.
        ready: its Ready condition.
        ready_since: when that became true; None while it is not.
        deleting: it has a deletion timestamp.
        restarts: over all containers.
        oom_kills: terminations by OOMKilled that its status shows, over all containers.
        waiting: by container, the reason that it waits (CrashLoopBackOff, ImagePullBackOff, ...).
        wanted: sizes in the spec, by container.
        actuated: sizes that run (`status.containerStatuses[].resources`), by container; empty where the node
            does not report them.
        resize: of the pod.
        restarting: by container, the resources (cpu, memory) whose resizePolicy restarts the container.
        phase: of the pod.
    """

    name: str
    uid: str
    node: str = ""
    revision: str = ""
    created_at: datetime | None = None
    started_at: datetime | None = None
    ready: bool = False
    ready_since: datetime | None = None
    deleting: bool = False
    restarts: int = 0
    oom_kills: int = 0
    waiting: dict[str, str] = {}
    wanted: dict[str, ContainerSize] = {}
    actuated: dict[str, ContainerSize] = {}
    resize: ResizeState = ResizeState()
    restarting: dict[str, tuple[str, ...]] = {}
    phase: str = "Running"


class JobRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a CronJob.

    Attributes:
        name: of its Job.
        created_at: of the Job.
        sizes: by container, as its pods have them.
        state: running, succeeded or failed.
        reason: why it failed.
        oom_kills: terminations by OOMKilled that its pods' statuses show.
        seconds: how long it took; None until it has succeeded.
    """

    name: str
    created_at: datetime
    sizes: dict[str, ContainerSize] = {}
    state: Literal["running", "succeeded", "failed"] = "running"
    reason: str = ""
    oom_kills: int = 0
    seconds: float | None = None


class WorkloadView(msgspec.Struct, frozen=True, kw_only=True):
    """A workload as it is in the cluster at one reading.

    Attributes:
        target: the workload.
        uid: of the object; another uid is another object of the same name.
        resource_version: of the object.
        generation: of the object; an annotation alone may raise it.
        fields: by path, every value that a change can set and that is set now.
        field_managers: by path, the managers that own the field.
        owners: what else changes the workload.
        budgets: PodDisruptionBudgets of its pods.
        rollout: of its template.
        pods: not those that have ended; of a CronJob none.
        runs: of a CronJob, the newest first.
        next_run_at: of a CronJob; None where it is suspended or its schedule is not understood.
        suspended: a CronJob that does not run.
        read_at: when it was read.
    """

    target: WorkloadTarget
    uid: str
    resource_version: str
    generation: int
    fields: dict[str, Any] = {}
    field_managers: dict[str, tuple[str, ...]] = {}
    owners: WorkloadOwners = WorkloadOwners()
    budgets: tuple[DisruptionBudget, ...] = ()
    rollout: RolloutStatus = RolloutStatus()
    pods: tuple[PodView, ...] = ()
    runs: tuple[JobRun, ...] = ()
    next_run_at: datetime | None = None
    suspended: bool = False
    read_at: datetime

    def pod(self, name: str) -> PodView | None:
        """Returns a pod by name; None where it is gone."""
        return next((pod for pod in self.pods if pod.name == name), None)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that preflight found.

    Attributes:
        code: such as permission_missing, quota_exceeded, limit_range, node_capacity, node_pressure,
            qos_class, disruption_budget, static_cpu, dry_run_refused, field_conflict, argo_cd_owned,
            flux_owned, resize_unsupported.
        message: one sentence with figures and names.
        blocking: whether the change must not be made; else it is for the record.
        remedy: what to do about it.
    """

    code: str
    message: str
    blocking: bool = True
    remedy: str | None = None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What a change is about to overwrite: enough to go back, field by field. It is stored as JSON.

    Attributes:
        target: the workload.
        uid: of the object then.
        taken_at: when.
        fields: by path of the change, the value before; None was unset.
        field_managers: by path, who owned it.
        pods: by pod, the sizes it ran with, by container.
        extra: what the executor needs besides, such as an HPA that was not there (its own keys).
    """

    target: WorkloadTarget
    uid: str
    taken_at: datetime
    fields: dict[str, Any] = {}
    field_managers: dict[str, tuple[str, ...]] = {}
    pods: dict[str, dict[str, ContainerSize]] = {}
    extra: dict[str, Any] = {}


class Cluster(Protocol):
    """A cluster that changes are made in. Every write may be repeated: the same write twice is one.

    Every operation raises ClusterUnavailableError where the API does not answer within its deadline, and
    WorkloadGoneError where the object is not there.
    """

    async def read(self, target: WorkloadTarget) -> WorkloadView:
        """Reads the workload, what owns it, and its pods, past any cache."""

    async def preflight(self, change: WorkloadChange, *, force: bool = False) -> Sequence[Finding]:
        """Looks for what stands against a change, with a server-side dry run; changes nothing.

        With `force`, fields of other managers and GitOps are for the record. Increases that do not fit, or
        for which nodes cannot be read, are blocking; decreases are not.
        """

    async def snapshot(self, change: WorkloadChange) -> Snapshot:
        """Records what the change would overwrite."""

    async def resize(self, target: WorkloadTarget, pod: str, containers: Mapping[str, ContainerSize]) -> None:
        """Asks for new sizes of a running pod by `pods/resize`; whether they came is in the pod's view.

        Raises:
            ResizeRefusedError: the pod cannot get that size in place.
        """

    async def apply(self, change: WorkloadChange, *, force: bool = False) -> None:
        """Sets every field of a change by server-side apply as FIELD_MANAGER, autoscaler and KEDA included.

        A `transient` change has its sizes and variables left out: they are for `resize`.

        Raises:
            FieldConflictError: another manager owns a field, and `force` is not set.
            ChangeRefusedError: the server refuses it.
        """

    async def restore(self, snapshot: Snapshot, *, only: Collection[str] | None = None) -> None:
        """Sets the fields of a snapshot to what they were, removes those that were unset, gives up ownership.

        A StatefulSet's broken pods, which going back does not replace, are deleted one at a time. Pods that
        were resized are not touched: the caller resizes them.

        Args:
            snapshot: of before the change.
            only: the paths to restore; None is all of them.

        Raises:
            ChangeRefusedError: the server refuses it.
        """

    async def replace_broken(self, target: WorkloadTarget) -> None:
        """Deletes one pod of a StatefulSet that is not ready and of an older template: it would stay so.

        Other kinds replace such pods themselves.
        """

    def watch(self, target: WorkloadTarget) -> AsyncIterator[WorkloadView]:
        """Gives the workload now and after each change of it or its pods, until the caller stops.

        It survives expired versions and lost connections by listing again.
        """

    async def evict_dry_run(self, target: WorkloadTarget, pod: str) -> bool:
        """Returns whether an eviction of the pod would be allowed now, by every budget."""

    async def frozen(self, namespace: str) -> str | None:
        """Returns why FREEZE_ANNOTATION or FREEZE_CONFIG_MAP freeze a namespace; None where they do not."""

    def commands(self, change: WorkloadChange, pod: str | None = None) -> Sequence[str]:
        """Returns the kubectl commands that do the same by hand: of the change, or of one pod's resize."""
