"""Preflight on demand, without a change: somebody asks, and a worker that reaches the cluster answers."""

from datetime import datetime
from typing import Literal, Protocol

import msgspec

from perfopt.errors import PerfoptError
from perfopt_api.apply.before import preflight
from perfopt_api.apply.context import ApplyTools, StepContext
from perfopt_api.apply.machine import REFUSED, UNAVAILABLE
from perfopt_api.apply.state import ApplyOrder, ApplyState
from perfopt_api.store.apply_port import ApplyClaim

Outcome = Literal["passed", "noted", "refused", "waits", "unknown"]
_OF_DECISION: dict[str, Outcome] = {"denied": "refused", "deferred": "waits", "approval": "waits"}


class PreflightRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Asks what stands against a change in the cluster as it is now.

    Attributes:
        order: the change.
        workload: its full name.
        requester: who would ask for it; None where nobody is signed in.
    """

    order: ApplyOrder
    workload: str
    requester: str | None = None


class PreflightFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the answer: what was looked at, and whether it stands against the change.

    Attributes:
        outcome: "refused" ends the change, "waits" holds it back until it no longer is so, "unknown" could
            not be looked at.
    """

    outcome: Outcome
    code: str
    message: str
    remedy: str | None = None


class PreflightReport(msgspec.Struct, frozen=True, kw_only=True):
    """The answer.

    Attributes:
        at: when the cluster was looked at.
    """

    at: datetime
    findings: tuple[PreflightFinding, ...]

    @property
    def passed(self) -> bool:
        """Whether a change that is asked for now begins at once."""
        return all(one.outcome in ("passed", "noted") for one in self.findings)


class PreflightPort(Protocol):
    """Has the preflight of a change run."""

    async def ask(self, request: PreflightRequest) -> PreflightReport:
        """Returns what stands against a change.

        Raises:
            UnavailableError: no worker that may change the cluster answers.
        """


async def preflight_report(tools: ApplyTools, request: PreflightRequest, now: datetime) -> PreflightReport:
    """Looks at everything that an apply job looks at before its first write, and changes nothing.

    Other systems are not asked: their answer may be a person's, about a change that was asked for.
    """
    try:
        findings = await _findings(tools, _context(request, now))
    except UNAVAILABLE as error:
        findings = (_finding("unknown", error),)
    except REFUSED as error:
        findings = (_finding("refused", error),)
    return PreflightReport(at=now, findings=findings)


async def _findings(tools: ApplyTools, context: StepContext) -> tuple[PreflightFinding, ...]:
    done = await preflight(tools, context)
    failure = done.state.failure
    if failure is not None:
        return (
            PreflightFinding(
                outcome="refused", code=failure.code, message=failure.message, remedy=failure.remedy
            ),
        )
    seen = tuple(
        PreflightFinding(
            outcome="passed" if entry.code == "passed" else "noted", code=entry.code, message=entry.message
        )
        for entry in done.entries
    )
    return (*seen, await _gates(tools, context))


async def _gates(tools: ApplyTools, context: StepContext) -> PreflightFinding:
    view = await tools.cluster.read(context.change.target)
    proposed = await tools.gates.proposed(context.claim, context.order, view)
    decision = await tools.gates.decide(proposed, context.order, view, context.now)
    if decision.outcome == "allowed":
        return PreflightFinding(outcome="passed", code="gates", message="Every gate is open.")
    return PreflightFinding(
        outcome=_OF_DECISION[decision.outcome],
        code=decision.rule,
        message=decision.reason,
        remedy=decision.remedy or None,
    )


def _finding(outcome: Outcome, error: PerfoptError) -> PreflightFinding:
    return PreflightFinding(outcome=outcome, code=error.code, message=error.message, remedy=error.remedy)


def _context(request: PreflightRequest, now: datetime) -> StepContext:
    """Returns what the first step of such a job would begin from."""
    claim = ApplyClaim(
        job_id="", owner="", order={}, state={}, workload=request.workload, created_at=now,
        requester=request.requester, started=False,
    )  # fmt: skip
    return StepContext(claim=claim, order=request.order, state=ApplyState(), now=now)
