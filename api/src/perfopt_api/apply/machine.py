"""The state machine of an apply job: one call is one step, and one step changes the cluster once at most.

What a step is about to do is in the state that the step before it gave, and that state is stored first. A
step that was cut off is therefore done again: it reads the cluster, which tells whether it was done.
"""

from collections.abc import Awaitable, Callable, Mapping

from msgspec.structs import replace

from perfopt.errors import NoDataError, PerfoptError, SourceError
from perfopt_api.apply.before import dry_run, next_stage, pass_gates, preflight, snapshot
from perfopt_api.apply.changing import canary, rest
from perfopt_api.apply.context import ApplyTools, StepContext, error_of
from perfopt_api.apply.judging import compare_all, observe, verify
from perfopt_api.apply.moves import fail, go, note, stay
from perfopt_api.apply.publish import publish
from perfopt_api.apply.recovery import recover
from perfopt_api.apply.refusals import (
    ChangeRefusedError,
    ClusterUnavailableError,
    FieldConflictError,
    ReadRefusedError,
    WorkloadGoneError,
)
from perfopt_api.apply.rescue import order_in
from perfopt_api.apply.rollback import backoff_seconds, roll_back
from perfopt_api.apply.runs import judge_runs
from perfopt_api.apply.state import Progress, Step
from perfopt_api.policy.facts import ProposedChange
from perfopt_api.store.port import JobError


async def _verify(tools: ApplyTools, context: StepContext) -> Progress:
    if context.change.target.runs:
        return await verify(tools, context, judge_runs)
    return await verify(tools, context, recover if context.state.rescue else compare_all)


_STEPS: Mapping[Step, Callable[[ApplyTools, StepContext], Awaitable[Progress]]] = {
    "preflight": preflight,
    "snapshot": snapshot,
    "gates": pass_gates,
    "dry_run": dry_run,
    "next_stage": next_stage,
    "canary": canary,
    "observe": observe,
    "held": observe,
    "rest": rest,
    "verify": _verify,
    "publish": publish,
}
REFUSED = (WorkloadGoneError, ChangeRefusedError, FieldConflictError)
UNAVAILABLE = (ClusterUnavailableError, SourceError, NoDataError)


class ApplyMachine:
    """Takes apply jobs through their steps.

    Args:
        tools: what the steps work with.
    """

    def __init__(self, tools: ApplyTools) -> None:
        self.tools = tools

    async def step(self, context: StepContext) -> Progress:
        """Does the next step; what a cluster or a metric source raises becomes a part of the job's course."""
        context = replace(context, order=order_in(context.order, context.state))
        wished = _by_wish(context)
        if wished is not None:
            return wished
        state, now = context.state, context.now
        if state.step == "rollback":
            return await roll_back(self.tools.cluster, context.order, state, self.tools.settings, now)
        try:
            return await _STEPS[state.step](self.tools, context)
        except UNAVAILABLE as error:
            return _later(context, error)
        except ReadRefusedError as error:  # shows nothing of a change that was made
            return _later(context, error) if state.written else fail(state, error_of(error), now)
        except REFUSED as error:
            return fail(state, error_of(error), now)

    async def proposed(self, context: StepContext) -> ProposedChange:
        """Returns the change as policy sees it by the workload as it is; see Gates.permit."""
        view = await self.tools.cluster.read(context.change.target)
        return await self.tools.gates.proposed(context.claim, context.order, view)


def _later(context: StepContext, error: PerfoptError) -> Progress:
    attempts = context.state.attempts + 1
    message = f"{error.explained} It is tried again."
    noted = (note(context.now, context.state.step, error.code, message),) if attempts == 1 else ()
    return stay(context.state, backoff_seconds(attempts), *noted, attempts=attempts)


def _by_wish(context: StepContext) -> Progress | None:
    """Returns what follows from what a person asked for; None where nobody did, or it is done already."""
    claim, state, now = context.claim, context.state, context.now
    if claim.wish is None or state.step == "rollback":
        return None
    who = claim.wished_by or "Somebody"
    reason = f": {claim.wish_reason}" if claim.wish_reason else "."
    if state.step == "ended":  # an applied change that is to be taken back
        wish = JobError(code="rollback_requested", message=f"{who} asked to roll it back{reason}")
        again = replace(state, failure=wish, manual=False, left_alone=(), restored=False)
        return go(again, "rollback", now, note(now, "rollback", wish.code, wish.message))
    code = "cancelled" if claim.wish == "cancel" else "rollback_requested"
    what = "cancel it" if claim.wish == "cancel" else "roll it back"
    return fail(state, JobError(code=code, message=f"{who} asked to {what}{reason}"), now)
