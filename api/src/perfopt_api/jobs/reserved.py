"""The wake-ups of a slot that is reserved for some classes of jobs."""

import asyncio
import contextlib
from collections.abc import Collection

from nats.aio.msg import Msg

from perfopt_api.events.nats import JOB_SUBJECT, NatsConnection
from perfopt_api.store.port import JobClass

_LOOK_SECONDS = 1.0


class ReservedDeliveries:
    """Implements perfopt_api.jobs.worker.Deliveries beside the queue: it hears every message and takes none.

    Args:
        connection: to NATS.
        classes: of the jobs that the slot takes.
    """

    def __init__(self, connection: NatsConnection, classes: Collection[JobClass]) -> None:
        self.classes = classes
        self._connection = connection
        self._woken = asyncio.Event()
        self._subscribed = False

    async def next(self, within: float) -> "WakeUp":
        """Returns a wake-up once a job is queued, or after a second."""
        with self._connection.translated():
            if not self._subscribed:
                await self._connection.client.subscribe(f"{JOB_SUBJECT}.*", cb=self._heard)
                self._subscribed = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), min(within, _LOOK_SECONDS))
        self._woken.clear()
        return WakeUp(self._woken)

    async def _heard(self, _: Msg) -> None:
        self._woken.set()


class WakeUp:
    """Implements perfopt_api.jobs.worker.Delivery with no message behind it."""

    def __init__(self, woken: asyncio.Event) -> None:
        self._woken = woken

    async def done(self) -> None:
        """Looks for another job at once."""
        self._woken.set()

    async def nothing(self) -> None:
        """Waits for the next message."""

    async def again(self, _: float) -> None:
        """Leaves it to the next look, a second later."""

    async def working(self) -> None:
        """Has no queue to wait on it."""
