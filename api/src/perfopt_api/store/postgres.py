"""The store of the API on PostgreSQL."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    Column,
    ColumnElement,
    Row,
    RowMapping,
    Select,
    String,
    and_,
    func,
    literal,
    or_,
    select,
    text,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from perfopt.domain.accuracy import ReplayedAccuracy
from perfopt.domain.enums import OptimizationStatus, OptimizationType
from perfopt.domain.job import OptimizationJob
from perfopt.domain.recommendation import OptimizationRecommendation, Plan
from perfopt.domain.request import FleetAnalysisRequest, PerformanceAnalysisRequest
from perfopt.domain.resolve import full_name_pattern
from perfopt_api.errors import QuotaExceededError
from perfopt_api.store import cursor as cursors
from perfopt_api.store.accuracy import replayed_accuracy
from perfopt_api.store.database import Database
from perfopt_api.store.fleets import cancel_analysis, fleet_progress, in_job
from perfopt_api.store.idempotency import earlier_job, remember_job
from perfopt_api.store.in_force import in_force
from perfopt_api.store.mapping import job_of, new_job_row, recommendation_of
from perfopt_api.store.port import DEFAULT_LIMIT, MAX_COUNTED, CreatedJob, JobKind, JobPage
from perfopt_api.store.tables import jobs, recommendations

# What a listing shows: predictions are for who asks for the job or the recommendation itself.
_LISTED = tuple(column for column in recommendations.c if column.name != "predictions")


class PostgresStore:
    """Implements perfopt_api.store.port.Store.

    Args:
        database: the pool.
        max_open_jobs: of one requester.
        base_url: the public address of the API, for links in events.
    """

    def __init__(self, database: Database, *, max_open_jobs: int = 2000, base_url: str | None = None) -> None:
        self._database = database
        self._base_url = base_url
        self._max_open_jobs = max_open_jobs

    async def create_job(
        self,
        request: PerformanceAnalysisRequest | FleetAnalysisRequest,
        *,
        idempotency_key: str | None = None,
        body_hash: str | None = None,
        requester: str | None = None,
    ) -> CreatedJob:
        """See Store.create_job."""
        row = new_job_row(request, requester)
        async with self._database.transaction() as connection:
            if idempotency_key is not None:
                earlier = await earlier_job(connection, requester or "", idempotency_key, body_hash or "")
                if earlier is not None:
                    return CreatedJob(job=await _job(connection, earlier), replayed=True)
            stored = await open_equal(connection, row)
            if stored is None:
                await self._check_quota(connection, requester)
                inserted = await connection.execute(insert(jobs).values(row).returning(jobs))
                stored = inserted.mappings().one()
            if idempotency_key is not None:
                key = (requester or "", idempotency_key)
                await remember_job(connection, *key, body_hash or "", stored["job_id"])
            return CreatedJob(job=job_of(stored), replayed=False)

    async def _check_quota(self, connection: AsyncConnection, requester: str | None) -> None:
        mine = jobs.c.requester.is_not_distinct_from(requester)
        query = select(func.count()).where(mine, jobs.c.status == OptimizationStatus.ANALYZING.value)
        count = await connection.scalar(query) or 0
        if count >= self._max_open_jobs:
            raise QuotaExceededError(
                f"{count} of your jobs are not finished, and {self._max_open_jobs} may be.",
                remedy="Wait until some are.",
            )

    async def get_job(self, job_id: str) -> OptimizationJob | None:
        """See Store.get_job."""
        async with self._database.reading() as connection:
            row = (
                (await connection.execute(select(jobs).where(jobs.c.job_id == job_id)))
                .mappings()
                .one_or_none()
            )
            if row is None:
                return None
            if row["kind"] == JobKind.FLEET:
                made = recommendations.c
                newest = select(*_LISTED).where(made.fleet_id == job_id).order_by(made.created_at.desc())
                rows = (await connection.execute(newest.limit(DEFAULT_LIMIT))).mappings()
                shown = [recommendation_of(each) for each in rows]
                progress = await fleet_progress(connection, job_id)
                within = msgspec.structs.replace(progress, namespace=row["namespace"] or None)
                return job_of(row, shown, within)
            if row["status"] == OptimizationStatus.ANALYZING:
                return job_of(row)
            return job_of(row, await _shown(connection, row))

    async def cancel_analysis(self, job_id: str) -> bool:
        """See Store.cancel_analysis."""
        async with self._database.transaction() as connection:
            return await cancel_analysis(connection, job_id, self._base_url)

    async def list_jobs(
        self,
        *,
        service_name: str | None = None,
        status: OptimizationStatus | None = None,
        namespaces: Collection[str] | None = None,
        fleet_id: str | None = None,
        cursor: str | None = None,
        limit: int = DEFAULT_LIMIT,
    ) -> JobPage[OptimizationJob]:
        """See Store.list_jobs."""
        query = select(jobs)
        if namespaces is not None:
            query = query.where(jobs.c.namespace.in_(namespaces))
        if fleet_id is not None:
            query = query.where(jobs.c.fleet_id == fleet_id, jobs.c.kind == JobKind.SINGLE.value)
        elif service_name is None:
            query = query.where(jobs.c.fleet_id.is_(None))
        if service_name is not None:
            query = query.where(_named(jobs.c.service_name, service_name))
        if status is not None:
            query = query.where(jobs.c.status == status.value)
        async with self._database.reading() as connection:
            rows, following = await _page(connection, cursors.paged(query, jobs, cursor, limit), limit)
            total = await _count(connection, query)
            by_job = await _recommendations_of(connection, [row.job_id for row in rows], _LISTED)
        return JobPage(
            items=tuple(job_of(row._mapping, by_job[row.job_id]) for row in rows),
            next_cursor=following,
            total=total,
        )

    async def get_recommendation(
        self, recommendation_id: str
    ) -> tuple[OptimizationRecommendation, str] | None:
        """See Store.get_recommendation."""
        query = select(recommendations).where(recommendations.c.recommendation_id == recommendation_id)
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else (recommendation_of(row), row["job_id"])

    async def list_recommendations(
        self,
        *,
        service_name: str | None = None,
        optimization_type: OptimizationType | None = None,
        job_id: str | None = None,
        include_superseded: bool = False,
        include_expired: bool = False,
        namespaces: Collection[str] | None = None,
        cursor: str | None = None,
        limit: int = DEFAULT_LIMIT,
    ) -> JobPage[OptimizationRecommendation]:
        """See Store.list_recommendations."""
        table = recommendations
        current = and_(table.c.superseded_by.is_(None), table.c.withdrawn_at.is_(None))
        wanted = current if include_expired else in_force()
        query = select(*_LISTED).where(true() if include_superseded else wanted)
        if service_name is not None:
            query = query.where(_of_service(service_name))
        if optimization_type is not None:
            query = query.where(table.c.optimization_type == optimization_type.value)
        if namespaces is not None:
            # `[cluster/]namespace/kind/name`: the third part from the end
            part = func.split_part(table.c.workload, text("'/'"), text("-3"), type_=String)  # as in the index
            query = query.where(part.in_(namespaces))
        async with self._database.reading() as connection:
            if job_id is not None:
                query = query.where(await in_job(connection, job_id))
            rows, following = await _page(connection, cursors.paged(query, table, cursor, limit), limit)
            total = await _count(connection, query)
        items = tuple(recommendation_of(row._mapping) for row in rows)
        return JobPage(items=items, next_cursor=following, total=total)

    async def plans(self) -> tuple[tuple[str, Plan], ...]:
        """See Store.plans."""
        pairs = select(recommendations.c.workload, recommendations.c.job_id).where(in_force()).distinct()
        mine = pairs.subquery()
        query = (
            select(mine.c.workload, jobs.c.plan)
            .join(jobs, jobs.c.job_id == mine.c.job_id)
            .where(jobs.c.plan.is_not(None))
            .order_by(jobs.c.created_at.desc(), jobs.c.id.desc())
        )
        async with self._database.reading() as connection:
            rows = (await connection.execute(query)).all()
        return tuple((row.workload, msgspec.convert(row.plan, Plan)) for row in rows)

    async def source_of(self, recommendation_id: str) -> str | None:
        """See Store.source_of."""
        table = recommendations
        query = (
            select(jobs.c.request["source"].as_string())
            .join(table, table.c.job_id == jobs.c.job_id)
            .where(table.c.recommendation_id == recommendation_id)
        )
        async with self._database.reading() as connection:
            return await connection.scalar(query)

    async def accuracy(
        self, *, service_name: str | None = None, optimization_type: OptimizationType | None = None
    ) -> tuple[ReplayedAccuracy, ...]:
        """See Store.accuracy."""
        return await replayed_accuracy(self._database, service_name, optimization_type)


async def open_equal(connection: AsyncConnection, row: Mapping[str, Any]) -> RowMapping | None:
    """Returns the unfinished job of an equal request, in the higher of both classes; None without one."""
    lock = func.pg_advisory_xact_lock(func.hashtextextended(row["fingerprint"], 1))
    await connection.execute(select(lock))  # two equal requests at once are one job as well
    same = and_(jobs.c.fingerprint == row["fingerprint"], jobs.c.status == OptimizationStatus.ANALYZING.value)
    statement = (
        update(jobs).where(same).values(priority=func.least(jobs.c.priority, row["priority"])).returning(jobs)
    )
    open_row: RowMapping | None = (await connection.execute(statement)).mappings().first()
    return open_row


async def _job(connection: AsyncConnection, job_id: str) -> OptimizationJob:
    row = (await connection.execute(select(jobs).where(jobs.c.job_id == job_id))).mappings().one()
    return job_of(row, await _shown(connection, row))


async def _shown(connection: AsyncConnection, row: RowMapping) -> list[OptimizationRecommendation]:
    """Returns the recommendations that a job made, applies, or left in force."""
    if row["unchanged"]:
        return await _by_id(connection, row["unchanged"])
    if row["parent_job_id"] is None:
        return (await _recommendations_of(connection, [row["job_id"]]))[row["job_id"]]
    return await _by_id(connection, row["request"]["recommendation_ids"])


async def _by_id(connection: AsyncConnection, ids: Sequence[str]) -> list[OptimizationRecommendation]:
    table = recommendations
    query = select(table).where(table.c.recommendation_id.in_(ids)).order_by(table.c.rank)
    return [recommendation_of(row) for row in (await connection.execute(query)).mappings()]


async def _recommendations_of(
    connection: AsyncConnection, job_ids: Iterable[str], columns: Iterable[Column[Any]] = recommendations.c
) -> dict[str, list[OptimizationRecommendation]]:
    table = recommendations
    query = select(*columns).where(table.c.job_id.in_(list(job_ids))).order_by(table.c.job_id, table.c.rank)
    by_job: dict[str, list[OptimizationRecommendation]] = defaultdict(list)
    for row in (await connection.execute(query)).mappings():
        by_job[row["job_id"]].append(recommendation_of(row))
    return by_job


async def _count(connection: AsyncConnection, query: Select[Any]) -> int:
    """Returns how many rows a listing has on all its pages, counted up to MAX_COUNTED."""
    rows = query.with_only_columns(literal(1), maintain_column_froms=True).limit(MAX_COUNTED).subquery()
    return int(await connection.scalar(select(func.count()).select_from(rows)) or 0)


async def _page(
    connection: AsyncConnection, query: Select[Any], limit: int
) -> tuple[Sequence[Row[Any]], str | None]:
    rows = (await connection.execute(query)).all()
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]
    return rows[:limit], cursors.encode_cursor(last.created_at, last.id)


def _of_service(name: str) -> ColumnElement[bool]:
    named = _named(recommendations.c.service_name, name)
    if "/" not in name:
        return named
    workload = recommendations.c.workload
    dashed = func.replace(func.lower(workload), "_", "-", type_=String)
    last = func.split_part(workload, text("'/'"), text("-1"), type_=String)
    folded = func.replace(func.lower(last), text("'_'"), text("'-'"), type_=String)  # as in the index
    own = name.rpartition("/")[2].strip().lower().replace("_", "-")
    return or_(named, and_(folded == literal(own), dashed.regexp_match(full_name_pattern(name))))


def _named(column: ColumnElement[str], name: str) -> ColumnElement[bool]:
    # Literals and not bound parameters, so that the expression is the index's own.
    dashed = func.replace(column, text("'_'"), text("'-'"), type_=String)
    return dashed == literal(name.replace("_", "-"))
