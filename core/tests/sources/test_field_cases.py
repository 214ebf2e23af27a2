"""Situations of real clusters against a real Prometheus: what is read is right, or refused in plain words."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

import httpx
import numpy as np
import pytest
from field_cases import LONG
from field_world import DAYS, END, GI, MI

from perfopt.config.prometheus import PrometheusConfig
from perfopt.errors import NoDataError, SourceError
from perfopt.metrics.catalogue import METRICS
from perfopt.sources.base import FailedSnapshot
from perfopt.sources.prometheus.source import PrometheusSource

pytestmark = [pytest.mark.prometheus, pytest.mark.timeout(300), pytest.mark.xdist_group("field")]
UNTIL = datetime.fromtimestamp(END, UTC)
SINCE = UNTIL - timedelta(days=DAYS)


async def read(url, world, **settings):
    """Returns a world's snapshots by name."""
    source = PrometheusSource("prom", PrometheusConfig(url=url, matchers=(f'world="{world}"',), **settings))
    try:
        known = await source.inventory(UNTIL)
        found = source.snapshots(known, SINCE, UNTIL, set(METRICS))
        return {s.workload.id.name: s async for s in found}
    finally:
        await source.close()


def hottest(snapshot, metric, container="app"):
    return snapshot.series(container, metric).hottest()


async def test_cpu_counters_that_jump_or_fall_and_come_back_make_no_use(field_url):
    found = await read(field_url, "cpu-jumps")
    assert len(found) == 6
    for snapshot in found.values():
        assert np.nanmax(hottest(snapshot, "cpu_cores")) == pytest.approx(0.2, rel=0.3)
    assert found["free-down"].coverage["app/cpu_cores"].dropped["implausible"] > 0


async def test_memory_that_cannot_be_is_dropped_and_counted(field_url):
    found = await read(field_url, "memory")
    for name, snapshot in found.items():
        memory = hottest(snapshot, "memory_bytes")
        assert (np.nanmin(memory), np.nanmax(memory)) == (300 * MI, 300 * MI), name
    assert found["petabyte"].coverage["app/memory_bytes"].dropped == {"implausible": 1}


async def test_oom_kills_of_every_source_count_once(field_url):
    found = await read(field_url, "oom")
    kills = {name: np.nansum(s.series("app", "oom_kills").values) for name, s in found.items()}
    assert kills == {"by-error": 0, "by-oom": 2, "child": 3, "at-birth": 2, "batch": 1}


async def test_only_containers_of_the_template_count_and_native_sidecars_do(field_url):
    found = await read(field_url, "containers")
    for name in ("marked", "unmarked"):
        assert set(found[name].containers) == {"app", "proxy"}, name
        (app, proxy) = found[name].workload.state.containers
        assert (app.sidecar, proxy.sidecar, proxy.cpu_request_cores) == (False, True, 0.1)


async def test_dead_pods_are_no_replicas_and_prolong_nothing(field_url):
    kafka = (await read(field_url, "dead-pods"))["kafka"]
    assert kafka.workload.state.replicas == 3
    assert kafka.coverage["app/memory_bytes"].fraction > 0.95


async def test_jobs_and_services_scaled_to_zero_are_expected_only_while_they_run(field_url):
    found = await read(field_url, "jobs")
    for name, share in (("nightly", 3 / 24), ("office", 10 / 24)):
        snapshot = found[name]
        assert snapshot.coverage["app/memory_bytes"].fraction > 0.97, name
        assert snapshot.running.mean() == pytest.approx(share, abs=0.02), name
    assert found["office"].workload.state.replicas == 0
    assert found["office"].workload.state.container("app").memory_request_bytes == 2 * GI


async def test_pods_belong_to_their_owners_whatever_their_names(field_url):
    found = await read(field_url, "names")
    for name in (LONG, "short"):
        assert np.nanmedian(found[name].service["requests_per_second"]) == pytest.approx(100, rel=0.01)
    app = found["app"]
    assert str(app.workload.id) == "q/deploymentconfig/app"
    assert np.isfinite(hottest(app, "cpu_cores")).mean() > 0.99


