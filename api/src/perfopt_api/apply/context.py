"""What the steps of an apply job begin from, and the look at the workload that each of them takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from perfopt.errors import PerfoptError
from perfopt_api.apply.cluster import FIELD_MANAGER, Cluster, PodView, WorkloadChange, WorkloadView
from perfopt_api.apply.danger import danger_of, unready
from perfopt_api.apply.fields import pods_taken_over, taken_over
from perfopt_api.apply.gates import Gates
from perfopt_api.apply.http_gates import NO_GATES, HttpGates
from perfopt_api.apply.moves import fail, go, note
from perfopt_api.apply.state import ApplyOrder, ApplyState, Progress
from perfopt_api.apply.verifier import Verifier
from perfopt_api.policy.git import NO_REPOSITORIES, GitSettings
from perfopt_api.policy.settings import PolicySettings
from perfopt_api.store.apply_port import ApplyClaim
from perfopt_api.store.port import JobError

LOOK_SECONDS = 15.0
"""From one look at the pods' series to the next, where their steps are not shorter."""


@dataclass(frozen=True, slots=True)
class ApplyTools:
    """What the steps work with.

    Attributes:
        cluster: where changes are made.
        verifier: judges them.
        gates: what must hold before.
        settings: the policy.
        look_seconds: from one look at the pods' series to the next; their status is looked at whenever it
            changes.
        hooks: other systems that are asked.
        git: repositories for verified changes.
    """

    cluster: Cluster
    verifier: Verifier
    gates: Gates
    settings: PolicySettings
    look_seconds: float = LOOK_SECONDS
    hooks: HttpGates = NO_GATES
    git: GitSettings = NO_REPOSITORIES


class StepContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a step begins from.

    Attributes:
        claim: with what people asked for meanwhile.
        order: what to do.
        state: as last stored.
        now: the present instant.
    """

    claim: ApplyClaim
    order: ApplyOrder
    state: ApplyState
    now: datetime

    @property
    def change(self) -> WorkloadChange:
        """The change of the present stage."""
        return self.order.stages[self.state.stage]


def described(context: StepContext) -> dict[str, Any]:
    """Returns a change as gates are asked about it."""
    claim, order, state = context.claim, context.order, context.state
    before = {} if state.snapshot is None else state.snapshot.fields
    return {
        "job_id": claim.job_id,
        "workload": claim.workload,
        "recommendation_ids": list(order.recommendation_ids),
        "requester": claim.requester,
        "automatic": order.automatic,
        "confidence": order.confidence,
        "before": before,
        "after": order.whole.fields(),
        "verification": "" if state.look is None else state.look.reason,
    }


def takes_over(tools: ApplyTools, context: StepContext, view: WorkloadView) -> bool:
    """Returns whether fields are taken from their owners: by force, or as policy allows for all of them."""
    paths = [path for path in context.change.fields() if path in view.fields]
    owners = {manager for path in paths for manager in view.field_managers.get(path, ())}
    others = owners - {FIELD_MANAGER}
    known = all(view.field_managers.get(path) for path in paths)
    allowed = known and bool(others) and others <= set(tools.settings.take_over_from)
    return context.order.force or allowed


class PodsLook(msgspec.Struct, frozen=True, kw_only=True):
    """What the workload shows.

    Attributes:
        state: with what the look adds to it.
        ends: what must follow at once; None where the step goes on.
    """

    view: WorkloadView
    state: ApplyState
    ends: Progress | None = None


def error_of(error: PerfoptError) -> JobError:
    """Returns what a job shows of an error."""
    return JobError(code=error.code, message=error.message, field=error.field, remedy=error.remedy)


async def look_at_pods(tools: ApplyTools, context: StepContext) -> PodsLook:
    """Reads the workload, and says what must follow where it is in danger or somebody else changed it."""
    now, order = context.now, context.order
    view = await tools.cluster.read(context.change.target)
    state = replace(context.state, unready_since=unready(view, context.state, now))
    assert state.snapshot is not None, "there is one before the first write"
    if view.uid != state.snapshot.uid:
        replaced = JobError(code="workload_replaced", message="Another of the same name took its place.")
        return PodsLook(view=view, state=state, ends=fail(state, replaced, now, manual=True))
    changed = (*taken_over(view, order, state), *pods_taken_over(view, order, state))
    if changed:
        message = f"Somebody else changed {', '.join(changed)}: that is left as it is."
        failure = JobError(code="manual_change", message=message)
        ends = fail(state, failure, now, manual=True, left_alone=changed)
        return PodsLook(view=view, state=state, ends=ends)
    if state.step == "verify" and state.revision and view.rollout.revision != state.revision:
        message = "Its pods were replaced by a rollout of somebody else, and with them what was compared."
        failure = JobError(code="released_meanwhile", message=message)
        return PodsLook(view=view, state=state, ends=fail(state, failure, now))
    patience = timedelta(seconds=tools.settings.not_ready_seconds)
    job_error = danger_of(_changed(view, state), state, now, patience)
    if job_error is None:
        return PodsLook(view=view, state=state)
    return PodsLook(view=view, state=state, ends=_raised_further(order, state, job_error, now))


def _raised_further(order: ApplyOrder, state: ApplyState, failure: JobError, now: datetime) -> Progress:
    """Goes back; a rescue that one step did not bring about takes the next step up first."""
    if not state.rescue or state.stage + 1 >= len(order.stages) or state.failure is not None:
        return fail(state, failure, now)
    entry = note(now, state.step, failure.code, f"{failure.message} It is raised further.")
    return go(state, "next_stage", now, entry, stage=state.stage + 1, template_written=False)


def _changed(view: WorkloadView, state: ApplyState) -> Sequence[PodView]:
    named = {*state.canary, *state.resized}
    newest = view.rollout.revision
    return [
        pod
        for pod in view.pods
        if pod.name in named or state.step == "verify" or (state.template_written and pod.revision == newest)
    ]
