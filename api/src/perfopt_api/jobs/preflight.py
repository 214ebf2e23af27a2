"""Carries preflight requests from the API, which may not reach a cluster, to a worker and back, by NATS."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import structlog
from nats.aio.msg import Msg
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeoutError

from perfopt.errors import UnavailableError
from perfopt_api.apply.preflight import PreflightReport, PreflightRequest
from perfopt_api.events.nats import PREFLIGHT_SUBJECT, NatsConnection

ANSWER_SECONDS = 20.0
_WORKERS = "perfopt-workers"
_REMEDY = "Start a worker that reaches the cluster, with policy.apply not off; see `perfopt doctor`."
_log = structlog.get_logger(__name__)

Look = Callable[[PreflightRequest], Awaitable[PreflightReport]]


class NatsPreflight:
    """Implements PreflightPort."""

    def __init__(self, connection: NatsConnection, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._connection = connection
        self._answer_seconds = answer_seconds

    async def ask(self, request: PreflightRequest) -> PreflightReport:
        """See PreflightPort.ask."""
        body = msgspec.json.encode(request)
        with self._connection.translated():
            try:
                answer = await self._connection.client.request(
                    PREFLIGHT_SUBJECT, body, timeout=self._answer_seconds
                )
            except NoRespondersError as error:
                raise UnavailableError(
                    "No worker that may change the cluster runs.", remedy=_REMEDY
                ) from error
            except NatsTimeoutError as error:
                raise UnavailableError(
                    f"No worker answered within {self._answer_seconds:g} s.", remedy=_REMEDY
                ) from error
        if not answer.data:
            raise UnavailableError("The worker could not look.", remedy="See the log of the worker.")
        return msgspec.json.decode(answer.data, type=PreflightReport)


async def answer_preflights(connection: NatsConnection, look: Look) -> None:
    """Answers preflight requests from now on, one at a time; of several workers one answers each.

    Args:
        connection: to NATS.
        look: at the cluster.
    """

    async def asked(message: Msg) -> None:
        try:
            request = msgspec.json.decode(message.data, type=PreflightRequest)
            report = await asyncio.wait_for(look(request), ANSWER_SECONDS)
            answer = msgspec.json.encode(report)
        except Exception:  # whatever it is, the asker must not wait for it, nor others after it
            _log.exception("preflight_failed")
            answer = b""
        await message.respond(answer)

    with connection.translated():
        await connection.client.subscribe(PREFLIGHT_SUBJECT, queue=_WORKERS, cb=asked)
