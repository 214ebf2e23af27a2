"""Whose series they are: requests that other exporters show under the names of kube-state-metrics."""

import pytest

from perfopt.errors import SourceError
from perfopt.sources.prometheus.answer import InstantSample
from perfopt.sources.prometheus.identity import foreign_jobs, require_namespaces


def test_jobs_that_disagree_are_refused_with_values_where_none_is_known_to_be_kube_state_metrics():
    def request(job, value):
        place = {"namespace": "q", "pod": "a", "container": "app", "resource": "cpu"}
        return InstantSample(place | {"job": job}, value)

    known = {"requests": [request("ksm", 1.0), request("opencost", 4.0)]}
    with pytest.raises(SourceError, match="4 by job = 'opencost'") as refused:
        foreign_jobs(known, "server", "cluster")
    assert refused.value.remedy
    assert foreign_jobs({"requests": [request("ksm", 1.0), request("b", 1.0)]}, "server", "cluster") == set()
    own = known | {"containers": [InstantSample({"job": "ksm"}, 1.0)]}
    assert foreign_jobs(own, "server", "cluster") == {"opencost"}


def test_series_without_namespaces_are_refused_with_the_labels_that_stand_for_them():
    moved = InstantSample({"kubernetes_namespace": "shop", "kubernetes_pod_name": "p", "job": "ksm"}, 1.0)
    with pytest.raises(SourceError, match="kubernetes_namespace, kubernetes_pod_name") as refused:
        require_namespaces([moved], "http://p")
    assert "namespace, pod and container" in refused.value.remedy
    require_namespaces([moved, InstantSample({"namespace": "shop"}, 1.0)], "http://p")
    require_namespaces([], "http://p")
