"""The relay: carries events from the outbox to JetStream, in order, each once."""

import asyncio
import contextlib
from typing import Protocol

import nats.errors
import nats.js.errors
import structlog
from nats.js.api import PubAck, StreamConfig

from perfopt.errors import InvalidInputError, UnavailableError
from perfopt_api.events.message import EventMessage
from perfopt_api.events.nats import NatsConnection, ensure_stream
from perfopt_api.store.outbox import Publish
from perfopt_api.supervision import BackgroundTask
from perfopt_api.tracing import HEADER, span

_BATCH = 100
_LAST_SECONDS = 5.0
_log = structlog.get_logger(__name__)


class Outbox(Protocol):
    """Where events wait."""

    async def publish_pending(self, publish: Publish, *, limit: int) -> int:
        """See perfopt_api.store.outbox."""


class Relay(BackgroundTask):
    """Publishes at once when woken, and looks for itself once a second.

    Args:
        outbox: where events wait.
        connection: to NATS.
        stream: of events; created when it is not there.
    """

    name = "relay"
    pause_seconds = 1.0

    def __init__(self, outbox: Outbox, connection: NatsConnection, stream: StreamConfig) -> None:
        self._outbox = outbox
        self._connection = connection
        self._stream = stream
        self._woken = asyncio.Event()
        self._checked = False

    def wake(self) -> None:
        """Says that an event was committed."""
        self._woken.set()

    async def round(self) -> None:
        """Publishes what waits. While PostgreSQL or NATS is away, events wait in the outbox."""
        try:
            if not self._checked:
                await ensure_stream(self._connection, self._stream)
            self._checked = True
            await self._flush_to_the_end()
        except Exception:
            self._checked = False
            raise

    async def pause(self) -> None:
        """Waits until woken, or a second."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), self.pause_seconds)
        self._woken.clear()

    async def _flush_to_the_end(self) -> None:
        """Flushes. Cancelling waits for it a while: events that went out unmarked would go out twice."""
        flushing = asyncio.create_task(self.flush())
        try:
            await asyncio.shield(flushing)
        except asyncio.CancelledError:
            await asyncio.wait({flushing}, timeout=_LAST_SECONDS)
            flushing.cancel()
            await asyncio.gather(flushing, return_exceptions=True)
            raise

    async def flush(self) -> int:
        """Publishes everything that waits; returns how many.

        Raises:
            UnavailableError: PostgreSQL or NATS is not reachable.
        """
        total = 0
        while count := await self._outbox.publish_pending(self._publish, limit=_BATCH):
            total += count
            if count < _BATCH:
                break
        return total

    async def _publish(self, message: EventMessage) -> bool:
        try:
            await publish_event(self._connection, self._stream, message)
        except UnavailableError:
            raise
        except Exception as error:
            _log.error("event_refused", event_id=str(message.event_id), exc_info=error)
            return False
        return True


async def publish_event(connection: NatsConnection, stream: StreamConfig, message: EventMessage) -> PubAck:
    """Publishes one event to the stream.

    Raises:
        UnavailableError: NATS is not reachable.
        InvalidInputError: NATS refuses the event for what it is.
    """
    parent = message.headers.get(HEADER)
    with connection.translated(), span("publish event", kind="producer", parent=parent):
        try:
            return await connection.jetstream.publish(
                message.subject, message.payload, stream=stream.name, headers=dict(message.headers)
            )
        except (nats.errors.MaxPayloadError, nats.js.errors.BadRequestError) as error:
            raise InvalidInputError(f"NATS refuses the event {message.event_id}: {error}.") from error
