"""Against a real Prometheus: how long pods took to be ready, by what kube-state-metrics says of them."""

import asyncio
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from kubernetes_exposition import ContainerRun, PodRun, Scraper
from prometheus_server import Exposition, prometheus_server

from perfopt.config.prometheus import PrometheusConfig
from perfopt.sources.prometheus.source import PrometheusSource

pytestmark = [pytest.mark.prometheus, pytest.mark.timeout(300)]
START = 1372636800.0
STEP, STEPS = 300, 288
END = START + STEPS * STEP
HOUR = 3600.0


def pod(scraper, workload, name, uid, first, last, changes):
    """A pod whose readiness changes: (seconds, ready or not), the first at its creation."""
    steps = np.arange(first, last, STEP, dtype=np.float64)
    used = np.full(steps.size, 0.5)
    created = changes[0][0]
    run = ContainerRun("main", steps, used, used * 1e9)
    scraper.pod(PodRun("trading", name, "StatefulSet", workload, [run], created, uid))
    place = {"namespace": "trading", "pod": name, "uid": uid, "job": "kube-state-metrics", "instance": "k"}
    times = np.arange(max(created, START) + 10, last, 30.0)
    at = np.searchsorted([when for when, _ in changes], times, side="right") - 1
    scraper.add("kube_pod_status_ready_time", place, times, np.array([when for when, _ in changes])[at])
    ready = np.array([float(ready) for _, ready in changes])[at]
    for condition, values in (("true", ready), ("false", 1 - ready)):
        scraper.add("kube_pod_status_ready", place | {"condition": condition}, times, values)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    directory = tmp_path_factory.mktemp("starts")
    exposition = Exposition(directory / "samples.om")
    scraper = Scraper(exposition, replicas=("a", "b"), state_seconds=30)
    at = START + 2 * HOUR
    # Its readiness is lost and comes back: that is no second start.
    flaps = [(at, False), (at + 95, True), (at + 5 * HOUR, False), (at + 5 * HOUR + 600, True)]
    pod(scraper, "api", "api-0", "one", START + 2 * HOUR, START + 10 * HOUR, flaps)
    again = START + 10 * HOUR
    pod(scraper, "api", "api-0", "two", again, END, [(again, False), (again + 41, True)])
    # Started long before the period; its readiness came back a day later.
    old = START - 3 * 86400
    pod(scraper, "api", "api-1", "old", START, END, [(old, False), (old + 86400, True)])
    never = START + 20 * HOUR
    pod(scraper, "api", "api-2", "never", never, END, [(never, False)])
    place = {"namespace": "trading", "statefulset": "api"}
    scraper.constant("kube_statefulset_status_replicas", place, START, END, 3)
    with prometheus_server(exposition, directory) as found:
        yield found


def starts(url, hours, metrics=("cpu_cores", "startup_seconds")):
    """The starts that are known so many hours into the history."""
    end = datetime.fromtimestamp(START, UTC) + timedelta(hours=hours)

    async def read():
        source = PrometheusSource("test", PrometheusConfig(url=url))
        workloads = await source.inventory(end)
        found = [s async for s in source.snapshots(workloads, end - timedelta(days=1), end, metrics)]
        await source.close()
        return found[0].starts

    return [(start.pod, start.seconds) for start in asyncio.run(read())]


def test_the_first_readiness_of_each_pod_counts_and_not_what_came_back(url):
    assert starts(url, 24) == [("api-0", 95.0), ("api-0", 41.0)]


def test_a_start_after_the_end_of_the_period_is_not_known(url):
    assert starts(url, 9) == [("api-0", 95.0)]
    assert starts(url, 2) == []


def test_nothing_is_asked_where_nobody_wants_to_know(url):
    assert starts(url, 24, metrics=("cpu_cores",)) == []
