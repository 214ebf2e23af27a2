"""Days read before: the results are those of a full read, and a later pass reads the new day only."""

import dataclasses
from datetime import UTC, date, datetime, timedelta

import msgspec
import numpy as np
import pytest
from prometheus_cluster import START

from perfopt.config.prometheus import PrometheusConfig
from perfopt.domain.workload import WorkloadId
from perfopt.metrics.catalogue import METRICS
from perfopt.metrics.snapshot import TimeGrid
from perfopt.sources.prometheus.answer import RangeSeries
from perfopt.sources.prometheus.days import StoredDays, days_of, read_by_days
from perfopt.sources.prometheus.source import PrometheusSource
from perfopt.sources.usage import measured_usage

BEGIN = datetime.fromtimestamp(START, UTC)
DAY = timedelta(days=1)
STEP = timedelta(minutes=5)
WEB = WorkloadId(name="web", namespace="prod", kind="Deployment")


class MemoryDays:
    """A store of days in memory."""

    def __init__(self):
        self.content = {}

    async def load(self, source, workloads, days):
        return {
            key[1:]: raw
            for key, raw in self.content.items()
            if key[0] == source and key[1] in workloads and key[2] in days
        }

    async def save(self, source, content):
        self.content |= {(source, *key): raw for key, raw in content.items()}


async def read(url, start, end, days=None):
    """Returns the snapshots, and what the server was asked for."""
    source = PrometheusSource("prom", PrometheusConfig(url=url), days=days)
    try:
        with measured_usage() as usage:
            known = await source.inventory(end)
            found = [one async for one in source.snapshots(known, start, end, set(METRICS))]
    finally:
        await source.close()
    return found, usage.total


