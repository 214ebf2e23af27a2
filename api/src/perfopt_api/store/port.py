"""The ports of the store: what the API and the worker need of it, without any SQL."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from enum import Enum, IntEnum, StrEnum
from typing import Any, Protocol, cast

import msgspec

from perfopt.domain.accuracy import ReplayedAccuracy
from perfopt.domain.enums import DeclineCode, OptimizationStatus, OptimizationType
from perfopt.domain.job import OptimizationJob, SourceUsage
from perfopt.domain.recommendation import AnalysisResult, OptimizationRecommendation, Plan
from perfopt.domain.request import FleetAnalysisRequest, PerformanceAnalysisRequest

DEFAULT_LIMIT = 50
MAX_LIMIT = 500
MAX_COUNTED = 1000
"""Rows up to which a listing is counted: a count of a million takes seconds."""
DID_NOT_RUN = frozenset({DeclineCode.NO_STRATEGY, DeclineCode.STRATEGY_FAILED})
"""Declined because no strategy ran: nothing is known that speaks against an older recommendation."""


class JobClass(IntEnum):
    """In which order jobs are claimed: changes of a cluster, what somebody waits for, the rest."""

    APPLY = 0
    INTERACTIVE = 1
    FLEET = 2


ALL_CLASSES = frozenset(JobClass)


class JobKind(StrEnum):
    """What a worker does with a job: analyse one workload, divide a fleet, or analyse a batch of it."""

    SINGLE = "single"
    FLEET = "fleet"
    BATCH = "batch"


class CreatedJob(msgspec.Struct, frozen=True, kw_only=True):
    """What a request to create a job gave.

    Attributes:
        replayed: the same request came before under the same Idempotency-Key; `job` is that one.
    """

    job: OptimizationJob
    replayed: bool


class JobPage[Item](msgspec.Struct, frozen=True, kw_only=True):
    """One page of a listing, newest first.

    Attributes:
        next_cursor: opaque; give it back to get the next page. None on the last one.
        total: how many there are on all pages, up to MAX_COUNTED.
    """

    items: tuple[Item, ...]
    next_cursor: str | None
    total: int


class JobStore(Protocol):
    """What the API needs. Every method raises UnavailableError while PostgreSQL is not reachable."""

    async def create_job(
        self,
        request: PerformanceAnalysisRequest | FleetAnalysisRequest,
        *,
        idempotency_key: str | None = None,
        body_hash: str | None = None,
        requester: str | None = None,
    ) -> CreatedJob:
        """Stores a job in status ANALYZING; enqueueing it is the caller's next step.

        Where an equal request is not finished yet, its job is returned, in the higher of the two classes.

        Args:
            request: what to analyse.
            idempotency_key: of the requester; kept for a day.
            body_hash: of the request's body; required with a key.
            requester: who asks; keys of two requesters never meet.

        Raises:
            ConflictError: the key was used with another body.
            QuotaExceededError: the requester has too many unfinished jobs.
        """

    async def get_job(self, job_id: str) -> OptimizationJob | None:
        """Returns the job with its recommendations by rank, or None.

        That of a fleet has its progress and its newest recommendations, DEFAULT_LIMIT at most.
        """

    async def cancel_analysis(self, job_id: str) -> bool:
        """Ends an unfinished analysis as FAILED, with all batches of a fleet; False where it has ended.

        Raises:
            NotFoundError: there is no such job.
        """

    async def list_jobs(
        self,
        *,
        service_name: str | None = None,
        status: OptimizationStatus | None = None,
        namespaces: Collection[str] | None = None,
        fleet_id: str | None = None,
        cursor: str | None = None,
        limit: int = DEFAULT_LIMIT,
    ) -> JobPage[OptimizationJob]:
        """Lists jobs, newest first, without predictions; `_` and `-` are alike in service_name.

        With namespaces only those of workloads in them.
        Analyses of a fleet's workloads are listed by `fleet_id` or `service_name` only.

        Raises:
            InvalidInputError: malformed cursor, or a limit outside 1 to MAX_LIMIT.
        """

    async def get_recommendation(
        self, recommendation_id: str
    ) -> tuple[OptimizationRecommendation, str] | None:
        """Returns a recommendation and the id of the job that made it, or None."""

    async def list_recommendations(
        self,
        *,
        service_name: str | None = None,
        optimization_type: OptimizationType | None = None,
        job_id: str | None = None,
        include_superseded: bool = False,
        include_expired: bool = False,
        namespaces: Collection[str] | None = None,
        cursor: str | None = None,
        limit: int = DEFAULT_LIMIT,
    ) -> JobPage[OptimizationRecommendation]:
        """Lists recommendations, newest first, without predictions: those in force, or all there were.

        Args:
            service_name: only of this service; `_` and `-` are alike.
            optimization_type: only of this type.
            job_id: only of this job, or of this fleet.
            include_superseded: superseded, withdrawn and expired ones too.
            include_expired: those too that would be in force but for their validity.
            namespaces: only of workloads in these.
            cursor: where the page begins.
            limit: length of a page.

        A service name with slashes is that of a file's series, or a workload's full name, whose cluster and
        kind may be left out.

        Raises:
            InvalidInputError: malformed cursor, or a limit outside 1 to MAX_LIMIT.
        """

    async def plans(self) -> tuple[tuple[str, Plan], ...]:
        """Returns workload and plan of each job that has recommendations in force, newest first."""

    async def source_of(self, recommendation_id: str) -> str | None:
        """Returns the metric source that a recommendation was made from; None is the default one."""

    async def accuracy(
        self, *, service_name: str | None = None, optimization_type: OptimizationType | None = None
    ) -> tuple[ReplayedAccuracy, ...]:
        """Adds up the evidence of the current recommendations, one summary a type that has any."""


class FleetBatch(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch of a fleet analyses, as its row holds it.

    Attributes:
        request: the fleet's.
        end: of the period, the same for all batches.
        workloads: full names, in the order of the inventory.
    """

    request: FleetAnalysisRequest
    end: datetime
    workloads: tuple[str, ...]


