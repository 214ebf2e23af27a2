"""What a job that ended tells: its error, and what `auto_apply` did not apply."""

import msgspec

from perfopt.domain.recommendation import AnalysisResult, AnalysisWarning, OptimizationRecommendation
from perfopt.errors import NotFoundError, PerfoptError
from perfopt_api.jobs.autoapply import AutoApplier
from perfopt_api.store.port import DID_NOT_RUN, JobError

CRASHED = JobError(
    code="internal_error",
    message="The analysis stopped on an error that perfopt did not expect.",
    remedy="The worker's log has the details under this job_id.",
)


def job_error(error: PerfoptError) -> JobError:
    """Returns what REST shows of an error."""
    candidates = error.candidates if isinstance(error, NotFoundError) else ()
    return JobError(
        code=error.code, message=error.message, field=error.field, remedy=error.remedy, candidates=candidates
    )


async def explained(result: AnalysisResult, auto: AutoApplier | None) -> AnalysisResult:
    """Returns the result with a warning for each change that is not applied, or waits, by its rule.

    Args:
        result: of an analysis with `auto_apply`.
        auto: applies what policy allows; None where no executor is configured.
    """
    return not_applied(result) if auto is None else await auto.explained(result)


def not_applied(result: AnalysisResult) -> AnalysisResult:
    """Returns the result with warnings that say why `auto_apply` applied nothing."""
    changes = [
        recommendation for recommendation in result.recommendations if not recommendation.no_change_needed
    ]
    warnings = [
        AnalysisWarning(
            code="executor_not_configured",
            message="Nothing was applied: no executor is configured. Use apply with mode export.",
        ),
        *(
            AnalysisWarning(
                code="approval_required",
                message=f"{one.optimization_type.value} needs approval by {_rules_of(one)}.",
            )
            for one in changes
            if one.requires_approval
        ),
    ]
    return msgspec.structs.replace(result, warnings=(*result.warnings, *(warnings if changes else ())))


def _rules_of(recommendation: OptimizationRecommendation) -> str:
    return ", ".join(f"the rule {name}" for name in recommendation.rules_fired) or "a rule"


def unreadable(error: msgspec.ValidationError) -> JobError:
    """Returns the error of a request that this version cannot read."""
    return JobError(
        code="unreadable_request",
        message=f"No worker can read the stored request: {error}.",
        remedy="Run workers of the version of the API, then ask again.",
    )


def nothing_ran(result: AnalysisResult) -> JobError | None:
    """Returns why a job FAILED: no strategy could run; None where one did."""
    if result.recommendations or not result.declined:
        return None
    if any(declined.code not in DID_NOT_RUN for declined in result.declined):
        return None
    return JobError(
        code="no_strategy",
        message="No strategy could run: " + " ".join(declined.reason for declined in result.declined),
        remedy="`perfopt plugin list` shows which types are installed and why one failed to load.",
    )
