"""How a job ends: whether it is still the claim's, what it is told, and what stays in force beside it."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Update, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from perfopt.domain.enums import OptimizationStatus
from perfopt.domain.recommendation import AnalysisResult
from perfopt_api.events.material import AnnouncedState, differs_materially
from perfopt_api.store.apply_events import put_events, status_event
from perfopt_api.store.mapping import workload_parts
from perfopt_api.store.port import DID_NOT_RUN, FinishResult, JobClaim, JobError, JobKind
from perfopt_api.store.tables import jobs, workloads

_ANALYZING = OptimizationStatus.ANALYZING.value
_ANNOUNCED = (
    jobs.c.job_id,
    jobs.c.service_name,
    jobs.c.optimization_type,
    jobs.c.status,
    jobs.c.parent_job_id,
    jobs.c.error,
    jobs.c.kind,
    jobs.c.fleet_id,
)
_KEPT_FOR = 0.5  # of its validity must be left, else what is in force is made anew


class KnownRecommendation(msgspec.Struct, frozen=True):
    """The last recommendation of a workload and type, and what was last announced of it.

    Attributes:
        validity, until: how long it holds, and to when.
        rules: that fired on it.
    """

    recommendation_id: str
    service_name: str
    in_force: bool
    announced: AnnouncedState
    validity: timedelta
    until: datetime
    rules: frozenset[str]


async def lock_claimed(connection: AsyncConnection, claim: JobClaim) -> FinishResult:
    """Locks the row of a claimed job and returns whether the claim may end it."""
    query = select(jobs.c.status, jobs.c.lease_owner).where(jobs.c.job_id == claim.job_id).with_for_update()
    row = (await connection.execute(query)).one_or_none()
    if row is None or row.status != _ANALYZING:
        return FinishResult.ALREADY
    return FinishResult.DONE if row.lease_owner == claim.owner else FinishResult.LEASE_LOST


async def complete(
    connection: AsyncConnection,
    job_id: str,
    status: OptimizationStatus,
    result: AnalysisResult | None,
    error: JobError | None = None,
    unchanged: Sequence[str] = (),
    *,
    base_url: str | None,
) -> None:
    """Ends an analysis in the transaction of the connection, and announces it; `base_url` is for its link."""
    values = {
        "status": status.value,
        "completed_at": func.now(),
        "declined": msgspec.to_builtins(result.declined) if result else [],
        "warnings": msgspec.to_builtins(result.warnings) if result else [],
        "plan": msgspec.to_builtins(result.plan) if result else None,
        "unchanged": list(unchanged),
        "lease_owner": None,
        "lease_expires_at": None,
    }
    if error is not None:
        values["error"] = msgspec.to_builtins(error)
    namespace = workload_parts(result.workload)[1] if result else ""
    if namespace:  # where the name of the request resolved to: who may see the job depends on it
        values["namespace"] = namespace[:100]
    await set_ended(connection, job_id, values, base_url)


async def set_ended(
    connection: AsyncConnection, job_id: str, values: Mapping[str, Any], base_url: str | None
) -> None:
    """Writes how an analysis ended, with the event of it.

    The batches of a fleet and the analyses of its workloads are not announced: the fleet is, and each
    recommendation that differs.
    """
    statement = update(jobs).where(jobs.c.job_id == job_id).values(values).returning(*_ANNOUNCED)
    row = (await connection.execute(statement)).mappings().one()
    if row["fleet_id"] is None and row["kind"] != JobKind.BATCH:
        await put_events(connection, [status_event(row)], base_url)


def unchanged_by(
    result: AnalysisResult, known: Mapping[str, KnownRecommendation], now: datetime
) -> tuple[str, ...]:
    """Returns what stays in force, where an analysis brings no news; empty where it is to be stored.

    It brings none where each recommendation differs too little from the one in force of its type, which
    holds for at least half of its validity yet, and none in force would be withdrawn.

    Args:
        result: of the analysis.
        known: by type, the last recommendation of the workload.
        now: the present.
    """
    recommended = {each.optimization_type.value: each for each in result.recommendations}
    withdrawn = {
        each.optimization_type.value
        for each in result.declined
        if each.code not in DID_NOT_RUN and each.optimization_type.value not in recommended
    }
    in_force = {kind: one for kind, one in known.items() if one.in_force}
    if not recommended or len(recommended) < len(result.recommendations) or withdrawn & in_force.keys():
        return ()
    for kind, recommendation in recommended.items():
        old = in_force.get(kind)
        if old is None or old.until - now < _KEPT_FOR * old.validity:
            return ()
        if old.rules != frozenset(recommendation.rules_fired):
            return ()
        if differs_materially(AnnouncedState.of(recommendation), old.announced):
            return ()
    return tuple(in_force[kind].recommendation_id for kind in recommended)


def touched(workload: str) -> Update:
    """Returns the statement that dates the summary of a workload to now."""
    return update(workloads).where(workloads.c.workload == workload).values(analysed_at=func.now())
