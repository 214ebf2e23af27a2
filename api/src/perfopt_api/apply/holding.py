"""Holds a change that has begun where it is while a freeze stands; going back does not come through here."""

from datetime import timedelta

from msgspec.structs import replace

from perfopt_api.apply.context import ApplyTools, StepContext
from perfopt_api.apply.judging import harmed_meanwhile
from perfopt_api.apply.moves import note, stay
from perfopt_api.apply.state import ApplyState, Progress


async def held_by_freeze(tools: ApplyTools, context: StepContext, state: ApplyState) -> Progress | None:
    """Returns what follows just before a write where it is frozen, or was until now; None lets it be written.

    A canary is watched meanwhile. The time limits of the step count from when the freeze was lifted.
    """
    now, step = context.now, state.step
    freeze = await tools.gates.freeze(context.change.target, context.claim.workload, now)
    if freeze is None and not state.waiting:
        return None
    if freeze is None:
        lifted = note(now, step, "resumed", f"{state.waiting} was lifted: it goes on.")
        resumed = replace(state, waiting="", since=now, attempts=0)
        return Progress(state=resumed, entries=(lifted,), wait=timedelta(0))
    harmed = await harmed_meanwhile(tools, context, state)
    if harmed is not None:
        return harmed
    message = f"{freeze.sentence} Until then it is held where it is."
    entries = () if state.waiting == freeze.rule else (note(now, step, freeze.outcome, message),)
    return stay(state, tools.look_seconds, *entries, waiting=freeze.rule)
