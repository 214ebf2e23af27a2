"""What policy decides by: changes of late, freezes, and strategies that are only advice."""

from datetime import UTC, datetime, timedelta

import msgspec
from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from perfopt_api.store.apply_port import ApplyFacts, Freeze, PastApply
from perfopt_api.store.apply_rows import plain_row
from perfopt_api.store.apply_tables import applies, demotions, freezes
from perfopt_api.store.tables import jobs

_REMEMBERED = timedelta(days=14)


async def read_facts(connection: AsyncConnection) -> ApplyFacts:
    """Reads them within a transaction."""
    recent = or_(applies.c.ended_at.is_(None), applies.c.started_at > datetime.now(UTC) - _REMEMBERED)
    names = ("job_id", "workload", "cluster", "namespace", "strategy", "strategy_version")
    columns = (*(applies.c[name] for name in names), applies.c.started_at, applies.c.ended_at)
    query = (
        select(*columns, jobs.c.status, jobs.c.error["code"].astext.label("failure_code"))
        .join(jobs, jobs.c.job_id == applies.c.job_id)
        .where(applies.c.started_at.is_not(None), recent)
        .order_by(applies.c.started_at.desc())
    )
    past = (await connection.execute(query)).mappings().all()
    frozen = (await connection.execute(select(freezes))).mappings().all()
    demoted = (await connection.execute(select(demotions))).all()
    return ApplyFacts(
        past=tuple(msgspec.convert(plain_row(row), PastApply) for row in past),
        freezes=tuple(msgspec.convert(plain_row(row), Freeze) for row in frozen),
        demoted=frozenset(f"{row.strategy}/{row.version}/{row.service_class}" for row in demoted),
    )
