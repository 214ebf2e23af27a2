"""A cluster in memory that is faithful to the port, with a clock of its own and faults on demand."""

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from perfopt.domain.quantity import parse_quantity
from perfopt_api.apply.cluster import (
    FIELD_MANAGER,
    ContainerSize,
    Finding,
    PodView,
    ResizeState,
    Snapshot,
    WorkloadTarget,
    WorkloadView,
)
from perfopt_api.apply.refusals import (
    ChangeRefusedError,
    ClusterUnavailableError,
    FieldConflictError,
    ResizeRefusedError,
    WorkloadGoneError,
)
from perfopt_api.apply.related import RolloutStatus, WorkloadOwners

START = datetime(2026, 11, 28, 3, tzinfo=UTC)  # a Saturday night
TEMPLATE = ("containers.", "env.")
WRITES = ("resize", "apply", "restore")


class Killed(BaseException):
    """The worker is killed here."""


@dataclass
class MemoryPod:
    """A pod; it runs with the size it was asked for some seconds later."""

    name: str
    uid: str
    revision: str
    wanted: dict[str, ContainerSize]
    actuated: dict[str, ContainerSize]
    created_at: datetime
    resized_at: datetime | None = None
    ready: bool = True
    oom_kills: int = 0
    restarts: int = 0
    waiting: dict[str, str] = field(default_factory=dict)


@dataclass
class MemoryWorkload:
    """A workload: its fields, who owns each, and its pods."""

    target: WorkloadTarget
    uid: str
    fields: dict[str, Any]
    managers: dict[str, tuple[str, ...]]
    pods: list[MemoryPod]
    revision: int = 1
    resource_version: int = 1
    owners: WorkloadOwners = field(default_factory=WorkloadOwners)
    usage: dict[str, int] = field(default_factory=dict)  # bytes by container: below it a limit kills
    rollout_at: datetime | None = None
    stuck: bool = False


