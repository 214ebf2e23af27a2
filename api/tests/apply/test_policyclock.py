import sys
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from perfopt.engine.child import ChildCrashedError
from perfopt_api.apply import policyclock
from perfopt_api.apply.policyclock import PolicyTime
from perfopt_api.policy.settings import PolicySettings

MONDAY = datetime(2026, 11, 30, 12, tzinfo=UTC)
POLICY = PolicySettings(exchanges=("XNYS", "NOPE"))


class Calendars:
    """Answers instead of a process."""

    def __init__(self):
        self.seen, self.error = [], None

    def __call__(self, exchanges, start, end):
        self.seen.append((exchanges, start, end))
        if self.error is not None:
            raise self.error
        return {"XNYS": ((MONDAY, MONDAY + timedelta(hours=6)),), "NOPE": None}


@pytest.fixture
def reads(monkeypatch):
    calendars = Calendars()
    monkeypatch.setattr(policyclock, "read_sessions", calendars)
    return calendars


async def test_calendars_are_read_in_another_process_that_ends():
    time = PolicyTime(POLICY, MONDAY)
    before = "pandas" in sys.modules
    await time.refresh(MONDAY)
    sessions = time(MONDAY).sessions
    opened = datetime(2026, 11, 30, 14, 30, tzinfo=UTC)
    assert (opened, opened + timedelta(hours=6, minutes=30)) in sessions["XNYS"]
    assert sessions["NOPE"] is None
    assert ("pandas" in sys.modules) is before
    assert not any("sessionschild" in " ".join(child.cmdline()) for child in psutil.Process().children())


async def test_calendars_are_read_anew_before_they_end_and_nobody_waits(reads):
    time = PolicyTime(POLICY, MONDAY)
    await time.refresh(MONDAY)
    await time.refresh(MONDAY + timedelta(days=4))
    assert len(reads.seen) == 1
    later = MONDAY + timedelta(days=5)
    await time.refresh(later)
    assert time(later).sessions["XNYS"]
    await time._reading
    assert reads.seen[1] == (POLICY.exchanges, later - timedelta(days=2), later + timedelta(days=10))


async def test_sessions_are_unknown_while_they_can_not_be_read_and_asked_for_again(reads):
    reads.error = ChildCrashedError("ended")
    time = PolicyTime(POLICY, MONDAY)
    await time.refresh(MONDAY)
    assert time(MONDAY).sessions == {"XNYS": None, "NOPE": None}
    reads.error = None
    await time.refresh(MONDAY + timedelta(seconds=59))
    assert len(reads.seen) == 1
    await time.refresh(MONDAY + timedelta(minutes=1))
    await time._reading
    assert time(MONDAY).sessions["XNYS"] is not None


async def test_without_exchanges_nothing_is_read(reads):
    time = PolicyTime(PolicySettings(exchanges=()), MONDAY)
    await time.refresh(MONDAY)
    assert reads.seen == []
    assert time(MONDAY).sessions == {}
