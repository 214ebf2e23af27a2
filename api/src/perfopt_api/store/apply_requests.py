"""The API's end of the store of apply jobs on PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec
from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select, true, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from perfopt.domain.enums import OptimizationStatus
from perfopt.errors import ConflictError, NotFoundError
from perfopt_api.store.apply_events import put_events, status_event
from perfopt_api.store.apply_facts import read_facts
from perfopt_api.store.apply_port import (
    EVERYTHING,
    ApplyFacts,
    ApplyInProgressError,
    AuditEntry,
    Freeze,
    NewApply,
    TimelineEntry,
    Wish,
)
from perfopt_api.store.apply_rows import names_recommendation, plain_row, who_asked, write_audit
from perfopt_api.store.apply_tables import applies, apply_approvals, apply_timeline, audit, freezes
from perfopt_api.store.database import Database
from perfopt_api.store.idempotency import earlier_job, remember_job
from perfopt_api.store.mapping import job_of
from perfopt_api.store.port import CreatedJob, JobClass, JobKind
from perfopt_api.store.tables import jobs

_APPLYING = OptimizationStatus.APPLYING.value
_APPLIED = OptimizationStatus.APPLIED.value
_AUTO = "auto_apply"
_LATE = timedelta(hours=6)  # an analysis that ended so long ago is not applied any more
_SAID = {"cancel": "cancel", "rollback": "roll back"}


class PostgresApplyRequests:
    """Implements perfopt_api.store.apply_port.ApplyRequests.

    Args:
        database: the pool.
        base_url: the public address of the API, for links in events.
    """

    def __init__(self, database: Database, *, base_url: str | None = None) -> None:
        self._database = database
        self._base_url = base_url

    async def create_apply(
        self, new: NewApply, *, idempotency_key: str | None = None, body_hash: str | None = None
    ) -> CreatedJob:
        """See ApplyRequests.create_apply."""
        async with self._database.transaction() as connection:
            key = (new.requester or "", idempotency_key or "")
            if idempotency_key is not None:
                earlier = await earlier_job(connection, *key, body_hash or "")
                if earlier is not None:
                    rows = await connection.execute(select(jobs).where(jobs.c.job_id == earlier))
                    return CreatedJob(job=job_of(rows.mappings().one()), replayed=True)
            await _refuse_second(connection, new)
            row = (
                (await connection.execute(insert(jobs).values(_job_row(new)).returning(jobs)))
                .mappings()
                .one()
            )
            await connection.execute(insert(applies).values(_apply_row(new, row["job_id"])))
            await write_audit(connection, _ordered(new, row["job_id"]))
            await put_events(connection, [status_event(row)], self._base_url)
            if idempotency_key is not None:
                await remember_job(connection, *key, body_hash or "", row["job_id"])
            return CreatedJob(job=job_of(row), replayed=False)

    async def facts(self) -> ApplyFacts:
        """See ApplyRequests.facts."""
        async with self._database.transaction() as connection:
            return await read_facts(connection)

    async def unapplied_analyses(self) -> tuple[str, ...]:
        """See ApplyRequests.unapplied_analyses."""
        noted = exists().where(audit.c.job_id == jobs.c.job_id, audit.c.action == _AUTO)
        query = select(jobs.c.job_id).where(
            jobs.c.status == OptimizationStatus.RECOMMENDATIONS_READY.value,
            jobs.c.created_at > func.now() - _LATE,
            jobs.c.kind == JobKind.SINGLE.value,
            jobs.c.request["auto_apply"].as_boolean(),
            ~noted,
        )
        async with self._database.transaction() as connection:
            return tuple((await connection.execute(query)).scalars().all())

    async def note_auto_applied(self, job_id: str, applied: Sequence[str]) -> None:
        """See ApplyRequests.note_auto_applied."""
        entry = AuditEntry(action=_AUTO, subject=job_id, job_id=job_id, after={"jobs": list(applied)})
        async with self._database.transaction() as connection:
            await write_audit(connection, entry)

    async def ask(self, job_id: str, wish: Wish, *, principal: str | None, reason: str | None) -> None:
        """See ApplyRequests.ask."""
        async with self._database.transaction() as connection:
            row = await _lock_job(connection, job_id)
            if row.status == _APPLIED and wish == "rollback":
                await self._reopen(connection, row)
            elif row.status != _APPLYING:
                raise ConflictError(
                    f"The job {job_id} is {row.status}: there is nothing to {_SAID[wish]}.",
                    remedy="Look at its timeline.",
                )
            await _wish(connection, [job_id], wish, principal, reason)

    async def _reopen(self, connection: AsyncConnection, row: Any) -> None:
        """Makes an APPLIED job APPLYING again, to go back."""
        reopened = {"status": _APPLYING, "completed_at": None, "lease_owner": None, "lease_expires_at": None}
        again = update(jobs).where(jobs.c.job_id == row.job_id).values(reopened).returning(jobs)
        job = (await connection.execute(again)).mappings().one()
        mine = applies.c.job_id == row.job_id
        await connection.execute(update(applies).where(mine).values(ended_at=None))
        await put_events(connection, [status_event(job)], self._base_url)

    async def approve(self, job_id: str, *, principal: str, reason: str | None) -> None:
        """See ApplyRequests.approve."""
        async with self._database.transaction() as connection:
            row = await _lock_job(connection, job_id)
            if row.status != _APPLYING:
                raise ConflictError(f"The job {job_id} is {row.status}: it waits for no approval.")
            requester: str | None = (await connection.execute(who_asked(job_id))).scalar()
            if requester == principal:
                raise ConflictError(
                    f"{principal} asked for this change and cannot approve it.",
                    remedy="Have another principal approve it.",
                )
            approved = insert(apply_approvals).values(job_id=job_id, principal=principal, reason=reason)
            await connection.execute(approved.on_conflict_do_nothing())
            await connection.execute(
                update(applies).where(applies.c.job_id == job_id).values(due_at=func.now())
            )
            entry = AuditEntry(
                action="approve", subject=row.workload, principal=principal, job_id=job_id, reason=reason
            )
            await write_audit(connection, entry)

    async def restore(self, scope: str, *, principal: str | None, reason: str | None) -> tuple[str, ...]:
        """See ApplyRequests.restore."""
        async with self._database.transaction() as connection:
            query = (
                select(jobs.c.job_id, jobs.c.status)
                .join(applies, applies.c.job_id == jobs.c.job_id)
                .where(jobs.c.status.in_((_APPLYING, _APPLIED)), _within(scope))
                .order_by(jobs.c.created_at, jobs.c.id)
                .with_for_update(of=jobs)
            )
            rows = (await connection.execute(query)).all()
            for row in rows:
                if row.status == _APPLIED:
                    await self._reopen(connection, row)
            ids = [row.job_id for row in rows]
            await _wish(connection, ids, "rollback", principal, reason)
            after = {"jobs": ids}
            await write_audit(
                connection,
                AuditEntry(action="restore", subject=scope, principal=principal, reason=reason, after=after),
            )
        return tuple(ids)

    async def record(self, entry: AuditEntry) -> None:
        """See ApplyRequests.record."""
        async with self._database.transaction() as connection:
            await write_audit(connection, entry)

    async def set_freeze(self, freeze: Freeze) -> None:
        """See ApplyRequests.set_freeze."""
        row = {"scope": freeze.scope, "reason": freeze.reason, "principal": freeze.principal}
        async with self._database.transaction() as connection:
            statement = insert(freezes).values(row)
            await connection.execute(
                statement.on_conflict_do_update(index_elements=["scope"], set_=row | {"at": func.now()})
            )
            entry = AuditEntry(
                action="freeze", subject=freeze.scope, principal=freeze.principal, reason=freeze.reason
            )
            await write_audit(connection, entry)

    async def lift_freeze(self, scope: str, *, principal: str | None, reason: str | None) -> bool:
        """See ApplyRequests.lift_freeze."""
        async with self._database.transaction() as connection:
            lifted = (await connection.execute(delete(freezes).where(freezes.c.scope == scope))).rowcount > 0
            if lifted:
                # What was put off for the freeze is looked at again.
                waiting = and_(applies.c.ended_at.is_(None), applies.c.started_at.is_(None))
                await connection.execute(update(applies).where(waiting).values(due_at=func.now()))
                entry = AuditEntry(action="unfreeze", subject=scope, principal=principal, reason=reason)
                await write_audit(connection, entry)
        return lifted

    async def timeline(self, job_id: str, *, after: int = 0) -> tuple[TimelineEntry, ...] | None:
        """See ApplyRequests.timeline."""
        table = apply_timeline.c
        query = select(*(c for c in table if c.name != "job_id")).where(
            table.job_id == job_id, table.id > after
        )
        async with self._database.transaction() as connection:
            rows = (await connection.execute(query.order_by(table.id))).mappings().all()
            known = rows or await connection.scalar(
                select(applies.c.job_id).where(applies.c.job_id == job_id)
            )
        return tuple(msgspec.convert(plain_row(row), TimelineEntry) for row in rows) if known else None

    async def audit_log(
        self, *, subject: str | None = None, since: datetime | None = None, after: int = 0, limit: int = 500
    ) -> tuple[AuditEntry, ...]:
        """See ApplyRequests.audit_log."""
        query = select(audit).where(audit.c.id > after).order_by(audit.c.id).limit(limit)
        if subject is not None:
            query = query.where(audit.c.subject == subject)
        if since is not None:
            query = query.where(audit.c.at >= since)
        async with self._database.transaction() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return tuple(msgspec.convert(plain_row(row), AuditEntry) for row in rows)


def _job_row(new: NewApply) -> dict[str, Any]:
    return {
        "job_id": str(uuid4()),
        "parent_job_id": new.parent_job_id,
        "service_name": new.service_name,
        "optimization_type": new.optimization_types[0].value,
        "optimization_types": [kind.value for kind in new.optimization_types],
        "status": _APPLYING,
        "request": {"recommendation_ids": list(new.recommendation_ids), "order": new.order},
        "priority": int(JobClass.APPLY),
        "namespace": new.namespace,
        "requester": new.requester,
    }


def _apply_row(new: NewApply, job_id: str) -> dict[str, Any]:
    names = ("workload", "cluster", "namespace", "step", "state", "strategy", "strategy_version")
    row = {name: getattr(new, name) for name in (*names, "automatic", "durability")}
    return row | {"job_id": job_id}


def _ordered(new: NewApply, job_id: str) -> AuditEntry:
    return AuditEntry(
        action="apply",
        subject=new.workload,
        principal=new.requester,
        job_id=job_id,
        reason=new.reason,
        after={"recommendation_ids": list(new.recommendation_ids), "automatic": new.automatic},
    )


async def _refuse_second(connection: AsyncConnection, new: NewApply) -> None:
    """Two requests for one recommendation at once are one job and a refusal."""
    for each in sorted(new.recommendation_ids):
        await connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(each, 2))))
    for each in new.recommendation_ids:
        query = select(jobs.c.job_id).where(
            jobs.c.status == _APPLYING,
            jobs.c.parent_job_id.is_not(None),
            names_recommendation(jobs.c.request, each),
        )
        running = (await connection.execute(query)).scalars().first()
        if running is not None:
            raise ApplyInProgressError(
                f"The job {running} applies {each} already.", remedy="Look at that job, or cancel it first."
            )


async def _lock_job(connection: AsyncConnection, job_id: str) -> Any:
    query = (
        select(jobs.c.job_id, jobs.c.status, jobs.c.requester, applies.c.workload)
        .join(applies, applies.c.job_id == jobs.c.job_id)
        .where(jobs.c.job_id == job_id)
        .with_for_update(of=jobs)
    )
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise NotFoundError(
            f"There is no job {job_id!r} that applies something.",
            field="job_id",
            remedy="Apply a recommendation first; the answer names its job.",
        )
    return row


async def _wish(
    connection: AsyncConnection, ids: Sequence[str], wish: Wish, principal: str | None, reason: str | None
) -> None:
    wished = {"wish": wish, "wished_by": principal, "wish_reason": reason, "due_at": func.now()}
    statement = update(applies).where(applies.c.job_id.in_(ids)).values(wished).returning(applies)
    for row in (await connection.execute(statement)).mappings().all():
        entry = AuditEntry(
            action=wish, subject=row["workload"], principal=principal, job_id=row["job_id"], reason=reason
        )
        await write_audit(connection, entry)


def _within(scope: str) -> ColumnElement[bool]:
    """Returns the condition of `in_scope`."""
    if scope == EVERYTHING:
        return applies.c.workload.is_not(None)
    begins = applies.c.workload.startswith(f"{scope}/", autoescape=True)
    cluster, _, namespace = scope.rpartition("/")
    whole = and_(applies.c.namespace == namespace, begins if cluster else true())
    return or_(applies.c.workload == scope, whole, and_(applies.c.namespace == "", begins))