type JobRequest = PerformanceAnalysisRequest | FleetAnalysisRequest | FleetBatch
_REQUESTS: dict[JobKind, type[msgspec.Struct]] = {
    JobKind.SINGLE: PerformanceAnalysisRequest,
    JobKind.FLEET: FleetAnalysisRequest,
    JobKind.BATCH: FleetBatch,
}


class JobClaim(msgspec.Struct, frozen=True, kw_only=True):
    """A job that this owner may work on until the lease runs out.

    Attributes:
        body: the request as it is stored; another version may have written it.
        owner: the token of this claim; no two claims share one.
        attempt: 1 at the first.
        lost: how often a worker that had it was lost.
        job_class: by what it was claimed.
        waited_seconds: since it was asked for.
        traceparent: of the request's trace.
        kind: what is done with it.
        fleet_id: of a batch, the fleet's job.
    """

    job_id: str
    body: dict[str, Any]
    owner: str
    attempt: int
    lost: int = 0
    job_class: JobClass = JobClass.INTERACTIVE
    waited_seconds: float = 0.0
    traceparent: str | None = None
    kind: JobKind = JobKind.SINGLE
    fleet_id: str | None = None

    @property
    def request(self) -> JobRequest:
        """The request, by kind; raises msgspec.ValidationError where this version cannot read it."""
        return cast("JobRequest", msgspec.convert(self.body, _REQUESTS[self.kind]))


class FinishResult(Enum):
    """What became of an attempt to finish a job."""

    DONE = "done"
    ALREADY = "already"
    LEASE_LOST = "lease_lost"


