"""What must hold before anything is changed: policy, sight of the pods, and a workload at rest."""

import math
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from perfopt.domain.quantity import format_memory
from perfopt.errors import NoDataError, SourceError
from perfopt_api.apply.cluster import Cluster, WorkloadTarget, WorkloadView
from perfopt_api.apply.fields import same_value
from perfopt_api.apply.order import proposed_change
from perfopt_api.apply.rescue import crashed, raising, unready_pods
from perfopt_api.apply.state import ApplyOrder
from perfopt_api.apply.verifier import Verifier
from perfopt_api.policy.decide import decide, deferred, denied, freeze_decision, passed_over
from perfopt_api.policy.facts import ALLOWED, Decision, PolicyClock, ProposedChange
from perfopt_api.policy.settings import PolicySettings
from perfopt_api.policy.sizes import lowered_memory
from perfopt_api.store.apply_port import ApplyClaim, ApplyFacts

_LOOK_AGAIN = timedelta(minutes=2)
_MIB = 2**20
_BUDGET_AGAIN = timedelta(hours=1)
_STARVED = 0.8  # of the CPU periods: a pod that is not ready and throttled so much is down by it

Facts = Callable[[], Awaitable[ApplyFacts]]
Clock = Callable[[datetime], PolicyClock]


class Gates:
    """Looks at everything that must hold before a change begins.

    Args:
        cluster: where it is made.
        verifier: what will judge it.
        settings: the policy.
        facts: what was changed before, and what is frozen.
        clock: gives what policy knows of an instant.
    """

    def __init__(
        self, cluster: Cluster, verifier: Verifier, settings: PolicySettings, facts: Facts, clock: Clock
    ) -> None:
        self._cluster = cluster
        self._verifier = verifier
        self._settings = settings
        self._facts = facts
        self._clock = clock

    async def proposed(self, claim: ApplyClaim, order: ApplyOrder, view: WorkloadView) -> ProposedChange:
        """Returns the change as policy sees it, by the workload as it is.

        Where no pod serves, for want of memory or CPU, that is what of it raises: see `rescue`.
        """
        target = order.whole.target
        raised = raising(order, view.fields)
        rescue = raised is not None and await self._down(view)
        return proposed_change(
            raised if rescue and raised is not None else order,
            before=view.fields,
            job_id=claim.job_id,
            rescue=rescue,
            requester=claim.requester,
            approvals=claim.approvals,
            frozen=await self._cluster.frozen(target.namespace),
        )

    async def decide(
        self, proposed: ProposedChange, order: ApplyOrder, view: WorkloadView, now: datetime
    ) -> Decision:
        """Returns whether the change may begin, by all but the counts, which `permit` looks at again."""
        decision = decide(proposed, await self._facts(), self._settings, self._clock(now))
        if decision.outcome != "allowed":
            return decision
        if proposed.rescue:  # there are no series of pods that are down: the verification waits for them
            return ALLOWED
        unsettled = self._unsettled(view, now)
        if unsettled is not None:
            return unsettled
        if order.whole.target.runs:
            return self._no_runs(view, now) or await self._memory(proposed, order) or ALLOWED
        missing = await self._verifier.ready(order.whole.target)
        if missing:
            reason = f"The verification would not see {', '.join(missing)}."
            return deferred("verification.series", reason, now + _LOOK_AGAIN)
        spent = await self._budget(order.whole.target, now)
        return spent or await self._memory(proposed, order) or ALLOWED

    def passed_over(self, proposed: ProposedChange, now: datetime) -> tuple[str, ...]:
        """Returns the rules of time that a rescue does not wait for."""
        return passed_over(proposed, self._settings, self._clock(now))

    async def _down(self, view: WorkloadView) -> bool:
        """Returns whether no pod serves, each killed for its memory, crashing, or starved of CPU."""
        pods = unready_pods(view)
        if not pods or all(crashed(pod) for pod in pods):
            return bool(pods)
        try:
            return await self._verifier.throttled(view.target) >= _STARVED
        except (NoDataError, SourceError):
            return False

    async def freeze(self, target: WorkloadTarget, workload: str, now: datetime) -> Decision | None:
        """Returns what holds back the next write of a change that has begun; None where nothing does."""
        by_cluster = await self._cluster.frozen(target.namespace)
        return freeze_decision(workload, by_cluster, (await self._facts()).freezes, now)

    def permit(self, proposed: ProposedChange, now: datetime) -> Callable[[ApplyFacts], bool]:
        """Returns what decides by the counts, asked while nobody else can begin a change."""

        def allowed(facts: ApplyFacts) -> bool:
            return decide(proposed, facts, self._settings, self._clock(now)).outcome == "allowed"

        return allowed

    def _unsettled(self, view: WorkloadView, now: datetime) -> Decision | None:
        if view.rollout.state != "complete":
            reason = f"A rollout is under way: {view.rollout.message or view.rollout.state}."
            return deferred("gates.rollout", reason, now + _LOOK_AGAIN)
        settled = timedelta(minutes=self._settings.settle_minutes)
        began = view.rollout.began_at
        if began is not None and now - began < settled:
            minutes = self._settings.settle_minutes
            return deferred(
                "policy.settle_minutes",
                f"Its last rollout is less than {minutes:g} min ago.",
                began + settled,
            )
        waiting = [pod.name for pod in view.pods if not pod.ready]
        if waiting:
            reason = f"{len(waiting)} pod(s) are not ready: {', '.join(waiting[:3])}."
            return deferred("gates.pods_not_ready", reason, now + _LOOK_AGAIN)
        return None

    def _no_runs(self, view: WorkloadView, now: datetime) -> Decision | None:
        if not view.suspended:
            return None
        return deferred("gates.suspended", "It is suspended: no run would verify it.", now + _LOOK_AGAIN)

    async def _budget(self, target: WorkloadTarget, now: datetime) -> Decision | None:
        """A service that has used up its error budget is left alone, but for its rescue."""
        floor, days = self._settings.error_budget_left, self._settings.error_budget_days
        if not floor:
            return None
        rule, again = "policy.error_budget_left", now + _BUDGET_AGAIN
        try:
            budget = await self._verifier.error_budget(target, days)
        except NoDataError as error:
            return deferred(rule, error.message, again)
        if budget is None or budget.left >= floor:
            return None
        reason = (
            f"{max(budget.left, 0):.0%} of the error budget of {days:g} days is left, and {floor:.0%} must"
            f" be: {budget.bad:,.0f} of {budget.requests:,.0f} requests failed or were too slow"
            f" ({budget.objective})."
        )
        return deferred(rule, reason, again)

    async def _memory(self, proposed: ProposedChange, order: ApplyOrder) -> Decision | None:
        """Memory is lowered only above the peak read just now, and with a heap only together with it."""
        lowered = lowered_memory(proposed.before, proposed.after)
        if not lowered:
            return None
        peaks = await self._verifier.memory_peaks(order.whole.target)
        for container, size in lowered.items():
            peak = peaks.get(container)
            if peak is None:
                return denied("gates.memory_peak", f"The memory that {container} uses now is not known.")
            floor = peak * (1 + self._settings.memory_margin)
            if size < floor:
                return denied(
                    "gates.memory_peak",
                    f"{container} used {_in_mib(peak)} at its peak; with the margin it needs"
                    f" {_in_mib(floor)}, and would get {format_memory(size)}.",
                )
            if container in order.heap_containers and not _heap_moves(proposed, order, container):
                return denied(
                    "gates.heap",
                    f"{container} has a heap of its own, which the lower limit would not change.",
                )
        return None


def _in_mib(size_bytes: float) -> str:
    return format_memory(math.ceil(size_bytes / _MIB) * _MIB)


def _heap_moves(proposed: ProposedChange, order: ApplyOrder, container: str) -> bool:
    knobs = order.whole.env.get(container, {})
    return any(
        not same_value(f"env.{container}.{name}", text, proposed.before.get(f"env.{container}.{name}"))
        for name, text in knobs.items()
    )
