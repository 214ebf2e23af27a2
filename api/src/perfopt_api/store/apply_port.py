"""The port of what applies recommendations: its jobs, locks, timeline, approvals, freezes and audit."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

import msgspec

from perfopt.domain.enums import OptimizationStatus, OptimizationType
from perfopt.errors import ConflictError
from perfopt_api.store.port import CreatedJob, JobError

EVERYTHING = "*"
"""The scope of a freeze that holds everywhere."""
Wish = Literal["cancel", "rollback"]


class ApplyInProgressError(ConflictError):
    """A job applies the recommendation already. HTTP 409."""

    code = "apply_in_progress"


class NewApply(msgspec.Struct, frozen=True, kw_only=True):
    """A job to apply recommendations of one workload.

    Attributes:
        parent_job_id: the analysis that made them.
        order: what to do, as only the state machine reads it.
        state: where it begins, likewise.
        workload: key of the lock.
        durability: `template`, `transient` or `git`.
        automatic: nobody asked for it but the policy.
    """

    parent_job_id: str
    service_name: str
    optimization_types: tuple[OptimizationType, ...]
    recommendation_ids: tuple[str, ...]
    order: dict[str, Any]
    state: dict[str, Any]
    step: str
    workload: str
    namespace: str
    cluster: str = ""
    strategy: str = ""
    strategy_version: str = ""
    durability: str = "template"
    automatic: bool = False
    requester: str | None = None
    reason: str | None = None


class ApplyClaim(msgspec.Struct, frozen=True, kw_only=True):
    """An apply job that this owner works on until the lease runs out.

    Attributes:
        order, state: as NewApply has them; the state as last saved.
        recommendation_ids: what it applies.
        started: whether it was counted as a started change.
        approvals: who approved it.
        wish, wished_by, wish_reason: what a person asked for meanwhile.
    """

    job_id: str
    owner: str
    order: dict[str, Any]
    state: dict[str, Any]
    workload: str
    created_at: datetime
    requester: str | None
    started: bool
    approvals: tuple[str, ...] = ()
    wish: Wish | None = None
    wished_by: str | None = None
    wish_reason: str | None = None


class TimelineEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a job's timeline.

    Attributes:
        at: when.
        step: of the state machine.
        code: what happened, for programs.
        message: for people, one sentence.
        data: figures behind it.
        commands: kubectl commands that do the same by hand.
        id: grows with time; 0 before it is stored.
    """

    at: datetime
    step: str
    code: str
    message: str
    data: dict[str, Any] = {}
    commands: tuple[str, ...] = ()
    id: int = 0


class Freeze(msgspec.Struct, frozen=True, kw_only=True):
    """No new change begins within a scope, one that has begun is held, and rollbacks go on.

    Attributes:
        scope: `*`, `[cluster/]namespace`, or `[cluster/]namespace/kind/name`.
        reason: why.
        principal: who froze it.
        at: when.
    """

    scope: str
    reason: str
    principal: str | None = None
    at: datetime | None = None


class PastApply(msgspec.Struct, frozen=True, kw_only=True):
    """A change that was started.

    Attributes:
        status: of its job.
        ended_at: None while it runs.
        failure_code: why it failed or was rolled back, such as `verification_failed`; None where it was not.
    """

    job_id: str
    workload: str
    cluster: str
    namespace: str
    strategy: str
    strategy_version: str
    status: OptimizationStatus
    started_at: datetime
    ended_at: datetime | None
    failure_code: str | None = None


class ApplyFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What policy decides by, beside the change itself.

    Attributes:
        past: changes that run, or were started within the last two weeks, newest first.
        freezes: all there are.
        demoted: strategies that are only advice, `strategy/version/service class`.
    """

    past: tuple[PastApply, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    demoted: frozenset[str] = frozenset()


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Who did what, when, why, before and after.

    Attributes:
        principal: name of a token's holder; None is nobody known, or the service itself.
        action: such as apply, approve, freeze, applied, rolled_back.
        subject: a workload or a scope.
        id: grows with time; 0 before it is stored.
    """

    action: str
    subject: str
    principal: str | None = None
    job_id: str | None = None
    reason: str | None = None
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    at: datetime | None = None
    id: int = 0


class ApplyEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How an apply job ends.

    Attributes:
        status: APPLIED, FAILED or ROLLED_BACK.
        error: why, where it is not APPLIED.
        verification: what the verification showed, in one sentence.
        changes: by path, what is in the cluster now.
        before: by path, what was there before.
        left_alone: paths that somebody else changed meanwhile.
    """

    status: OptimizationStatus
    error: JobError | None = None
    verification: str = ""
    changes: dict[str, Any] = {}
    before: dict[str, Any] = {}
    left_alone: tuple[str, ...] = ()


class AppliedWorkload(msgspec.Struct, frozen=True, kw_only=True):
    """A change that is in force: its job is APPLIED."""

    job_id: str
    workload: str
    order: dict[str, Any]
    state: dict[str, Any]


class ApplyRequests(Protocol):
    """What the API needs of apply jobs. Every method raises UnavailableError while PostgreSQL is away."""

    async def create_apply(
        self,
        new: NewApply,
        *,
        idempotency_key: str | None = None,
        body_hash: str | None = None,
    ) -> CreatedJob:
        """Stores a job in status APPLYING, with its audit entry; enqueueing it is the caller's next step.

        Raises:
            ApplyInProgressError: an unfinished job applies one of the recommendations.
            ConflictError: the key was used with another body.
        """

    async def facts(self) -> ApplyFacts:
        """Returns what policy decides by."""

    async def unapplied_analyses(self) -> tuple[str, ...]:
        """Returns analyses of the last hours that asked for `auto_apply`, ended, and were not noted yet."""

    async def note_auto_applied(self, job_id: str, applied: Sequence[str]) -> None:
        """Notes that an analysis with `auto_apply` was looked at, and which jobs came of it."""

    async def ask(self, job_id: str, wish: Wish, *, principal: str | None, reason: str | None) -> None:
        """Has a job cancelled or rolled back. An APPLIED one is APPLYING again until it is ROLLED_BACK.

        Raises:
            NotFoundError: there is no such apply job.
            ConflictError: it has ended otherwise, or is no longer in force.
        """

    async def approve(self, job_id: str, *, principal: str, reason: str | None) -> None:
        """Records an approval.

        Raises:
            NotFoundError: there is no such apply job.
            ConflictError: it has ended, or the principal asked for it.
        """

    async def restore(self, scope: str, *, principal: str | None, reason: str | None) -> tuple[str, ...]:
        """Has every change within a scope rolled back that is in force or under way; returns the jobs."""

    async def record(self, entry: AuditEntry) -> None:
        """Adds an entry to the audit."""

    async def set_freeze(self, freeze: Freeze) -> None:
        """Freezes a scope; what was there of the same scope is replaced."""

    async def lift_freeze(self, scope: str, *, principal: str | None, reason: str | None) -> bool:
        """Lifts the freeze of exactly this scope; returns whether there was one."""

    async def timeline(self, job_id: str, *, after: int = 0) -> tuple[TimelineEntry, ...] | None:
        """Returns the entries with a higher id, oldest first; None where there is no such apply job."""

    async def audit_log(
        self, *, subject: str | None = None, since: datetime | None = None, after: int = 0, limit: int = 500
    ) -> tuple[AuditEntry, ...]:
        """Returns audit entries with a higher id, oldest first, of one subject and from an instant on."""


class ApplyWork(Protocol):
    """What the worker needs of apply jobs. Every method raises UnavailableError while PostgreSQL is away."""

    async def claim_apply(self, *, owner: str, lease: timedelta) -> ApplyClaim | None:
        """Takes the lease of the next due apply job and the lock of its workload; None where none is due.

        Rollbacks go before changes; of several rollbacks of a workload the newest change goes first. A
        workload that another job has locked is passed over.
        """

    async def extend_apply(self, claim: ApplyClaim, lease: timedelta) -> ApplyClaim | None:
        """Holds the lease for longer; returns the claim with new wishes, None where it is lost."""

    async def save_apply(
        self,
        claim: ApplyClaim,
        *,
        step: str,
        state: dict[str, Any],
        snapshot: dict[str, Any] | None = None,
        entries: Sequence[TimelineEntry] = (),
    ) -> bool:
        """Stores where a job stands; False where the lease is lost. A snapshot of None leaves that alone."""

    async def start_apply(self, claim: ApplyClaim, permit: Callable[[ApplyFacts], bool]) -> bool:
        """Counts the change as started, where `permit` allows it by all that was started before.

        No two calls see the same counts. A change that was counted before stays counted once.
        """

    async def release_apply(self, claim: ApplyClaim, *, due_at: datetime, unlock: bool) -> None:
        """Gives the lease back until an instant; `unlock` lets other jobs have the workload meanwhile."""

    async def finish_apply(
        self,
        claim: ApplyClaim,
        end: ApplyEnd,
        entries: Sequence[TimelineEntry] = (),
        *,
        state: dict[str, Any] | None = None,
    ) -> bool:
        """Ends a job with its events, audit entry and lock in one transaction; False where the lease is lost.

        A state of None leaves the stored one. Where somebody asked for a rollback or a cancel that the claim
        does not know, nothing ends as APPLIED: it is False, and the job is due at once.

        APPLIED makes its recommendations applied, and earlier ones of the same workload and types no longer;
        anything else makes its recommendations not applied, and those again whose place they had taken.
        """

    async def facts(self) -> ApplyFacts:
        """Returns what policy decides by."""

    async def in_force(self, *, durability: str | None = None) -> tuple[AppliedWorkload, ...]:
        """Returns the changes that are in force, oldest first."""

    async def note_overridden(self, applied: AppliedWorkload, entry: TimelineEntry) -> None:
        """Makes the recommendations of a change no longer applied: somebody changed the workload since."""
