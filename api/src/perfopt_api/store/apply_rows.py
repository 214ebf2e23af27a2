"""What both ends of the apply jobs' store share: timeline, audit, and which job applies what."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, RowMapping, Select, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from perfopt_api.store.apply_port import AuditEntry, TimelineEntry
from perfopt_api.store.apply_tables import apply_timeline, audit
from perfopt_api.store.tables import jobs


async def write_timeline(connection: AsyncConnection, job_id: str, entries: Sequence[TimelineEntry]) -> None:
    """Adds entries to a job's timeline."""
    rows = [_without_id(entry) | {"job_id": job_id} for entry in entries]
    if rows:
        await connection.execute(insert(apply_timeline).values(rows))


async def write_audit(connection: AsyncConnection, entry: AuditEntry) -> None:
    """Adds an entry to the audit; the instant is the transaction's."""
    row = _without_id(entry)
    del row["at"]
    await connection.execute(insert(audit).values(row))


def _without_id(entry: TimelineEntry | AuditEntry) -> dict[str, Any]:
    row = msgspec.structs.asdict(entry)
    del row["id"]
    return row


def names_recommendation(request: ColumnElement[Any], recommendation_id: Any) -> ColumnElement[bool]:
    """Returns whether a job's request names a recommendation."""
    return request["recommendation_ids"].op("?")(recommendation_id)


def plain_row(row: RowMapping) -> dict[str, Any]:
    """Returns a row by plain names: SQLAlchemy's own, of labels, are a subclass that msgspec refuses."""
    return {f"{name}": value for name, value in row.items()}


def who_asked(job_id: str) -> Select[Any]:
    """Returns who asked for a change; of an automatic one, for its analysis, or for the fleet of that."""
    analysis, fleet = jobs.alias("analysis"), jobs.alias("fleet")
    return (
        select(func.coalesce(jobs.c.requester, analysis.c.requester, fleet.c.requester).label("requester"))
        .outerjoin(analysis, analysis.c.job_id == jobs.c.parent_job_id)
        .outerjoin(fleet, fleet.c.job_id == analysis.c.fleet_id)
        .where(jobs.c.job_id == job_id)
    )