def plain(value):
    """Returns a value with arrays as lists, so that NaN equals NaN and all is compared exactly."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if dataclasses.is_dataclass(value):
        return {each.name: plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value


@pytest.mark.prometheus
@pytest.mark.timeout(300)
@pytest.mark.parametrize("hours", [0, 7.5])
async def test_a_daily_pass_reads_one_day_and_gives_what_a_full_read_gives(prometheus_url, hours):
    first, second = BEGIN + timedelta(days=13, hours=hours), BEGIN + timedelta(days=14, hours=hours)
    days = MemoryDays()
    once, before = await read(prometheus_url, first - 13 * DAY, first, days)
    assert plain(once) == plain((await read(prometheus_url, first - 13 * DAY, first))[0])
    again, after = await read(prometheus_url, second - 13 * DAY, second, days)
    full, whole = await read(prometheus_url, second - 13 * DAY, second)
    assert len(again) == 3
    assert plain(again) == plain(full)
    assert after.samples < 0.25 * before.samples
    assert after.samples < 0.25 * whole.samples
    assert after.bytes < 0.4 * whole.bytes
    assert after.queries < 1.1 * whole.queries


@pytest.mark.prometheus
@pytest.mark.timeout(300)
async def test_a_daily_pass_over_a_fleet_sends_fewer_queries(prometheus_url, monkeypatch):
    monkeypatch.setattr("perfopt.sources.prometheus.fetch._PODS_PER_QUERY", 1)  # as if there were many pods
    first, second = BEGIN + timedelta(days=13), BEGIN + timedelta(days=14)
    days = MemoryDays()
    await read(prometheus_url, first - 13 * DAY, first, days)
    again, after = await read(prometheus_url, second - 13 * DAY, second, days)
    full, whole = await read(prometheus_url, second - 13 * DAY, second)
    assert plain(again) == plain(full)
    assert after.queries < 0.9 * whole.queries


def test_a_day_is_whole_with_all_its_steps_an_hour_after_its_end():
    def days(start, hours):
        return [
            (each.day.day, each.first, each.last, each.whole)
            for each in days_of(TimeGrid(start, STEP, int(hours * 12)))
        ]

    midnight = datetime(2026, 11, 1, tzinfo=UTC)
    assert days(midnight, 24) == [(1, 0, 288, False)]
    assert days(midnight, 25) == [(1, 0, 288, True), (2, 288, 300, False)]
    assert days(midnight + STEP, 25) == [(1, 0, 287, False), (2, 287, 300, False)]
    assert days(midnight - STEP, 49) == [
        (31, 0, 1, False),
        (1, 1, 289, True),
        (2, 289, 577, False),
        (3, 577, 588, False),
    ]
    assert days(midnight + timedelta(minutes=1), 25) == [(1, 0, 288, True), (2, 288, 300, False)]
    assert days_of(TimeGrid(midnight, timedelta(minutes=7), 1000)) == []


GRID = TimeGrid(datetime(2026, 11, 1, 12, tzinfo=UTC), timedelta(hours=6), 9)  # to the third, 18:00
HOUR = 3_600_000


def series(first, last, **labels):
    steps = np.arange(first, last)
    begin = int(GRID.start.timestamp()) * 1000
    return RangeSeries(labels, begin + 6 * HOUR * steps, steps.astype(float))


@pytest.fixture
async def stored():
    return await StoredDays.load(MemoryDays(), "prom", [WEB], GRID)


class Server:
    def __init__(self):
        self.asked = []

    async def __call__(self, items, first, last):
        self.asked.append((sorted(items), first, last))
        return [(item, series(first, last, pod=item)) for item in items if item != "idle"]


async def ask(stored, server, *items, query="cpu"):
    found = await read_by_days(stored, GRID, query, dict.fromkeys(items, WEB), server)
    return {item: (one.times.tolist(), one.values.tolist()) for item, one in found}


async def test_what_is_stored_is_not_asked_for_again(stored):
    server = Server()
    once = await ask(stored, server, "a", "idle")
    assert once == {"a": (series(0, 9).times.tolist(), list(map(float, range(9))))}
    assert await ask(stored, server, "a", "idle") == once
    assert server.asked == [(["a", "idle"], 0, 9), (["a", "idle"], 0, 2), (["a", "idle"], 6, 9)]


async def test_pods_that_are_new_are_read_in_full(stored):
    server = Server()
    await ask(stored, server, "a")
    server.asked.clear()
    assert set(await ask(stored, server, "a", "b")) == {"a", "b"}
    assert sorted(server.asked) == [(["a"], 0, 2), (["a"], 6, 9), (["b"], 0, 9)]


async def test_of_days_before_a_pod_was_there_nothing_is_read(stored):
    server = Server()
    await ask(stored, server, "a")
    stored.list_pods([WEB], {"a": WEB}, GRID)
    server.asked.clear()
    found = await read_by_days(stored, GRID, "cpu", dict.fromkeys("ab", WEB), server, pods=True)
    assert server.asked == [(["a", "b"], 0, 2), (["a", "b"], 6, 9)]
    assert [len(one.times) for _, one in found] == [9, 5]
    stored.list_pods([WEB], {"a": WEB, "b": WEB}, GRID)  # the day was read before
    assert stored.lacks(WEB, date(2026, 11, 2), "b")
    assert not stored.lacks(WEB, date(2026, 11, 2), "a")
    assert not stored.lacks(WEB, date(2026, 11, 3), "b")


async def test_another_query_or_source_has_its_own_days(stored):
    server = Server()
    await ask(stored, server, "a")
    await ask(stored, server, "a", query="memory")
    assert server.asked[1] == (["a"], 0, 9)
    await stored.save()
    other = await StoredDays.load(stored.store, "other", [WEB], GRID)
    assert other.known == {}
    same = await StoredDays.load(stored.store, "prom", [WEB], GRID)
    assert set(same.known) == {(str(WEB), date(2026, 11, 2))}
    assert set(same.known[str(WEB), date(2026, 11, 2)]) == {"cpu", "memory"}


async def test_series_of_one_pod_stay_apart(stored):
    async def two(items, first, last):
        return [("a", series(first, last, pod="a", container=name)) for name in ("x", "w")]

    for _ in range(2):
        found = await read_by_days(stored, GRID, "cpu", {"a": WEB}, two)
        assert [one.labels["container"] for _, one in found] == ["w", "x"]
        assert [len(one.times) for _, one in found] == [9, 9]
