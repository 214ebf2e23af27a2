"""The need of a service from its latest minutes, by the policy that `perfopt backtest` measures."""

import asyncio
import math
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from perfopt.autoscaling import VIOLATION_PENALTIES
from perfopt.autoscaling.live import RunningNeed, need_now, without_gaps
from perfopt.config import Config
from perfopt.domain.period import format_instant
from perfopt.domain.recommendation import OptimizationRecommendation
from perfopt.errors import PerfoptError
from perfopt.sources.base import MetricSource
from perfopt.sources.factory import open_source
from perfopt_api.scaling.feed import HISTORY, STEP_SECONDS, DemandFeed, RecentDemand

MAX_AGE = timedelta(minutes=5)
MIN_HISTORY = timedelta(days=2)
_KEPT = 1000
OpenSource = Callable[[str | None], Awaitable[MetricSource]]


@dataclass(frozen=True, slots=True)
class LiveEstimate:
    """What the latest minutes say.

    Attributes:
        measured_until: end of the last minute with a sample.
        measured_cores: in that minute.
        ready_at: when a replica that starts now is ready.
        need: by then.
    """

    measured_until: datetime
    measured_cores: float
    ready_at: datetime
    need: RunningNeed


@dataclass(frozen=True, slots=True)
class NotLive:
    """Why the stored plan has to do, as one sentence."""

    reason: str


class LiveDemand:
    """Answers for all services. Its reading and forecasting run on a thread of their own.

    Args:
        open_source: opens a configured source, or the default one, on a grid of a minute.
        poll_seconds: a source is not asked more often.
        wait_seconds: how long an answer waits for a source.
    """

    def __init__(self, open_source: OpenSource, *, poll_seconds: float, wait_seconds: float) -> None:
        self._open = open_source
        self._poll_seconds = poll_seconds
        self._wait_seconds = wait_seconds
        self._feeds: dict[str | None, DemandFeed] = {}
        self._needs: dict[tuple[object, ...], RunningNeed] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    async def of(
        self, recommendation: OptimizationRecommendation, source: str | None, now: datetime
    ) -> LiveEstimate | NotLive:
        """Returns the need of a service that a recommendation is in force for, or why it is not known.

        Args:
            recommendation: of type SCALING_OPTIMIZATION: it knows the start-up and what a replica carries.
            source: the metric source that it was made from; None is the default one.
            now: the instant.
        """
        future: Future[LiveEstimate | NotLive] = self._submit(self._of(recommendation, source, now))
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), 2 * self._wait_seconds)
        except TimeoutError:
            return NotLive(f"The source did not answer within {2 * self._wait_seconds:g} s.")

    async def close(self) -> None:
        """Stops the thread."""
        if self._loop is None:
            return
        closed: Future[None] = self._submit(self._closed())
        await asyncio.wrap_future(closed)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._loop = None

    async def _of(
        self, recommendation: OptimizationRecommendation, source: str | None, now: datetime
    ) -> LiveEstimate | NotLive:
        feed = self._feeds.get(source)
        if feed is None:
            feed = self._feeds[source] = DemandFeed(
                partial(self._open, source), poll_seconds=self._poll_seconds, wait_seconds=self._wait_seconds
            )
        try:
            recent = await feed.recent(recommendation.workload)
        except PerfoptError as error:
            return NotLive(error.message)
        return _too_old(recent, now) or self._need(recent, recommendation, now)

    def _need(
        self, recent: RecentDemand, recommendation: OptimizationRecommendation, now: datetime
    ) -> LiveEstimate | NotLive:
        carries = _carries(recent, _data(recommendation, "target_utilization"))
        if carries is None:
            return NotLive("What a replica carries is not known: it states no CPU request.")
        startup = timedelta(seconds=float(_data(recommendation, "startup").get("startup_seconds", 0)))
        ahead = math.ceil((now - recent.end + startup) / timedelta(minutes=1))
        key = (recommendation.recommendation_id, recent.end, ahead, carries)
        if key not in self._needs:
            self._needs[key] = need_now(
                without_gaps(recent.cores, STEP_SECONDS // 60),
                step_minutes=STEP_SECONDS // 60,
                first_minute=int(recent.start.timestamp()) // 60,
                ahead_minutes=ahead,
                carries=carries,
                price=VIOLATION_PENALTIES[recent.workload.service_class.value],
            )
            for old in list(self._needs)[:-_KEPT]:
                del self._needs[old]
        return LiveEstimate(recent.end, float(recent.cores[-1]), now + startup, self._needs[key])

    async def _closed(self) -> None:
        for feed in self._feeds.values():
            await feed.close()

    def _submit[Answer](self, coroutine: Coroutine[Any, Any, Answer]) -> "Future[Answer]":
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=_run, args=(self._loop,), name="live-demand", daemon=True).start()
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)


def sources_by_minute(config: Config) -> OpenSource:
    """Returns what opens a source of a configuration on a grid of a minute."""

    async def opened(name: str | None) -> MetricSource:
        return await asyncio.to_thread(open_source, name, config, step_seconds=STEP_SECONDS)

    return opened


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def _too_old(recent: RecentDemand, now: datetime) -> NotLive | None:
    if now - recent.end > MAX_AGE:
        return NotLive(
            f"The last sample is of {format_instant(recent.end)}, and what is older than"
            f" {MAX_AGE // timedelta(minutes=1)} min says little of now."
        )
    known = recent.end - recent.start
    if known < MIN_HISTORY:
        hours = known / timedelta(hours=1)
        return NotLive(f"There are {hours:.1f} h of minutes, and two days of {HISTORY.days} are needed.")
    return None


def _carries(recent: RecentDemand, learnt: Mapping[str, Any]) -> float | None:
    """Returns the CPU that one replica of now carries: of its request, or less where the objective asks."""
    request = recent.workload.state.total("cpu_request_cores")
    if not request:
        return None
    load = learnt.get("cores_within_objective")
    full = float(learnt.get("full", 1.0)) * request
    return full if load is None else min(full, float(load))


def _data(recommendation: OptimizationRecommendation, code: str) -> Mapping[str, Any]:
    return next((reason.data for reason in recommendation.reasons if reason.code == code), {})
