"""The relay: carries events from the outbox to JetStream, in order, each once."""

import asyncio
import contextlib
from typing import Protocol

import nats.errors
import nats.js.errors
import structlog
from nats.js.api import StreamConfig

from perfopt.errors import PerfoptError
from perfopt_api.events.message import EventMessage
from perfopt_api.events.nats import Nats, ensure_stream
from perfopt_api.store.outbox import Publish

_BATCH = 100
_POLL_SECONDS = 1.0
_log = structlog.get_logger(__name__)


class Outbox(Protocol):
    """Where events wait."""

    async def publish_pending(self, publish: Publish, *, limit: int) -> int:
        """See perfopt_api.store.outbox."""


class Relay:
    """Publishes at once when woken, and looks for itself once a second.

    Args:
        outbox: where events wait.
        connection: to NATS.
        stream: of events; created when it is not there.
    """

    def __init__(self, outbox: Outbox, connection: Nats, stream: StreamConfig) -> None:
        self._outbox = outbox
        self._connection = connection
        self._stream = stream
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Says that an event was committed."""
        self._woken.set()

    async def run(self) -> None:
        """Relays until cancelled. While PostgreSQL or NATS is away, events wait in the outbox."""
        reachable = False
        while True:
            try:
                if not reachable:
                    await ensure_stream(self._connection, self._stream)
                    reachable = True
                await self.flush()
            except PerfoptError as error:
                if reachable:
                    _log.warning("events_wait", reason=error.message)
                reachable = False
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), _POLL_SECONDS)
            self._woken.clear()

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
        with self._connection.translated():
            try:
                await self._connection.jetstream.publish(
                    message.subject, message.payload, stream=self._stream.name, headers=dict(message.headers)
                )
            except (nats.errors.MaxPayloadError, nats.js.errors.BadRequestError) as error:
                _log.error("event_refused", event_id=str(message.event_id), reason=str(error))
                return False
        return True
