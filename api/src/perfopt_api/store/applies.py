"""The worker's end of the store of apply jobs on PostgreSQL: claims, locks, state, and the end."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, RowMapping, and_, case, delete, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from perfopt.domain.enums import OptimizationStatus
from perfopt_api.store.apply_events import ATTENTION, attention_events, end_events, put_events
from perfopt_api.store.apply_facts import read_facts
from perfopt_api.store.apply_port import (
    AppliedWorkload,
    ApplyClaim,
    ApplyEnd,
    ApplyFacts,
    AuditEntry,
    TimelineEntry,
)
from perfopt_api.store.apply_rows import names_recommendation, plain_row, write_audit, write_timeline
from perfopt_api.store.apply_tables import applies, apply_approvals, workload_locks
from perfopt_api.store.database import Database
from perfopt_api.store.tables import jobs, recommendations

_APPLYING = OptimizationStatus.APPLYING.value
_APPLIED = OptimizationStatus.APPLIED.value
_REMEMBERED = timedelta(days=14)
_START_LOCK = 0x61706C79  # "aply": starts of changes are counted one after the other
_ROLLBACK = "rollback"
# The rules for which a change waits until another ends.
_WAITS_FOR_ROOM = ("policy.max_in_flight", "policy.max_in_flight_namespace", "policy.blast_radius")


class PostgresApplies:
    """Implements perfopt_api.store.apply_port.ApplyWork.

    Args:
        database: the pool.
        base_url: the public address of the API, for links in events.
    """

    def __init__(self, database: Database, *, base_url: str | None = None) -> None:
        self._database = database
        self._base_url = base_url

    async def claim_apply(self, *, owner: str, lease: timedelta) -> ApplyClaim | None:
        """See ApplyWork.claim_apply."""
        async with self._database.transaction() as connection:
            row = (await connection.execute(_next_apply())).one_or_none()
            if row is None:
                return None
            taken = insert(workload_locks).values(workload=row.workload, job_id=row.job_id)
            await connection.execute(taken.on_conflict_do_nothing())
            holder = select(workload_locks.c.job_id).where(workload_locks.c.workload == row.workload)
            if await connection.scalar(holder) != row.job_id:
                return None  # two jobs of one workload were claimed at the same time: the other has it
            await connection.execute(
                update(jobs)
                .where(jobs.c.job_id == row.job_id)
                .values(lease_owner=owner, lease_expires_at=func.now() + lease, attempts=jobs.c.attempts + 1)
            )
            return await _claim(connection, row.job_id, owner)

    async def extend_apply(self, claim: ApplyClaim, lease: timedelta) -> ApplyClaim | None:
        """See ApplyWork.extend_apply."""
        async with self._database.transaction() as connection:
            if not await _hold(connection, claim, lease_expires_at=func.now() + lease):
                return None
            return await _claim(connection, claim.job_id, claim.owner)

    async def save_apply(
        self,
        claim: ApplyClaim,
        *,
        step: str,
        state: dict[str, Any],
        snapshot: dict[str, Any] | None = None,
        entries: Sequence[TimelineEntry] = (),
    ) -> bool:
        """See ApplyWork.save_apply."""
        values: dict[str, Any] = {"step": step, "state": state}
        if snapshot is not None:
            values["snapshot"] = snapshot
        async with self._database.transaction() as connection:
            if not await _locked(connection, claim):
                return False
            await connection.execute(update(applies).where(applies.c.job_id == claim.job_id).values(values))
            await write_timeline(connection, claim.job_id, entries)
            if any(entry.code in ATTENTION for entry in entries):
                row = await connection.execute(select(jobs).where(jobs.c.job_id == claim.job_id))
                events = attention_events(row.mappings().one(), claim.workload, entries)
                await put_events(connection, events, self._base_url)
            return True

    async def start_apply(self, claim: ApplyClaim, permit: Callable[[ApplyFacts], bool]) -> bool:
        """See ApplyWork.start_apply."""
        async with self._database.transaction() as connection:
            if not await _locked(connection, claim):
                return False
            await connection.execute(select(func.pg_advisory_xact_lock(_START_LOCK)))
            mine = applies.c.job_id == claim.job_id
            if await connection.scalar(select(applies.c.started_at).where(mine)) is not None:
                return True
            if not permit(await read_facts(connection)):
                return False
            # now() is when the transaction began, before it waited for the lock: earlier than ends it saw.
            await connection.execute(update(applies).where(mine).values(started_at=func.clock_timestamp()))
            return True

    async def release_apply(self, claim: ApplyClaim, *, due_at: datetime, unlock: bool) -> None:
        """See ApplyWork.release_apply."""
        async with self._database.transaction() as connection:
            if not await _hold(connection, claim, lease_owner=None, lease_expires_at=None):
                return
            mine = applies.c.job_id == claim.job_id
            # A wish that came meanwhile is looked at at once.
            due = case((applies.c.wish.is_(None), due_at), else_=func.now())
            await connection.execute(update(applies).where(mine).values(due_at=due))
            if unlock:
                await _unlock(connection, claim.job_id)

    async def finish_apply(
        self,
        claim: ApplyClaim,
        end: ApplyEnd,
        entries: Sequence[TimelineEntry] = (),
        *,
        state: dict[str, Any] | None = None,
    ) -> bool:
        """See ApplyWork.finish_apply."""
        async with self._database.transaction() as connection:
            if not await _locked(connection, claim):
                return False
            mine = applies.c.job_id == claim.job_id
            row = (await connection.execute(select(applies).where(mine))).mappings().one()
            if end.status is OptimizationStatus.APPLIED and row["wish"] is not None and claim.wish is None:
                await _hold(connection, claim, lease_owner=None, lease_expires_at=None)
                await connection.execute(update(applies).where(mine).values(due_at=func.now()))
                return False
            job = await _ended(connection, claim.job_id, end)
            ended: dict[str, Any] = {"step": "ended", "wish": None, "ended_at": func.now()}
            ended |= {} if state is None else {"state": state}
            await connection.execute(update(applies).where(mine).values(ended))
            await _unlock(connection, claim.job_id)
            await _make_next_due(connection, namespace=row["namespace"])
            await write_timeline(connection, claim.job_id, entries)
            await _mark_applied(connection, claim.job_id, applied=end.status is OptimizationStatus.APPLIED)
            await write_audit(connection, _ending(claim, row["workload"], end))
            await put_events(connection, end_events(job, row, end), self._base_url)
            return True

    async def facts(self) -> ApplyFacts:
        """See ApplyWork.facts."""
        async with self._database.transaction() as connection:
            return await read_facts(connection)

    async def in_force(self, *, durability: str | None = None) -> tuple[AppliedWorkload, ...]:
        """See ApplyWork.in_force."""
        applied = (
            exists()
            .where(recommendations.c.job_id == jobs.c.parent_job_id)
            .where(
                recommendations.c.applied,
                names_recommendation(jobs.c.request, recommendations.c.recommendation_id),
            )
        )
        query = (
            select(applies.c.job_id, applies.c.workload, jobs.c.request.label("request"), applies.c.state)
            .join(jobs, jobs.c.job_id == applies.c.job_id)
            .where(jobs.c.status == _APPLIED, applied)
            .order_by(applies.c.ended_at)
        )
        if durability is not None:
            # What goes to Git is transient until it comes back from there.
            kinds = (durability, "git") if durability == "transient" else (durability,)
            query = query.where(applies.c.durability.in_(kinds))
        async with self._database.transaction() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return tuple(msgspec.convert(_with_order(row), AppliedWorkload) for row in rows)

    async def note_overridden(self, applied: AppliedWorkload, entry: TimelineEntry) -> None:
        """See ApplyWork.note_overridden."""
        async with self._database.transaction() as connection:
            mine = await _applied_by(connection, applied.job_id)
            in_force = update(recommendations).where(mine, recommendations.c.applied)
            if not (await connection.execute(in_force.values(applied=False))).rowcount:
                return  # it was rolled back, or another worker saw it first
            await write_timeline(connection, applied.job_id, [entry])
            overridden = AuditEntry(
                action="overridden",
                subject=applied.workload,
                job_id=applied.job_id,
                reason=entry.message,
                after=entry.data,
            )
            await write_audit(connection, overridden)


def _ending(claim: ApplyClaim, workload: str, end: ApplyEnd) -> AuditEntry:
    reason = end.verification if end.error is None else f"{end.error.code}: {end.error.message}"
    return AuditEntry(
        action=end.status.value.lower(),
        subject=workload,
        principal=claim.wished_by or claim.requester,
        job_id=claim.job_id,
        reason=reason,
        before=end.before,
        after=end.changes,
    )


def _next_apply() -> Any:
    other = exists().where(
        workload_locks.c.workload == applies.c.workload, workload_locks.c.job_id != applies.c.job_id
    )
    rolls_back = case((or_(applies.c.wish.is_not(None), applies.c.step == _ROLLBACK), 0), else_=1)
    oldest = func.extract("epoch", jobs.c.created_at)
    return (
        select(jobs.c.job_id, applies.c.workload)
        .join(applies, applies.c.job_id == jobs.c.job_id)
        .where(
            jobs.c.status == _APPLYING,
            or_(jobs.c.lease_expires_at.is_(None), jobs.c.lease_expires_at < func.now()),
            applies.c.due_at <= func.now(),
            ~other,
        )
        .order_by(rolls_back, case((rolls_back == 0, -oldest), else_=oldest), jobs.c.id)
        .limit(1)
        .with_for_update(skip_locked=True, of=jobs)
    )


async def _claim(connection: AsyncConnection, job_id: str, owner: str) -> ApplyClaim:
    query = (
        select(
            jobs.c.job_id,
            jobs.c.request.label("request"),
            jobs.c.created_at,
            jobs.c.requester,
            applies.c.state,
            applies.c.workload,
            applies.c.started_at.is_not(None).label("started"),
            applies.c.wish,
            applies.c.wished_by,
            applies.c.wish_reason,
        )
        .join(applies, applies.c.job_id == jobs.c.job_id)
        .where(jobs.c.job_id == job_id)
    )
    row = (await connection.execute(query)).mappings().one()
    people = select(apply_approvals.c.principal).where(apply_approvals.c.job_id == job_id)
    approvals = (await connection.execute(people)).scalars().all()
    return msgspec.convert(_with_order(row) | {"owner": owner, "approvals": tuple(approvals)}, ApplyClaim)


def _with_order(row: RowMapping) -> dict[str, Any]:
    values = plain_row(row)
    return values | {"order": values.pop("request")["order"]}


def _held_by(claim: ApplyClaim) -> ColumnElement[bool]:
    return and_(jobs.c.job_id == claim.job_id, jobs.c.lease_owner == claim.owner, jobs.c.status == _APPLYING)


async def _hold(connection: AsyncConnection, claim: ApplyClaim, **values: Any) -> bool:
    return (await connection.execute(update(jobs).where(_held_by(claim)).values(values))).rowcount == 1


async def _locked(connection: AsyncConnection, claim: ApplyClaim) -> bool:
    """Locks the job's row; returns whether the claim still holds."""
    query = select(jobs.c.job_id).where(_held_by(claim)).with_for_update()
    return await connection.scalar(query) is not None


