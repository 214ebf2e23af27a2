"""Whose series they are: requests that other exporters show under the names of kube-state-metrics."""

import pytest

from perfopt.errors import SourceError
from perfopt.sources.prometheus.answer import InstantSample
from perfopt.sources.prometheus.exporters import ForeignExporters, foreign_exporters
from perfopt.sources.prometheus.identity import require_namespaces


def test_jobs_that_disagree_are_refused_with_values_where_none_is_known_to_be_kube_state_metrics():
    def request(job, value):
        place = {"namespace": "q", "pod": "a", "container": "app", "resource": "cpu"}
        return InstantSample(place | {"job": job}, value)

    known = {"requests": [request("ksm", 1.0), request("opencost", 4.0)]}
    with pytest.raises(SourceError, match="4 by job = 'opencost'") as refused:
        foreign_exporters(known, "server", "cluster")
    assert refused.value.remedy
    same = {"requests": [request("ksm", 1.0), request("b", 1.0)]}
    assert foreign_exporters(same, "server", "cluster") == ForeignExporters()
    own = known | {"containers": [InstantSample({"job": "ksm"}, 1.0)]}
    assert foreign_exporters(own, "server", "cluster").jobs == {"opencost"}


def test_a_target_of_kube_state_metrics_job_that_only_copies_its_requests_is_another_exporter():
    def request(instance, pod):
        place = {"namespace": "q", "pod": pod, "container": "app", "resource": "cpu"}
        return InstantSample(place | {"job": "pods", "instance": instance}, 1.0)

    shards = [InstantSample({"job": "pods", "instance": one}, 1.0) for one in ("ksm-0", "ksm-1")]
    known = {
        "containers": shards,
        "requests": [request("ksm-0", "a"), request("ksm-1", "b"), request("cost", "a"), request("new", "c")],
    }
    found = foreign_exporters(known, "server", "cluster")
    assert found == ForeignExporters(targets=frozenset({("pods", "cost")}))  # nobody else shows c
    assert [s.labels["pod"] for s in found.without(known["requests"])] == ["a", "b", "c"]
    assert "instance = 'cost'" in found.notes()[0]
    series = {"job": "pods", "instance": "cost", "__name__": "kube_pod_container_resource_requests"}
    assert found.left_out(series)
    assert not found.left_out(series | {"__name__": "kube_pod_container_status_restarts_total"})


def test_series_without_namespaces_are_refused_with_the_labels_that_stand_for_them():
    moved = InstantSample({"kubernetes_namespace": "shop", "kubernetes_pod_name": "p", "job": "ksm"}, 1.0)
    with pytest.raises(SourceError, match="kubernetes_namespace, kubernetes_pod_name") as refused:
        require_namespaces([moved], "http://p")
    assert "namespace, pod and container" in refused.value.remedy
    require_namespaces([moved, InstantSample({"namespace": "shop"}, 1.0)], "http://p")
    require_namespaces([], "http://p")
