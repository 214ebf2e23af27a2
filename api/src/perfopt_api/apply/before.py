"""The steps before anything is changed: preflight, snapshot, gates, dry run."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from perfopt_api.apply.canary import choose_canary
from perfopt_api.apply.cluster import SINGLE_REPLICA, Finding, WorkloadView
from perfopt_api.apply.context import ApplyTools, StepContext, described, takes_over
from perfopt_api.apply.danger import baseline_of
from perfopt_api.apply.fields import differing
from perfopt_api.apply.moves import fail, go, note
from perfopt_api.apply.rescue import lowered_by, raising, unready_pods
from perfopt_api.apply.state import ApplyOrder, ApplyState, Progress
from perfopt_api.policy.decide import deferred
from perfopt_api.policy.facts import ProposedChange
from perfopt_api.store.apply_port import TimelineEntry
from perfopt_api.store.port import JobError

_LOOK_AGAIN = timedelta(minutes=5)
_ASK_AGAIN = timedelta(minutes=1)
_LONGEST_WAIT = timedelta(minutes=15)
_AS_EXPORT = "Apply it in Git: mode export gives the manifests, durability git commits them."


async def preflight(tools: ApplyTools, context: StepContext) -> Progress:
    """Refuses what is outdated, moved, owned by somebody else, or refused by the cluster."""
    state, order, now = context.state, context.order, context.now
    view = await tools.cluster.read(order.whole.target)
    problem = _expired(context) or _moved(view, order) or _owned(view, order)
    if problem is not None:
        return fail(state, problem, now)
    findings = await tools.cluster.preflight(context.change, force=takes_over(tools, context, view))
    blocking = [finding for finding in findings if finding.blocking]
    if blocking:
        message = " ".join(finding.message for finding in blocking)
        refused = JobError(code=blocking[0].code, message=message, remedy=blocking[0].remedy)
        return fail(state, refused, now)
    denied = None if unready_pods(view) else _interruption(tools, order, findings)
    if denied is not None:
        return fail(state, denied, now)
    if state.waiting:  # noted when it began to wait
        return go(state, "snapshot", now)
    notes = [note(now, "preflight", "left_out", text) for text in order.notes]
    notes += [note(now, "preflight", finding.code, finding.message) for finding in findings]
    return go(state, "snapshot", now, *notes, note(now, "preflight", "passed", "Preflight passed."))


def _interruption(tools: ApplyTools, order: ApplyOrder, findings: Sequence[Finding]) -> JobError | None:
    """Refuses to end the only pod before another is ready, where policy does not allow it."""
    found = next((each for each in findings if each.code == SINGLE_REPLICA), None)
    allowed = tools.settings.restart_single_replica
    if found is None or allowed == "always" or (allowed == "on_request" and not order.automatic):
        return None
    message = f"policy.restart_single_replica is {allowed}: {found.message}"
    return JobError(code="denied_by_policy", message=message, remedy=found.remedy)


def _expired(context: StepContext) -> JobError | None:
    until = context.order.valid_until
    if until is None or until > context.now or context.order.force:
        return None
    return JobError(code="expired", message="The recommendation is no longer valid.", remedy="Analyse again.")


def _moved(view: WorkloadView, order: ApplyOrder) -> JobError | None:
    moved = {} if order.force else differing(view, order.expected)
    if not moved:
        return None
    current_values = ", ".join(f"{path} is {value}" for path, value in moved.items())
    message = f"The workload is no longer what the recommendation was made for: {current_values}."
    return JobError(code="state_moved", message=message, remedy="Analyse again.")


def _owned(view: WorkloadView, order: ApplyOrder) -> JobError | None:
    owners, change = view.owners, order.whole
    in_template = change.durability == "template" and bool(change.containers or change.env or change.removed)
    git = owners.argo_cd or owners.flux
    if git is not None and (in_template or change.replicas is not None) and not order.force:
        name = f"Argo CD ({git})" if owners.argo_cd else f"Flux ({git})"
        return JobError(
            code="argo_cd_owned" if owners.argo_cd else "flux_owned",
            message=f"{name} owns the workload and would undo the change.",
            remedy=f"{_AS_EXPORT} Or apply it transiently, which resizes pods only.",
        )
    scaler = owners.hpa or owners.keda
    if scaler is not None and change.replicas is not None:
        return JobError(
            code="autoscaler_owned",
            message=f"{scaler} sets the replicas.",
            remedy="Change the autoscaler's bounds instead.",
        )
    if owners.vpa is not None and owners.vpa_mode != "Off" and change.containers:
        return JobError(
            code="vpa_owned",
            message=f"The VerticalPodAutoscaler {owners.vpa} sets the requests (mode {owners.vpa_mode}).",
            remedy="Set its mode to Off first.",
        )
    if change.durability == "transient" and (change.env or change.removed):
        return JobError(
            code="transient_impossible",
            message="Variables and removed limits need new pods, which a transient change does not make.",
            remedy="Apply it with durability template, or commit it with mode export and durability git.",
        )
    return None


async def snapshot(tools: ApplyTools, context: StepContext) -> Progress:
    """Records what the change overwrites."""
    taken = await tools.cluster.snapshot(context.order.whole)
    entry = note(context.now, "snapshot", "taken", "What the change overwrites was recorded.", taken.fields)
    entries = () if context.state.waiting else (entry,)
    return go(context.state, "gates", context.now, *entries, snapshot=taken)


async def pass_gates(tools: ApplyTools, context: StepContext) -> Progress:
    """Goes on where policy and gates allow it, waits where they defer it, and ends where they deny it."""
    state, now = context.state, context.now
    expired = _expired(context)
    if expired is not None:
        return fail(state, expired, now)
    view = await tools.cluster.read(context.change.target)
    proposed = await tools.gates.proposed(context.claim, context.order, view)
    decision = await tools.gates.decide(proposed, context.order, view, now)
    if decision.outcome == "allowed":
        rescued = raising(context.order, view.fields) if proposed.rescue else None
        asked = replace(context, order=rescued or context.order)
        closed = await tools.hooks.closed("confirm", described(asked))
        decision = decision if closed is None else deferred(closed.rule, closed.reason, now + _ASK_AGAIN)
    if decision.outcome == "allowed":
        entry = note(now, "gates", "passed", "Every gate is open.")
        entries = (_rescue_note(tools, context, view, proposed), entry) if proposed.rescue else (entry,)
        return replace(go(state, "dry_run", now, *entries, rescue=proposed.rescue), start=True)
    if decision.outcome == "denied":
        message = f"{decision.rule}: {decision.reason}"
        refused = JobError(code="denied_by_policy", message=message, remedy=decision.remedy or None)
        return fail(state, refused, now)
    entry = note(now, "gates", decision.outcome, decision.sentence)
    known = state.waiting == decision.rule
    # When it is asked again, everything is looked at anew, the workload included.
    waiting = replace(state, step="preflight", since=now, attempts=0, waiting=decision.rule)
    # Policy may be changed meanwhile, as its remedy says: nothing is put off for longer than a while.
    until = min(decision.until or now + _LOOK_AGAIN, now + _LONGEST_WAIT)
    return Progress(state=waiting, entries=() if known else (entry,), release_until=until)


def _rescue_note(
    tools: ApplyTools, context: StepContext, view: WorkloadView, proposed: ProposedChange
) -> TimelineEntry:
    """Returns the risk that is taken: what is passed over, and what is not seen."""
    over = tools.gates.passed_over(proposed, context.now)
    left = lowered_by(context.order, view.fields)
    parts = (
        f"No pod serves, of {len(view.pods)}: what raises is applied.",
        f"policy.rescue_anytime passes over {', '.join(over)}." if over else "",
        f"Not applied, as it does not raise: {', '.join(left)}." if left else "",
        "The risk: no series were there just before, so only that pods get ready and stay so will show"
        " whether it helps.",
    )
    return note(context.now, "gates", "rescue", " ".join(part for part in parts if part))


async def dry_run(tools: ApplyTools, context: StepContext) -> Progress:
    """Looks once more, just before the first write; the state it gives says that one is begun."""
    state, now = context.state, context.now
    assert state.snapshot is not None, "gates follow the snapshot"
    view = await tools.cluster.read(context.change.target)
    moved = differing(view, state.snapshot.fields)
    if moved or view.uid != state.snapshot.uid:
        message = f"The workload was changed meanwhile: {', '.join(moved) or 'it was replaced'}."
        return fail(state, JobError(code="state_moved", message=message, remedy="Analyse again."), now)
    refused = [
        finding
        for finding in await tools.cluster.preflight(context.change, force=takes_over(tools, context, view))
        if finding.blocking
    ]
    if refused:
        return fail(state, JobError(code=refused[0].code, message=refused[0].message), now)
    closed = await tools.hooks.closed("pre", described(context))
    if closed is not None:
        return fail(state, JobError(code="gate_closed", message=f"{closed.rule}: {closed.reason}"), now)
    commands = tools.cluster.commands(context.change)
    entry = note(now, "dry_run", "passed", "The server accepts the change.", commands=commands)
    return begin_stage(tools, context, replace(state, written=True, waiting=""), view, entry)


async def next_stage(tools: ApplyTools, context: StepContext) -> Progress:
    """Begins the next step of a change that is made in several."""
    view = await tools.cluster.read(context.change.target)
    return begin_stage(tools, context, context.state, view)


def begin_stage(
    tools: ApplyTools, context: StepContext, state: ApplyState, view: WorkloadView, *entries: TimelineEntry
) -> Progress:
    """Chooses the canary of a stage, or goes on to all pods where there is none."""
    change, now = context.order.stages[state.stage], context.now
    fresh: dict[str, Any] = {
        "canary": (),
        "asking": "",
        "template_written": False,
        "observed_since": None,
        "deadline": None,
        "extensions": 0,
        "revision": "",
        "unready_since": {},
        "baselines": {pod.name: baseline_of(pod) for pod in view.pods},
    }
    pods = () if state.rescue else choose_canary(view, context.order, change, tools.settings)
    names = tuple(pod.name for pod in pods)
    if not names:
        entry = note(now, "canary", "skipped", "There is no canary: all pods are changed, then verified.")
        return go(state, "rest", now, *entries, entry, **fresh)
    entry = note(now, "canary", "chosen", f"Changed first: {', '.join(names)}.")
    return go(state, "canary", now, *entries, entry, **fresh | {"canary": names})
