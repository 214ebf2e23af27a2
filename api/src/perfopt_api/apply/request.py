"""What apply answers: a preview, manifests, or why nothing may be changed."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from perfopt.domain.job import OptimizationJob
from perfopt.domain.period import parse_duration
from perfopt.domain.recommendation import AnalysisWarning, OptimizationRecommendation
from perfopt.errors import ConflictError
from perfopt_api.apply.export import export
from perfopt_api.apply.preview import at_once, changes_of, first_step_of, held_back, outdated, warnings_of
from perfopt_api.policy.settings import PolicySettings

Mode = Literal["direct", "canary", "dry_run", "export"]


class ApplyRecommendationRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to apply a recommendation. Everything is optional.

    Attributes:
        mode: dry_run shows the changes, export writes manifests, direct and canary change the cluster.
        reason: why it is applied, for the record.
        verify_for: how long all pods are watched after the change ("2h"): at least ten steps of
            `verification`, at most a seventh of the past that it compares with (1 day).
        durability: template changes the workload's template; transient resizes pods only, and new pods again;
            git does so, and commits the manifests to the configured repository once they are verified, or
            with mode export at once.
        force: apply although the recommendation is superseded or expired, below the confidence floor, or
            to a workload that has moved since; and take fields over from other managers.
    """

    mode: Mode = "direct"
    reason: Annotated[str, Meta(max_length=1000)] | None = None
    verify_for: Annotated[str, Meta(max_length=50)] | None = None
    durability: Literal["template", "transient", "git"] = "template"
    force: bool = False


class ExecutorMissingError(ConflictError):
    """Nothing here may change a cluster. HTTP 409."""

    code = "executor_not_configured"


class OutdatedError(ConflictError):
    """The recommendation is superseded, withdrawn or expired, and it was not forced. HTTP 409."""

    code = "outdated"


def answer(
    wish: ApplyRecommendationRequest,
    job: OptimizationJob,
    recommendation: OptimizationRecommendation,
    now: datetime,
    base_url: str | None = None,
    policy: PolicySettings | None = None,
) -> OptimizationJob:
    """Returns the analysis job narrowed to the recommendation, with artifacts and warnings.

    Args:
        wish: what was asked for.
        job: the job that made the recommendation.
        recommendation: the recommendation.
        now: to tell whether it still holds.
        base_url: public address of the API, for manifests that ask it.
        policy: how far one change may go; the default without.

    Raises:
        InvalidInputError: malformed verify_for.
        ConflictError: direct and canary, as there is no executor; or a kind that cannot be patched.
    """
    if wish.verify_for is not None:
        parse_duration(wish.verify_for, field="verify_for")
    if wish.mode in ("direct", "canary"):
        refuse_change(wish, recommendation, now)
    artifacts = (changes_of(recommendation),) if wish.mode == "dry_run" else export(recommendation, base_url)
    first = first_step_of(recommendation, policy if policy is not None else PolicySettings())
    artifacts += () if first is None else (first,)
    warnings: tuple[AnalysisWarning, ...] = (*job.warnings, *warnings_of(recommendation, now))
    if wish.mode == "export" and first is not None:
        warnings += (at_once(first["steps"]),)
    return msgspec.structs.replace(
        job, recommendations=(recommendation,), artifacts=artifacts, warnings=warnings
    )


def refuse_outdated(
    wish: ApplyRecommendationRequest, recommendation: OptimizationRecommendation, now: datetime
) -> None:
    """Refuses to apply what is outdated, but where it is forced, and what changes nothing.

    Raises:
        OutdatedError: it no longer holds.
        ConflictError: it recommends the current state.
    """
    stale = () if wish.force else outdated(recommendation, now)
    if stale:
        raise OutdatedError(
            " ".join(warning.message for warning in stale), remedy="Analyse again, or set force."
        )
    if recommendation.no_change_needed:
        raise ConflictError(f"{recommendation.recommendation_id} recommends the current state.")


def refuse_change(
    wish: ApplyRecommendationRequest, recommendation: OptimizationRecommendation, now: datetime
) -> None:
    """Says why the cluster is not changed: no executor first; `force` helps against neither it nor rules.

    Raises:
        ExecutorMissingError: always, naming what else stands against it.
    """
    stale = () if wish.force else outdated(recommendation, now)
    besides = [f" {warning.message}" for warning in (*stale, *held_back(recommendation, now))]
    raise ExecutorMissingError(
        f"Mode {wish.mode} changes the cluster, and no executor is configured.{''.join(besides)}",
        field="mode",
        remedy="Use mode dry_run to see the changes, or export for manifests to apply yourself.",
    )
