"""Admission of requests at their arrival: what could not be answered soon is refused at once, at any load.

How many requests may be at work is found by what they take: on a busy machine fewer than on an idle one. A
request counts from its arrival to the first byte of its answer, but not while it waits for its own body or,
by `Prefer: wait`, for a job: these waits cost nobody else anything, and have bounds of their own.
"""

import asyncio
import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from perfopt_api.http.problems import KINDS, MEDIA_TYPE, TYPE_PREFIX, Problem
from perfopt_api.telemetry import REFUSED_REQUESTS, REQUESTS_AT_WORK

TARGET_SECONDS = 1.0
"""That a request may be at work, on the mean."""
MIN_AT_WORK, START_AT_WORK, MAX_AT_WORK = 8, 64, 512
BODY_GRACE_SECONDS = 0.25
"""After which a request that still waits for its body is no longer counted."""
_WEIGHT = 0.2  # of the latest request in the mean
_FEWER = 0.8  # of the bound, each time that requests take too long
_SETTLE_SECONDS = 0.5  # until a bound shows its effect: it falls once in this time
_FREE_PATHS = ("/health/", "/metrics")
_STATE = "perfopt_place"


class ArrivalLimit:
    """How many requests may be at work at once: fewer after slow ones, more after fast ones (AIMD).

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._limit = float(START_AT_WORK)
        self._mean = 0.0
        self._fell = -math.inf
        self.at_work = 0

    @property
    def full(self) -> bool:
        """Whether one more is refused."""
        return self.at_work >= int(self._limit)

    @property
    def retry_after_seconds(self) -> int:
        """When to come back: once those at work now are likely done."""
        return math.ceil(max(2 * self._mean, 1.0))

    def learn(self, seconds: float) -> None:
        """Takes in for how long a request was at work."""
        self._mean += _WEIGHT * (seconds - self._mean)
        now = self._clock()
        if self._mean > TARGET_SECONDS and now - self._fell >= _SETTLE_SECONDS:
            self._limit, self._fell = max(self._limit * _FEWER, MIN_AT_WORK), now
        elif self._mean < TARGET_SECONDS / 2 and 2 * self.at_work >= self._limit:
            self._limit = min(self._limit + 1.0, MAX_AT_WORK)


class Place:
    """The place of one request among those at work, which it leaves and takes again."""

    def __init__(self, limit: ArrivalLimit, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._clock = clock
        self._since: float | None = None
        self._seconds = 0.0
        self.take()

    def take(self) -> None:
        """Counts the request from here on."""
        if self._since is None:
            self._since = self._clock()
            self._limit.at_work += 1
            REQUESTS_AT_WORK.inc()

    def leave(self) -> None:
        """Counts it no more."""
        if self._since is not None:
            self._seconds += self._clock() - self._since
            self._since = None
            self._limit.at_work -= 1
            REQUESTS_AT_WORK.dec()

    def end(self) -> None:
        """Leaves for good."""
        if self._since is not None:
            self.leave()
            self._limit.learn(self._seconds)


@contextlib.contextmanager
def not_at_work(scope: Any) -> Iterator[None]:
    """Does not count a request, by its ASGI scope, while it only waits for something outside the API."""
    place: Place | None = scope.get("state", {}).get(_STATE)
    if place is None:
        yield
        return
    place.leave()
    try:
        yield
    finally:
        place.take()


class Admission:
    """ASGI wrapper: refuses with 429 at arrival what would wait too long, before its body is read.

    Health and metrics are always let in.

    Args:
        app: what is asked.
        limit: how many may be at work; the same clock as the loop's by default.
    """

    def __init__(self, app: ASGIApp, limit: ArrivalLimit | None = None) -> None:
        self._app = app
        self._limit = limit or ArrivalLimit(_loop_time)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] != ScopeType.HTTP or scope["path"].startswith(_FREE_PATHS):
            await self._app(scope, receive, send)
        elif self._limit.full:
            REFUSED_REQUESTS.inc()
            await self._refuse(scope["path"], send)
        else:
            await self._admitted(scope, receive, send)

    async def _admitted(self, scope: Scope, receive: Receive, send: Send) -> None:
        place = Place(self._limit, _loop_time)
        scope.setdefault("state", {})[_STATE] = place

        async def send_and_end(message: Message) -> None:
            place.end()
            await send(message)

        try:
            await self._app(scope, _uncounted(receive, place), send_and_end)
        finally:
            place.end()

    async def _refuse(self, path: str, send: Send) -> None:
        kind, wait = KINDS["overloaded"], self._limit.retry_after_seconds
        problem = Problem(
            type=f"{TYPE_PREFIX}overloaded",
            title=kind.title,
            status=kind.status,
            detail=f"{self._limit.at_work} requests are at work, as many as this machine answers in time."
            " Wait for the seconds in Retry-After.",
            instance=path,
        )
        body = msgspec.json.encode(problem)
        headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"retry-after", b"%d" % wait),
        ]
        await send({"type": "http.response.start", "status": kind.status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


def _uncounted(receive: Receive, place: Place) -> Receive:
    """Returns what receives parts of a body, and leaves the place while one takes long to arrive."""

    async def patient() -> Any:
        leaving = asyncio.get_running_loop().call_later(BODY_GRACE_SECONDS, place.leave)
        try:
            return await receive()
        finally:
            leaving.cancel()
            place.take()

    return patient
