"""What recommendations came to, on PostgreSQL: leased like jobs, written once, read for confidence."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import msgspec
import structlog
from sqlalchemy import Column, Float, Table, and_, cast, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from perfopt.domain.recommendation import OptimizationRecommendation
from perfopt.engine.records import RecordedOutcome
from perfopt_api.store.apply_tables import service_days
from perfopt_api.store.database import Database
from perfopt_api.store.mapping import recommendation_of
from perfopt_api.store.tables import jobs, outcomes, recommendations
from perfopt_api.telemetry import SET_ASIDE

# Older outcomes hardly weigh anything, and this many are enough.
MAX_READ = 20_000
_UNREADABLE = (msgspec.MsgspecError, KeyError, TypeError, ValueError)
_log = structlog.get_logger(__name__)


class DueOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """A recommendation, or a plan of several, whose validity is over and that nobody else scores now.

    Attributes:
        key: of the recommendation, or of the plan's job.
        made: the recommendation, or all of the plan's job.
        together: the state that a plan recommends; None of a recommendation.
        applied: all of it was in force.
        source: the metric source that its analysis read; None is the default one.
        attempts: how often it was tried, this time included.
        stored_at: when the recommendation was made by the clock of the service.
    """

    key: str
    made: tuple[OptimizationRecommendation, ...]
    together: dict[str, Any] | None = None
    applied: bool
    source: str | None
    attempts: int
    stored_at: datetime

    @property
    def workload(self) -> str:
        """Identity of the workload."""
        return self.made[0].workload

    @property
    def window(self) -> tuple[datetime, datetime]:
        """What it is scored on."""
        return self.made[0].made_at, self.made[0].valid_until


class RecommendationOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a recommendation came to.

    Attributes:
        status: "scored" or "not_scored".
        applied: it was in force.
        accurate: by the definition of accuracy; None where it was not scored.
        cpu_safe, memory_safe, claim_kept: its rules; None where one has nothing to say.
        cpu_waste, memory_waste: recommended / smallest accurate value - 1.
        censored: "oom_kill" or "throttled" where these cut off what was used.
        reason: why it was not scored.
    """

    status: str
    applied: bool = False
    accurate: bool | None = None
    cpu_safe: bool | None = None
    memory_safe: bool | None = None
    claim_kept: bool | None = None
    cpu_waste: float | None = None
    memory_waste: float | None = None
    censored: str | None = None
    reason: str | None = None


class ServiceDays(msgspec.Struct, frozen=True, kw_only=True):
    """The days on which what was applied to a workload was in force.

    Attributes:
        unsafe: by UTC day, whether it was unsafe.
    """

    workload: str
    unsafe: dict[date, bool]


