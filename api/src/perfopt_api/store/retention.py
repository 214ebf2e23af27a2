"""Deletes what is old and has done its work; what is in force, due or part of a change is never touched."""

from datetime import date, datetime

from sqlalchemy import delete, exists, select, text, tuple_
from sqlalchemy.orm import aliased

from perfopt_api.store.apply_rows import names_recommendation
from perfopt_api.store.apply_tables import service_days
from perfopt_api.store.database import Database
from perfopt_api.store.days import partition_of
from perfopt_api.store.in_force import in_force
from perfopt_api.store.tables import (
    jobs,
    outbox,
    outcomes,
    plan_outcomes,
    recommendations,
    workload_days,
)


class PostgresRetention:
    """Forgets finished jobs with their recommendations, and events that went out."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def forget_jobs(self, before: datetime, *, limit: int) -> int:
        """Deletes finished analyses with their recommendations and outcomes, oldest first.

        One stays as long as a recommendation of it is current, applied, or waits for its outcome, as its plan
        may, or a job that applied one names it; see `forget_changes`.

        Args:
            before: only what was finished before it.
            limit: at most so many jobs.

        Returns:
            How many jobs were deleted.
        """
        of_job = recommendations.c.job_id == jobs.c.job_id
        current = in_force() | recommendations.c.applied
        in_use = exists().where(of_job, current)
        waiting = exists().where(
            of_job,
            outcomes.c.recommendation_id == recommendations.c.recommendation_id,
            outcomes.c.status == "due",
        )
        child = aliased(jobs)
        old = (
            select(jobs.c.job_id)
            .where(
                jobs.c.completed_at < before,
                jobs.c.parent_job_id.is_(None),
                ~in_use,
                ~waiting,
                ~exists().where(plan_outcomes.c.job_id == jobs.c.job_id, plan_outcomes.c.status == "due"),
                ~exists().where(child.c.parent_job_id == jobs.c.job_id),
            )
            .order_by(jobs.c.completed_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        async with self._database.transaction() as connection:
            ids = (await connection.execute(old)).scalars().all()
            await connection.execute(delete(recommendations).where(recommendations.c.job_id.in_(ids)))
            await connection.execute(delete(jobs).where(jobs.c.job_id.in_(ids)))
        return len(ids)

    async def forget_changes(self, before: datetime, *, limit: int) -> int:
        """Deletes ended changes with their timelines, snapshots and approvals, oldest first.

        One stays as long as a recommendation of it is applied, or would be again were the change that took
        its place taken back, and that change is not old itself. The audit is left.

        Args:
            before: only what ended before it.
            limit: at most so many changes.

        Returns:
            How many were deleted.
        """
        later = aliased(jobs)
        replaced = exists().where(
            later.c.job_id == recommendations.c.replaced_by_apply, later.c.completed_at >= before
        )
        in_use = exists().where(
            recommendations.c.job_id == jobs.c.parent_job_id,
            names_recommendation(jobs.c.request, recommendations.c.recommendation_id),
            recommendations.c.applied | replaced,
        )
        old = (
            select(jobs.c.job_id)
            .where(jobs.c.completed_at < before, jobs.c.parent_job_id.is_not(None), ~in_use)
            .order_by(jobs.c.completed_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        async with self._database.transaction() as connection:
            return (await connection.execute(delete(jobs).where(jobs.c.job_id.in_(old)))).rowcount

    async def forget_events(self, before: datetime, *, limit: int) -> int:
        """Deletes events that were published before an instant; returns how many."""
        old = select(outbox.c.id).where(outbox.c.published_at < before).order_by(outbox.c.id).limit(limit)
        async with self._database.transaction() as connection:
            return (await connection.execute(delete(outbox).where(outbox.c.id.in_(old)))).rowcount

    async def forget_fleet_jobs(self, before: datetime, *, limit: int) -> int:
        """Deletes jobs of fleets' parts that stored no recommendation; returns how many."""
        stored = exists().where(recommendations.c.job_id == jobs.c.job_id)
        old = (
            select(jobs.c.job_id)
            .where(jobs.c.fleet_id.is_not(None), jobs.c.completed_at < before, ~stored)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        async with self._database.transaction() as connection:
            return (await connection.execute(delete(jobs).where(jobs.c.job_id.in_(old)))).rowcount

    async def forget_service_days(self, before: datetime, *, limit: int) -> int:
        """Deletes what is known of the days of applied changes before an instant; returns how many."""
        old = select(service_days.c.workload, service_days.c.day).where(service_days.c.day < before.date())
        keys = tuple_(service_days.c.workload, service_days.c.day)
        async with self._database.transaction() as connection:
            gone = await connection.execute(delete(service_days).where(keys.in_(old.limit(limit))))
            return gone.rowcount

    async def forget_days(self, before: datetime, *, limit: int) -> int:
        """Deletes series of days before that of an instant; returns how many rows.

        Whole days are dropped with their partition, one a call; rows of the default partition are deleted.
        """
        oldest = await self._oldest_partition(before.date())
        if oldest is not None:
            return await self._drop_day(oldest)
        table = workload_days
        old = (
            select(table.c.source, table.c.workload, table.c.day)
            .where(table.c.day < before.date())
            .order_by(table.c.day)
            .limit(limit)
        )
        keys = tuple_(table.c.source, table.c.workload, table.c.day)
        async with self._database.transaction() as connection:
            return (await connection.execute(delete(table).where(keys.in_(old)))).rowcount

    async def _oldest_partition(self, before: date) -> str | None:
        """Returns the name of the oldest partition of a day before one; None without one."""
        query = text(
            "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
            " WHERE inhparent = 'workload_days'::regclass AND relname <> 'workload_days_default'"
            " AND relname < :name ORDER BY relname LIMIT 1"
        )
        async with self._database.reading() as connection:
            name: str | None = await connection.scalar(query, {"name": partition_of(before)})
        return name

    async def _drop_day(self, partition: str) -> int:
        """Drops a day's partition; returns how many rows it had, at least 1."""
        async with self._database.transaction() as connection:
            await connection.execute(text("SET LOCAL lock_timeout = '5s'"))
            rows = await connection.scalar(text(f"SELECT count(*) FROM {partition}"))  # noqa: S608  partition_of
            await connection.execute(text(f"DROP TABLE {partition}"))
        return max(rows or 0, 1)
