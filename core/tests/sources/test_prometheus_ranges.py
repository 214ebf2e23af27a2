"""Range queries of a batch while its other queries are being stopped."""

import asyncio
import gc
from datetime import UTC, datetime, timedelta

import pytest

from perfopt.config.prometheus import PrometheusConfig
from perfopt.metrics.snapshot import TimeGrid
from perfopt.sources.prometheus.client import PrometheusClient
from perfopt.sources.prometheus.ranges import QueryLimits, RangeReader

GRID = TimeGrid(datetime(2026, 3, 2, tzinfo=UTC), timedelta(minutes=5), 12)


async def _asks_while_its_group_stops() -> None:
    client = PrometheusClient(PrometheusConfig(url="http://127.0.0.1:9"))

    async def asks_at_the_end(reader: RangeReader) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await reader.read(["api-1"], lambda pods: f"up{{pod='{pods[0]}'}}")

    async def fails() -> None:
        raise TimeoutError("query timed out")

    try:
        async with asyncio.TaskGroup() as group:
            reader = RangeReader(client, GRID, QueryLimits(1000, 10), group, {})
            group.create_task(asks_at_the_end(reader))
            group.create_task(fails())
    finally:
        await client.close()


def test_a_query_of_a_batch_that_is_stopping_leaves_no_coroutine_behind() -> None:
    with pytest.raises(ExceptionGroup):
        asyncio.run(_asks_while_its_group_stops())
    gc.collect()
