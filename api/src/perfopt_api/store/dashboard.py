"""What pages of the dashboard read, added up and paged by PostgreSQL."""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Select, func, select, text, true

from perfopt_api.store.apply_rows import who_asked
from perfopt_api.store.apply_tables import applies, apply_timeline, audit, demotions, freezes
from perfopt_api.store.database import Database
from perfopt_api.store.summaries import owners_of
from perfopt_api.store.sums import BINS, HARM, RECORDED, BackgroundSums, Rows
from perfopt_api.store.tables import jobs, recommendations, workloads
from perfopt_api.store.workload_list import WorkloadFilter, matching, ordering, workload_status

PAGE = 50
_OWNER_ROWS = 500
GROUPS = ("strategy", "service class", "week")

_JOB = ("job_id", "service_name", "status", "created_at", "completed_at", "requester", "parent_job_id")
_TOTALS = text("""
WITH priced AS (
  SELECT currency, assumed, cost_current, cost_recommended, recommendation_id IN (
    SELECT recommendation_id FROM optimization_recommendations WHERE applied
  ) AS applied
  FROM workloads
  WHERE status IN ('change', 'approval') AND valid_until > now()
    AND (recommendation_id IN (SELECT recommendation_id FROM optimization_recommendations WHERE applied)
      OR recommendation_id NOT IN (
        SELECT jsonb_array_elements_text(request->'recommendation_ids') FROM optimization_jobs
        WHERE status = 'ROLLED_BACK' AND parent_job_id IS NOT NULL AND fleet_id IS NULL))
    AND cost_current IS NOT NULL AND cost_recommended IS NOT NULL
    AND (:everything OR namespace = ANY(:visible))
)
SELECT applied, currency, assumed, count(*) AS workloads,
       sum(cost_current) AS before, sum(cost_recommended) AS after
FROM priced GROUP BY applied, currency, assumed ORDER BY applied, assumed, currency
""")
_BROKEN = text("""
SELECT (SELECT count(*) FROM outbox WHERE published_at IS NULL AND set_aside_at IS NULL
          AND created_at < now() - interval '1 minute') AS unpublished,
       (SELECT count(*) FROM outbox WHERE published_at IS NULL AND set_aside_at IS NOT NULL) AS set_aside,
       (SELECT count(*) FROM optimization_jobs WHERE status = 'ANALYZING') AS open,
       (SELECT count(*) FROM optimization_jobs WHERE status = 'FAILED' AND fleet_id IS NULL
          AND created_at > now() - interval '1 day') AS failed,
       (SELECT count(*) FROM optimization_jobs WHERE status = 'ROLLED_BACK' AND fleet_id IS NULL
          AND created_at > now() - interval '30 days') AS rolled_back
""")

