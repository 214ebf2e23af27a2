"""Takes an apply job through the state machine as the runner does, in the time of a cluster in memory."""

from datetime import timedelta
from typing import Any

import msgspec
from memory_cluster import Killed

from perfopt.errors import NoDataError
from perfopt_api.apply.cluster import ContainerSize, Durability, WorkloadChange, WorkloadTarget
from perfopt_api.apply.context import ApplyTools, StepContext
from perfopt_api.apply.gates import Gates
from perfopt_api.apply.http_gates import NO_GATES
from perfopt_api.apply.machine import ApplyMachine
from perfopt_api.apply.state import ApplyOrder, ApplyState
from perfopt_api.apply.verifier import VerificationLook
from perfopt_api.policy.facts import PolicyClock
from perfopt_api.policy.git import NO_REPOSITORIES
from perfopt_api.policy.settings import PolicySettings
from perfopt_api.store.apply_port import ApplyClaim, ApplyFacts

MAX_STEPS = 2000
OLD = {"containers.app.cpu_request": "1", "containers.app.memory_request": "1Gi"}
NEW = {"containers.app.cpu_request": "600m", "containers.app.memory_request": "700Mi"}


class ScriptedVerifier:
    """Implements perfopt_api.apply.verifier.Verifier by what a test says.

    Attributes:
        after: seconds from the change to the verdict; before, it is inconclusive.
        verdict: then.
        missing: series that are not there.
        peaks: memory in use, in bytes.
        errors: raised by the next looks.
        horizons: that looks were asked for.
        throttled_share: of the CPU periods of its pods, or the error that says why it is not known.
        budget: what is left of the error budget, or the error that says why that is not known.
    """

    def __init__(self, *, after=60.0, verdict="passed"):
        self.after = after
        self.verdict = verdict
        self.missing = []
        self.peaks = {"app": 100 * 2**20}
        self.errors = []
        self.budget = None
        self.throttled_share: float | NoDataError = 0.0
        self.looks = 0
        self.horizons = set()

    async def look(self, change, canary_pods, since, until, *, horizon):
        self.looks += 1
        self.horizons.add(horizon)
        if self.errors:
            raise self.errors.pop(0)
        decided = until - since >= timedelta(seconds=self.after)
        verdict = self.verdict if decided else "inconclusive"
        return VerificationLook(verdict=verdict, reason=f"It is {verdict}.", at=until)

    async def ready(self, target):
        return self.missing

    async def memory_peaks(self, target):
        return self.peaks

    async def throttled(self, target):
        if isinstance(self.throttled_share, NoDataError):
            raise self.throttled_share
        return self.throttled_share

    async def error_budget(self, target, days):
        if isinstance(self.budget, Exception):
            raise self.budget
        return self.budget


class ApplyRun:
    """One job: its order, what is stored of it, and what a worker that is killed loses.

    Attributes:
        state: as last stored.
        status: None until it has ended.
        codes: of its timeline.
    """

    def __init__(
        self,
        cluster,
        order,
        verifier=None,
        settings=None,
        facts=None,
        hooks=NO_GATES,
        git=NO_REPOSITORIES,
        **claim,
    ):
        self.cluster = cluster
        self.verifier = verifier or ScriptedVerifier()
        self.settings = settings or PolicySettings(apply="auto", exchanges=(), take_over_from=("kubectl",))
        self.facts = facts or ApplyFacts()
        self.order_is_transient = order.whole.durability == "transient"
        self.order = msgspec.json.encode(order)
        self.state = msgspec.json.encode(ApplyState())
        self.claim = {"wish": None, "requester": "ann"} | claim
        self.status = None
        self.codes = []
        self.entries = []
        self.waits = []

        async def known():
            return self.facts

        gates = Gates(cluster, self.verifier, self.settings, known, lambda now: PolicyClock(now=now))
        tools = ApplyTools(cluster, self.verifier, gates, self.settings, hooks=hooks, git=git)
        self.machine = ApplyMachine(tools)

    @property
    def now_at(self):
        """The state as last stored."""
        return msgspec.json.decode(self.state, type=ApplyState)

    async def once(self):
        """Does one step and stores what it gave; a kill stores nothing."""
        claim = ApplyClaim(
            job_id="job",
            owner="me",
            order={},
            state={},
            workload="w",
            created_at=self.cluster.now,
            started=False,
            **self.claim,
        )
        order = msgspec.json.decode(self.order, type=ApplyOrder)
        context = StepContext(claim=claim, order=order, state=self.now_at, now=self.cluster.now)
        progress = await self.machine.step(context)
        self.state = msgspec.json.encode(progress.state)
        self.entries += progress.entries
        self.codes += [entry.code for entry in progress.entries]
        self.status = progress.status
        return progress

    async def finish(self, *, before_each=None, max_steps=MAX_STEPS):
        """Steps until the job has ended; a killed worker's job goes on from what was stored."""
        for number in range(max_steps):
            if before_each is not None:
                before_each(number)
            try:
                progress = await self.once()
            except Killed:
                continue
            if progress.status is not None:
                return progress.status
            if progress.release_until is not None:
                self.waits.append(progress.release_until)
                self.cluster.advance(max(1.0, (progress.release_until - self.cluster.now).total_seconds()))
            elif progress.wait is not None:
                self.cluster.advance(progress.wait.total_seconds())
        raise AssertionError(f"not ended after {max_steps} steps: {self.now_at.step}, {self.codes[-5:]}")


def change_of(
    target: WorkloadTarget, *, durability: Durability = "template", **sizes: str | None
) -> WorkloadChange:
    """Returns a change of the container `app`."""
    size = ContainerSize(**({"cpu_request": "600m", "memory_request": "700Mi"} | sizes))
    return WorkloadChange(target=target, containers={"app": size}, durability=durability)


def order_of(*stages: WorkloadChange, **fields: Any) -> ApplyOrder:
    """Returns an order of the stages."""
    return ApplyOrder(stages=stages, strategy="resource", strategy_version="1", **fields)


def sizes(cluster, target):
    """Returns what the template of a workload has in the place of OLD."""
    fields = cluster.workloads[target.key].fields
    return {path: fields.get(path) for path in OLD}


def pod_sizes(cluster, target):
    """Returns the CPU requests that the pods of a workload are to have, and have."""
    pods = cluster.workloads[target.key].pods
    return {(pod.wanted["app"].cpu_request, pod.actuated["app"].cpu_request) for pod in pods}
