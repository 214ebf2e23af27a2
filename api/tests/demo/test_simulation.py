"""The simulated Deployments of the demo, as the verifier sees them."""

from datetime import timedelta

import numpy as np
import pytest

from perfopt.config import Config
from perfopt.sources.files.services import read_services
from perfopt_api.demo import simulation as demo
from perfopt_api.simulated.source import SimulatedSource

SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module")
def running():
    with demo.simulation() as simulation:
        yield simulation


@pytest.fixture
def source(running):
    return SimulatedSource("simulated", running.server, running.recorder)


async def history(source, name, minutes=10):
    now = await source.latest()
    (workload,) = (each for each in await source.inventory(now) if each.id.name == name)
    return workload, await source.pod_history(workload, None, now - timedelta(minutes=minutes), now, SECOND)


@pytest.mark.parametrize("service", [demo.GOOD, demo.BAD])
async def test_the_past_is_there_at_the_start(source, service):
    workload, past = await history(source, service.name)
    assert str(workload.id) == service.service_name
    assert len(past.pods) == 6
    assert np.isfinite(past.requests[:, :-15]).all()
    assert np.nanmean(past.requests) == pytest.approx(2000, rel=0.02)  # 12,000 a second over six pods
    assert np.nansum(past.failed) / np.nansum(past.requests) == pytest.approx(0.0001, rel=0.01)
    assert np.nansum(past.kills) == 0


async def test_only_the_contended_service_waits_for_cpu(source):
    """Requests of order-router take 20 ms; those of market-data wait, as half of its request is in use."""
    slow = {}
    for service in (demo.GOOD, demo.BAD):
        _, past = await history(source, service.name)
        within = past.latency.within[..., list(past.latency.bounds).index(0.1)]
        slow[service.name] = 1 - np.nansum(within) / np.nansum(past.requests)
    assert slow["order-router"] == pytest.approx(np.exp(-5), rel=0.1)
    assert slow["market-data"] > 10 * slow["order-router"]


async def test_memory_is_read_for_the_gate(source):
    now = await source.latest()
    workload, _ = await history(source, "order-router")
    async for found in source.snapshots([workload], now - timedelta(days=1), now, ("memory_bytes",)):
        (series,) = (metrics["memory_bytes"] for metrics in found.containers.values())
    assert np.nanmax(series.values) == pytest.approx(1200 * 2**20, rel=0.01)


def test_analysis_and_cluster_have_the_same_sizes(running, tmp_path):
    config = running.configured(Config())
    stated = read_services(tmp_path / config.sources[demo.SOURCE].services)
    assert stated.services
    deployments = running.server.run(
        lambda cluster: cluster.get(f"/apis/apps/v1/namespaces/{demo.NAMESPACE}/deployments")["items"]
    )
    sizes = [each["spec"]["template"]["spec"]["containers"][0]["resources"] for each in deployments]
    assert sizes == [demo._SIZES] * 2
