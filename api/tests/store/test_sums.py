"""Sums that are read in the background."""

import asyncio

import pytest

from perfopt.errors import UnavailableError
from perfopt_api.store.sums import KEPT_SECONDS, BackgroundSums


class Reader:
    """Answers with the number of readings, once it is let."""

    def __init__(self):
        self.count = 0
        self.let = asyncio.Event()
        self.error = None

    async def __call__(self, query):
        self.count += 1
        await self.let.wait()
        if self.error is not None:
            raise self.error
        return ({"query": query, "count": self.count},)


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def reader():
    return Reader()


@pytest.fixture
async def sums(reader, now):
    found = BackgroundSums(reader, clock=lambda: now[0])
    yield found
    await found.close()


async def settled(sums):
    """Waits until nothing is read."""
    await asyncio.gather(*sums._readings.values(), return_exceptions=True)
    await asyncio.sleep(0)


async def test_nobody_waits_for_a_slow_first_reading(sums, reader):
    assert await asyncio.gather(sums.rows("a", "x"), sums.rows("a", "x")) == [None, None]
    reader.let.set()
    await settled(sums)
    assert await sums.rows("a", "x") == ({"query": "x", "count": 1},)
    assert reader.count == 1


async def test_old_rows_are_shown_while_they_are_read_anew(sums, reader, now):
    reader.let.set()
    assert (await sums.rows("a", "x"))[0]["count"] == 1
    now[0] = KEPT_SECONDS
    assert (await sums.rows("a", "x"))[0]["count"] == 1
    await settled(sums)
    assert reader.count == 1
    now[0] = KEPT_SECONDS + 1
    assert (await sums.rows("a", "x"))[0]["count"] == 1
    await settled(sums)
    assert (await sums.rows("a", "x"))[0]["count"] == 2


async def test_a_failed_reading_is_stated_at_first_and_old_rows_stay_later(sums, reader, now):
    reader.let.set()
    reader.error = UnavailableError("PostgreSQL is away.")
    with pytest.raises(UnavailableError):
        await sums.rows("a", "x")
    reader.error = None
    assert (await sums.rows("a", "x"))[0]["count"] == 2
    reader.error, now[0] = UnavailableError("PostgreSQL is away."), KEPT_SECONDS + 1
    assert (await sums.rows("a", "x"))[0]["count"] == 2
    await settled(sums)
    assert (await sums.rows("a", "x"))[0]["count"] == 2


async def test_one_query_is_read_at_a_time(sums, reader):
    await asyncio.gather(sums.rows("a", "x"), sums.rows("b", "y"))
    assert reader.count == 1
    reader.let.set()
    await settled(sums)
    assert (await sums.rows("b", "y"))[0]["query"] == "y"
