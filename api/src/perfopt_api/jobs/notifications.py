"""Tells other systems of events: a durable consumer of the event stream that posts each of them."""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
import msgspec
import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from perfopt_api.events.message import (
    APPLIED_PREFIX,
    ATTENTION_PREFIX,
    DEMOTED_PREFIX,
    ROLLED_BACK_PREFIX,
    STATUS_PREFIX,
)
from perfopt_api.events.nats import NatsConnection
from perfopt_api.policy.hooks import NotificationHook
from perfopt_api.supervision import BackgroundTask
from perfopt_api.telemetry import NOTIFICATIONS

_PREFIXES = {
    "attention_needed": ATTENTION_PREFIX,
    "applied": APPLIED_PREFIX,
    "rolled_back": ROLLED_BACK_PREFIX,
    "job_status_changed": STATUS_PREFIX,
    "strategy_demoted": DEMOTED_PREFIX,
}
_FETCH_SECONDS = 1.0
_BATCH = 10
_MAX_WAIT = 300.0
_log = structlog.get_logger(__name__)


class Notifier(BackgroundTask):
    """Posts the events of one hook. Workers share its consumer, so each event is posted by one of them.

    An event is acknowledged once the receiver answered 2xx; until then it is delivered again, also after a
    restart. A receiver may see one twice, and tells so by the event's id.

    Args:
        name: of the hook.
        hook: where and what.
        nats: with the stream of events.
        stream: its name.
        transport: carries requests; None is the network.
    """

    pause_seconds = 0.1

    def __init__(
        self,
        name: str,
        hook: NotificationHook,
        nats: NatsConnection,
        stream: str,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.name = f"notify-{name}"
        self._hook = hook
        self._nats = nats
        self._stream = stream
        self._transport = transport
        self._events: JetStreamContext.PullSubscription | None = None

    async def round(self) -> None:
        """Posts the events that are there."""
        with self._nats.translated():
            if self._events is None:
                self._events = await self._subscribe()
            try:
                messages = await self._events.fetch(_BATCH, timeout=_FETCH_SECONDS)
            except (nats.errors.TimeoutError, TimeoutError):
                return
        headers = {} if self._hook.token is None else {"Authorization": f"Bearer {self._hook.token}"}
        async with httpx.AsyncClient(
            transport=self._transport, timeout=self._hook.timeout_seconds, headers=headers
        ) as client:
            await asyncio.gather(*(self._deliver(client, message) for message in messages))

    async def _subscribe(self) -> JetStreamContext.PullSubscription:
        config = ConsumerConfig(
            durable_name=f"perfopt-{self.name}",
            description="Notifications of perfopt",
            filter_subjects=[f"{_PREFIXES[event]}.>" for event in self._hook.events],
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self._hook.timeout_seconds * 2 + 30,
            max_deliver=self._hook.attempts,
            deliver_policy=DeliverPolicy.NEW,
        )
        # What an operator changed about the events of a hook counts from the next start.
        await self._nats.jetstream.add_consumer(self._stream, config)
        return await self._nats.jetstream.pull_subscribe_bind(
            consumer=f"perfopt-{self.name}", stream=self._stream
        )

    async def _deliver(self, client: httpx.AsyncClient, message: Msg) -> None:
        failure = await self._post(client, message)
        attempt = message.metadata.num_delivered
        with self._nats.translated():
            if failure is None:
                await message.ack()
                NOTIFICATIONS.labels(self.name, "delivered").inc()
            elif attempt >= self._hook.attempts:
                await message.term()
                NOTIFICATIONS.labels(self.name, "given_up").inc()
                _log.error("notification_given_up", hook=self.name, subject=message.subject, reason=failure)
            else:
                await message.nak(delay=min(2.0 ** (attempt - 1), _MAX_WAIT))
                NOTIFICATIONS.labels(self.name, "retried").inc()
                _log.warning("notification_failed", hook=self.name, attempt=attempt, reason=failure)

    async def _post(self, client: httpx.AsyncClient, message: Msg) -> str | None:
        """Returns why the receiver does not have the event; None where it has."""
        try:
            if self._hook.format == "slack":
                answer = await client.post(
                    self._hook.url,
                    json={"text": text_of((message.headers or {}).get("ce-type", ""), message.data)},
                )
            else:
                sent = {k: v for k, v in (message.headers or {}).items() if k.startswith(("ce-", "content-"))}
                answer = await client.post(self._hook.url, content=message.data, headers=sent)
        except httpx.HTTPError as error:
            return str(error) or type(error).__name__
        return None if answer.is_success else f"HTTP {answer.status_code}"


def text_of(kind: str, payload: bytes) -> str:
    """Returns an event as one line for people.

    Args:
        kind: type of the event.
        payload: its body.
    """
    event: Mapping[str, Any] = msgspec.json.decode(payload)
    what = str(event.get("status") or kind.removeprefix("optimization_").replace("_", " "))
    about = event.get("workload") or event.get("service_name") or event.get("strategy") or ""
    reason = event.get("reason") or event.get("verification") or (event.get("error") or {}).get("message")
    parts = (f"perfopt: {what}: {about}", reason, event.get("details_url"))
    return " | ".join(str(part) for part in parts if part)
