"""The cluster: the API with everything that acts on it, moved on by a clock."""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from perfopt_api.simulated.kubernetes import kinds
from perfopt_api.simulated.kubernetes.access import ADMIN
from perfopt_api.simulated.kubernetes.api import ApiServer
from perfopt_api.simulated.kubernetes.clock import Clock, ManualClock, ScaledClock
from perfopt_api.simulated.kubernetes.controllers.autoscaler import AutoscalerController
from perfopt_api.simulated.kubernetes.controllers.base import Controller, Hub, Key
from perfopt_api.simulated.kubernetes.controllers.budgets import BudgetController, QuotaController
from perfopt_api.simulated.kubernetes.controllers.cronjob import CronJobController
from perfopt_api.simulated.kubernetes.controllers.daemonset import DaemonSetController
from perfopt_api.simulated.kubernetes.controllers.deployment import DeploymentController
from perfopt_api.simulated.kubernetes.controllers.garbage import DefinitionController, GarbageCollector
from perfopt_api.simulated.kubernetes.controllers.job import JobController
from perfopt_api.simulated.kubernetes.controllers.replicaset import ReplicaSetController
from perfopt_api.simulated.kubernetes.controllers.scheduler import Scheduler
from perfopt_api.simulated.kubernetes.controllers.statefulset import StatefulSetController
from perfopt_api.simulated.kubernetes.http import Request, Response
from perfopt_api.simulated.kubernetes.kubelet import Delays, Kubelet
from perfopt_api.simulated.kubernetes.status import Json
from perfopt_api.simulated.kubernetes.storage import Change
from perfopt_api.simulated.kubernetes.workload import Workloads

_MOST_ROUNDS = 100_000


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """How the simulated cluster behaves.

    Attributes:
        nodes: name to (CPU, memory), both Kubernetes quantities.
        delays: of the kubelet.
        autoscaler_seconds: between two looks at a HorizontalPodAutoscaler.
        metrics_api: whether autoscalers see the use of pods.
        compact_seconds: after which exact lists of a version are gone.
        react_seconds: after which a controller acts on a change.
        notice_seconds: after which it acts on an object that is new.
        seed: of names, uids and noise.
    """

    nodes: dict[str, tuple[str, str]] = field(default_factory=lambda: {"node-0": ("64", "256Gi")})
    delays: Delays = field(default_factory=Delays)
    autoscaler_seconds: float = 15.0
    metrics_api: bool = True
    compact_seconds: float = 300.0
    react_seconds: float = 0.02
    notice_seconds: float = 0.05
    seed: int = 0


