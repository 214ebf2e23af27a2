"""Copies of a series, quotients and clusters: what is put together here and not by the server."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import httpx
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt.config.prometheus import PrometheusConfig
from perfopt.domain.workload import Container, Workload, WorkloadId, WorkloadState
from perfopt.sources.prometheus.answer import RangeSeries, decode_matrix
from perfopt.sources.prometheus.combine import divided, grouped
from perfopt.sources.prometheus.source import PrometheusSource

END = datetime(2026, 11, 2, tzinfo=UTC)
START = END - timedelta(hours=1)
samples = st.dictionaries(st.integers(0, 20), st.floats(0, 1e12) | st.just(float("nan")), min_size=1)


def series(values, **labels):
    """A series of {step: value}."""
    times = np.array(sorted(values), dtype=np.int64)
    return RangeSeries(labels, times, np.array([values[at] for at in times.tolist()], dtype=float))


def as_dict(one):
    return dict(zip(one.times.tolist(), one.values.tolist(), strict=True))


def by_pod(one):
    return one.labels.get("pod")


@given(st.lists(samples, min_size=1, max_size=4))
def test_of_several_copies_the_largest_counts_at_each_instant(copies):
    found = grouped([series(c, pod="a", copy=str(n)) for n, c in enumerate(copies)], by_pod)["a"]
    assert (np.diff(found.times) > 0).all()
    for at, value in as_dict(found).items():
        there = [c[at] for c in copies if at in c and not np.isnan(c[at])]
        assert value == max(there) if there else np.isnan(value)
    assert set(found.times.tolist()) == set().union(*copies)


def test_series_of_nobody_are_left_out_and_different_pods_stay_apart():
    found = grouped([series({0: 1}, pod="a"), series({0: 2}, pod="b"), series({0: 3})], by_pod)
    assert {pod: as_dict(one) for pod, one in found.items()} == {"a": {0: 1.0}, "b": {0: 2.0}}


def test_each_series_is_divided_by_the_one_with_the_same_labels():
    throttled = [series({0: 1, 1: 2, 2: 3}, pod="a", id="1"), series({0: 9}, pod="a", id="2")]
    periods = [series({1: 4, 2: 0, 3: 5}, pod="a", id="1", __name__="periods")]
    (found,) = divided(throttled, periods)
    assert as_dict(found) == {1: 0.5, 2: 3e9}


@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=50))
def test_every_number_is_read_exactly(values):
    spelled = {float("inf"): "+Inf", float("-inf"): "-Inf"}
    pairs = [(1_372_636_800 + 300 * n, spelled.get(v, repr(v))) for n, v in enumerate(values)]
    result = [{"metric": {}, "values": pairs}]
    body = {"status": "success", "data": {"resultType": "matrix", "result": result}}
    (found,) = decode_matrix(msgspec.json.encode(body), "prom").data
    assert found.values.tolist() == values
    assert found.times.tolist() == [1000 * at for at, _ in pairs]


NOTHING = {"resultType": "vector", "result": []}


class Server:
    """Holds series by a word of the query that asks for them, and remembers the queries.

    Says which metrics it has where `names` were set; else it refuses to, as a proxy may.
    """

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []
        self.names = None

    async def handle(self, request):
        if request.url.path.endswith("/label/__name__/values"):
            known = {"status": "success", "data": self.names}
            return httpx.Response(403) if self.names is None else httpx.Response(200, json=known)
        if request.url.path.endswith("/labels"):
            return httpx.Response(403)
        form = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
        query = form.get("query") or form["match[]"]
        endpoint = request.url.path.rpartition("/")[2]
        if endpoint == "query":  # the inventory: nothing is known of the present
            return httpx.Response(200, json={"status": "success", "data": NOTHING})
        self.asked.append(query)
        found = [labels for word, answer in self.answers.items() if word in query for labels in answer]
        if endpoint == "series":
            data: Any = [labels for labels, _ in found]
        else:
            at = [START.timestamp() + 300 * step for step in range(1, 13)]
            result = [
                {"metric": labels, "values": [[t, str(v)] for t, v in zip(at, values, strict=True)]}
                for labels, values in found
            ]
            data = {"resultType": "matrix", "result": result}
        return httpx.Response(200, json={"status": "success", "data": data})

    def source(self):
        config = PrometheusConfig(url="http://prom")
        return PrometheusSource("prom", config, transport=httpx.MockTransport(self.handle))

    async def read(self, *metrics, cluster=""):
        source = self.source()
        ledger = Workload(
            id=WorkloadId(cluster=cluster, namespace="trading", kind="StatefulSet", name="ledger"),
            service_name="ledger",
            state=WorkloadState(containers=(Container(name="main"),)),
        )
        try:
            (found,) = [s async for s in source.snapshots([ledger], START, END, {"cpu_cores", *metrics})]
            return found
        finally:
            await source.close()

    def times_asked(self, word):
        return len([query for query in self.asked if word in query])


POD = {"namespace": "trading", "pod": "ledger-0"}
MAIN = POD | {"container": "main"}
OWNER = {"kube_pod_owner": [(POD | {"owner_kind": "StatefulSet", "owner_name": "ledger"}, ())]}
CPU = {"cpu_usage": [(MAIN, [0.5] * 12)]}
RESTARTS = MAIN | {"__name__": "kube_pod_container_status_restarts_total"}


async def oom_kills(counts, killed):
    server = Server(**OWNER, **CPU, restarts_total=[(RESTARTS, counts)], last_terminated=[(MAIN, killed)])
    found = await server.read("oom_kills")
    return found.series("main", "oom_kills").values[0].tolist(), server.times_asked("last_terminated")


async def test_without_a_restart_nobody_asks_for_its_reason():
    assert await oom_kills([3] * 12, ["NaN"] * 12) == ([0.0] * 12, 0)


async def test_a_restart_counts_as_a_kill_only_while_the_reason_is_the_oom_killer():
    counts = [0] * 3 + [1] * 5 + [2] * 4
    server = Server(**OWNER, **CPU, restarts_total=[(RESTARTS, counts)], last_terminated=[])
    found = await server.read("oom_kills", "restarts")
    assert found.series("main", "restarts").values[0].sum() == 2
    assert found.series("main", "oom_kills").values[0].sum() == 0
    values, asked = await oom_kills(counts, [1] * 12)
    assert (values, asked) == ([0.0] * 3 + [1.0] + [0.0] * 4 + [1.0] + [0.0] * 3, 1)


async def test_what_the_server_does_not_have_is_not_asked_for():
    server = Server(**OWNER, **CPU)
    await server.read("requests_per_second", "jvm_threads")
    told, not_told = Server(**OWNER, **CPU), len(server.asked)
    told.names = ["container_cpu_usage_seconds_total", "jvm_threads_current", "kube_pod_owner"]
    found = await told.read("requests_per_second", "jvm_threads")
    assert found.series("main", "cpu_cores").values[0].tolist() == [0.5] * 12
    assert told.times_asked("jvm_threads_current") == 1  # an alternative within a query of several
    assert told.times_asked("http_requests") == 0
    assert len(told.asked) < not_told


async def test_throttling_is_a_share_of_the_periods_and_zero_needs_no_periods():
    for rate, expected, asked in ((2.0, 0.2, 1), (0.0, 0.0, 0)):
        throttled, periods = [(MAIN, [rate] * 12)], [(MAIN, [10.0] * 12)]
        server = Server(**OWNER, **CPU, throttled_periods=throttled, cfs_periods=periods)
        found = await server.read("cpu_throttled_fraction")
        assert found.series("main", "cpu_throttled_fraction").values[0].tolist() == [expected] * 12
        assert server.times_asked("cfs_periods") == asked


async def test_requests_limits_and_restarts_come_with_one_query():
    def amount(what, resource, value):
        name = {"__name__": f"kube_pod_container_resource_{what}", "resource": resource}
        return MAIN | name, [value] * 12

    amounts = [
        amount(what, resource, value)
        for what, resource, value in (
            ("requests", "cpu", 1),
            ("requests", "memory", 2),
            ("limits", "cpu", 3),
            ("limits", "memory", 4),
        )
    ]
    server = Server(**OWNER, **CPU, resource_requests=[*amounts, (RESTARTS, [5] * 12)])
    names = ["cpu_request_cores", "memory_request_bytes", "cpu_limit_cores", "memory_limit_bytes"]
    found = await server.read(*names, "restarts", "oom_kills")
    assert [found.series("main", name).values[0, 0] for name in names] == [1, 2, 3, 4]
    assert server.times_asked("resource_requests") == server.times_asked("restarts_total") == 1


async def test_a_workload_of_the_same_name_in_another_cluster_is_not_taken_for_it():
    place = {"namespace": "trading", "statefulset": "ledger"}
    replicas = [(place | {"cluster": "us"}, [9] * 12), (place | {"cluster": "eu"}, [2] * 12)]
    owner = [(labels | {"cluster": "eu"}, values) for labels, values in OWNER["kube_pod_owner"]]
    cpu = [(MAIN | {"cluster": "eu"}, [0.5] * 12), (MAIN | {"cluster": "us"}, [9.0] * 12)]
    server = Server(kube_pod_owner=owner, cpu_usage=cpu, statefulset_status_replicas=replicas)
    found = await server.read("replicas", cluster="eu")
    assert set(found.service["replicas"].tolist()) == {2.0}
    assert set(found.series("main", "cpu_cores").values[0].tolist()) == {0.5}


@pytest.mark.parametrize(("replicas", "batches"), [(1, 1), (40, 1), (150, 3), (900, 3)])
async def test_large_workloads_are_read_by_themselves_so_that_memory_is_bounded(replicas, batches):
    server = Server()
    state = WorkloadState(containers=(), replicas=replicas)
    known = [
        Workload(
            id=WorkloadId(namespace="trading", kind="StatefulSet", name=name), service_name=name, state=state
        )
        for name in ("a", "b", "c")
    ]
    source = server.source()
    found = [s.workload.id.name async for s in source.snapshots(known, START, END, {"cpu_cores"})]
    await source.close()
    assert found == ["a", "b", "c"]
    assert server.times_asked("kube_pod_owner") == batches + len(known)  # why there is nothing: one each