async def test_an_autoscaler_that_is_shown_in_part_is_not_taken_for_none(field_url):
    found = await read(field_url, "hidden-owners")
    assert {str(s.workload.id) for s in found.values()} == {
        f"q/deployment/{n}" for n in ("api", "web", "plain")
    }
    api = found["api"].workload
    assert (api.state.hpa.min_replicas, api.state.hpa.max_replicas) == (2, 8)
    assert api.unknown_autoscalers == ("api", "scaler-of-something")
    assert found["plain"].workload.unknown_autoscalers == ("scaler-of-something",)
    assert "autoscaler_unknown" in {code for code, _ in found["api"].warnings}
    (told,) = (text for code, text in found["plain"].warnings if code == "autoscaler_unknown")
    assert "the autoscalers scaler-of-something scale" in told


async def test_an_autoscaler_of_which_there_is_its_status_or_old_names_only_is_seen(field_url):
    found = await read(field_url, "partly-seen")
    assert found["status"].workload.unknown_autoscalers == ("status",)
    old = found["old"].workload
    assert (old.state.hpa.min_replicas, old.state.hpa.max_replicas) == (2, 9)
    assert old.unknown_autoscalers == ("old",)


async def test_replicas_that_are_shown_as_asked_for_tell_when_a_service_sleeps(field_url):
    office = (await read(field_url, "asked-for-only"))["office"]
    assert office.coverage["app/memory_bytes"].fraction > 0.97
    assert office.workload.state.replicas == 0


async def test_requests_that_no_node_could_take_are_unknown(field_url):
    found = await read(field_url, "odd-declarations")
    requests = {name: s.workload.state.container("app") for name, s in found.items()}
    assert (requests["huge"].cpu_request_cores, requests["huge"].memory_request_bytes) == (None, None)
    assert (requests["none"].cpu_limit_cores, requests["none"].memory_limit_bytes) == (None, None)
    assert (requests["negative"].cpu_request_cores, requests["negative"].memory_request_bytes) == (None, GI)


@pytest.mark.parametrize(
    ("world", "seen"),
    [
        ("old-labels", "its pods are in the label pod_name"),
        ("no-cadvisor", "no container of its pods has container_cpu_usage_seconds_total"),
    ],
)
async def test_use_that_is_missing_or_under_other_labels_is_named(field_url, world, seen):
    assert seen in (await read(field_url, world))["api"].error.message


async def test_one_image_by_tag_and_by_digest_is_no_release(field_url):
    assert (await read(field_url, "images"))["alias"].image_changes == ()


async def test_copies_of_an_application_are_not_added_up(field_url):
    found = await read(field_url, "copies")
    rates = {name: np.nanmedian(s.service["requests_per_second"]) for name, s in found.items()}
    assert rates == pytest.approx({"once": 100, "two-jobs": 100, "two-servers": 100}, rel=0.01)


async def test_copies_by_a_label_that_is_not_known_are_one_cluster(field_url):
    found = await read(field_url, "two-servers")
    assert np.nanmedian(hottest(found["api"], "cpu_cores")) == pytest.approx(0.2, rel=0.01)


async def test_two_clusters_that_no_label_tells_apart_are_refused(field_url):
    with pytest.raises(SourceError) as refused:
        await read(field_url, "two-clusters")
    assert "k8s_cluster = 'dev', 'prod'" in str(refused.value)
    assert "cluster_label: k8s_cluster" in refused.value.remedy
    found = await read(field_url, "two-clusters", cluster_label="k8s_cluster")
    assert len(found) == 1  # by name: one of each cluster
    kept = await read(field_url, "two-clusters", replica_labels=("k8s_cluster",))
    assert set(kept) == {"api"}


