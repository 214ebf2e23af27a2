"""How far a fleet is, when it has ended, and ending it early."""

import msgspec
from sqlalchemy import ColumnElement, and_, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from perfopt.domain.enums import OptimizationStatus
from perfopt.domain.job import FleetProgress, SourceUsage
from perfopt.domain.recommendation import AnalysisResult, AnalysisWarning
from perfopt.errors import NotFoundError
from perfopt_api.store.endings import complete, set_ended
from perfopt_api.store.port import JobError, JobKind
from perfopt_api.store.tables import jobs, recommendations

_ANALYZING = OptimizationStatus.ANALYZING.value
_FAILED = OptimizationStatus.FAILED
CANCELLED = JobError(code="cancelled", message="It was cancelled.")


async def in_job(connection: AsyncConnection, job_id: str) -> ColumnElement[bool]:
    """Returns the condition that a recommendation is of a job, or of any analysis of that fleet."""
    kind = await connection.scalar(select(jobs.c.kind).where(jobs.c.job_id == job_id))
    column = recommendations.c.fleet_id if kind == JobKind.FLEET.value else recommendations.c.job_id
    return column == job_id


async def settle_fleet(connection: AsyncConnection, fleet_id: str, base_url: str | None) -> bool:
    """Ends a fleet whose batches have all ended; returns whether it has.

    Of two batches that end at once the second to lock the fleet's row sees the other's end.
    """
    fleet = select(jobs.c.status).where(jobs.c.job_id == fleet_id).with_for_update()
    if await connection.scalar(fleet) != _ANALYZING:
        return False
    progress = await fleet_progress(connection, fleet_id)
    if progress.batches_done < progress.batches:
        return False
    lost = progress.workloads - progress.analysed - progress.failed
    failed = progress.failed + lost
    if failed == progress.workloads:
        error = JobError(
            code="fleet_failed",
            message=f"None of the {failed} workloads could be analysed.",
            remedy=f"GET /jobs?fleet_id={fleet_id} shows why.",
        )
        await complete(connection, fleet_id, _FAILED, None, error, base_url=base_url)
        return True
    warnings: tuple[AnalysisWarning, ...] = ()
    if failed:
        message = f"{failed} of {progress.workloads} workloads could not be analysed."
        warnings = (AnalysisWarning(code="workloads_failed", message=message),)
    result = AnalysisResult(service_name="", workload="", recommendations=(), declined=(), warnings=warnings)
    await _adopt(connection, fleet_id)
    ready = OptimizationStatus.RECOMMENDATIONS_READY
    await complete(connection, fleet_id, ready, result, base_url=base_url)
    return True


async def _adopt(connection: AsyncConnection, fleet_id: str) -> None:
    """Marks recommendations of workers of an older version, which know no fleet of theirs."""
    of_fleet = select(jobs.c.job_id).where(jobs.c.fleet_id == fleet_id, jobs.c.kind == JobKind.SINGLE.value)
    unmarked = and_(recommendations.c.fleet_id.is_(None), recommendations.c.job_id.in_(of_fleet))
    await connection.execute(update(recommendations).where(unmarked).values(fleet_id=fleet_id))


async def fleet_progress(connection: AsyncConnection, fleet_id: str) -> FleetProgress:
    """Returns how far a fleet is."""
    batch, done = jobs.c.kind == JobKind.BATCH.value, jobs.c.status != _ANALYZING
    single, failed = jobs.c.kind == JobKind.SINGLE.value, jobs.c.status == _FAILED.value
    used = {
        name: func.coalesce(func.sum(jobs.c.usage[name].as_float()), 0).label(name)
        for name in SourceUsage.__struct_fields__
    }
    query = select(
        func.coalesce(func.sum(func.jsonb_array_length(jobs.c.request["workloads"])).filter(batch), 0),
        func.count().filter(and_(single, ~failed, done)),
        func.count().filter(and_(single, failed)),
        func.count().filter(and_(single, jobs.c.unchanged != text("'[]'::jsonb"))),
        func.count().filter(batch),
        func.count().filter(and_(batch, done)),
        *used.values(),
    ).where(jobs.c.fleet_id == fleet_id)
    row = (await connection.execute(query)).one()
    stored = select(func.count()).select_from(recommendations).where(recommendations.c.fleet_id == fleet_id)
    usage = msgspec.convert({name: row._mapping[name] for name in used}, SourceUsage, strict=False)
    return FleetProgress(
        workloads=int(row[0]),
        analysed=row[1],
        failed=row[2],
        unchanged=row[3],
        recommendations=int(await connection.scalar(stored) or 0),
        batches=row[4],
        batches_done=row[5],
        usage=usage,
    )


async def cancel_analysis(connection: AsyncConnection, job_id: str, base_url: str | None) -> bool:
    """Ends an unfinished analysis as FAILED, with all batches of a fleet; False where it has ended.

    Workers notice at the next renewal of their lease.

    Raises:
        NotFoundError: there is no such job.
    """
    ended = {
        "status": _FAILED.value,
        "completed_at": func.now(),
        "error": msgspec.to_builtins(CANCELLED),
        "lease_owner": None,
        "lease_expires_at": None,
    }
    batches = and_(jobs.c.fleet_id == job_id, jobs.c.status == _ANALYZING)  # before the fleet, as workers do
    await connection.execute(update(jobs).where(batches).values(ended))
    status = await connection.scalar(select(jobs.c.status).where(jobs.c.job_id == job_id).with_for_update())
    if status is None:
        raise NotFoundError(f"There is no job {job_id!r}.", field="job_id")
    if status != _ANALYZING:
        return False
    await set_ended(connection, job_id, ended, base_url)
    return True
