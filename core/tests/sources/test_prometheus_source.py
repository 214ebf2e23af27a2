"""Against a real Prometheus that holds three real VMs' use as an HA pair would have scraped it."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import msgspec
import numpy as np
import pytest
import yaml
from kubernetes_exposition import STEP
from prometheus_cluster import (
    DAY,
    OLD_POD,
    OOM_AT,
    REPLACED,
    RESET_AT,
    SIZE,
    START,
    vm,
)

from perfopt.config.prometheus import PrometheusConfig
from perfopt.domain.enums import Basis
from perfopt.domain.workload import Workload, WorkloadId, WorkloadState
from perfopt.errors import NoDataError, SourceError
from perfopt.metrics.catalogue import METRICS
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.sources.base import FailedSnapshot
from perfopt.sources.prometheus.promql import load_catalogue
from perfopt.sources.prometheus.source import PrometheusSource

# Loading two million samples takes a quarter of a minute, and more on a busy machine.
pytestmark = [pytest.mark.prometheus, pytest.mark.timeout(300)]
BEGIN = datetime.fromtimestamp(START, UTC)
END = BEGIN + timedelta(days=15)
ALL = set(METRICS)
RELATIVE = 2e-3  # rate() extrapolates over the milliseconds at the ends of a step


async def read(url, *names, start=BEGIN, end=END, metrics=ALL, **settings):
    """Returns the snapshots by workload name; all workloads unless some are named."""
    source = PrometheusSource("prom", PrometheusConfig(url=url, **settings))
    try:
        known = [w for w in await source.inventory(end) if not names or w.id.name in names]
        return {s.workload.id.name: s async for s in source.snapshots(known, start, end, metrics)}
    finally:
        await source.close()


@pytest.fixture(scope="module")
def everything(prometheus_url):
    return asyncio.run(read(prometheus_url))


def hottest(snapshot, metric, container="main"):
    return snapshot.series(container, metric).hottest()


def same(values, expected, *, but=()):
    """Asserts that values follow the trace, gaps included, with some steps left out."""
    keep = np.ones(SIZE, dtype=bool)
    keep[list(but)] = False
    np.testing.assert_array_equal(np.isnan(values), np.isnan(expected))
    keep &= ~np.isnan(expected)
    np.testing.assert_allclose(values[keep], expected[keep], rtol=RELATIVE, atol=1e-6)


async def test_inventory_and_state_come_from_kube_state_metrics_alone(prometheus_url):
    source = PrometheusSource("prom", PrometheusConfig(url=prometheus_url))
    agent, payments, ledger = await source.inventory(END)
    await source.close()
    names = ["ops/daemonset/agent", "trading/deployment/payments", "trading/statefulset/ledger"]
    assert [str(w.id) for w in (agent, payments, ledger)] == names
    assert payments.service_name == "payment_service"
    proxy, main = payments.state.containers
    assert main.to_map() == {
        "cpu_request": "1",
        "memory_request": "2Gi",
        "cpu_limit": "2",
        "memory_limit": "8Gi",
    }
    assert (main.image, proxy.name, proxy.cpu_request_cores) == ("registry/payments:v2", "istio-proxy", 0.1)
    assert (payments.state.replicas, payments.state.keda) == (1, "payments")
    assert payments.state.hpa.target_cpu_utilization_percent == 70
    assert payments.state.hpa.other_metrics == ("queue_length",)
    assert (ledger.state.vpa_mode, ledger.state.basis) == ("Auto", Basis.DECLARED)
    assert agent.state.basis is Basis.ASSUMED_FROM_LIMIT


async def test_the_state_is_that_of_the_instant_asked_for(prometheus_url):
    found = await read(prometheus_url, "payments", end=BEGIN + timedelta(days=7), metrics={"cpu_cores"})
    assert found["payments"].workload.state.container("main").image == "registry/payments:v1"


@pytest.mark.parametrize(("name", "number"), [("payments", 237), ("ledger", 333), ("agent", 338)])
def test_cpu_and_memory_are_those_of_the_trace_and_the_pair_doubles_nothing(everything, name, number):
    odd = {"payments": OOM_AT, "ledger": RESET_AT}.get(name)
    broken = [int(odd - START) // STEP] if odd else []
    same(hottest(everything[name], "cpu_cores"), vm(number, "cpu_cores"), but=broken)
    same(hottest(everything[name], "memory_bytes"), vm(number, "memory_bytes"), but=broken)


@pytest.mark.parametrize(("name", "number", "at"), [("payments", 237, OOM_AT), ("ledger", 333, RESET_AT)])
def test_a_counter_reset_makes_neither_a_spike_nor_a_hole(everything, name, number, at):
    step = int(at - START) // STEP
    value, expected = hottest(everything[name], "cpu_cores")[step], vm(number, "cpu_cores")[step]
    assert 0.2 * expected < value < 1.3 * expected


def test_a_replaced_pod_is_read_and_each_pod_is_expected_only_while_it_existed(everything):
    series = everything["payments"].series("main", "cpu_cores")
    assert series.pods == (OLD_POD,)  # the new one came after it
    np.testing.assert_array_equal(np.isnan(series.values[0]), np.isnan(vm(237, "cpu_cores")))
    coverage = everything["payments"].coverage["main/cpu_cores"]
    missing = int(np.isnan(vm(237, "cpu_cores")).sum())
    assert (coverage.expected, coverage.present) == (SIZE, SIZE - missing)


def test_an_image_change_is_seen_when_it_came(everything):
    (change,) = everything["payments"].image_changes
    assert (change.container, change.image) == ("main", "registry/payments:v2")
    assert change.at == BEGIN + timedelta(seconds=REPLACED * STEP)
    assert everything["ledger"].image_changes == ()


def test_an_oom_kill_and_a_restart_are_counted_once_where_they_happened(everything):
    step = int(OOM_AT - START) // STEP
    for metric in ("oom_kills", "restarts"):
        values = hottest(everything["payments"], metric)
        assert np.nansum(values) == 1.0
        assert values[step : step + 2].sum() == 1.0
        assert np.nansum(hottest(everything["ledger"], metric)) == 0.0


def test_throttling_requests_and_limits_are_read(everything):
    payments = everything["payments"]
    assert np.nanmean(hottest(payments, "cpu_throttled_fraction")) == pytest.approx(0.2)
    for metric, value in (
        ("cpu_request_cores", 1.0),
        ("cpu_limit_cores", 2.0),
        ("memory_request_bytes", 2**31),
        ("memory_limit_bytes", 2**33),
    ):
        assert set(np.unique(hottest(payments, metric)).tolist()) == {value}


def test_native_sidecars_are_read_beside_the_main_container(everything):
    payments = everything["payments"]
    assert set(payments.containers) == {"main", "istio-proxy"}
    assert np.nanmean(hottest(payments, "cpu_cores", "istio-proxy")) == pytest.approx(0.05, rel=RELATIVE)


@pytest.mark.parametrize(("name", "rate"), [("payments", 20.0), ("ledger", 5.0), ("agent", 3.0)])
def test_request_rates_come_from_opentelemetry_a_plain_counter_or_istio(everything, name, rate):
    assert np.nanmedian(everything[name].service["requests_per_second"]) == pytest.approx(rate, rel=RELATIVE)


@pytest.mark.parametrize(
    ("name", "failed"), [("payments", 0.1), ("agent", 0.25)], ids=["opentelemetry", "istio"]
)
def test_latency_quantiles_and_availability_come_from_histograms(everything, name, failed):
    service = everything[name].service
    expected = {"latency_p50_ms": 100, "latency_p90_ms": 250, "latency_p95_ms": 388.9, "latency_p99_ms": 500}
    for metric, value in expected.items():
        assert np.nanmedian(service[metric]) == pytest.approx(value, rel=1e-3)
    assert np.nanmedian(service["availability_fraction"]) == pytest.approx(1 - failed)


def test_network_and_replicas_are_read(everything):
    service = everything["ledger"].service
    assert np.nanmedian(service["network_receive_bytes_per_second"]) == pytest.approx(1000, rel=RELATIVE)
    assert np.nanmedian(service["network_transmit_bytes_per_second"]) == pytest.approx(2000, rel=RELATIVE)
    assert {np.nanmedian(s.service["replicas"]) for s in everything.values()} == {1.0}


def test_a_metric_that_nobody_exposes_is_absent_and_not_zero(everything):
    assert "latency_p99_ms" not in everything["ledger"].service
    assert "events_per_second" not in everything["ledger"].service


async def test_every_query_of_the_catalogue_is_understood_by_a_real_prometheus(prometheus_url, tmp_path):
    """Puts each alternative first in turn, so that none hides behind one that has data."""
    built_in = load_catalogue()
    for turn in range(max(len(alternatives) for alternatives in built_in.metrics.values())):
        own = {
            name: [msgspec.to_builtins(alternatives[turn])]
            for name, alternatives in built_in.metrics.items()
            if turn < len(alternatives)
        }
        path = tmp_path / f"turn{turn}.yaml"
        path.write_text(yaml.safe_dump({"metrics": own}))
        day = {"start": END - timedelta(hours=2), "end": END, "catalogue": str(path)}
        found = await read(prometheus_url, **day)
        failures = [s.error for s in found.values() if isinstance(s, FailedSnapshot)]
        assert all(isinstance(error, NoDataError) for error in failures), failures


async def test_nothing_at_or_after_the_end_is_read(prometheus_url):
    """A shorter period gives the same values up to its end, whatever comes later."""
    cut = BEGIN + timedelta(days=6, hours=1)
    whole = await read(prometheus_url)
    part = await read(prometheus_url, end=cut)
    size = part["ledger"].grid.size
    for name, snapshot in part.items():
        for container, metrics in snapshot.containers.items():
            for metric, series in metrics.items():
                expected = whole[name].series(container, metric)
                rows = [expected.pods.index(pod) for pod in series.pods]
                np.testing.assert_array_equal(series.values, expected.values[rows, :size])
        for metric, values in snapshot.service.items():
            np.testing.assert_array_equal(values, whole[name].service[metric][:size])


async def test_one_server_s_matchers_pick_the_same_values(prometheus_url, everything):
    one = await read(
        prometheus_url, "ledger", metrics={"cpu_cores"}, matchers=('prometheus_replica="prometheus-0"',)
    )
    both = hottest(everything["ledger"], "cpu_cores")
    np.testing.assert_allclose(hottest(one["ledger"], "cpu_cores"), both, rtol=0.02, atol=0.002)


async def test_matchers_that_fit_nothing_are_an_error_and_no_empty_cluster(prometheus_url):
    with pytest.raises(NoDataError, match="`matchers`"):
        await read(prometheus_url, matchers=('cluster="elsewhere"',))


async def test_queries_are_by_metric_and_not_by_workload(prometheus_url):
    async def count(*names):
        source = PrometheusSource("prom", PrometheusConfig(url=prometheus_url))
        known = [w for w in await source.inventory(END) if w.id.name in names]
        before = source.queries
        start = END - timedelta(hours=2)
        async for _ in source.snapshots(known, start, END, {"cpu_cores", "memory_bytes", "oom_kills"}):
            continue
        await source.close()
        return source.queries - before

    assert await count("ledger", "agent") == await count("ledger") == 8


async def test_reading_what_rarely_changes_by_the_hour_gives_the_same(prometheus_url, everything, tmp_path):
    entries = msgspec.to_builtins(load_catalogue())["metrics"]
    rarely = {name: ways for name, ways in entries.items() if any(way["rarely"] for way in ways)}
    always = {
        name: [{k: v for k, v in way.items() if v is not None} | {"rarely": False} for way in ways]
        for name, ways in rarely.items()
    }
    (tmp_path / "always.yaml").write_text(yaml.safe_dump({"metrics": always}))
    found = await read(prometheus_url, catalogue=str(tmp_path / "always.yaml"))
    assert found.keys() == everything.keys()
    for name, snapshot in found.items():
        for container, metric in ((c, m) for c in snapshot.containers for m in snapshot.containers[c]):
            series, mine = snapshot.series(container, metric), everything[name].series(container, metric)
            assert mine.pods == series.pods, (name, container, metric)
            filled = np.isnan(series.values) & METRICS[metric].carry_forward
            values = np.where(filled, np.nan, mine.values)
            np.testing.assert_array_equal(values, series.values, err_msg=f"{name} {container} {metric}")


async def test_what_nodes_cost_comes_from_opencost(prometheus_url):
    (ledger,) = (
        await read(prometheus_url, "ledger", metrics={"cpu_cores"}, opencost_currency="EUR")
    ).values()
    book = ledger.price_book
    assert (book.name, book.currency) == ("opencost", "EUR")
    assert (book.cpu_core_hour, book.memory_gib_hour) == pytest.approx((0.03, 0.003))
    (node,) = book.node_types
    assert (node.name, node.cores, node.memory_bytes) == ("m.xlarge", 4, 16 * 2**30)
    assert (node.price_hour, node.spot_price_hour) == pytest.approx(
        (4 * 0.03 + 16 * 0.003, 4 * 0.01 + 16 * 0.001)
    )


async def test_no_data_in_the_period_is_said_of_the_workload(prometheus_url):
    source = PrometheusSource("prom", PrometheusConfig(url=prometheus_url))
    ghost = Workload(
        id=WorkloadId(namespace="trading", kind="Deployment", name="ghost"),
        service_name="ghost",
        state=WorkloadState(containers=()),
    )
    known = [w for w in await source.inventory(END) if w.id.name == "ledger"]
    failed, found = [s async for s in source.snapshots([ghost, *known], BEGIN, END, {"cpu_cores"})]
    await source.close()
    assert isinstance(failed.error, NoDataError)
    assert str(failed.error).startswith(
        "analysis_period: prom holds no sample of trading/deployment/ghost from 2013-07-01T00:00:00.000Z to "
        "2013-07-16T00:00:00.000Z: kube-state-metrics names it, but no container of its pods has "
    )
    assert found.workload.id.name == "ledger"


async def test_a_batch_that_the_server_refuses_does_not_cost_the_others(prometheus_url):
    """The first workload's metrics are refused as too many; the second one's are not."""

    class Refuses(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request):
            if request.url.path.endswith("query_range") and b"agent" in await request.aread():
                return httpx.Response(422, json={"status": "error", "error": "too many samples"})
            return await super().handle_async_request(request)

    config = PrometheusConfig(url=prometheus_url, workloads_per_query=1)
    source = PrometheusSource("prom", config, transport=Refuses())
    known = [w for w in await source.inventory(END) if w.id.name in ("agent", "ledger")]
    start = END - timedelta(seconds=DAY)
    failed, found = [s async for s in source.snapshots(known, start, END, {"cpu_cores"})]
    await source.close()
    assert isinstance(failed.error, SourceError)
    assert "too many samples" in str(failed.error)
    assert found.coverage["main/cpu_cores"].fraction == 1.0


async def test_a_long_period_is_put_together_from_parts(prometheus_url):
    """15 days at one minute are 21,600 points: the server refuses so many in one query."""
    found = await read(prometheus_url, "ledger", metrics={"memory_bytes"}, step_seconds=60)
    values = hottest(found["ledger"], "memory_bytes")
    assert len(values) == 21_600
    assert np.nanmax(values) == pytest.approx(np.nanmax(vm(333, "memory_bytes")))


async def test_the_latest_end_is_a_step_boundary_in_the_past(prometheus_url):
    source = PrometheusSource("prom", PrometheusConfig(url=prometheus_url))
    latest = await source.latest()
    await source.close()
    age = datetime.now(UTC) - latest
    assert timedelta(minutes=1) <= age <= timedelta(minutes=6, seconds=5)
    assert latest.timestamp() % 300 == 0


async def test_the_next_batch_is_read_while_one_is_analysed(prometheus_url):
    source = PrometheusSource("prom", PrometheusConfig(url=prometheus_url, workloads_per_query=1))
    known = await source.inventory(END)
    found = source.snapshots(known, END - timedelta(hours=2), END, {"cpu_cores"})
    await anext(found)
    first = source.queries
    async with asyncio.timeout(30):
        while source.queries < first + 3:
            await asyncio.sleep(0.01)
    assert len([snapshot async for snapshot in found]) == len(known) - 1
    await source.close()


async def test_an_outage_midway_keeps_what_was_read_and_names_itself_for_the_rest(prometheus_url):
    class GoesAway(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request):
            if request.url.path.endswith("query_range") and b"payments" in await request.aread():
                raise httpx.ConnectError("connection refused")
            return await super().handle_async_request(request)

    async def no_wait(seconds):
        return None

    config = PrometheusConfig(url=prometheus_url, workloads_per_query=1, retry_seconds=1)
    source = PrometheusSource("prom", config, transport=GoesAway(), sleep=no_wait)
    known = await source.inventory(END)
    found = [s async for s in source.snapshots(known, END - timedelta(hours=3), END, {"cpu_cores"})]
    await source.close()
    assert [type(one) for one in found] == [WorkloadSnapshot, FailedSnapshot, FailedSnapshot]
    assert all("did not answer" in str(one.error) for one in found[1:])
    assert [one.workload.id.name for one in found] == [workload.id.name for workload in known]
