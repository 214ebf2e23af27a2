"""A change judged by what a real Prometheus holds of its pods."""

import asyncio
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from field_world import END, Worlds
from prometheus_server import prometheus_is_installed, prometheus_server

from perfopt.config.prometheus import PrometheusConfig
from perfopt.sources.prometheus.source import PrometheusSource
from perfopt_api.apply.cluster import ContainerSize, WorkloadChange, WorkloadTarget
from perfopt_api.apply.verification.harm import SHARE
from perfopt_api.apply.verification.settings import VerificationSettings
from perfopt_api.apply.verification.source import SourceVerifier

pytestmark = [pytest.mark.prometheus, pytest.mark.timeout(300)]
SCRAPE, HOURS = 30, 6
PODS = [f"api-6c5d8f7b9c-{suffix}" for suffix in ("bcdfg", "hjklm", "npqrs", "tvwxz")]
UNTIL = datetime.fromtimestamp(END, UTC)
SINCE = UNTIL - timedelta(minutes=30)
TARGET = WorkloadTarget(api_version="apps/v1", kind="Deployment", namespace="q", name="api")
CHANGE = WorkloadChange(target=TARGET, containers={"app": ContainerSize(cpu_request="100m")})
BOUNDS = {"0.1": 0.8, "0.25": 0.95, "0.5": 0.99, "+Inf": 1.0}


def add_pods(worlds, name, *, slower=1.0, killed=0, application=True):
    """Four pods, of which the first is changed 30 minutes before the end."""
    world = worlds.world(name, lambda _, labels: labels)
    world.times = np.arange(END - HOURS * 3600, END + 1, SCRAPE)
    world.scrape = SCRAPE
    world.deployment("api", pods=PODS)
    rng = np.random.default_rng(4)
    changed = world.times > SINCE.timestamp()
    for at, pod in enumerate(PODS):
        target = {"job": "api", "instance": f"10.1.0.{at}:8080", "namespace": "q", "pod": pod}
        served = rng.poisson(600.0, world.times.size)
        if application:
            failed = rng.binomial(served, 0.0002)
            for code, count in (("200", served - failed), ("500", failed)):
                world.add("http_requests_total", target | {"code": code}, world.times, np.cumsum(count))
            for bound, share in BOUNDS.items():
                factor = np.where(changed & (at == 0), slower, 1.0)
                within = served - rng.binomial(served, np.minimum((1 - share) * factor, 1.0))
                labels = target | {"le": bound}
                world.add("http_request_duration_seconds_bucket", labels, world.times, np.cumsum(within))
            world.add("http_request_duration_seconds_count", target, world.times, np.cumsum(served))
        place = {"namespace": "q", "pod": pod, "container": "app", "instance": "n1:10250", "job": "kubelet"}
        world.add(
            "container_oom_events_total", place, world.times, np.cumsum(changed * (at == 0)).clip(0, killed)
        )
        if application:
            periods = np.full(world.times.size, 300.0)
            throttled = rng.binomial(300, 0.02, world.times.size)
            world.add("container_cpu_cfs_periods_total", place, world.times, np.cumsum(periods))
            world.add("container_cpu_cfs_throttled_periods_total", place, world.times, np.cumsum(throttled))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    assert prometheus_is_installed()
    directory = tmp_path_factory.mktemp("verification")
    worlds = Worlds(directory / "samples.om")
    add_pods(worlds, "good")
    add_pods(worlds, "slow", slower=2.0)
    add_pods(worlds, "killed", killed=2)
    add_pods(worlds, "silent", application=False)
    with prometheus_server(worlds.exposition, directory) as url:
        yield url


def judge(server, world, canary=(PODS[0],), since=SINCE, until=UNTIL):
    async def run():
        config = PrometheusConfig(url=server, matchers=(f'world="{world}"',), scrape_interval_seconds=SCRAPE)
        source = PrometheusSource("prometheus", config)
        settings = VerificationSettings(past_hours=5, past_days=0.2)
        verifier = SourceVerifier(source, settings)
        try:
            return await verifier.look(CHANGE, canary, since, until, horizon=timedelta(minutes=30))
        finally:
            await source.close()

    return asyncio.run(run())


def test_a_canary_that_is_as_the_others_does_not_fail(server):
    look = judge(server, "good")
    assert look.verdict == "passed"
    assert look.method == "concurrent_control"
    assert {name.removesuffix(SHARE) for name in look.bounds} == {
        "failed_requests",
        "slow_requests_over_500ms",
        "slow_requests_over_100ms",
        "cpu_throttled_fraction",
    }
    assert look.reason.startswith("More harm than accepted is ruled out at a false-alarm rate of 1.0%: ")


def test_a_canary_that_is_slower_fails_by_the_requests_that_are_slow(server):
    look = judge(server, "slow")
    assert look.verdict == "failed"
    assert look.metric.startswith("slow_requests_over_")
    bounds = look.bounds[look.metric]
    assert bounds.estimate == pytest.approx(2.0, rel=0.1)
    assert bounds.lower > 1


def test_an_oom_kill_fails_at_once(server):
    look = judge(server, "killed")
    assert (look.verdict, look.metric, look.killed) == ("failed", "oom_kills", 2)
    assert look.reason == "2 OOM kills since the change."


def test_all_pods_are_compared_with_the_time_before(server):
    look = judge(server, "slow", canary=())
    assert look.method == "before_and_after"
    assert look.bounds["slow_requests_over_100ms"].estimate == pytest.approx(1.25, rel=0.15)


def test_what_shows_nothing_is_never_a_pass(server):
    look = judge(server, "silent")
    assert look.verdict == "inconclusive"
    assert look.bounds == {}
