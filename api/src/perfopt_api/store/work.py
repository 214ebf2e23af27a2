"""The store of the worker on PostgreSQL: claims, leases, and finishing a job in one transaction."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec
from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from perfopt.domain.enums import OptimizationStatus
from perfopt.domain.event import OptimizationRecommendationWithdrawn
from perfopt.domain.period import format_instant
from perfopt.domain.recommendation import AnalysisResult, OptimizationRecommendation, renumbered
from perfopt_api.events.material import AnnouncedState, differs_materially
from perfopt_api.events.message import EventMessage, event_message, withdrawal_message
from perfopt_api.store.claims import lost_leases, next_job, unleased
from perfopt_api.store.database import Database
from perfopt_api.store.endings import KnownRecommendation, complete, lock_claimed, touched, unchanged_by
from perfopt_api.store.fleets import settle_fleet
from perfopt_api.store.in_force import in_force
from perfopt_api.store.mapping import outcome_row, recommendation_row
from perfopt_api.store.port import (
    ALL_CLASSES,
    DID_NOT_RUN,
    FinishResult,
    JobClaim,
    JobClass,
    JobError,
    JobKind,
    why_not_again,
)
from perfopt_api.store.summaries import write_summary
from perfopt_api.store.tables import (
    counters,
    idempotency_keys,
    jobs,
    outbox,
    outcomes,
    plan_outcomes,
    recommendations,
)

_ANALYZING = OptimizationStatus.ANALYZING.value


class PostgresWorkStore:
    """Implements perfopt_api.store.port.WorkStore.

    Args:
        database: the pool.
        base_url: the public address of the API, for links in events.
    """

    def __init__(self, database: Database, *, base_url: str | None = None) -> None:
        self._database = database
        self.base_url = base_url

    async def claim(
        self, *, owner: str, lease: timedelta, classes: Collection[JobClass] = ALL_CLASSES
    ) -> JobClaim | None:
        """See WorkStore.claim."""
        statement = (
            update(jobs)
            .where(jobs.c.job_id == next_job(classes))
            .values(
                lease_owner=owner,
                lease_expires_at=func.now() + lease,
                attempts=jobs.c.attempts + 1,
                lost_leases=lost_leases(),
            )
            .returning(
                jobs.c.job_id,
                jobs.c.request,
                jobs.c.attempts,
                jobs.c.lost_leases,
                jobs.c.priority,
                jobs.c.traceparent,
                jobs.c.kind,
                jobs.c.fleet_id,
                func.extract("epoch", func.now() - jobs.c.created_at).label("waited"),
            )
        )
        async with self._database.transaction() as connection:
            row = (await connection.execute(statement)).one_or_none()
        if row is None:
            return None
        return JobClaim(
            job_id=row.job_id,
            body=row.request,
            owner=owner,
            attempt=row.attempts,
            lost=row.lost_leases,
            job_class=JobClass(row.priority),
            waited_seconds=float(row.waited),
            traceparent=row.traceparent,
            kind=JobKind(row.kind),
            fleet_id=row.fleet_id,
        )

    async def extend(self, claim: JobClaim, lease: timedelta) -> bool:
        """See WorkStore.extend."""
        return await self._update_held(claim, lease_expires_at=func.now() + lease)

    async def release(self, claim: JobClaim, *, retry_in: timedelta, count_attempt: bool) -> None:
        """See WorkStore.release."""
        attempts = jobs.c.attempts if count_attempt else jobs.c.attempts - 1
        await self._update_held(
            claim,
            lease_owner=None,
            lease_expires_at=None,
            attempts=attempts,
            queued_at=func.now() + retry_in,
        )

    async def survived(self, claim: JobClaim) -> None:
        """See WorkStore.survived."""
        open_job = and_(jobs.c.job_id == claim.job_id, jobs.c.status == _ANALYZING)
        fewer = func.greatest(jobs.c.lost_leases - 1, 0)
        async with self._database.transaction() as connection:
            await connection.execute(update(jobs).where(open_job).values(lost_leases=fewer))

    async def _update_held(self, claim: JobClaim, **values: Any) -> bool:
        held = and_(
            jobs.c.job_id == claim.job_id, jobs.c.lease_owner == claim.owner, jobs.c.status == _ANALYZING
        )
        async with self._database.transaction() as connection:
            return (await connection.execute(update(jobs).where(held).values(values))).rowcount == 1

    async def finish_job(self, claim: JobClaim, result: AnalysisResult) -> FinishResult:
        """See WorkStore.finish_job."""
        async with self._database.transaction() as connection:
            state = await lock_claimed(connection, claim)
            if state is FinishResult.DONE:
                await self.store_result(connection, claim.job_id, result)
            return state

    async def store_result(
        self, connection: AsyncConnection, job_id: str, result: AnalysisResult, fleet_id: str | None = None
    ) -> None:
        """Ends a job with what its analysis gave, in the transaction of the connection.

        Args:
            connection: holds the job.
            job_id: of the analysis of one workload.
            result: of it.
            fleet_id: of the fleet it is part of: then what is in force stays as it is, where the result
                changes nothing worth a change.
        """
        known = await _current(connection, result)
        unchanged = unchanged_by(result, known, datetime.now(UTC)) if fleet_id else ()
        if unchanged:
            result = msgspec.structs.replace(result, recommendations=(), plan=None)
            await connection.execute(touched(result.workload))
        else:
            result = await self._store_recommendations(connection, job_id, result, known, fleet_id)
            await self._withdraw(connection, job_id, result, known)
            await write_summary(connection, job_id, result)
        ready = OptimizationStatus.RECOMMENDATIONS_READY
        await complete(connection, job_id, ready, result, unchanged=unchanged, base_url=self.base_url)

    async def fail_job(
        self, claim: JobClaim, error: JobError, result: AnalysisResult | None = None
    ) -> FinishResult:
        """See WorkStore.fail_job."""
        async with self._database.transaction() as connection:
            state = await lock_claimed(connection, claim)
            if state is FinishResult.DONE:
                failed = OptimizationStatus.FAILED
                await complete(connection, claim.job_id, failed, result, error, base_url=self.base_url)
                if claim.fleet_id is not None:
                    await settle_fleet(connection, claim.fleet_id, self.base_url)
                if result is not None:
                    await write_summary(connection, claim.job_id, result, failed=True)
            return state

    async def take_stranded(
        self, *, older_than: timedelta, max_attempts: int, max_lost: int, limit: int
    ) -> tuple[str, ...]:
        """See WorkStore.take_stranded."""
        # A lease that ran out is stranded at once; a job never claimed only after its message had time.
        due = or_(jobs.c.lease_owner.is_not(None), jobs.c.queued_at < func.now() - older_than)
        stranded = (
            select(jobs.c.job_id, jobs.c.fleet_id, jobs.c.attempts, lost_leases().label("lost"))
            .where(jobs.c.status == _ANALYZING, unleased(), due)
            .order_by(jobs.c.queued_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        async with self._database.transaction() as connection:
            rows = (await connection.execute(stranded)).all()
            again: list[str] = []
            for row in rows:
                error = why_not_again(row.attempts + 1, row.lost, max_attempts, max_lost)
                if error is None:
                    again.append(row.job_id)
                else:
                    failed = OptimizationStatus.FAILED
                    await complete(connection, row.job_id, failed, None, error, base_url=self.base_url)
            for fleet_id in {row.fleet_id for row in rows if row.fleet_id is not None}:
                await settle_fleet(connection, fleet_id, self.base_url)
            if again:
                freed = {
                    "queued_at": func.now(),
                    "lease_owner": None,
                    "lease_expires_at": None,
                    "lost_leases": lost_leases(),
                }
                await connection.execute(update(jobs).where(jobs.c.job_id.in_(again)).values(freed))
        return tuple(again)

    async def forget_expired(self) -> int:
        """See WorkStore.forget_expired."""
        statement = idempotency_keys.delete().where(idempotency_keys.c.expires_at < func.now())
        async with self._database.transaction() as connection:
            return (await connection.execute(statement)).rowcount

    async def _store_recommendations(
        self,
        connection: AsyncConnection,
        job_id: str,
        result: AnalysisResult,
        known: Mapping[str, KnownRecommendation],
        fleet_id: str | None,
    ) -> AnalysisResult:
        """Stores them under ids of their own and returns the result with these."""
        if not result.recommendations:
            return result
        now = datetime.now(UTC)
        ids = await _next_ids(connection, now.date(), len(result.recommendations))
        result = renumbered(result, ids)
        rows, events = self._rows_and_events(job_id, result, known, now)
        await _supersede(connection, known, rows)
        await connection.execute(
            insert(recommendations).values([row | {"fleet_id": fleet_id} for row in rows])
        )
        await connection.execute(insert(outcomes).values([outcome_row(row) for row in rows]))
        if result.plan is not None and len(result.plan.steps) > 1:
            until = max(recommendation.valid_until for recommendation in result.recommendations)
            await connection.execute(insert(plan_outcomes).values(job_id=job_id, due_at=until))
        if events:
            await connection.execute(
                insert(outbox).values([msgspec.structs.asdict(event) for event in events])
            )
        return result

    def _rows_and_events(
        self,
        job_id: str,
        result: AnalysisResult,
        known: Mapping[str, KnownRecommendation],
        now: datetime,
    ) -> tuple[list[dict[str, Any]], list[EventMessage]]:
        rows: list[dict[str, Any]] = []
        events = []
        first: dict[str, str] = {}
        for rank, given in enumerate(result.recommendations, start=1):
            final = msgspec.structs.replace(given, superseded_by=None, withdrawn_at=None)
            recommendation_id = final.recommendation_id
            kind = final.optimization_type.value
            # Should one job bring two of a type, the better ranked is the current one.
            winner = first.setdefault(kind, recommendation_id)
            state = AnnouncedState.of(final)
            old = known.get(kind)
            new = old is None or not old.in_force or differs_materially(state, old.announced)
            if winner == recommendation_id and new and _is_planned(final, result):
                events.append(
                    event_message(
                        final,
                        event_id=uuid4(),
                        at=now,
                        base_url=self.base_url,
                        job_id=job_id,
                        supersedes=None if old is None else old.recommendation_id,
                    )
                )
            elif old is not None:
                state = old.announced
            beaten = winner != recommendation_id
            rows.append(
                recommendation_row(final)
                | {
                    "job_id": job_id,
                    "rank": rank,
                    "announced": msgspec.to_builtins(state),
                    "superseded_by": winner if beaten else None,
                    "superseded_at": now if beaten else None,
                }
            )
        return rows, events

    async def _withdraw(
        self,
        connection: AsyncConnection,
        job_id: str,
        result: AnalysisResult,
        known: Mapping[str, KnownRecommendation],
    ) -> None:
        """Withdraws what is in force of types of which the analysis recommends nothing any more."""
        recommended = {each.optimization_type for each in result.recommendations}
        reasons = {
            each.optimization_type.value: each.reason
            for each in result.declined
            if each.code not in DID_NOT_RUN and each.optimization_type not in recommended
        }
        now = datetime.now(UTC)
        for kind, reason in reasons.items():
            old = known.get(kind)
            if old is None or not old.in_force:
                continue
            gone = update(recommendations).where(recommendations.c.recommendation_id == old.recommendation_id)
            await connection.execute(gone.values(withdrawn_at=now))
            body = OptimizationRecommendationWithdrawn(
                event_id=str(uuid4()),
                timestamp=format_instant(now),
                recommendation_id=old.recommendation_id,
                service_name=old.service_name,
                optimization_type=kind,
                reason=reason,
                job_id=job_id,
            )
            event = withdrawal_message(body, self.base_url)
            await connection.execute(insert(outbox).values(msgspec.structs.asdict(event)))


def _is_planned(recommendation: OptimizationRecommendation, result: AnalysisResult) -> bool:
    """Returns whether subscribers may act on it: it is part of the plan, or says that nothing changes."""
    if result.plan is None or recommendation.no_change_needed:
        return True
    return any(step.recommendation_id == recommendation.recommendation_id for step in result.plan.steps)


async def _current(connection: AsyncConnection, result: AnalysisResult) -> dict[str, KnownRecommendation]:
    """Returns the last recommendation of each type, holding the lock of the workload.

    Two jobs of one workload finish one after the other: each sees what the other made current.
    """
    lock = func.pg_advisory_xact_lock(func.hashtextextended(result.workload, 0))
    await connection.execute(select(lock))
    table = recommendations
    query = select(
        table.c.optimization_type,
        table.c.recommendation_id,
        table.c.service_name,
        table.c.announced,
        table.c.made_at,
        table.c.valid_until,
        table.c.created_at,
        table.c.body["rules_fired"].label("rules"),
        in_force().label("in_force"),
    ).where(table.c.workload == result.workload, table.c.superseded_by.is_(None))
    rows = (await connection.execute(query)).all()
    return {
        row.optimization_type: KnownRecommendation(
            row.recommendation_id,
            row.service_name,
            row.in_force,
            msgspec.convert(row.announced, AnnouncedState),
            row.valid_until - row.made_at,
            max(row.valid_until, row.created_at + (row.valid_until - row.made_at)),
            frozenset(row.rules),
        )
        for row in rows
    }


async def _next_ids(connection: AsyncConnection, day: date, count: int) -> list[str]:
    """Takes ids from the day's counter row, whose lock makes them unique under concurrency."""
    statement = insert(counters).values(day=day, last=count)
    taken = statement.on_conflict_do_update(
        index_elements=[counters.c.day], set_={"last": counters.c.last + count}
    ).returning(counters.c.last)
    last = int(await connection.scalar(taken) or 0)
    return [f"opt_{day:%Y%m%d}_{number:03d}" for number in range(last - count + 1, last + 1)]


async def _supersede(
    connection: AsyncConnection, known: Mapping[str, KnownRecommendation], rows: Sequence[Mapping[str, Any]]
) -> None:
    for row in rows:
        old = known.get(row["optimization_type"])
        if old is not None and row["superseded_by"] is None:
            await connection.execute(
                update(recommendations)
                .where(recommendations.c.recommendation_id == old.recommendation_id)
                .values(superseded_by=row["recommendation_id"], superseded_at=func.now())
            )
