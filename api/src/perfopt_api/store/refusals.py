"""Recommendations that a person refused: withdrawn with a reason, before anything was changed."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from perfopt.domain.enums import OptimizationStatus
from perfopt.domain.event import OptimizationRecommendationWithdrawn
from perfopt.domain.period import format_instant
from perfopt.errors import ConflictError, NotFoundError
from perfopt_api.events.message import withdrawal_message
from perfopt_api.store.apply_port import AuditEntry
from perfopt_api.store.apply_rows import names_recommendation, write_audit
from perfopt_api.store.apply_tables import audit
from perfopt_api.store.database import Database
from perfopt_api.store.in_force import in_force
from perfopt_api.store.tables import jobs, outbox, recommendations, workloads

REFUSED = "refused"
_ACTION = "refuse"


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Who refused a recommendation, when and why."""

    principal: str | None
    at: datetime
    reason: str


class PostgresRefusals:
    """Refuses recommendations. Every method raises UnavailableError while PostgreSQL is not reachable.

    Args:
        database: the pool.
        base_url: the public address of the API, for links in events.
    """

    def __init__(self, database: Database, *, base_url: str | None = None) -> None:
        self._database = database
        self._base_url = base_url

    async def refuse(self, recommendation_id: str, *, principal: str | None, reason: str) -> None:
        """Withdraws a recommendation in force, announces that, and notes who did it and why.

        Raises:
            NotFoundError: there is no such recommendation.
            ConflictError: it is not in force any more, is applied, or is being applied.
        """
        async with self._database.transaction() as connection:
            row = await _in_force(connection, recommendation_id)
            mine = recommendations.c.recommendation_id == recommendation_id
            await connection.execute(update(recommendations).where(mine).values(withdrawn_at=func.now()))
            await _update_workload(connection, row["workload"], recommendation_id, reason)
            await self._announce(connection, row, reason)
            entry = AuditEntry(
                action=_ACTION,
                subject=row["workload"],
                principal=principal,
                job_id=row["job_id"],
                reason=reason,
                after={"recommendation_id": recommendation_id},
            )
            await write_audit(connection, entry)

    async def refusal(self, workload: str, recommendation_id: str) -> Refusal | None:
        """Returns who refused a recommendation of a workload, if somebody did."""
        query = select(audit.c.principal, audit.c.at, audit.c.reason).where(
            audit.c.subject == workload,
            audit.c.action == _ACTION,
            audit.c.after["recommendation_id"].as_string() == recommendation_id,
        )
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).mappings().first()
        return None if row is None else Refusal(**row)

    async def _announce(self, connection: AsyncConnection, row: Any, reason: str) -> None:
        body = OptimizationRecommendationWithdrawn(
            event_id=str(uuid4()),
            timestamp=format_instant(datetime.now(UTC)),
            recommendation_id=row["recommendation_id"],
            service_name=row["service_name"],
            optimization_type=row["optimization_type"],
            reason=f"Refused: {reason}",
            job_id=row["job_id"],
        )
        event = withdrawal_message(body, self._base_url)
        await connection.execute(insert(outbox).values(msgspec.structs.asdict(event)))


async def _in_force(connection: AsyncConnection, recommendation_id: str) -> Any:
    """Returns the recommendation, held against a change that begins meanwhile."""
    await connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(recommendation_id, 2))))
    table = recommendations.c
    query = select(
        table.recommendation_id,
        table.job_id,
        table.service_name,
        table.optimization_type,
        table.workload,
        table.applied,
        in_force().label("in_force"),
    ).where(table.recommendation_id == recommendation_id)
    row = (await connection.execute(query.with_for_update())).mappings().one_or_none()
    if row is None:
        raise NotFoundError(f"There is no recommendation {recommendation_id!r}.", remedy="See the workloads.")
    if not row["in_force"]:
        raise ConflictError(f"{recommendation_id} is superseded, withdrawn or expired already.")
    applying = select(jobs.c.job_id).where(
        jobs.c.status == OptimizationStatus.APPLYING.value,
        jobs.c.parent_job_id.is_not(None),
        names_recommendation(jobs.c.request, recommendation_id),
    )
    if row["applied"] or (await connection.execute(applying)).first() is not None:
        raise ConflictError(
            f"{recommendation_id} is applied, or is being applied.", remedy="Roll its change back instead."
        )
    return row


async def _update_workload(
    connection: AsyncConnection, workload: str, recommendation_id: str, reason: str
) -> None:
    """Has the workload's row lead to another change of its plan, or show that all were refused."""
    table = recommendations.c
    others = (
        select(table.recommendation_id)
        .where(
            table.workload == workload,
            table.recommendation_id != recommendation_id,
            in_force(),
            ~func.coalesce(table.body["no_change_needed"].as_boolean(), False),
        )
        .order_by(table.id)
        .limit(1)
    )
    other = (await connection.execute(others)).scalar()
    values: dict[str, Any] = {"limit_code": REFUSED, "limit_reason": reason}
    if other is None:
        values["status"] = REFUSED
    mine = update(workloads).where(workloads.c.workload == workload)
    await connection.execute(mine.values(values))
    if other is not None:
        led = mine.where(workloads.c.recommendation_id == recommendation_id)
        await connection.execute(led.values(recommendation_id=other))