class SimulatedCluster:
    """One cluster. `handle` answers a request; `step` does what is due, `advance` moves a manual clock."""

    def __init__(self, clock: Clock | None = None, options: ClusterOptions | None = None) -> None:
        self.options = options or ClusterOptions()
        self.clock: Clock = clock or ScaledClock()
        self.api = ApiServer(self.clock, generator=random.Random(self.options.seed))  # noqa: S311
        self.store = self.api.store
        self.hub = Hub(self.api)
        self.workloads = Workloads(self.store, self.clock, seed=self.options.seed)
        self.kubelet = Kubelet(self.hub, self.workloads, self.options.delays)
        usage = self.workloads.cpu_cores if self.options.metrics_api else None
        self._controllers: list[Controller] = [
            DeploymentController(self.hub),
            ReplicaSetController(self.hub),
            StatefulSetController(self.hub),
            DaemonSetController(self.hub),
            JobController(self.hub),
            CronJobController(self.hub),
            AutoscalerController(self.hub, sync_seconds=self.options.autoscaler_seconds, usage=usage),
            BudgetController(self.hub),
            QuotaController(self.hub),
            GarbageCollector(self.hub),
            DefinitionController(self.hub),
            Scheduler(self.hub),
            self.kubelet,
        ]
        self._queue: list[tuple[float, int, int, Key]] = []
        self._due: dict[tuple[int, Key], float] = {}
        self._order = itertools.count()
        self._compact_at = self.clock.now() + self.options.compact_seconds
        self.store.listeners.append(self._changed)
        self._furnish()

    # -- requests ----------------------------------------------------------------------------------------

    def handle(self, request: Request) -> Response:
        """Answers a request with its own credentials."""
        return self.api.handle(request)

    def create(self, path: str, body: Json, manager: str = "kubectl") -> Json:
        """Creates an object as an administrator.

        Raises:
            ValueError: the server refused; the message is its own.
        """
        answer = self.api.handle(Request.of("POST", f"{path}?fieldManager={manager}", body=body), ADMIN)
        if answer.status != 201 or answer.body is None:
            raise ValueError(str((answer.body or {}).get("message", answer.text)))
        return answer.body

    def get(self, path: str) -> Json | None:
        """Reads an object as an administrator; None where there is none."""
        answer = self.api.handle(Request.of("GET", path), ADMIN)
        return answer.body if answer.status == 200 else None

    # -- time --------------------------------------------------------------------------------------------

    def step(self) -> None:
        """Does everything that is due."""
        now = self.clock.now()
        if now >= self._compact_at:
            self.store.compact()
            self._compact_at = now + self.options.compact_seconds
        for _ in range(_MOST_ROUNDS):
            if not self._queue or self._queue[0][0] > now:
                return
            due, _, number, key = heapq.heappop(self._queue)
            if self._due.get((number, key)) != due:
                continue  # replaced by an earlier one
            del self._due[number, key]
            again = self._controllers[number].reconcile(*key)
            if again is not None:
                self._enqueue(number, key, now + max(again, 0.001))

    def advance(self, seconds: float, *, step: float = 0.02) -> None:
        """Moves a manual clock on, doing what is due on the way.

        Raises:
            TypeError: the clock is not a manual one.
        """
        if not isinstance(self.clock, ManualClock):
            raise TypeError("only a manual clock can be moved")
        end = self.clock.now() + seconds
        while (left := end - self.clock.now()) > 1e-9:
            self.clock.advance(min(step, left))
            self.step()

    def until(self, condition: Callable[[], bool], *, seconds: float = 60.0) -> bool:
        """Moves a manual clock on until a condition holds; returns whether it came to hold."""
        waited = 0.0
        while not condition():
            if waited >= seconds:
                return False
            self.advance(0.1)
            waited += 0.1
        return True

    def _changed(self, change: Change) -> None:
        new = change.before is None
        wait = self.options.notice_seconds if new else self.options.react_seconds
        due = self.clock.now() + wait
        for number, controller in enumerate(self._controllers):
            for key in controller.keys(change):
                self._enqueue(number, key, due)

    def _enqueue(self, number: int, key: Key, due: float) -> None:
        known = self._due.get((number, key))
        if known is not None and known <= due:
            return
        self._due[number, key] = due
        heapq.heappush(self._queue, (due, next(self._order), number, key))

    def _furnish(self) -> None:
        for namespace in ("default", "kube-system"):
            self.create("/api/v1/namespaces", _named("v1", "Namespace", namespace))
        for number, (name, (cpu, memory)) in enumerate(self.options.nodes.items()):
            self.create("/api/v1/nodes", _node(name, cpu, memory, number))


def _named(api_version: str, kind: str, name: str) -> Json:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}}


def _node(name: str, cpu: str, memory: str, number: int) -> Json:
    size = {"cpu": cpu, "memory": memory, "ephemeral-storage": "1Ti", "pods": "500"}
    labels = {
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
    }
    conditions = [
        {"type": kind, "status": status, "reason": reason, "message": reason}
        for kind, status, reason in (
            ("MemoryPressure", "False", "KubeletHasSufficientMemory"),
            ("DiskPressure", "False", "KubeletHasNoDiskPressure"),
            ("PIDPressure", "False", "KubeletHasSufficientPID"),
            ("Ready", "True", "KubeletReady"),
        )
    ]
    return {
        "apiVersion": "v1",
        "kind": kinds.NODE.kind,
        "metadata": {"name": name, "labels": labels},
        "status": {
            "capacity": size,
            "allocatable": size,
            "conditions": conditions,
            "addresses": [
                {"type": "InternalIP", "address": f"192.0.2.{10 + number}"},
                {"type": "Hostname", "address": name},
            ],
            "nodeInfo": {"kubeletVersion": "v1.36.2", "containerRuntimeVersion": "containerd://0"},
        },
    }
