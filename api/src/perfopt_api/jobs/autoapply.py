"""What `auto_apply` of an analysis does: jobs for what policy allows, and the rule for the rest."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Protocol

import msgspec
import structlog

from perfopt.domain.job import OptimizationJob
from perfopt.domain.recommendation import AnalysisResult, AnalysisWarning, OptimizationRecommendation
from perfopt.errors import ConflictError, PerfoptError
from perfopt_api.apply.order import new_apply, order_of, proposed_change
from perfopt_api.apply.policyclock import PolicyTime
from perfopt_api.apply.request import ApplyRecommendationRequest
from perfopt_api.policy.decide import decide
from perfopt_api.policy.facts import Decision
from perfopt_api.policy.settings import PolicySettings
from perfopt_api.store.apply_port import ApplyFacts, ApplyRequests
from perfopt_api.supervision import BackgroundTask

_CANARY = ApplyRecommendationRequest(mode="canary")
_log = structlog.get_logger(__name__)


class StoredJobs(Protocol):
    """Where finished analyses are read."""

    async def get_job(self, job_id: str) -> OptimizationJob | None:
        """Returns a job with its recommendations, or None."""


class AutoApplier:
    """Decides what of an analysis is applied without anybody asking, and has it applied.

    Args:
        settings: the policy.
        time: what it knows of the time.
        jobs: finished analyses.
        applies: jobs that apply something.
        wake: has a worker look at a job.
        now: the clock.
    """

    def __init__(
        self,
        settings: PolicySettings,
        time: PolicyTime,
        jobs: StoredJobs,
        applies: ApplyRequests,
        wake: Callable[[str], Awaitable[None]],
        now: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._time = time
        self._jobs = jobs
        self._applies = applies
        self._wake = wake
        self._now = now

    async def explained(self, result: AnalysisResult) -> AnalysisResult:
        """Returns the result with a warning for each change that is not applied, or waits, by its rule."""
        facts = await self._ready()
        warnings = [
            warning
            for recommendation in _changes(result)
            if (warning := self._warning(recommendation, facts)) is not None
        ]
        return msgspec.structs.replace(result, warnings=(*result.warnings, *warnings))

    async def apply(self, job_id: str) -> tuple[str, ...]:
        """Makes a job for each recommendation of a finished analysis that policy does not deny."""
        job = await self._jobs.get_job(job_id)
        if job is None:
            return ()
        facts = await self._ready()
        made_jobs = []
        for recommendation in job.recommendations:
            if recommendation.no_change_needed or self._decision(recommendation, facts).outcome == "denied":
                continue
            try:
                made_jobs.append(await self._create(recommendation, job_id))
            except PerfoptError as error:
                _log.warning("auto_apply_failed", job_id=job_id, reason=str(error))
        await self._applies.note_auto_applied(job_id, made_jobs)
        return tuple(made_jobs)

    async def _ready(self) -> ApplyFacts:
        await self._time.refresh(self._now())
        return await self._applies.facts()

    async def _create(self, recommendation: OptimizationRecommendation, job_id: str) -> str:
        order = order_of(recommendation, _CANARY, self._settings, automatic=True)
        new = new_apply(order, recommendation, job_id, requester=None, reason="auto_apply")
        # The same analysis, finished twice, is applied once.
        key = f"auto:{recommendation.recommendation_id}"
        created = await self._applies.create_apply(new, idempotency_key=key, body_hash=key)
        await self._wake(created.job.job_id)
        return created.job.job_id

    def _decision(self, recommendation: OptimizationRecommendation, facts: ApplyFacts) -> Decision:
        try:
            order = order_of(recommendation, _CANARY, self._settings, automatic=True)
        except ConflictError as error:
            return Decision(outcome="denied", rule=error.code, reason=error.message)
        proposed = proposed_change(order, before=order.expected)
        return decide(proposed, facts, self._settings, self._time(self._now()))

    def _warning(
        self, recommendation: OptimizationRecommendation, facts: ApplyFacts
    ) -> AnalysisWarning | None:
        decision = self._decision(recommendation, facts)
        if decision.outcome == "allowed":
            return None
        code = {"denied": "not_applied", "approval": "approval_required", "deferred": "applied_later"}
        what = {"denied": "is not applied", "approval": "needs approval", "deferred": "is applied later"}
        kind = recommendation.optimization_type.value
        message = f"{kind} {what[decision.outcome]}: {decision.sentence}"
        return AnalysisWarning(code=code[decision.outcome], message=message)


class AutoApplySweep(BackgroundTask):
    """Applies analyses whose worker was lost between their end and that.

    Args:
        applies: knows these.
        auto: applies them; the same recommendation is applied once.
        pause_seconds: from one look to the next.
    """

    name = "auto_apply"

    def __init__(self, applies: ApplyRequests, auto: AutoApplier, *, pause_seconds: float = 30.0) -> None:
        self._applies = applies
        self._auto = auto
        self.pause_seconds = pause_seconds

    async def round(self) -> None:
        """Applies what was left."""
        for job_id in await self._applies.unapplied_analyses():
            await self._auto.apply(job_id)


def _changes(result: AnalysisResult) -> Sequence[OptimizationRecommendation]:
    return [
        recommendation for recommendation in result.recommendations if not recommendation.no_change_needed
    ]
