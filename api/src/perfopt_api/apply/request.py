"""What apply answers: a preview, manifests, or why nothing may be changed."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from perfopt.domain.job import OptimizationJob
from perfopt.domain.period import format_instant, parse_duration
from perfopt.domain.recommendation import AnalysisWarning, OptimizationRecommendation
from perfopt.errors import ConflictError
from perfopt_api.apply.export import export
from perfopt_api.apply.preview import changes_of, warnings_of

Mode = Literal["direct", "canary", "dry_run", "export"]


class ApplyRecommendationRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to apply a recommendation. Everything is optional.

    Attributes:
        mode: dry_run shows the changes, export writes manifests, direct and canary change the cluster.
        reason: why it is applied, for the record.
        verify_for: how long to watch the workload afterwards ("24h").
        force: apply although the recommendation is superseded or expired.
    """

    mode: Mode = "direct"
    reason: Annotated[str, Meta(max_length=1000)] | None = None
    verify_for: Annotated[str, Meta(max_length=50)] | None = None
    force: bool = False


class ExecutorMissingError(ConflictError):
    """Nothing here may change a cluster. HTTP 409."""

    code = "executor_not_configured"


class SupersededError(ConflictError):
    """A newer recommendation took its place. HTTP 409."""

    code = "superseded"


class ExpiredError(ConflictError):
    """It is past its validity. HTTP 409."""

    code = "expired"


def answer(
    wish: ApplyRecommendationRequest, job: OptimizationJob, made: OptimizationRecommendation, now: datetime
) -> OptimizationJob:
    """Returns the analysis job narrowed to the recommendation, with artifacts and warnings.

    Args:
        wish: what was asked for.
        job: the job that made the recommendation.
        made: the recommendation.
        now: to tell whether it still holds.

    Raises:
        InvalidInputError: malformed verify_for.
        ConflictError: direct and canary, as there is no executor; or a kind that cannot be patched.
    """
    if wish.verify_for is not None:
        parse_duration(wish.verify_for, field="verify_for")
    if wish.mode in ("direct", "canary"):
        refuse_change(wish, made, now)
    artifacts = (changes_of(made),) if wish.mode == "dry_run" else export(made)
    warnings: tuple[AnalysisWarning, ...] = (*job.warnings, *warnings_of(made, now))
    return msgspec.structs.replace(job, recommendations=(made,), artifacts=artifacts, warnings=warnings)


def refuse_change(wish: ApplyRecommendationRequest, made: OptimizationRecommendation, now: datetime) -> None:
    """Says why the cluster is not changed.

    Raises:
        SupersededError, ExpiredError: it no longer holds, and `force` was not given.
        ExecutorMissingError: in all other cases.
    """
    if made.superseded_by is not None and not wish.force:
        raise SupersededError(
            f"{made.recommendation_id} was superseded by {made.superseded_by}.",
            remedy="Apply that one, or repeat with force.",
        )
    if made.valid_until <= now and not wish.force:
        raise ExpiredError(
            f"{made.recommendation_id} was valid until {format_instant(made.valid_until)}.",
            remedy="Analyse the service again, or repeat with force.",
        )
    raise ExecutorMissingError(
        f"Mode {wish.mode} changes the cluster, and no executor is configured.",
        field="mode",
        remedy="Use mode dry_run to see the changes, or export for manifests to apply yourself.",
    )