async def test_labels_of_the_scrape_target_are_not_taken_for_the_object_s(field_url):
    with pytest.raises(SourceError, match="exported_namespace") as refused:
        await read(field_url, "exported")
    assert "honorLabels: true" in refused.value.remedy
    found = await read(field_url, "exported-beside")
    assert set(found) == {"api"}
    assert "foreign_series" in {code for code, _ in found["api"].warnings}


async def test_what_the_cluster_takes_is_known(field_url):
    limits = (await read(field_url, "limits"))["big"].workload.limits
    assert (limits.node_cpu_cores, limits.node_memory_bytes) == (7.9, 29 * GI)
    assert (limits.container_cpu.most, limits.container_memory.most) == (6, 30 * GI)


async def test_containers_without_an_image_label_are_read(field_url):
    found = await read(field_url, "no-images")
    assert np.nanmax(hottest(found["api"], "memory_bytes")) == 300 * MI


async def test_sums_of_pods_only_are_named_as_such(field_url):
    found = (await read(field_url, "pod-sums"))["api"]
    assert isinstance(found, FailedSnapshot)
    assert "sums of pods only" in found.error.message


@pytest.mark.parametrize(
    ("world", "message"),
    [
        ("no-state", "has use of containers, but no kube-state-metrics series"),
        ("state-ended", "they end at 2026-11-22T23:"),
        ("all-ended", "they end at 2026-11-21T17:"),
        ("nowhere", "holds neither use of containers nor kube-state-metrics series"),
    ],
)
async def test_a_missing_inventory_is_no_empty_cluster(field_url, world, message):
    with pytest.raises(NoDataError, match=message):
        await read(field_url, world)


async def test_one_sample_of_cpu_a_step_names_the_setting(field_url):
    found = (await read(field_url, "copies", step_seconds=120))["once"]
    assert "scrape_interval_seconds" in dict(found.warnings)["scrape_interval"]
    found = (await read(field_url, "copies", step_seconds=120, scrape_interval_seconds=120))["once"]
    assert np.nanmedian(hottest(found, "cpu_cores")) == pytest.approx(0.2, rel=0.01)


async def test_queries_are_cut_to_what_a_server_takes(field_url):
    """A limit of bytes, and a server that refuses more than one pod or half a day at once."""
    whole = (await read(field_url, "names"))[LONG]
    cut = (await read(field_url, "names", max_query_bytes=1024))[LONG]
    np.testing.assert_array_equal(hottest(cut, "cpu_cores"), hottest(whole, "cpu_cores"))
    assert np.nanmedian(cut.service["requests_per_second"]) == pytest.approx(100, rel=0.01)


async def test_more_samples_than_may_be_are_refused_before_they_are_read(field_url):
    found = await read(field_url, "names", step_seconds=60, max_samples=10_000)
    assert np.nanmax(hottest(found["app"], "memory_bytes")) == 300 * MI
    refused = found["short"].error
    assert "short has 2 pods: at 5,760 steps these are 11,520 samples" in refused.message
    assert "at most 10,000 are read" in refused.message
    assert "max_samples" in refused.remedy


class Refuses(httpx.AsyncHTTPTransport):
    """Takes no range query over more than half a day."""

    async def handle_async_request(self, request):
        form = {k: v[0] for k, v in parse_qs((await request.aread()).decode()).items()}
        if request.url.path.endswith("query_range") and float(form["end"]) - float(form["start"]) > 43_200:
            return httpx.Response(422, json={"error": "cannot select more than -search.maxSamplesPerQuery"})
        return await super().handle_async_request(request)


async def test_what_a_server_finds_too_large_is_asked_in_parts(field_url):
    config = PrometheusConfig(url=field_url, matchers=('world="limits"',))
    source = PrometheusSource("prom", config, transport=Refuses())
    (big,) = await source.inventory(UNTIL)
    (found,) = [s async for s in source.snapshots([big], SINCE, UNTIL, {"cpu_cores", "memory_bytes"})]
    await source.close()
    (whole,) = (await read(field_url, "limits")).values()
    np.testing.assert_array_equal(hottest(found, "memory_bytes"), hottest(whole, "memory_bytes"))
