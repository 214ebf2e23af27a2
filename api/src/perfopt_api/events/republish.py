"""Builds the stream of events anew from the outbox."""

from datetime import datetime
from uuid import UUID

import msgspec
import nats.js.errors
from nats.js.api import StreamConfig

from perfopt.errors import InvalidInputError
from perfopt_api.events.message import EventMessage
from perfopt_api.events.nats import NatsConnection, ensure_stream
from perfopt_api.events.relay import publish_event
from perfopt_api.store.outbox import PostgresOutbox


class RepublishedEvents(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the events of the outbox.

    Attributes:
        published: they are in the stream again.
        present: they were in the stream already.
        dropped: they are not in the stream, and NATS drops them because it still knows their ids.
        refused: NATS refuses them for what they are.
    """

    published: int = 0
    present: int = 0
    dropped: int = 0
    refused: int = 0


async def republish(
    outbox: PostgresOutbox, connection: NatsConnection, stream: StreamConfig, since: datetime | None = None
) -> RepublishedEvents:
    """Publishes every event of the outbox, oldest first, under its own id; NATS drops those that it has.

    Args:
        outbox: holds the events.
        connection: to NATS.
        stream: of events; created when it is not there.
        since: only events written from then on.

    Raises:
        UnavailableError: PostgreSQL or NATS is not reachable; what went out before stays.
    """
    await ensure_stream(connection, stream)
    counts = dict.fromkeys(RepublishedEvents.__struct_fields__, 0)
    async for batch in outbox.batches(since):
        stored: list[UUID] = []
        for message in batch:
            fate = await _publish(connection, stream, message)
            counts[fate] += 1
            if fate in ("published", "present"):
                stored.append(message.event_id)
        await outbox.mark_published(stored)
    return RepublishedEvents(**counts)


async def _publish(connection: NatsConnection, stream: StreamConfig, message: EventMessage) -> str:
    try:
        answer = await publish_event(connection, stream, message)
    except InvalidInputError:
        return "refused"
    if not answer.duplicate:
        return "published"
    return "present" if await _holds(connection, answer.stream, answer.seq, message.event_id) else "dropped"


async def _holds(connection: NatsConnection, stream: str, sequence: int, event_id: UUID) -> bool:
    """Returns whether the copy that NATS remembers is still in the stream."""
    with connection.translated():
        try:
            message = await connection.jetstream.get_msg(stream, sequence)
        except nats.js.errors.NotFoundError:
            return False
    return (message.headers or {}).get("Nats-Msg-Id") == str(event_id)
