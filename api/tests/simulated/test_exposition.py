import json
import time
import urllib.parse
import urllib.request

import pytest
from prometheus_server import running_prometheus
from simulated_objects import DEPLOYMENTS, deployment, sized

from perfopt_api.simulated.kubernetes.access import ADMIN
from perfopt_api.simulated.kubernetes.clock import ScaledClock
from perfopt_api.simulated.kubernetes.cluster import ClusterOptions, SimulatedCluster
from perfopt_api.simulated.kubernetes.exposition import applications, cadvisor, kube_state
from perfopt_api.simulated.kubernetes.http import Request
from perfopt_api.simulated.kubernetes.kubelet import Delays
from perfopt_api.simulated.kubernetes.server import SimulatedServer
from perfopt_api.simulated.kubernetes.workload import Profile

PATH = DEPLOYMENTS.replace("shop", "default")
BUSY = Profile(requests_per_second=lambda _: 200.0, cpu_seconds=0.002, noise=0.0)


def total(text, name, **labels):
    """The sum of a metric's samples that have these labels."""
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    lines = [line for line in text.splitlines() if line.startswith(f"{name}{{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines if all(each in line for each in wanted))


def rate(cluster, page, name, **labels):
    before = total(page(cluster), name, **labels)
    cluster.advance(30, step=0.5)
    return (total(page(cluster), name, **labels) - before) / 30


@pytest.fixture
def busy(cluster):
    cluster.create(PATH, deployment())
    cluster.workloads.behave("default", {"app": "checkout"}, BUSY)
    cluster.advance(5)
    return cluster


def resize(cluster, **resources):
    kind = {"Content-Type": "application/strategic-merge-patch+json"}
    request = Request.of("PATCH", f"{PATH}/checkout", kind, sized(**resources))
    assert cluster.api.handle(request, ADMIN).status == 200


def patch(cluster, **resources):
    resize(cluster, **resources)
    cluster.advance(15)


def mean_seconds(cluster):
    requests = rate(cluster, applications, "http_request_duration_seconds_count")
    return rate(cluster, applications, "http_request_duration_seconds_sum") / requests


def test_cpu_and_requests_are_those_of_the_load(busy):
    used = rate(busy, cadvisor, "container_cpu_usage_seconds_total", container="app")
    assert used == pytest.approx(200 * 0.002 + 2 * 0.01, rel=0.01)
    assert rate(busy, applications, "http_requests_total", code="200") == pytest.approx(200, rel=0.01)


def test_too_small_a_limit_throttles_slows_and_fails_requests(busy):
    calm = mean_seconds(busy)
    patch(busy, requests={"cpu": "100m"}, limits={"cpu": "150m"})
    assert rate(busy, cadvisor, "container_cpu_cfs_throttled_periods_total") > 10
    assert mean_seconds(busy) > 5 * calm
    assert rate(busy, applications, "http_requests_total", code="500") > 20


def test_state_shows_sizes_and_restarts(busy):
    text = kube_state(busy)
    requests = total(text, "kube_pod_container_resource_requests", resource="cpu", container="app")
    assert requests == pytest.approx(0.2)
    patch(busy, requests={"memory": "16Mi"}, limits={"memory": "24Mi"})
    assert total(kube_state(busy), "kube_pod_container_status_restarts_total") >= 1
    killed = "kube_pod_container_status_last_terminated_reason"
    assert total(kube_state(busy), killed, reason="OOMKilled") >= 1


def test_silent_workload_exposes_nothing(busy):
    busy.workloads.behave("default", {"app": "checkout"}, Profile(silent=True))
    assert "checkout" not in cadvisor(busy)
    assert "checkout" not in applications(busy)


@pytest.mark.prometheus
def test_real_prometheus_sees_a_change_take_effect(tmp_path):
    options = ClusterOptions(delays=Delays(start=0.0, ready=0.2))
    with SimulatedServer(SimulatedCluster(ScaledClock(), options)) as server:
        server.run(lambda cluster: cluster.create(PATH, deployment()))
        server.run(lambda cluster: cluster.workloads.behave("default", {"app": "checkout"}, BUSY))
        address = server.url.removeprefix("http://")
        jobs = "".join(
            f"  - {{job_name: {page}, metrics_path: /metrics/{page}, scrape_interval: 200ms, "
            f"scrape_timeout: 200ms, static_configs: [{{targets: ['{address}']}}]}}\n"
            for page in ("cadvisor", "kube-state", "applications")
        )
        (tmp_path / "data").mkdir()
        config = f"scrape_configs:\n{jobs}"
        with running_prometheus(tmp_path / "data", tmp_path, scrape=config) as (url, _):

            def ask(query):
                encoded = urllib.parse.urlencode({"query": query})
                with urllib.request.urlopen(f"{url}/api/v1/query?{encoded}") as answer:
                    result = json.load(answer)["data"]["result"]
                return float(result[0]["value"][1]) if result else None

            def until(query, holds):
                deadline = time.monotonic() + 30
                while time.monotonic() < deadline:
                    value = ask(query)
                    if value is not None and holds(value):
                        return value
                    time.sleep(0.1)
                raise AssertionError(f"{query}: {ask(query)}")

            throttled = "sum(rate(container_cpu_cfs_throttled_periods_total[2s]))"
            until("sum(rate(http_requests_total[2s]))", lambda value: value > 150)
            before = until(throttled, lambda value: value >= 0)
            server.run(lambda c: resize(c, requests={"cpu": "100m"}, limits={"cpu": "150m"}))
            assert until(throttled, lambda value: value > 5 + before) > before
