"""The step that makes a verified change durable in Git."""

from perfopt.domain.enums import OptimizationStatus
from perfopt.errors import ConflictError
from perfopt_api.apply.context import ApplyTools, StepContext, error_of
from perfopt_api.apply.git import GitError, commit_manifests
from perfopt_api.apply.holding import held_by_freeze
from perfopt_api.apply.moves import end, fail, note, stay
from perfopt_api.apply.rollback import backoff_seconds
from perfopt_api.apply.state import Progress

_ATTEMPTS = 10


async def publish(tools: ApplyTools, context: StepContext) -> Progress:
    """Commits the manifests of a change; where that fails for long, the change is taken back."""
    order, state, now = context.order.git, context.state, context.now
    assert order is not None, "only what goes to Git is published"
    repository = tools.git.repositories.get(order.repository)
    if repository is None:
        gone = ConflictError(f"The Git repository {order.repository} is no longer configured.")
        return fail(state, error_of(gone), now)
    held = await held_by_freeze(tools, context, state)
    if held is not None:
        return held
    evidence = "" if state.look is None else state.look.reason
    try:
        commit = await commit_manifests(repository, order, evidence)
    except GitError as error:
        attempts = state.attempts + 1
        if attempts >= _ATTEMPTS:
            return fail(state, error_of(error), now)
        entry = note(now, "publish", error.code, f"{error.explained} It is tried again.")
        return stay(state, backoff_seconds(attempts), *((entry,) if attempts == 1 else ()), attempts=attempts)
    entry = note(now, "publish", "committed", commit.sentence, commit.artifact())
    return end(state, OptimizationStatus.APPLIED, now, entry, verification=evidence)
