"""What policy knows of the time: now, how long this worker runs, and the sessions of exchanges."""

import asyncio
from datetime import datetime, timedelta

from perfopt.engine.sessions import sessions_of
from perfopt_api.policy.facts import PolicyClock
from perfopt_api.policy.settings import PolicySettings
from perfopt_api.policy.windows import Spans

_READ = timedelta(days=10)
_BACK = timedelta(days=2)


class PolicyTime:
    """Gives what policy knows of an instant; calendars are read ahead, as that takes a second.

    Args:
        settings: name the exchanges.
        started: when this worker began.
    """

    def __init__(self, settings: PolicySettings, started: datetime) -> None:
        self._exchanges = settings.exchanges
        self._started = started
        self._sessions: dict[str, Spans | None] = {}
        self._read_until: datetime | None = None
        self._reading = asyncio.Lock()

    async def refresh(self, now: datetime) -> None:
        """Reads the calendars anew where they end within a week."""
        async with self._reading:
            if self._read_until is None or now + _READ / 2 > self._read_until:
                self._sessions = await asyncio.to_thread(self._read, now)
                self._read_until = now + _READ

    def _read(self, now: datetime) -> dict[str, Spans | None]:
        sessions, _ = sessions_of(self._exchanges, now - _BACK, now + _READ)
        return {exchange: sessions.get(exchange) for exchange in self._exchanges}

    def __call__(self, now: datetime) -> PolicyClock:
        """Returns what policy knows of an instant."""
        return PolicyClock(now=now, sessions=self._sessions, up_for=now - self._started)
