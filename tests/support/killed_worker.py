"""Run as a script: forks a process that works on apply jobs for each line on its input; prints its pid.

Each kills itself with SIGKILL where the name of a job's workload says so, once for each workload:
`canary-before` when the step is about to begin, `canary-after` when it is done and not stored yet.
"""

import asyncio
import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from perfopt.config.kubernetes import KubernetesConfig
from perfopt_api.apply.cluster import WorkloadChange, WorkloadTarget
from perfopt_api.apply.context import ApplyTools, StepContext
from perfopt_api.apply.gates import Gates
from perfopt_api.apply.kubernetes.cluster import KubernetesCluster
from perfopt_api.apply.machine import ApplyMachine
from perfopt_api.apply.runner import ApplyRunner
from perfopt_api.apply.state import ApplyState, Progress
from perfopt_api.apply.verifier import VerificationLook
from perfopt_api.backends import open_backends
from perfopt_api.events.nats import event_stream
from perfopt_api.events.relay import Relay
from perfopt_api.logs import configure_logging
from perfopt_api.policy.facts import PolicyClock
from perfopt_api.policy.git import GitRepository, GitSettings
from perfopt_api.policy.settings import PolicySettings
from perfopt_api.settings import ServiceSettings
from perfopt_api.store.applies import PostgresApplies
from perfopt_api.store.outbox import PostgresOutbox
from perfopt_api.supervision import TaskSupervisor

_JUDGED_SECONDS = 0.5
_LOOK_SECONDS = 0.1
POLICY = PolicySettings(
    apply="manual",
    take_over_from=("kubectl",),
    exchanges=(),
    settle_minutes=0,
    max_in_flight=1000,
    max_in_flight_namespace=1000,
    max_per_hour=1000,
    max_per_hour_namespace=1000,
    breaker_failures=1000,
    ramp_minutes=0,
    observe_minutes=1 / 60,
    verify_minutes=1,
    alone_minutes=1,
    extensions=0,
    inconclusive="hold",
)


class WorkerOrder(msgspec.Struct, frozen=True):
    """What the processes work with.

    Attributes:
        settings: PostgreSQL and NATS.
        kubeconfig: of the simulated API server.
        marks: a folder with a file for each kill that was made.
        repository: that verified changes are committed to.
    """

    settings: ServiceSettings
    kubeconfig: str
    marks: str
    repository: str


class NamedVerifier:
    """Judges by the name of the workload: going back follows a failure, and being held no verdict."""

    async def look(
        self,
        change: WorkloadChange,
        canary_pods: Any,
        since: datetime,
        until: datetime,
        *,
        horizon: timedelta,
    ) -> VerificationLook:
        verdict = "passed" if until - since > timedelta(seconds=_JUDGED_SECONDS) else "inconclusive"
        if verdict == "passed" and change.target.name.startswith("rollback"):
            verdict = "failed"
        if change.target.name.startswith("held") and canary_pods:
            verdict = "inconclusive"
        return VerificationLook(verdict=verdict, reason=f"It is {verdict}.", at=until)  # type: ignore[arg-type]

    async def ready(self, target: WorkloadTarget) -> tuple[str, ...]:
        return ()

    async def memory_peaks(self, target: WorkloadTarget) -> dict[str, float]:
        return {"app": 2.0**20}

    async def throttled(self, target: WorkloadTarget) -> float:
        return 0.0

    async def error_budget(self, target: WorkloadTarget, days: float) -> None:
        return None


class KilledMachine(ApplyMachine):
    """A state machine whose process ends at the step that a workload's name says."""

    def __init__(self, tools: ApplyTools, marks: Path) -> None:
        super().__init__(tools)
        self._marks = marks

    async def step(self, context: StepContext) -> Progress:
        self._kill(context, context.state, "before")
        progress = await super().step(context)
        self._kill(context, context.state, "after")
        return progress

    def _kill(self, context: StepContext, state: ApplyState, when: str) -> None:
        name = context.change.target.name
        mark = self._marks / name
        if name == f"{state.step.replace('_', '-')}-{when}" and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)


async def work(order: WorkerOrder) -> None:
    """Works on apply jobs and publishes events until it is killed."""
    cluster = KubernetesCluster(KubernetesConfig(kubeconfig=order.kubeconfig))
    async with open_backends(order.settings, name="killed", pool_size=4) as backends:
        store, verifier = PostgresApplies(backends.database), NamedVerifier()
        gates = Gates(cluster, verifier, POLICY, store.facts, lambda now: PolicyClock(now=now))
        tools = ApplyTools(
            cluster,
            verifier,
            gates,
            POLICY,
            look_seconds=_LOOK_SECONDS,
            git=GitSettings(repositories={"deploy": GitRepository(url=order.repository)}),
        )
        stream = event_stream(order.settings.event_stream, 1)
        relay = Relay(PostgresOutbox(backends.database), backends.nats, stream)

        async def finished(_: str) -> None:
            relay.wake()

        machine = KilledMachine(tools, Path(order.marks))
        runner = ApplyRunner(
            store,
            machine,
            finished,
            lease_seconds=order.settings.lease_seconds,
            pause_seconds=0.2,
            now=lambda: datetime.now(UTC),
        )
        async with TaskSupervisor((runner, relay)).running():
            await asyncio.Event().wait()


if __name__ == "__main__":
    given = msgspec.json.decode(sys.argv[1], type=WorkerOrder)
    configure_logging(given.settings)  # on standard error: standard output is for pids
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            asyncio.run(work(given))
            os._exit(0)
        print(pid, flush=True)
