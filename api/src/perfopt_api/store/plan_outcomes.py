"""What plans of several recommendations came to, on PostgreSQL. A plan of one is its recommendation."""

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import Float, RowMapping, cast, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from perfopt.domain.recommendation import OptimizationRecommendation, Plan
from perfopt.engine.records import PLAN, RecordedOutcome
from perfopt_api.store.mapping import recommendation_of
from perfopt_api.store.outcomes import MAX_READ, DueOutcome, LeasedOutcomes
from perfopt_api.store.tables import jobs, plan_outcomes, recommendations

_NOW, _EARLIER = "now", "earlier"  # versions of plans: made by the strategies that run, or not


class PostgresPlanOutcomes(LeasedOutcomes):
    """The outcomes of the plans of a database, by job."""

    table = plan_outcomes
    key = plan_outcomes.c.job_id

    @staticmethod
    def versions(_: Mapping[str, str]) -> dict[str, str]:
        """Returns what plans go by among strategies, and the version of those that run now."""
        return {PLAN: _NOW}

    async def recorded(self, versions: Mapping[str, str]) -> tuple[RecordedOutcome, ...]:
        """Returns the newest scored outcomes of plans."""
        table = recommendations
        before = jobs.c.plan["confidence_detail"]["before_record"].as_string()
        stated = jobs.c.plan["expected_improvement"]["confidence"].as_string()
        made_by = func.json_build_array(
            table.c.body["plugin"].as_string(), table.c.body["plugin_version"].as_string()
        )
        query = (
            select(
                func.min(table.c.workload).label("workload"),
                func.min(table.c.made_at).label("made_at"),
                func.min(table.c.valid_until).label("valid_until"),
                cast(func.coalesce(before, stated), Float).label("stated"),
                plan_outcomes.c.accurate,
                plan_outcomes.c.scored_at,
                func.json_agg(made_by).label("made_by"),
            )
            .join(jobs, jobs.c.job_id == plan_outcomes.c.job_id)
            .join(table, table.c.job_id == jobs.c.job_id)
            .where(plan_outcomes.c.status == "scored")
            .group_by(plan_outcomes.c.job_id, jobs.c.id)
            .order_by(plan_outcomes.c.scored_at.desc(), plan_outcomes.c.job_id)
            .limit(MAX_READ)
        )
        async with self._database.transaction() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return tuple(_recorded(row, versions) for row in rows)

    async def _due(self, connection: AsyncConnection, keys: Sequence[str]) -> tuple[DueOutcome, ...]:
        columns = [column for column in recommendations.c if column.name != "predictions"]
        parts = (
            select(*columns)
            .where(recommendations.c.job_id.in_(keys))
            .order_by(recommendations.c.recommendation_id)
        )
        by_job: dict[str, list[OptimizationRecommendation]] = {}
        for row in (await connection.execute(parts)).mappings():
            by_job.setdefault(row["job_id"], []).append(recommendation_of(row))
        query = (
            select(
                jobs.c.job_id,
                jobs.c.plan,
                jobs.c.created_at,
                plan_outcomes.c.attempts,
                jobs.c.request["source"].as_string().label("source"),
            )
            .join(plan_outcomes, plan_outcomes.c.job_id == jobs.c.job_id)
            .where(jobs.c.job_id.in_(keys))
            .order_by(jobs.c.job_id)
        )
        rows = (await connection.execute(query)).mappings().all()
        return tuple(_due(row, by_job[row["job_id"]]) for row in rows)


def _due(row: RowMapping, parts: Sequence[OptimizationRecommendation]) -> DueOutcome:
    plan = msgspec.convert(row["plan"], Plan)
    inside = {step.recommendation_id for step in plan.steps}
    return DueOutcome(
        key=row["job_id"],
        made=tuple(parts),
        together=plan.recommended_state,
        applied=all(part.applied for part in parts if part.recommendation_id in inside),
        source=row["source"],
        attempts=row["attempts"],
        stored_at=row["created_at"],
    )


def _recorded(row: RowMapping, versions: Mapping[str, str]) -> RecordedOutcome:
    same = all(versions.get(plugin) == version for plugin, version in row["made_by"])
    return RecordedOutcome(
        strategy=PLAN,
        version=_NOW if same else _EARLIER,
        workload=row["workload"],
        made_at=row["made_at"],
        valid_until=row["valid_until"],
        stated=row["stated"],
        accurate=row["accurate"],
        recorded_at=row["scored_at"],
    )