class MemoryCluster:
    """Implements perfopt_api.apply.cluster.Cluster.

    Attributes:
        now: the clock; `advance` moves it, and pods and rollouts with it.
        faults: operation to what its next calls raise: before the work is done, or after where the
            operation's name ends in `!`.
        resizing: what becomes of resizes: none (they are done), deferred, infeasible or error.
        findings: what preflight gives.
        writes: every write that was done: operation and what it was of.
        calls: how many operations were begun or done.
        kill_at: at which of these the worker is killed.
    """

    def __init__(self, *, resize_seconds: float = 3.0, rollout_seconds: float = 10.0) -> None:
        self.now = START
        self.workloads: dict[str, MemoryWorkload] = {}
        self.faults: dict[str, list[BaseException]] = {}
        self.resizing = "none"
        self.findings: list[Finding] = []
        self.frozen_namespaces: dict[str, str] = {}
        self.disruptions = True
        self.calls = 0
        self.kill_at: set[int] = set()
        self.writes: list[tuple[str, object]] = []
        self._resize = timedelta(seconds=resize_seconds)
        self._rollout = timedelta(seconds=rollout_seconds)
        self._numbers = itertools.count(1)

    def add(self, name="api", *, replicas=4, namespace="prod", **sizes):
        """Adds a Deployment with one container `app`; returns its target."""
        target = WorkloadTarget(api_version="apps/v1", kind="Deployment", namespace=namespace, name=name)
        sizes = {"cpu_request": "1", "memory_request": "1Gi", "memory_limit": "1Gi"} | sizes
        fields = {f"containers.app.{key}": value for key, value in sizes.items()} | {"replicas": replicas}
        managers = dict.fromkeys(fields, ("kubectl",))
        self.workloads[target.key] = MemoryWorkload(target, self._uid(), fields, managers, [])
        workload = self.workloads[target.key]
        for _ in range(replicas):
            workload.pods.append(self._pod(workload))
        return target

    def edit(self, target, path, value, manager="kubectl"):
        """Is what somebody else does to a field."""
        self._set(self._of(target), {path: value}, manager)

    def edit_pod(self, target, name, container, **quantities):
        """Is what somebody else does to a pod's size."""
        pod = self._pod_of(self._of(target), name)
        pod.wanted = pod.wanted | {container: ContainerSize(**quantities)}
        pod.resized_at = self.now

    def recreate(self, target):
        """Replaces the workload by another of the same name."""
        self._of(target).uid = self._uid()

    def delete_pod(self, target, name):
        """Replaces a pod by a new one of the template."""
        workload = self._of(target)
        workload.pods = [pod for pod in workload.pods if pod.name != name]
        workload.pods.append(self._pod(workload))

    def advance(self, seconds):
        """Moves the clock: resizes end, rollouts go on by a pod a period, pods short of memory die."""
        self.now += timedelta(seconds=seconds)
        for workload in self.workloads.values():
            self._tick(workload)

    def _tick(self, workload):
        for pod in workload.pods:
            if (
                pod.resized_at is not None
                and self.now - pod.resized_at >= self._resize
                and self.resizing == "none"
            ):
                pod.actuated, pod.resized_at = dict(pod.wanted), None
        old = [pod for pod in workload.pods if pod.revision != str(workload.revision)]
        if old and workload.rollout_at is not None and not workload.stuck:
            passed = int((self.now - workload.rollout_at) / self._rollout)
            for pod in old[:passed]:
                workload.pods.remove(pod)
                workload.pods.append(self._pod(workload))
            workload.rollout_at += passed * self._rollout
        for pod in workload.pods:
            for container, used in workload.usage.items():
                limit = pod.actuated[container].memory_limit
                starved = limit is not None and parse_quantity(limit) < used
                if starved and pod.ready:
                    pod.oom_kills, pod.ready = pod.oom_kills + 1, False
                    pod.waiting = {container: "CrashLoopBackOff"}
                elif not starved and not pod.ready:
                    pod.ready, pod.waiting = True, {}

    async def read(self, target):
        """See Cluster.read."""
        self._fault("read")
        workload = self._of(target)
        self._tick(workload)
        newest = str(workload.revision)
        updated = sum(pod.revision == newest for pod in workload.pods)
        complete = updated == len(workload.pods)
        state = "complete" if complete else "deadline_exceeded" if workload.stuck else "progressing"
        return WorkloadView(
            target=target,
            uid=workload.uid,
            resource_version=str(workload.resource_version),
            generation=workload.resource_version,
            fields=dict(workload.fields),
            field_managers=dict(workload.managers),
            owners=workload.owners,
            rollout=RolloutStatus(
                state=state,
                revision=newest,
                desired=len(workload.pods),
                updated=updated,
                ready=sum(pod.ready for pod in workload.pods),
            ),
            pods=tuple(self._view(pod) for pod in workload.pods),
            read_at=self.now,
        )

    def _view(self, pod):
        waits = pod.resized_at is not None
        pending = "in_progress" if self.resizing == "none" else self.resizing
        return PodView(
            name=pod.name,
            uid=pod.uid,
            revision=pod.revision,
            created_at=pod.created_at,
            ready=pod.ready,
            restarts=pod.restarts,
            oom_kills=pod.oom_kills,
            waiting=dict(pod.waiting),
            wanted=dict(pod.wanted),
            actuated=dict(pod.actuated),
            resize=ResizeState(state=pending if waits else "none"),
        )

    async def preflight(self, change, *, force=False):
        """See Cluster.preflight."""
        self._fault("preflight")
        taken = {} if force else self._foreign(change)
        conflict = Finding(code="field_conflict", message=f"{', '.join(taken)} belong to others.")
        return (*self.findings, *([conflict] if taken else ()))

    async def snapshot(self, change):
        """See Cluster.snapshot."""
        self._fault("snapshot")
        workload = self._of(change.target)
        paths = change.fields()
        return Snapshot(
            target=change.target,
            uid=workload.uid,
            taken_at=self.now,
            fields={path: workload.fields.get(path) for path in paths},
            field_managers={path: workload.managers.get(path, ()) for path in paths},
            pods={pod.name: dict(pod.wanted) for pod in workload.pods},
        )

    async def resize(self, target, pod, containers):
        """See Cluster.resize."""
        self._fault("resize")
        workload = self._of(target)
        found = self._pod_of(workload, pod)
        wanted = {name: _merged(size, containers.get(name)) for name, size in found.wanted.items()}
        if wanted != found.wanted:
            found.wanted, found.resized_at = wanted, self.now
            self.writes.append(("resize", pod))
        self._fault("resize!")

    async def apply(self, change, *, force=False):
        """See Cluster.apply."""
        self._fault("apply")
        workload = self._of(change.target)
        fields, taken = _written(change), self._foreign(change)
        if taken and not force:
            managers = sorted(set(taken.values()))
            raise FieldConflictError(
                f"{', '.join(taken)} are owned by {', '.join(managers)}.",
                managers=managers,
                fields=list(taken),
            )
        self._set(workload, fields, FIELD_MANAGER)
        self.writes.append(("apply", change))
        self._fault("apply!")

    def _foreign(self, change):
        """Returns the fields that a change would take from another manager, and from whom."""
        workload = self._of(change.target)
        return {
            path: manager
            for path, value in _written(change).items()
            for manager in workload.managers.get(path, ())
            if manager != FIELD_MANAGER and workload.fields.get(path) != value
        }

    async def restore(self, snapshot, *, only=None):
        """See Cluster.restore."""
        self._fault("restore")
        workload = self._of(snapshot.target)
        paths = snapshot.fields if only is None else only
        for path in paths:
            managers = snapshot.field_managers.get(path) or ("kubectl",)
            self._set(workload, {path: snapshot.fields[path]}, managers[0])
        self.writes.append(("restore", tuple(paths)))
        self._fault("restore!")

    async def replace_broken(self, target):
        """See Cluster.replace_broken: a Deployment needs none."""

    async def watch(self, target):
        """See Cluster.watch: the present state, once."""
        yield await self.read(target)

    async def evict_dry_run(self, target, pod):
        """See Cluster.evict_dry_run."""
        self._fault("evict_dry_run")
        self._pod_of(self._of(target), pod)
        return self.disruptions

    async def frozen(self, namespace):
        """See Cluster.frozen."""
        return self.frozen_namespaces.get(namespace)

    def commands(self, change, pod=None):
        """See Cluster.commands."""
        return (f"kubectl patch {change.target.name}" if pod is None else f"kubectl patch pod {pod}",)

    def _set(self, workload, fields, manager):
        before = dict(workload.fields)
        for path, value in fields.items():
            if value is None:
                workload.fields.pop(path, None)
                workload.managers.pop(path, None)
            else:
                workload.fields[path] = value
                workload.managers[path] = (manager,)
        if workload.fields == before:
            return
        workload.resource_version += 1
        if {p: v for p, v in before.items() if p.startswith(TEMPLATE)} != _template(workload):
            workload.revision += 1
            workload.rollout_at = self.now

    def _pod(self, workload):
        sizes = {}
        for path, value in _template(workload).items():
            if path.startswith("containers."):
                _, container, quantity = path.split(".")
                sizes.setdefault(container, {})[quantity] = value
        sizes = {name: ContainerSize(**quantities) for name, quantities in sizes.items()}
        number = next(self._numbers)
        return MemoryPod(
            name=f"{workload.target.name}-{number}",
            uid=f"pod-{number}",
            revision=str(workload.revision),
            wanted=sizes,
            actuated=dict(sizes),
            created_at=self.now,
        )

    def _uid(self):
        return f"uid-{next(self._numbers)}"

    def _of(self, target):
        if target.key not in self.workloads:
            raise WorkloadGoneError(f"There is no {target.key}.")
        return self.workloads[target.key]

    def _pod_of(self, workload, name):
        found = next((pod for pod in workload.pods if pod.name == name), None)
        if found is None:
            raise WorkloadGoneError(f"There is no pod {name}.")
        return found

    def _fault(self, operation):
        self.calls += 1
        if self.calls in self.kill_at:
            raise Killed
        for name in (operation, "any!" if operation.endswith("!") else "any"):
            if self.faults.get(name):
                raise self.faults[name].pop(0)


def _merged(size, wanted):
    if wanted is None:
        return size
    values = {name: getattr(wanted, name) or getattr(size, name) for name in size.__struct_fields__}
    return ContainerSize(**values)


def _written(change):
    """Returns the fields that a change writes to the workload: of a transient one none of the template."""
    fields = change.fields()
    if change.durability == "transient":
        return {path: value for path, value in fields.items() if not path.startswith(TEMPLATE)}
    return fields


def _template(workload):
    return {path: value for path, value in workload.fields.items() if path.startswith(TEMPLATE)}


def unavailable():
    """Returns the error of an API that did not answer."""
    return ClusterUnavailableError("The Kubernetes API did not answer.")


def refused():
    """Returns the error of a server that refuses a change."""
    return ChangeRefusedError("The server refuses it.")


def not_in_place(rollout=True):
    """Returns the error of a pod that cannot be resized in place."""
    return ResizeRefusedError("Pod QOS Class may not change as a result of resizing.", rollout=rollout)
