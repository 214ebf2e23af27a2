"""Schedules on PostgreSQL, and when they fire."""

import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec
from cronsim import CronSim, CronSimError
from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from perfopt.domain.request import FleetAnalysisRequest
from perfopt.errors import ConflictError, InvalidInputError, NotFoundError
from perfopt_api.errors import QuotaExceededError
from perfopt_api.store.apply_port import AuditEntry
from perfopt_api.store.apply_rows import plain_row, write_audit
from perfopt_api.store.database import Database
from perfopt_api.store.mapping import new_job_row
from perfopt_api.store.postgres import open_equal
from perfopt_api.store.schedule_port import DECLARED_BY, DeclaredSchedule, Schedule, ScheduleRequest
from perfopt_api.store.tables import jobs, schedules

MAX_SCHEDULES = 1000


def next_firing(cron: str, time_zone: str, after: datetime) -> datetime:
    """Returns the first instant after another at which an expression fires, UTC.

    Where clocks go forward, what would fire in the hour left out fires at once after it; where they go back,
    expressions of fixed hours fire once.

    Raises:
        InvalidInputError: the expression or the time zone is wrong, or it never fires.
    """
    try:
        zone = ZoneInfo(time_zone)
    except (KeyError, ValueError, OSError) as error:
        raise InvalidInputError(
            f"There is no time zone {time_zone!r}.",
            field="time_zone",
            remedy="Give an IANA name, such as Europe/Berlin.",
        ) from error
    try:
        return next(CronSim(cron, after.astimezone(zone))).astimezone(UTC)
    except (CronSimError, StopIteration) as error:
        raise InvalidInputError(
            f"{cron!r} is no cron expression that fires: {error}."
            if str(error)
            else f"{cron!r} never fires.",
            field="cron",
            remedy="Write minute, hour, day of month, month and day of week, such as `0 2 * * *`.",
        ) from error


class PostgresSchedules:
    """Implements perfopt_api.store.schedule_port.ScheduleStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create_schedule(
        self, request: ScheduleRequest, *, now: datetime, requester: str | None = None
    ) -> Schedule:
        """See ScheduleStore.create_schedule."""
        row = {
            "name": request.name,
            "cron": request.cron,
            "time_zone": request.time_zone,
            "request": msgspec.to_builtins(request.analysis),
            "requester": requester,
            "next_at": next_firing(request.cron, request.time_zone, now),
        }
        async with self._database.transaction() as connection:
            count = await connection.scalar(select(func.count()).select_from(schedules)) or 0
            if count >= MAX_SCHEDULES:
                raise QuotaExceededError(f"There are {count} schedules already.", remedy="Delete some.")
            statement = insert(schedules).values(row).on_conflict_do_nothing().returning(schedules)
            stored = (await connection.execute(statement)).mappings().one_or_none()
            if stored is None:
                raise ConflictError(
                    f"There is a schedule {request.name!r}.", field="name", remedy="Delete it first."
                )
            entry = AuditEntry(
                action="create_schedule",
                subject=request.name,
                principal=requester,
                after=msgspec.to_builtins(request),
            )
            await write_audit(connection, entry)
            return _schedule(plain_row(stored))

    async def list_schedules(self) -> tuple[Schedule, ...]:
        """See ScheduleStore.list_schedules."""
        async with self._database.reading() as connection:
            rows = (await connection.execute(select(schedules).order_by(schedules.c.name))).mappings()
            return tuple(_schedule(plain_row(row)) for row in rows)

    async def delete_schedule(self, name: str, *, requester: str | None = None) -> Schedule:
        """See ScheduleStore.delete_schedule."""
        statement = delete(schedules).where(schedules.c.name == name).returning(schedules)
        async with self._database.transaction() as connection:
            row = (await connection.execute(statement)).mappings().one_or_none()
            if row is None:
                raise NotFoundError(
                    f"There is no schedule {name!r}.",
                    field="name",
                    remedy="`perfopt schedule list` names them.",
                )
            await write_audit(
                connection, AuditEntry(action="delete_schedule", subject=name, principal=requester)
            )
            return _schedule(plain_row(row))

    async def declare(self, declared: Mapping[str, DeclaredSchedule], *, now: datetime) -> None:
        """Makes the schedules of the configuration those that it declares; others stay.

        A schedule of the same name that somebody made by the API stays as it is.

        Raises:
            InvalidInputError: an expression or a time zone is wrong.
        """
        configured = {name: one.named(name) for name, one in declared.items()}
        for name, stored in {one.name: one for one in await self.list_schedules()}.items():
            if stored.requester != DECLARED_BY:
                configured.pop(name, None)
            elif name in configured and _same(configured[name], stored):
                del configured[name]
            else:
                with contextlib.suppress(NotFoundError):  # another worker did it
                    await self.delete_schedule(name, requester=DECLARED_BY)
        for request in configured.values():
            with contextlib.suppress(ConflictError):
                await self.create_schedule(request, now=now, requester=DECLARED_BY)

    async def fire(self, now: datetime) -> str | None:
        """Starts the job of one schedule that is due; returns its id, None where none is due.

        Workers that ask at once fire different ones. A job of an earlier firing that is not finished is taken
        as this one's, and firings that were missed are one.
        """
        due = (
            select(schedules)
            .where(schedules.c.next_at <= now)
            .order_by(schedules.c.next_at)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        async with self._database.transaction() as connection:
            row = (await connection.execute(due)).mappings().one_or_none()
            if row is None:
                return None
            request = msgspec.convert(row["request"], FleetAnalysisRequest)
            job = new_job_row(request, row["requester"])
            stored = await open_equal(connection, job)
            job_id = job["job_id"] if stored is None else stored["job_id"]
            if stored is None:
                await connection.execute(insert(jobs).values(job))
            fired = {
                "next_at": next_firing(row["cron"], row["time_zone"], now),
                "last_at": now,
                "last_job_id": job_id,
            }
            await connection.execute(update(schedules).where(schedules.c.name == row["name"]).values(fired))
            return str(job_id)


def _same(request: ScheduleRequest, schedule: Schedule) -> bool:
    return (request.cron, request.time_zone, request.analysis) == (
        schedule.cron,
        schedule.time_zone,
        schedule.analysis,
    )


def _schedule(row: dict[str, object]) -> Schedule:
    return msgspec.convert({**row, "analysis": row["request"]}, Schedule)
