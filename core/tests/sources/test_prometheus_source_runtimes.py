"""Against a real Prometheus: what runtimes and pools say of themselves, of the hottest pod."""

import asyncio
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from kubernetes_exposition import ContainerRun, PodRun, Scraper
from prometheus_server import Exposition, prometheus_server

from perfopt.config.prometheus import PrometheusConfig
from perfopt.metrics.catalogue import METRICS
from perfopt.sources.prometheus.source import PrometheusSource

pytestmark = [pytest.mark.prometheus, pytest.mark.timeout(300)]
START = 1372636800.0
STEPS = 24
END = START + STEPS * 300
MIB = 2.0**20
G1 = ({"area": "heap", "id": "G1 Eden Space"}, {"area": "heap", "id": "G1 Old Gen"})
PAUSES = {"action": "end of minor GC", "cause": "x"}
MICROMETER = (  # name, labels, value of the first pod and of the second
    ("jvm_memory_max_bytes", G1[0], -1.0, -1.0),
    ("jvm_memory_max_bytes", G1[1], 800 * MIB, 800 * MIB),
    ("jvm_memory_used_bytes", {"area": "nonheap", "id": "Metaspace"}, 90 * MIB, 120 * MIB),
    ("jvm_memory_used_bytes", {"area": "nonheap", "id": "CodeCache"}, 30 * MIB, 40 * MIB),
    ("jvm_gc_live_data_size_bytes", {}, 300 * MIB, 200 * MIB),
    ("jvm_threads_live_threads", {}, 80.0, 95.0),
    ("system_cpu_count", {}, 16.0, 16.0),
    ("hikaricp_connections_active", {"pool": "HikariPool-1"}, 4.0, 9.0),
    ("hikaricp_connections_pending", {"pool": "HikariPool-1"}, 0.0, 3.0),
    ("hikaricp_connections_max", {"pool": "HikariPool-1"}, 10.0, 10.0),
    ("tomcat_threads_busy_threads", {"name": "http"}, 20.0, 35.0),
    ("tomcat_threads_config_max_threads", {"name": "http"}, 200.0, 200.0),
)
OPENTELEMETRY = (
    ("jvm_memory_limit_bytes", {"jvm_memory_type": "heap", "jvm_memory_pool_name": "Old"}, 700 * MIB),
    ("jvm_memory_used_bytes", {"jvm_memory_type": "non_heap", "jvm_memory_pool_name": "Meta"}, 50 * MIB),
    ("jvm_memory_used_after_last_gc_bytes", {"jvm_memory_type": "heap"}, 100 * MIB),
    ("jvm_thread_count", {"jvm_thread_state": "runnable"}, 11.0),
    ("jvm_thread_count", {"jvm_thread_state": "waiting"}, 31.0),
    ("jvm_cpu_count", {}, 2.0),
    ("db_client_connections_usage", {"state": "used", "pool_name": "p"}, 6.0),
    ("db_client_connections_usage", {"state": "idle", "pool_name": "p"}, 60.0),
    ("db_client_connections_max", {"pool_name": "p"}, 66.0),
)


def pod(scraper, workload, name):
    used = np.full(STEPS, 0.5)
    run = ContainerRun("main", START + 300 * np.arange(STEPS, dtype=np.float64), used, used * 1e9)
    scraper.pod(PodRun("trading", name, "StatefulSet", workload, [run], START))


def cluster(path):
    """Three workloads: `java` of two pods by Micrometer, `otel` by OpenTelemetry, `go` and Node in one."""
    exposition = Exposition(path)
    scraper = Scraper(exposition, replicas=("a", "b"))
    for workload, pods in (("java", 2), ("otel", 1), ("go", 1)):
        for number in range(pods):
            pod(scraper, workload, f"{workload}-{number}")
        place = {"namespace": "trading", "statefulset": workload}
        scraper.constant("kube_statefulset_status_replicas", place, START, END, pods)
    times = np.arange(START, END, 60.0)
    for number in (0, 1):
        labels = {"namespace": "trading", "pod": f"java-{number}", "instance": f"10.0.0.{number}"}
        for name, more, *values in MICROMETER:
            scraper.add(name, labels | more, times, np.full(times.size, values[number]))
        paused = (0.02 + 0.03 * number) * (times - START)
        scraper.add("jvm_gc_pause_seconds_sum", labels | PAUSES, times, paused)
    labels = {"namespace": "trading", "pod": "otel-0", "instance": "10.0.1.0"}
    for name, more, value in OPENTELEMETRY:
        scraper.add(name, labels | more, times, np.full(times.size, value))
    for name, amount in (("count", 20.0), ("sum", 3.0)):
        scraper.add(f"http_server_request_duration_seconds_{name}", labels, times, amount * (times - START))
    labels = {"namespace": "trading", "pod": "go-0", "instance": "10.0.2.0"}
    scraper.add("go_sched_gomaxprocs_threads", labels, times, np.full(times.size, 32.0))
    scraper.add("nodejs_heap_size_used_bytes", labels, times, np.linspace(50 * MIB, 90 * MIB, times.size))
    return exposition


async def snapshots(url):
    source = PrometheusSource("prom", PrometheusConfig(url=url))
    end = datetime.fromtimestamp(END, UTC)
    try:
        known = await source.inventory(end)
        start = end - timedelta(seconds=END - START)
        return {s.workload.id.name: s async for s in source.snapshots(known, start, end, set(METRICS))}
    finally:
        await source.close()


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runtimes")
    with prometheus_server(cluster(directory / "samples.om"), directory) as url:
        return asyncio.run(snapshots(url))


def last(snapshot, metric):
    values = snapshot.service[metric]
    return float(values[np.isfinite(values)][-1])


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("jvm_heap_max_bytes", 800 * MIB),  # the pool without a limit does not count
        ("jvm_nonheap_bytes", 160 * MIB),
        ("jvm_heap_live_bytes", 300 * MIB),
        ("jvm_threads", 95),
        ("jvm_processors", 16),
        ("jvm_gc_pause_fraction", 0.05),
        ("db_pool_busy", 9),
        ("db_pool_waiting", 3),
        ("db_pool_max", 10),
        ("thread_pool_busy", 35),
        ("thread_pool_max", 200),
    ],
)
def test_micrometer_of_the_hottest_pod(seen, metric, value):
    assert last(seen["java"], metric) == pytest.approx(value, rel=2e-3)


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("jvm_heap_max_bytes", 700 * MIB),
        ("jvm_nonheap_bytes", 50 * MIB),
        ("jvm_heap_live_bytes", 100 * MIB),
        ("jvm_threads", 42),
        ("jvm_processors", 2),
        ("db_pool_busy", 6),
        ("db_pool_max", 66),
        ("latency_avg_ms", 150),
    ],
)
def test_opentelemetry(seen, metric, value):
    assert last(seen["otel"], metric) == pytest.approx(value, rel=2e-3)


def test_go_and_node(seen):
    assert last(seen["go"], "go_gomaxprocs") == 32
    assert last(seen["go"], "node_heap_used_bytes") == pytest.approx(90 * MIB, rel=0.02)
    assert "jvm_threads" not in seen["go"].service
