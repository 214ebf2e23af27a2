"""Events of apply jobs, put into the outbox with what they say."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from perfopt.domain.enums import OptimizationStatus
from perfopt.domain.event import (
    OptimizationApplied,
    OptimizationAttentionNeeded,
    OptimizationJobStatusChanged,
    OptimizationRolledBack,
)
from perfopt.domain.period import format_instant
from perfopt_api.events.message import JobEvent, job_message
from perfopt_api.store.apply_port import ApplyEnd, TimelineEntry
from perfopt_api.store.tables import outbox


def status_event(job: Mapping[Any, Any]) -> OptimizationJobStatusChanged:
    """Returns the event of a job whose status has just changed to what its row says."""
    return OptimizationJobStatusChanged(
        **_stamp(),
        job_id=job["job_id"],
        service_name=job["service_name"],
        optimization_type=job["optimization_type"],
        status=job["status"],
        parent_job_id=job["parent_job_id"],
        error=job["error"],
    )


ATTENTION = frozenset({"approval", "held", "rollback_failed"})
"""Codes of entries of a timeline that a person must see."""


def attention_events(
    job: Mapping[Any, Any], workload: str, entries: Iterable[TimelineEntry]
) -> list[JobEvent]:
    """Returns the events of those entries that a person must see."""
    return [
        OptimizationAttentionNeeded(
            **_stamp(),
            job_id=job["job_id"],
            service_name=job["service_name"],
            optimization_type=job["optimization_type"],
            workload=workload,
            code=entry.code,
            reason=entry.message,
        )
        for entry in entries
        if entry.code in ATTENTION
    ]


def end_events(job: Mapping[Any, Any], row: Mapping[Any, Any], end: ApplyEnd) -> list[JobEvent]:
    """Returns the events of an apply job that ended.

    Args:
        job: its row in the table of jobs.
        row: its row in the table of applies.
        end: how it ended.
    """
    about: dict[str, Any] = {
        "job_id": job["job_id"],
        "service_name": job["service_name"],
        "optimization_type": job["optimization_type"],
        "workload": row["workload"],
        "recommendation_ids": job["request"]["recommendation_ids"],
    }
    events: list[JobEvent] = [status_event(job)]
    if end.status is OptimizationStatus.APPLIED:
        events.append(
            OptimizationApplied(
                **_stamp(),
                **about,
                changes=end.changes,
                durability=row["durability"],
                verification=end.verification,
            )
        )
    elif end.status is OptimizationStatus.ROLLED_BACK:
        code, reason = ("", "") if end.error is None else (end.error.code, end.error.message)
        left = list(end.left_alone)
        events.append(OptimizationRolledBack(**_stamp(), **about, code=code, reason=reason, left_alone=left))
    return events


async def put_events(connection: AsyncConnection, events: Iterable[JobEvent], base_url: str | None) -> None:
    """Puts events into the outbox, within the transaction of what they say."""
    rows = [msgspec.structs.asdict(job_message(event, base_url)) for event in events]
    if rows:
        await connection.execute(insert(outbox).values(rows))


def _stamp() -> dict[str, Any]:
    return {"event_id": str(uuid4()), "timestamp": format_instant(datetime.now(UTC))}
