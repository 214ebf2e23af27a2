"""The same situations read from a VictoriaMetrics, which takes shorter queries than Prometheus."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from field_cases import LONG
from field_world import DAYS, END, GI, MI

from perfopt.config.prometheus import PrometheusConfig
from perfopt.metrics.catalogue import METRICS
from perfopt.sources.prometheus.source import PrometheusSource

pytestmark = [pytest.mark.victoria, pytest.mark.timeout(300), pytest.mark.xdist_group("victoria")]
UNTIL = datetime.fromtimestamp(END, UTC)


async def read(url, world, **settings):
    """Returns a world's snapshots by name."""
    source = PrometheusSource("vm", PrometheusConfig(url=url, matchers=(f'world="{world}"',), **settings))
    try:
        known = await source.inventory(UNTIL)
        found = source.snapshots(known, UNTIL - timedelta(days=DAYS), UNTIL, set(METRICS))
        return {s.workload.id.name: s async for s in found}
    finally:
        await source.close()


async def test_queries_longer_than_it_takes_are_cut(victoria_url):
    """4 KiB here: with the default of the source the first refusal shows it."""
    found = await read(victoria_url, "names", max_query_bytes=15_000)
    for name in (LONG, "short"):
        assert np.nanmedian(found[name].service["requests_per_second"]) == pytest.approx(100, rel=0.05)


async def test_copies_of_an_application_are_not_added_up(victoria_url):
    found = await read(victoria_url, "copies")
    rates = {name: np.nanmedian(s.service["requests_per_second"]) for name, s in found.items()}
    assert rates == pytest.approx({"once": 100, "two-jobs": 100, "two-servers": 100}, rel=0.05)


async def test_oom_kills_count_once(victoria_url):
    found = await read(victoria_url, "oom")
    kills = {name: np.nansum(s.series("app", "oom_kills").values) for name, s in found.items()}
    assert kills == {"by-error": 0, "by-oom": 2, "child": 3, "at-birth": 2, "batch": 1}


async def test_sidecars_and_limits_are_known(victoria_url):
    found = await read(victoria_url, "containers")
    assert {frozenset(s.containers) for s in found.values()} == {frozenset({"app", "proxy"})}
    (big,) = (await read(victoria_url, "limits")).values()
    assert big.workload.limits.node_memory_bytes == 29 * GI
    assert np.nanmax(big.series("app", "memory_bytes").values) == pytest.approx(26 * GI, abs=MI)
