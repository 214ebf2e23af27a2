"""The outbox: events wait here, committed with what they tell of, until JetStream has them."""

from collections.abc import Awaitable, Callable

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from perfopt.errors import UnavailableError
from perfopt_api.events.message import EventMessage
from perfopt_api.store.database import Database
from perfopt_api.store.tables import outbox

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
                tried again ever more rarely, and does not hold up the others); raises UnavailableError.
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
                .where(outbox.c.published_at.is_(None), _due())
                .order_by(outbox.c.attempts > 0, outbox.c.id)
                .limit(limit)
            )
            rows = (await connection.execute(query)).all()
            kept: list[int] = []
            refused: list[int] = []
            stopped: UnavailableError | None = None
            for row in rows:
                message = EventMessage(
                    event_id=row.event_id, subject=row.subject, headers=row.headers, payload=row.payload
                )
                try:
                    (kept if await publish(message) else refused).append(row.id)
                except UnavailableError as error:
                    stopped = error
                    break
            await _mark(connection, kept, refused)
        if stopped is not None:
            raise stopped
        return len(kept)


def _due() -> ColumnElement[bool]:
    """The n-th refusal keeps an event back until n squared seconds after it was written."""
    age = func.extract("epoch", func.now() - outbox.c.created_at)
    return age >= outbox.c.attempts * outbox.c.attempts


async def _mark(connection: AsyncConnection, kept: list[int], refused: list[int]) -> None:
    if kept:
        now = {"published_at": func.now()}
        await connection.execute(update(outbox).where(outbox.c.id.in_(kept)).values(now))
    if refused:
        once_more = {"attempts": outbox.c.attempts + 1}
        await connection.execute(update(outbox).where(outbox.c.id.in_(refused)).values(once_more))