class LeasedOutcomes(ABC):
    """The outcomes of one table. Instants are given, so that one clock rules.

    Attributes:
        table: of the outcomes.
        key: its primary key.
    """

    table: Table
    key: Column[str]

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(
        self, now: datetime, *, owner: str, lease: timedelta, limit: int
    ) -> tuple[DueOutcome, ...]:
        """Takes what is due and not held by another, oldest validity first, and counts the attempt.

        Args:
            now: the present.
            owner: a token of this claim alone.
            lease: how long it is held; after that another may take it.
            limit: at most so many.
        """
        table = self.table.c
        free = or_(table.lease_expires_at.is_(None), table.lease_expires_at < now)
        due = (
            select(self.key)
            .where(table.status == "due", table.due_at <= now, free)
            .order_by(table.due_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        async with self._database.transaction() as connection:
            ids = (await connection.execute(due)).scalars().all()
            held = {
                "lease_owner": owner,
                "lease_expires_at": now + lease,
                "attempts": table.attempts + 1,
            }
            await connection.execute(update(self.table).where(self.key.in_(ids)).values(held))
            return await self._readable(connection, ids, now)

    async def _readable(
        self, connection: AsyncConnection, keys: Sequence[str], now: datetime
    ) -> tuple[DueOutcome, ...]:
        """Reads what was claimed; what cannot be read is set aside as not scored, and holds up no other."""
        try:
            return await self._due(connection, keys)
        except _UNREADABLE as error:
            if len(keys) > 1:
                return tuple([due for key in keys for due in await self._readable(connection, [key], now)])
            _log.error("outcome_set_aside", key=keys[0], exc_info=error)
        SET_ASIDE.labels("outcome").inc()
        reason = "What is stored of the recommendation cannot be read."
        values = {"status": "not_scored", "reason": reason, "scored_at": now, "lease_owner": None}
        await connection.execute(update(self.table).where(self.key == keys[0]).values(values))
        return ()

    async def record(
        self,
        key: str,
        outcome: RecommendationOutcome,
        *,
        owner: str,
        now: datetime,
        days: ServiceDays | None = None,
    ) -> bool:
        """Writes an outcome; False where it is no longer this claim's, or was written before.

        Args:
            key: as of the claim.
            outcome: to write.
            owner: as of the claim.
            now: the present.
            days: of what was applied; a day that is known to be unsafe stays so.
        """
        values = msgspec.structs.asdict(outcome) | {
            "scored_at": now,
            "lease_owner": None,
            "lease_expires_at": None,
        }
        return await self._update_held(key, owner, values, days)

    async def postpone(self, key: str, until: datetime, *, owner: str) -> bool:
        """Gives one back, to be tried again at an instant; False where it is no longer this claim's."""
        values = {"due_at": until, "lease_owner": None, "lease_expires_at": None}
        return await self._update_held(key, owner, values)

    async def _update_held(
        self, key: str, owner: str, values: dict[str, Any], days: ServiceDays | None = None
    ) -> bool:
        table = self.table.c
        held = and_(self.key == key, table.lease_owner == owner, table.status == "due")
        async with self._database.transaction() as connection:
            changed = await connection.execute(update(self.table).where(held).values(values))
            if changed.rowcount == 1 and days is not None and days.unsafe:
                await _write_days(connection, days)
            return changed.rowcount == 1

    async def version(self) -> tuple[int, datetime | None]:
        """Returns something that changes whenever an outcome is written: how many, and the newest."""
        table = self.table.c
        query = select(func.count(), func.max(table.scored_at)).where(table.status == "scored")
        async with self._database.transaction() as connection:
            count, newest = (await connection.execute(query)).one()
        return count, newest

    @staticmethod
    @abstractmethod
    def versions(running: Mapping[str, str]) -> dict[str, str]:
        """Returns whose outcomes these are, to the version that runs now.

        Args:
            running: the strategies that run, to the versions of their plugins.
        """

    @abstractmethod
    async def recorded(self, versions: Mapping[str, str]) -> tuple[RecordedOutcome, ...]:
        """Returns the newest scored outcomes.

        Args:
            versions: the strategies that run, to the versions of their plugins.
        """

    @abstractmethod
    async def _due(self, connection: AsyncConnection, keys: Sequence[str]) -> tuple[DueOutcome, ...]:
        """Reads what was claimed."""


async def _write_days(connection: AsyncConnection, days: ServiceDays) -> None:
    rows = [
        {"workload": days.workload, "day": day, "unsafe": unsafe}
        for day, unsafe in sorted(days.unsafe.items())
    ]
    statement = insert(service_days).values(rows)
    set_ = {"unsafe": service_days.c.unsafe | statement.excluded.unsafe}
    key = list(service_days.primary_key)
    await connection.execute(statement.on_conflict_do_update(index_elements=key, set_=set_))


class PostgresOutcomes(LeasedOutcomes):
    """The outcomes of the recommendations of a database."""

    table = outcomes
    key = outcomes.c.recommendation_id

    @staticmethod
    def versions(running: Mapping[str, str]) -> dict[str, str]:
        """Returns the strategies that run."""
        return dict(running)

    async def recorded(self, versions: Mapping[str, str]) -> tuple[RecordedOutcome, ...]:
        """Returns the newest scored outcomes of strategies."""
        table, body = recommendations, recommendations.c.body
        before = body["confidence_detail"]["before_record"].as_string()
        stated = table.c.expected_improvement["confidence"].as_string()
        plugin = body["plugin"].as_string()
        query = (
            select(
                plugin.label("strategy"),
                body["plugin_version"].as_string().label("version"),
                table.c.workload,
                table.c.made_at,
                table.c.valid_until,
                cast(func.coalesce(before, stated), Float).label("stated"),
                outcomes.c.accurate,
                outcomes.c.scored_at,
            )
            .join(outcomes, outcomes.c.recommendation_id == table.c.recommendation_id)
            .where(outcomes.c.status == "scored", plugin.in_(list(versions)))
            .order_by(outcomes.c.scored_at.desc(), table.c.recommendation_id)
            .limit(MAX_READ)
        )
        async with self._database.transaction() as connection:
            rows = (await connection.execute(query)).all()
        return tuple(RecordedOutcome(*row) for row in rows)

    async def _due(self, connection: AsyncConnection, keys: Sequence[str]) -> tuple[DueOutcome, ...]:
        table = recommendations
        columns = [column for column in table.c if column.name != "predictions"]
        query = (
            select(*columns, outcomes.c.attempts, jobs.c.request["source"].as_string().label("source"))
            .join(outcomes, outcomes.c.recommendation_id == table.c.recommendation_id)
            .join(jobs, jobs.c.job_id == table.c.job_id, isouter=True)
            .where(table.c.recommendation_id.in_(keys))
            .order_by(table.c.made_at, table.c.valid_until, table.c.recommendation_id)
        )
        rows = (await connection.execute(query)).mappings().all()
        return tuple(
            DueOutcome(
                key=row["recommendation_id"],
                made=(recommendation_of(row),),
                applied=row["applied"],
                source=row["source"],
                attempts=row["attempts"],
                stored_at=row["created_at"],
            )
            for row in rows
        )
