"""The outbox: events wait here, committed with what they are about, until JetStream has them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, case, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from perfopt.errors import UnavailableError
from perfopt_api.events.message import EventMessage
from perfopt_api.store.database import Database
from perfopt_api.store.tables import outbox
from perfopt_api.telemetry import SET_ASIDE

MAX_REFUSALS = 20
"""Refusals of one event before it is set aside; the last come about seven minutes after it was written."""
_REPUBLISH_BATCH = 200
_LOCK = 0x6F7574  # one relay at a time, so that the order is kept
Publish = Callable[[EventMessage], Awaitable[bool]]


class PostgresOutbox:
    """Hands out events in the order they were written."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def publish_pending(self, publish: Publish, *, limit: int = 100) -> int:
        """Publishes what waits, and marks what went out.

        A crash between the two publishes again: the receiver drops the copy by its event id.

        Args:
            publish: returns True when the event is kept, False when it is refused for what it is (it is
                tried again ever more rarely, does not hold up the others, and is set aside in the end);
                raises UnavailableError.
            limit: at most so many.

        Returns:
            How many went out.

        Raises:
            UnavailableError: PostgreSQL or the receiver is not reachable; what went out before is marked.
        """
        async with self._database.transaction() as connection:
            await connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            query = (
                select(outbox)
                .where(outbox.c.published_at.is_(None), outbox.c.set_aside_at.is_(None), _due())
                .order_by(outbox.c.attempts > 0, outbox.c.id)
                .limit(limit)
            )
            rows = (await connection.execute(query)).all()
            # Marked before they go out: where PostgreSQL takes no writes, nothing goes out again and again.
            await _mark_published(connection, [row.id for row in rows])
            failed: list[int] = []
            refused: list[int] = []
            stopped: UnavailableError | None = None
            for row in rows:
                try:
                    (failed if await publish(_message(row)) else refused).append(row.id)
                except UnavailableError as error:
                    stopped = error
                    break
            await _unmark(connection, [row.id for row in rows[len(failed) + len(refused) :]])
            set_aside = await _count_refusals(connection, refused)
        SET_ASIDE.labels("event").inc(set_aside)
        if stopped is not None:
            raise stopped
        return len(failed)

    async def batches(self, since: datetime | None = None) -> AsyncIterator[tuple[EventMessage, ...]]:
        """Gives every event that is kept, oldest first, whether it went out or not.

        Args:
            since: only those written from then on.

        Raises:
            UnavailableError: PostgreSQL is not reachable.
        """
        last = 0
        while True:
            query = select(outbox).where(outbox.c.id > last).order_by(outbox.c.id).limit(_REPUBLISH_BATCH)
            if since is not None:
                query = query.where(outbox.c.created_at >= since)
            async with self._database.transaction() as connection:
                rows = (await connection.execute(query)).all()
            if not rows:
                return
            yield tuple(_message(row) for row in rows)
            last = rows[-1].id

    async def mark_published(self, event_ids: Collection[UUID]) -> None:
        """Notes that events went out, so that the relay does not publish them again."""
        statement = (
            update(outbox)
            .where(outbox.c.event_id.in_(event_ids))
            .values(published_at=func.coalesce(outbox.c.published_at, func.now()), set_aside_at=None)
        )
        async with self._database.transaction() as connection:
            await connection.execute(statement)


def _due() -> ColumnElement[bool]:
    """The n-th refusal keeps an event back until n squared seconds after it was written."""
    age = func.extract("epoch", func.now() - outbox.c.created_at)
    return age >= outbox.c.attempts * outbox.c.attempts


def _message(row: Row[Any]) -> EventMessage:
    return EventMessage(event_id=row.event_id, subject=row.subject, headers=row.headers, payload=row.payload)


async def _mark_published(connection: AsyncConnection, ids: list[int]) -> None:
    if ids:
        await connection.execute(update(outbox).where(outbox.c.id.in_(ids)).values(published_at=func.now()))


async def _unmark(connection: AsyncConnection, ids: list[int]) -> None:
    if ids:
        await connection.execute(update(outbox).where(outbox.c.id.in_(ids)).values(published_at=None))


async def _count_refusals(connection: AsyncConnection, ids: list[int]) -> int:
    """Returns how many were refused once too often, and set aside."""
    if not ids:
        return 0
    attempts = outbox.c.attempts + 1
    values = {
        "published_at": None,
        "attempts": attempts,
        "set_aside_at": case((attempts >= MAX_REFUSALS, func.now())),
    }
    statement = update(outbox).where(outbox.c.id.in_(ids)).values(values).returning(outbox.c.set_aside_at)
    rows = (await connection.execute(statement)).scalars().all()
    return sum(each is not None for each in rows)
