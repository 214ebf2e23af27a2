"""What policy knows of the time: now, how long this worker runs, and the sessions of exchanges."""

import asyncio
from datetime import datetime, timedelta

import structlog

from perfopt.engine.child import ChildError
from perfopt_api.apply.sessionschild import read_sessions
from perfopt_api.policy.facts import PolicyClock
from perfopt_api.policy.settings import PolicySettings
from perfopt_api.policy.windows import Spans

_READ = timedelta(days=10)
_BACK = timedelta(days=2)
_RETRY = timedelta(minutes=1)
_log = structlog.get_logger(__name__)


class PolicyTime:
    """Gives what policy knows of an instant; calendars are read ahead, as that takes seconds.

    Args:
        settings: name the exchanges.
        started: when this worker began.
    """

    def __init__(self, settings: PolicySettings, started: datetime) -> None:
        self._exchanges = settings.exchanges
        self._started = started
        self._sessions: dict[str, Spans | None] = dict.fromkeys(settings.exchanges)
        self._due: datetime | None = None
        self._reading: asyncio.Task[None] | None = None

    async def refresh(self, now: datetime) -> None:
        """Reads the calendars where they were not read yet; anew, without waiting, before they end."""
        if not self._exchanges or (self._due is not None and now < self._due):
            return
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read(now), name="sessions of exchanges")
        if self._due is None:
            await asyncio.shield(self._reading)

    async def _read(self, now: datetime) -> None:
        try:
            self._sessions = await asyncio.to_thread(read_sessions, self._exchanges, now - _BACK, now + _READ)
            self._due = now + _READ / 2
        except ChildError as error:
            _log.warning("Calendars of exchanges were not read", error=str(error))
            self._due = now + _RETRY

    def __call__(self, now: datetime) -> PolicyClock:
        """Returns what policy knows of an instant."""
        return PolicyClock(now=now, sessions=self._sessions, up_for=now - self._started)
