"""The feed of an autoscaler's minutes: a week once, then only what is new, for all services together."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from perfopt.errors import NotFoundError, SourceUnavailableError
from perfopt.plugin import Workload, WorkloadId
from perfopt.sources.base import FailedSnapshot
from perfopt.testing import make_snapshot
from perfopt_api.scaling.feed import HISTORY, DemandFeed

MINUTE = timedelta(minutes=1)
NAMES = ("n/deployment/a", "n/deployment/b")


class Minutes:
    """A source whose two services used one core more each minute, until a moment that a test moves."""

    name = "minutes"

    def __init__(self):
        self.days, self.later, self.reads = 8, 0, []
        self.failure = None
        self.gate = asyncio.Event()
        self.gate.set()

    def snapshot(self, name):
        cores = np.arange(self.days * 1440.0)
        whole = make_snapshot({"main": {"cpu_cores": cores}}, step=MINUTE)
        identity = WorkloadId(namespace="n", kind="Deployment", name=name)
        state = replace(whole).workload.state
        return replace(whole, workload=Workload(id=identity, service_name=name, state=state))

    def end(self):
        grid = self.snapshot("a").grid
        return grid.start + (7 * 1440 + self.later) * MINUTE

    async def latest(self):
        await self.gate.wait()
        if self.failure:
            raise self.failure
        return self.end()

    async def inventory(self, at):
        return tuple(self.snapshot(name).workload for name in ("a", "b"))

    async def snapshots(self, workloads, start, end, metrics):
        self.reads.append((len(workloads), end - start))
        for workload in workloads:
            if isinstance(self.failure, Exception):
                yield FailedSnapshot(workload, self.failure)
                continue
            whole = self.snapshot(workload.id.name)
            yield whole.slice(whole.grid.index(start), whole.grid.index(end))

    async def close(self):
        self.reads.append("closed")


@pytest.fixture
def source():
    return Minutes()


@pytest.fixture
async def feed(source):
    clock = [0.0]

    async def opened():
        return source

    demand_feed = DemandFeed(opened, poll_seconds=30, wait_seconds=0.5, clock=lambda: clock[0])
    vars(demand_feed)["clock"] = clock
    yield demand_feed
    await demand_feed.close()
    assert source.reads[-1] == "closed"


async def test_a_week_is_read_once_and_then_what_is_new(feed, source):
    first = await feed.recent(NAMES[0])
    assert first.end - first.start == HISTORY
    feed.clock[0], source.later = 31.0, 2
    second = await feed.recent(NAMES[0])
    assert source.reads == [(1, HISTORY), (1, 5 * MINUTE)]
    assert second.end == source.end()
    assert second.cores[-3:].tolist() == (2 * (first.cores[-1] / 2 + np.array([0.0, 1.0, 2.0]))).tolist()
    assert second.end - second.start == HISTORY  # the oldest minutes go


async def test_within_the_interval_nothing_is_read(feed, source):
    await feed.recent(NAMES[0])
    feed.clock[0], source.later = 29.0, 2
    for _ in range(5):
        await feed.recent(NAMES[0])
    assert len(source.reads) == 1


async def test_all_services_are_read_together(feed, source):
    await asyncio.gather(*(feed.recent(name) for name in NAMES))
    for name in NAMES:
        feed.clock[0] += 31
        await feed.recent(name)
    feed.clock[0], source.later = feed.clock[0] + 31, 1
    await asyncio.gather(*(feed.recent(name) for name in NAMES))
    assert source.reads[-1] == (2, 4 * MINUTE)


async def test_a_source_that_fails_leaves_what_was_known(feed, source):
    known = await feed.recent(NAMES[0])
    feed.clock[0], source.failure = 31.0, SourceUnavailableError("down")
    assert await feed.recent(NAMES[0]) is known
    with pytest.raises(SourceUnavailableError, match="down"):
        await feed.recent(NAMES[1])
    feed.clock[0], source.failure, source.later = 62.0, None, 3
    assert (await feed.recent(NAMES[0])).end == source.end()


async def test_a_slow_source_is_waited_for_once_and_answers_later(feed, source):
    source.gate.clear()
    with pytest.raises(SourceUnavailableError, match="being read"):
        await feed.recent(NAMES[0])
    source.gate.set()
    assert (await feed.recent(NAMES[0])).end == source.end()
    assert len(source.reads) == 1


async def test_a_workload_that_is_gone_is_named(feed):
    with pytest.raises(NotFoundError, match="n/deployment/z"):
        await feed.recent("n/deployment/z")