class JobError(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a job FAILED, as REST shows it in `error`."""

    code: str
    message: str
    field: str | None = None
    remedy: str | None = None
    candidates: tuple[str, ...] = ()


def why_not_again(attempt: int, lost: int, max_attempts: int, max_lost: int) -> JobError | None:
    """Returns why a job is not worked on once more; None where it is.

    Args:
        attempt: which attempt it would be; the first is 1.
        lost: workers that were lost with the job.
        max_attempts: attempts in all.
        max_lost: workers that may be lost.
    """
    if lost >= max_lost:
        return JobError(
            code="workers_lost",
            message=f"{lost} workers that analysed it ended, perhaps killed for lack of memory.",
            remedy="Ask for a shorter period, or give the workers more memory.",
        )
    if attempt > max_attempts:
        return JobError(
            code="attempts_exhausted",
            message=f"The analysis was started {attempt - 1} times and no worker finished it.",
            remedy="Look at the worker's log for why it stopped, then ask again.",
        )
    return None


class WorkStore(Protocol):
    """What the worker needs. Every method raises UnavailableError while PostgreSQL is not reachable."""

    async def claim(
        self, *, owner: str, lease: timedelta, classes: Collection[JobClass] = ALL_CLASSES
    ) -> JobClaim | None:
        """Takes the lease of the next ANALYZING job that nobody holds, and counts the attempt.

        The next is of the highest class; then of the namespace with the fewest jobs that are worked on; then
        the oldest.

        Args:
            owner: a token of this claim alone.
            lease: how long it is held.
            classes: only jobs of these are taken.
        """

    async def extend(self, claim: JobClaim, lease: timedelta) -> bool:
        """Holds the lease for longer; False when it is no longer this claim's."""

    async def release(self, claim: JobClaim, *, retry_in: timedelta, count_attempt: bool) -> None:
        """Gives the lease back, so that the job may be claimed again; no-op when it is no longer held."""

    async def survived(self, claim: JobClaim) -> None:
        """Notes that the worker of a lost lease is alive: late or cut off, and not ended by the job."""

    async def finish_job(self, claim: JobClaim, result: AnalysisResult) -> FinishResult:
        """Stores what an analysis gave, with its events, in one transaction. Idempotent by job id."""

    async def fail_job(
        self, claim: JobClaim, error: JobError, result: AnalysisResult | None = None
    ) -> FinishResult:
        """Ends a job as FAILED; warnings and declined of the result are kept. Idempotent by job id."""

    async def take_stranded(
        self, *, older_than: timedelta, max_attempts: int, max_lost: int, limit: int
    ) -> tuple[str, ...]:
        """Finds jobs whose lease ran out or whose message may be lost, and marks them as queued now.

        Those whose attempts are exhausted, or that lost too many workers, become FAILED and are not returned.
        """

    async def forget_expired(self) -> int:
        """Deletes idempotency keys past their time; returns how many."""


class FleetStore(Protocol):
    """What the worker needs for fleets. Every method raises UnavailableError while PostgreSQL is away."""

    async def divide(self, claim: JobClaim, batches: Sequence[FleetBatch]) -> tuple[str, ...]:
        """Replaces the work of a claimed fleet, or batch of one, by batches.

        Returns:
            Their ids; none where the claim no longer holds.
        """

    async def samples_read(self, fleet_id: str) -> int:
        """Returns how many samples the finished batches of a fleet read."""

    async def stored_analyses(self, job_ids: Collection[str]) -> frozenset[str]:
        """Returns which of these jobs there are."""

    async def finish_workload(
        self, claim: JobClaim, job_id: str, name: str, result: AnalysisResult | None, error: JobError | None
    ) -> bool:
        """Stores the analysis of one workload of a claimed batch as a job of its own. Idempotent by job id.

        What is in force stays so where the result changes nothing worth a change.

        Args:
            claim: of the batch.
            job_id: of the workload's job.
            name: of the workload.
            result: of the analysis; None where there is none.
            error: why it failed; None where it did not.

        Returns:
            False where there is such a job, or the claim no longer holds.
        """

    async def finish_batch(self, claim: JobClaim, usage: SourceUsage) -> bool:
        """Ends a claimed batch; returns whether its fleet has ended with it."""
