"""The work queue on JetStream, for both of its ends, and the message that a job is finished."""

import contextlib
import re

import nats.errors
import nats.js.errors
import structlog
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, StreamConfig

from perfopt_api.events.nats import FINISHED_SUBJECT, JOB_SUBJECT, NatsConnection, ensure_stream
from perfopt_api.store.port import ALL_CLASSES
from perfopt_api.telemetry import SET_ASIDE
from perfopt_api.tracing import span, trace_headers

CONSUMER = "workers"
_JOB_ID = re.compile(r"[!-~]{1,100}")
_log = structlog.get_logger(__name__)
_PER_SUBJECT = 10077  # the server's code for "maximum messages per subject exceeded"


class JetStreamJobQueue:
    """Implements perfopt_api.jobs.queue.JobQueue.

    Args:
        connection: to NATS.
        stream: of the work queue, which must exist.
    """

    def __init__(self, connection: NatsConnection, stream: str) -> None:
        self._connection = connection
        self._stream = stream

    async def enqueue(self, job_id: str) -> None:
        """See JobQueue.enqueue."""
        with self._connection.translated():
            try:
                with span("queue job", kind="producer", job_id=job_id):
                    await self._connection.jetstream.publish(
                        f"{JOB_SUBJECT}.{job_id}",
                        job_id.encode(),
                        stream=self._stream,
                        headers=trace_headers() or None,
                    )
            except nats.js.errors.APIError as error:
                if error.err_code != _PER_SUBJECT:
                    raise

    async def ping(self) -> None:
        """See JobQueue.ping."""
        with self._connection.translated():
            await self._connection.jetstream.stream_info(self._stream)


class JetStreamDelivery:
    """Implements perfopt_api.jobs.worker.Delivery.

    An answer that NATS never gets costs time, never a job: it delivers again, and the job's row is the truth.
    """

    def __init__(self, message: Msg) -> None:
        self._message = message

    async def done(self) -> None:
        """Takes the message off the queue."""
        with contextlib.suppress(nats.errors.Error):
            await self._message.ack()

    async def nothing(self) -> None:
        """Takes it off the queue too: whoever holds the job keeps it, or the sweeper queues it again."""
        await self.done()

    async def again(self, delay: float) -> None:
        """Has it delivered again after so many seconds."""
        with contextlib.suppress(nats.errors.Error):
            await self._message.nak(delay=delay)

    async def working(self) -> None:
        """Has the server wait on."""
        with contextlib.suppress(nats.errors.Error):
            await self._message.in_progress()


class JetStreamDeliveries:
    """Implements perfopt_api.jobs.worker.Deliveries: one pull subscription, for one slot of the worker.

    Args:
        connection: to NATS.
        stream: of the work queue; created when it is not there.
        ack_wait: seconds after which an unanswered message is delivered again.
    """

    classes = ALL_CLASSES

    def __init__(self, connection: NatsConnection, stream: StreamConfig, ack_wait: float) -> None:
        self._connection = connection
        self._stream = stream
        self._ack_wait = ack_wait
        self._subscription: JetStreamContext.PullSubscription | None = None

    async def next(self, within: float) -> JetStreamDelivery | None:
        """Returns the next message, or None when none came in time, or it names no job."""
        with self._connection.translated():
            if self._subscription is None:
                self._subscription = await self._subscribe()
            try:
                [message] = await self._subscription.fetch(1, timeout=within)
            except nats.errors.TimeoutError:
                return None
            except nats.errors.Error:
                # Consumer or stream may be lost with the server's storage: made anew at the next call.
                await self._forget()
                raise
        job_id = message.data.decode("ascii", "replace")
        if _JOB_ID.fullmatch(job_id):
            return JetStreamDelivery(message)
        _log.error("job_message_set_aside", subject=message.subject, data=job_id[:200])
        SET_ASIDE.labels("job_message").inc()
        with contextlib.suppress(nats.errors.Error):
            await message.term()  # the jobs' rows are the truth: nothing is lost
        return None

    async def _forget(self) -> None:
        if self._subscription is not None:
            with contextlib.suppress(nats.errors.Error):
                await self._subscription.unsubscribe()
        self._subscription = None

    async def _subscribe(self) -> JetStreamContext.PullSubscription:
        await ensure_stream(self._connection, self._stream)
        configured = ConsumerConfig(
            durable_name=CONSUMER,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self._ack_wait,
            max_deliver=-1,  # attempts are counted in the job's row
            max_ack_pending=10_000,  # those that wait for another try count too
        )
        jetstream = self._connection.jetstream
        await jetstream.add_consumer(str(self._stream.name), configured)
        return await jetstream.pull_subscribe_bind(CONSUMER, stream=self._stream.name)


class FinishedJobs:
    """Announces finished jobs to waiting API processes; they look for themselves if the message is lost."""

    def __init__(self, connection: NatsConnection) -> None:
        self._connection = connection

    async def announce(self, job_id: str) -> None:
        """Publishes that a job is finished."""
        with self._connection.translated():
            await self._connection.client.publish(f"{FINISHED_SUBJECT}.{job_id}", b"")