# Changes whose last word on the timeline is that they wait for an approval, with what is to be approved.
_APPROVALS = text("""
SELECT applies.job_id, applies.workload, applies.namespace, applies.automatic,
       coalesce(jobs.requester, analysis.requester, fleet.requester) AS requester,
       jobs.created_at, last.at AS since,
       last.step, last.message, made.recommendation_id, made.description,
       (made.expected_improvement->>'confidence')::float AS confidence,
       workloads.cost_current, workloads.cost_recommended, workloads.currency, workloads.assumed,
       workloads.accurate, workloads.scored, workloads.n_effective,
       ARRAY(SELECT principal FROM apply_approvals given
             WHERE given.job_id = applies.job_id ORDER BY given.at)::text[] AS approvals
FROM applies
JOIN optimization_jobs jobs ON jobs.job_id = applies.job_id AND jobs.status = 'APPLYING'
CROSS JOIN LATERAL (SELECT at, step, code, message FROM apply_timeline entry
                    WHERE entry.job_id = applies.job_id ORDER BY entry.id DESC LIMIT 1) last
LEFT JOIN optimization_jobs analysis ON analysis.job_id = jobs.parent_job_id
LEFT JOIN optimization_jobs fleet ON fleet.job_id = analysis.fleet_id
LEFT JOIN optimization_recommendations made
       ON made.recommendation_id = jobs.request->'recommendation_ids'->>0
LEFT JOIN workloads ON workloads.workload = applies.workload
WHERE applies.ended_at IS NULL AND last.code IN ('approval', 'held')
  AND (:everything OR applies.namespace = ANY(:visible))
ORDER BY last.at, applies.job_id LIMIT :limit OFFSET :offset
""")


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of one page, and how many there are in all."""

    rows: tuple[Mapping[str, Any], ...]
    total: int


class PageStore:
    """Reads what pages show. Every method raises UnavailableError while PostgreSQL is not reachable."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._sums = BackgroundSums(self._rows, clock)

    async def warm_up(self) -> None:
        """Begins to add up what takes long, before somebody asks for it."""
        await asyncio.gather(self.harm(), self.recorded(), self.reliability())

    async def close(self) -> None:
        """Ends what is being added up."""
        await self._sums.close()

    async def _rows(self, query: Any, **values: Any) -> tuple[Mapping[str, Any], ...]:
        async with self._database.reading() as connection:
            rows = (await connection.execute(query, values)).mappings().all()
        return tuple(dict(row) for row in rows)

    async def totals(self, visible: Collection[str] | None = None) -> tuple[Mapping[str, Any], ...]:
        """Returns what changes come to a month, by whether they are applied, currency, and if assumed.

        Args:
            visible: only of these namespaces; None is all.
        """
        return await self._rows(_TOTALS, **_within(visible))

    async def statuses(self, visible: Collection[str] | None = None) -> dict[str, int]:
        """Returns how many workloads have each status; only of visible namespaces, where these are given."""
        state = workload_status().label("state")
        where = matching(WorkloadFilter(visible=None if visible is None else frozenset(visible)))
        rows = await self._rows(select(state, func.count().label("count")).where(*where).group_by(state))
        return {row["state"]: row["count"] for row in rows}

    async def harm(self) -> Mapping[str, Any] | None:
        """Returns days and unsafe days of workloads with an applied change, of 30 days.

        None while they are added up for the first time; as with all sums that are kept.
        """
        rows = await self._sums.rows("harm", HARM)
        return None if rows is None else rows[0]

    async def broken(self) -> Mapping[str, Any]:
        """Returns events that wait or were set aside; jobs open, failed lately or rolled back."""
        return (await self._rows(_BROKEN))[0]

    async def workloads(self, wanted: WorkloadFilter, *, limit: int | None = PAGE) -> Listing:
        """Returns a page of the workloads; with a limit of None, all of them from the first on."""
        where = matching(wanted)
        query = (
            select(*workloads.c, workload_status().label("state"))
            .where(*where)
            .order_by(*ordering(wanted.sort))
        )
        if limit is not None:
            query = query.limit(limit).offset((wanted.page - 1) * limit)
        (count,) = await self._rows(select(func.count().label("total")).select_from(workloads).where(*where))
        return Listing(rows=await self._rows(query), total=count["total"])

    async def top(self, count: int, visible: Collection[str] | None = None) -> tuple[Mapping[str, Any], ...]:
        """Returns the workloads whose changes save most, of those that are recommended and not applied."""
        seen = None if visible is None else frozenset(visible)
        where = matching(WorkloadFilter(status="change", visible=seen))
        where.append(workloads.c.cost_recommended < workloads.c.cost_current)
        return await self._rows(select(*workloads.c).where(*where).order_by(*ordering("saving")).limit(count))

    async def workload(self, name: str) -> Mapping[str, Any] | None:
        """Returns the row of a workload."""
        query = select(*workloads.c, workload_status().label("state")).where(workloads.c.workload == name)
        return next(iter(await self._rows(query)), None)

    async def choices(self, visible: Collection[str] | None = None) -> dict[str, tuple[str, ...]]:
        """Returns the values that the filters of the list take.

        Args:
            visible: only of workloads in these namespaces; None is all.
        """
        choices: dict[str, tuple[str, ...]] = {}
        for column in (workloads.c.cluster, workloads.c.namespace, workloads.c.kind, workloads.c.owner):
            values = select(column).where(column != "").distinct().order_by(column).limit(500)
            if visible is None:
                rows = await self._sums.rows(column.name, values)
            else:
                rows = await self._rows(values.where(workloads.c.namespace.in_(visible)))
            choices[column.name] = tuple(row[column.name] for row in rows or ())
        return choices

    async def history(self, service: str, workload: str) -> tuple[Mapping[str, Any], ...]:
        """Returns the latest recommendations of a workload, superseded ones too."""
        recommendation = recommendations.c
        dashed = func.replace(recommendation.service_name, text("'_'"), text("'-'"))
        query = (
            select(
                recommendation.recommendation_id,
                recommendation.optimization_type,
                recommendation.description,
                recommendation.created_at,
                recommendation.valid_until,
                recommendation.applied,
                recommendation.superseded_by,
                recommendation.withdrawn_at,
            )
            .where(dashed == service.replace("_", "-"), recommendation.workload == workload)
            .order_by(recommendation.created_at.desc(), recommendation.id.desc())
            .limit(PAGE)
        )
        return await self._rows(query)

    async def changes(self, workload: str) -> tuple[Mapping[str, Any], ...]:
        """Returns the latest jobs that changed a workload, or are about to."""
        query = (
            select(
                applies.c.job_id,
                applies.c.step,
                applies.c.started_at,
                applies.c.ended_at,
                jobs.c.status,
                jobs.c.requester,
                jobs.c.request["recommendation_ids"].label("recommendation_ids"),
                jobs.c.error["message"].as_string().label("error"),
            )
            .join(jobs, jobs.c.job_id == applies.c.job_id)
            .where(applies.c.workload == workload)
            .order_by(jobs.c.created_at.desc())
            .limit(PAGE)
        )
        return await self._rows(query)

    async def owners(self, workload: str) -> tuple[tuple[datetime, tuple[str, ...]], ...]:
        """Returns the autoscalers of a workload as its latest analyses saw them, oldest first."""
        made, state = recommendations.c, recommendations.c.current_state
        query = (
            select(
                made.made_at,
                state["keda"].as_string().label("keda"),
                state["hpa"]["max_replicas"].as_string().label("hpa"),
                state["vpa_mode"].as_string().label("vpa_mode"),
            )
            .where(_named(workload), made.workload == workload)
            .order_by(made.created_at.desc(), made.id.desc())
            .limit(_OWNER_ROWS)
        )
        return tuple((row["made_at"], owners_of(row)) for row in reversed(await self._rows(query)))

    async def who_asked(self, job_id: str) -> str | None:
        """Returns who asked for a change, and so may not approve it."""
        row = next(iter(await self._rows(who_asked(job_id))), None)
        return None if row is None else row["requester"]

    async def looks(self, job_id: str) -> tuple[Mapping[str, Any], ...]:
        """Returns what the verification of a change showed at each look, oldest first."""
        query = select(applies.c.state["looks"].label("looks")).where(applies.c.job_id == job_id)
        row = next(iter(await self._rows(query)), None)
        return () if row is None else tuple(row["looks"] or ())

    async def progress(self, job_id: str) -> Mapping[str, Any] | None:
        """Returns what differs whenever a job's page has something new; None where there is no job."""
        entry = (
            select(func.max(apply_timeline.c.id)).where(apply_timeline.c.job_id == job_id).scalar_subquery()
        )
        seen = select(applies.c.state["look"]["at"].as_string()).where(applies.c.job_id == job_id)
        query = select(jobs.c.status, entry.label("entry"), seen.scalar_subquery().label("look"))
        return next(iter(await self._rows(query.where(jobs.c.job_id == job_id))), None)

    async def jobs(
        self,
        *,
        status: str = "",
        namespaces: Collection[str] | None = None,
        page: int = 1,
        limit: int = PAGE,
    ) -> Sequence[Mapping[str, Any]]:
        """Returns a page of jobs, newest first, and one more where another page follows."""
        shown = (
            "job_id",
            "service_name",
            "status",
            "created_at",
            "completed_at",
            "requester",
            "parent_job_id",
        )
        query = select(*(jobs.c[name] for name in shown), jobs.c.error["message"].as_string().label("error"))
        query = query.where(jobs.c.fleet_id.is_(None))
        if status:
            query = query.where(jobs.c.status == status)
        if namespaces is not None:
            query = query.where(jobs.c.namespace.in_(namespaces))
        newest = query.order_by(jobs.c.created_at.desc(), jobs.c.id.desc())
        return await self._rows(newest.limit(limit + 1).offset((page - 1) * limit))

    async def waiting(self, visible: Collection[str] | None = None) -> tuple[Mapping[str, Any], ...]:
        """Returns the apply jobs that run or wait; only of visible namespaces, where these are given."""
        query = (
            select(applies.c.job_id, applies.c.workload, applies.c.step, jobs.c.requester, jobs.c.created_at)
            .join(jobs, jobs.c.job_id == applies.c.job_id)
            .where(
                applies.c.ended_at.is_(None),
                true() if visible is None else applies.c.namespace.in_(visible),
            )
            .order_by(jobs.c.created_at)
            .limit(PAGE)
        )
        return await self._rows(query)

    async def approvals(
        self, *, page: int = 1, visible: Collection[str] | None = None, limit: int = PAGE
    ) -> tuple[Mapping[str, Any], ...]:
        """Returns a page of the changes that wait for an approval, longest first, with the plan's cost.

        One more where others follow.
        """
        return await self._rows(_APPROVALS, limit=limit + 1, offset=(page - 1) * limit, **_within(visible))

    async def freezes(self) -> tuple[Mapping[str, Any], ...]:
        """Returns the scopes in which nothing new is changed."""
        return await self._rows(select(freezes).order_by(freezes.c.scope))

    async def audit(
        self, *, subject: str = "", before: int | None = None, limit: int = PAGE
    ) -> tuple[Mapping[str, Any], ...]:
        """Returns audit entries, newest first, with ids under `before`; one more where others follow."""
        query: Select[Any] = select(audit).order_by(audit.c.id.desc()).limit(limit + 1)
        if subject:
            query = query.where(audit.c.subject == subject)
        if before is not None:
            query = query.where(audit.c.id < before)
        return await self._rows(query)

    async def reliability(self) -> Rows | None:
        """Returns outcomes of 13 weeks in ten bins of equal size by the confidence stated."""
        return await self._sums.rows("reliability", BINS)

    async def recorded(self) -> dict[str, Rows] | None:
        """Returns outcomes of 13 weeks by each of GROUPS."""
        rows = await self._sums.rows("recorded", RECORDED)
        if rows is None:
            return None
        return {group: tuple(row for row in rows if row["grouped"] == group) for group in GROUPS}

    async def demoted(self) -> tuple[Mapping[str, Any], ...]:
        """Returns the strategies that are only advice."""
        return await self._rows(select(demotions).order_by(demotions.c.at.desc()))

    async def source_of_job(self, job_id: str) -> str | None:
        """Returns the metric source that an analysis read; None is the default one."""
        query = select(jobs.c.request["source"].as_string().label("source")).where(jobs.c.job_id == job_id)
        return next((row["source"] for row in await self._rows(query)), None)


def _named(workload: str) -> ColumnElement[bool]:
    """Returns the condition by which an index finds the recommendations of a workload."""
    name = func.replace(func.lower(func.split_part(recommendations.c.workload, "/", -1)), "_", "-")
    return name == workload.rpartition("/")[2].lower().replace("_", "-")


def _within(visible: Collection[str] | None) -> dict[str, Any]:
    return {"everything": visible is None, "visible": [] if visible is None else sorted(visible)}