async def _make_next_due(connection: AsyncConnection, *, namespace: str | None) -> None:
    """Has the oldest change that waits for room looked at now, one of the same namespace before others."""
    waiting = (
        select(applies.c.job_id)
        .join(jobs, jobs.c.job_id == applies.c.job_id)
        .where(
            jobs.c.status == _APPLYING,
            applies.c.started_at.is_(None),
            applies.c.due_at > func.now(),
            applies.c.state["waiting"].as_string().in_(_WAITS_FOR_ROOM),
        )
        .order_by(applies.c.namespace != namespace, jobs.c.created_at, jobs.c.id)
        .limit(1)
        .with_for_update(skip_locked=True, of=applies)
    )
    next_one = applies.c.job_id == waiting.scalar_subquery()
    await connection.execute(update(applies).where(next_one).values(due_at=func.now()))


async def _unlock(connection: AsyncConnection, job_id: str) -> None:
    await connection.execute(delete(workload_locks).where(workload_locks.c.job_id == job_id))


async def _ended(connection: AsyncConnection, job_id: str, end: ApplyEnd) -> RowMapping:
    values = {
        "status": end.status.value,
        "completed_at": func.now(),
        "lease_owner": None,
        "lease_expires_at": None,
        "error": None if end.error is None else msgspec.to_builtins(end.error),
    }
    ended = update(jobs).where(jobs.c.job_id == job_id).values(values).returning(jobs)
    ended_row: RowMapping = (await connection.execute(ended)).mappings().one()
    return ended_row


async def _mark_applied(connection: AsyncConnection, job_id: str, *, applied: bool) -> None:
    """Makes a job's recommendations applied in the place of earlier ones, or gives these their place back."""
    mine = await _applied_by(connection, job_id)
    table = recommendations.c
    if not applied:
        await connection.execute(update(recommendations).where(mine).values(applied=False))
        replaced = update(recommendations).where(table.replaced_by_apply == job_id)
        await connection.execute(replaced.values(applied=True, replaced_by_apply=None))
        return
    for row in (await connection.execute(select(table.workload, table.optimization_type).where(mine))).all():
        earlier = and_(
            table.applied,
            table.workload == row.workload,
            table.optimization_type == row.optimization_type,
            ~mine,
        )
        given_up = update(recommendations).where(earlier)
        await connection.execute(given_up.values(applied=False, replaced_by_apply=job_id))
    await connection.execute(update(recommendations).where(mine).values(applied=True, replaced_by_apply=None))


async def _applied_by(connection: AsyncConnection, job_id: str) -> ColumnElement[bool]:
    request = (await connection.execute(select(jobs.c.request).where(jobs.c.job_id == job_id))).scalar_one()
    return recommendations.c.recommendation_id.in_(request["recommendation_ids"])
