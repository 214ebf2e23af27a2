"""What is made of kube-state-metrics series: workloads, containers, requests, autoscalers."""

import pytest

from perfopt.domain.enums import Basis
from perfopt.sources.prometheus.answer import InstantSample
from perfopt.sources.prometheus.kube_state import KubeState
from perfopt.sources.prometheus.promql import load_catalogue

NS = {"namespace": "trading"}


def workloads(cluster_label="cluster", **samples):
    state = {name: [] for name in load_catalogue().state} | samples
    return {str(w.id): w for w in KubeState(samples=state, cluster_label=cluster_label).workloads()}


def gauge(value=1.0, **labels):
    return InstantSample(NS | labels, value)


def owned(pod, kind, name, **more):
    return gauge(pod=pod, owner_kind=kind, owner_name=name, **more)


def amount(value, pod, container, resource):
    return gauge(value, pod=pod, container=container, resource=resource)


def deployment(name, *pods, rs="rs"):
    """The samples that tie pods to a Deployment."""
    return {
        "pod_owners": [owned(pod, "ReplicaSet", f"{name}-{rs}") for pod in pods],
        "replicaset_owners": [gauge(replicaset=f"{name}-{rs}", owner_kind="Deployment", owner_name=name)],
    }


def test_a_pod_leads_by_its_replicaset_to_its_deployment():
    assert list(workloads(**deployment("api", "api-rs-1"))) == ["trading/deployment/api"]


def test_a_replicaset_may_belong_to_an_argo_rollout():
    found = workloads(
        pod_owners=[owned("web-1", "ReplicaSet", "web-rs")],
        replicaset_owners=[gauge(replicaset="web-rs", owner_kind="Rollout", owner_name="web")],
        rollout_replicas=[gauge(4, name="web")],
    )
    assert found["trading/rollout/web"].state.replicas == 4


def test_a_pod_leads_by_its_job_to_its_cronjob():
    found = workloads(
        pod_owners=[owned("report-1-x", "Job", "report-1")],
        job_owners=[gauge(job_name="report-1", owner_kind="CronJob", owner_name="report")],
    )
    assert list(found) == ["trading/cronjob/report"]
    assert found["trading/cronjob/report"].state.replicas is None


def test_static_pods_of_a_node_are_left_out():
    assert workloads(pod_owners=[owned("kube-proxy-n1", "Node", "n1")]) == {}


def test_a_workload_that_is_scaled_to_zero_is_there():
    found = workloads(replicas=[gauge(0, deployment="api")])
    state = found["trading/deployment/api"].state
    assert (state.replicas, state.containers, state.basis) == (0, (), Basis.UNKNOWN)


def test_requests_limits_and_images_are_per_container():
    found = workloads(
        **deployment("api", "p"),
        containers=[
            gauge(pod="p", container="main", image="r/api:v1"),
            gauge(pod="p", container="log", image="l"),
        ],
        requests=[amount(0.5, "p", "main", "cpu"), amount(2**30, "p", "main", "memory")],
        limits=[amount(1.0, "p", "main", "cpu")],
    )
    log, main = found["trading/deployment/api"].state.containers
    assert (log.name, log.cpu_request_cores, log.image) == ("log", None, "l")
    assert main.to_map() == {"cpu_request": "500m", "memory_request": "1Gi", "cpu_limit": "1"}
    assert found["trading/deployment/api"].state.basis is Basis.DECLARED


def test_native_sidecars_count_and_init_containers_do_not():
    found = workloads(
        **deployment("api", "p"),
        containers=[gauge(pod="p", container="main", image="r/api:v1")],
        sidecars=[gauge(pod="p", container="proxy", image="envoy")],
        requests=[amount(0.5, "p", "main", "cpu")],
        sidecar_requests=[amount(0.1, "p", "proxy", "cpu"), amount(8.0, "p", "migrate", "cpu")],
    )
    state = found["trading/deployment/api"].state
    assert [(c.name, c.sidecar) for c in state.containers] == [("main", False), ("proxy", True)]
    assert state.init.cpu_cores == 8.0
    assert state.to_map()["sidecars"] == ["proxy"]
    assert state.total("cpu_request_cores") == pytest.approx(0.6)


def test_requests_are_assumed_from_limits_where_only_those_are_known():
    found = workloads(
        **deployment("api", "p"),
        limits=[amount(1.0, "p", "main", "cpu"), amount(2**30, "p", "main", "memory")],
    )
    state = found["trading/deployment/api"].state
    assert state.basis is Basis.ASSUMED_FROM_LIMIT
    assert state.containers[0].cpu_request_cores == 1.0
    assert state.containers[0].memory_request_bytes == 2**30


def test_where_neither_is_known_the_basis_is_unknown():
    found = workloads(**deployment("api", "p"), containers=[gauge(pod="p", container="main", image="i")])
    state = found["trading/deployment/api"].state
    assert state.basis is Basis.UNKNOWN
    assert state.to_map()["containers"] == {"main": {}}


def test_during_a_rollout_the_newest_pod_shows_the_state():
    found = workloads(
        **deployment("api", "old", "new"),
        pods_created=[gauge(100, pod="old"), gauge(200, pod="new")],
        requests=[amount(2.0, "old", "main", "cpu"), amount(1.0, "new", "main", "cpu")],
    )
    assert found["trading/deployment/api"].state.containers[0].cpu_request_cores == 1.0


def test_an_hpa_is_read_with_its_targets_and_keda_is_recognised():
    hpa = {"horizontalpodautoscaler": "keda-hpa-orders"}
    found = workloads(
        replicas=[gauge(2, deployment="api")],
        hpa=[gauge(scaletargetref_kind="Deployment", scaletargetref_name="api", **hpa)],
        hpa_min=[gauge(2, **hpa)],
        hpa_max=[gauge(9, **hpa)],
        hpa_targets=[
            gauge(70, metric_name="cpu", metric_target_type="utilization", **hpa),
            gauge(5, metric_name="lag", metric_target_type="average", **hpa),
        ],
    )
    state = found["trading/deployment/api"].state
    assert (state.hpa.min_replicas, state.hpa.max_replicas) == (2, 9)
    assert (state.hpa.target_cpu_utilization_percent, state.hpa.other_metrics) == (70, ("lag",))
    assert state.keda == "orders"


def test_several_autoscalers_of_one_workload_are_named():
    def metrics(*names):
        labels = [{"horizontalpodautoscaler": name} for name in names]
        target = {"scaletargetref_kind": "Deployment", "scaletargetref_name": "api"}
        return {
            "hpa": [gauge(**target, **one) for one in labels],
            "hpa_min": [gauge(2 + number, **one) for number, one in enumerate(labels)],
            "hpa_max": [gauge(9, **one) for one in labels],
            "hpa_targets": [
                gauge(70 - number, metric_name="cpu", metric_target_type="utilization", **one)
                for number, one in enumerate(labels)
            ],
        }

    found = workloads(replicas=[gauge(2, deployment="api")], **metrics("one", "two"))
    both = found["trading/deployment/api"]
    assert both.unknown_autoscalers == ("one", "two")
    assert (both.state.hpa.min_replicas, both.state.hpa.target_cpu_utilization_percent) == (3, 69)
    alone = workloads(replicas=[gauge(2, deployment="api")], **metrics("one"))["trading/deployment/api"]
    assert alone.unknown_autoscalers == ()


def test_a_vpa_is_read_with_its_mode():
    found = workloads(
        replicas=[gauge(2, statefulset="db")],
        vpa=[gauge(target_kind="StatefulSet", target_name="db", update_mode="Auto")],
    )
    assert found["trading/statefulset/db"].state.vpa_mode == "Auto"


def test_a_service_is_called_by_its_name_label_if_no_other_has_it():
    named = "label_app_kubernetes_io_name"
    found = workloads(
        replicas=[gauge(deployment=name) for name in ("a", "b", "c")],
        labels=[
            gauge(deployment="a", **{named: "portfolio", "label_team": "core"}),
            gauge(deployment="b", **{named: "shared"}),
            gauge(deployment="c", **{named: "shared"}),
        ],
    )
    assert [w.service_name for w in found.values()] == ["portfolio", "b", "c"]
    assert found["trading/deployment/a"].labels == {"app.kubernetes.io/name": "portfolio", "team": "core"}


def test_the_same_name_in_two_clusters_is_two_workloads():
    found = workloads(replicas=[gauge(2, deployment="api", cluster=c) for c in ("east", "west")])
    assert list(found) == ["east/trading/deployment/api", "west/trading/deployment/api"]


def test_the_zones_of_a_cluster_are_those_of_its_nodes():
    def node(zone, cluster):
        return InstantSample({"label_topology_kubernetes_io_zone": zone, "cluster": cluster}, 1.0)

    found = workloads(
        replicas=[gauge(3, deployment="api", cluster="eu"), gauge(3, deployment="api", cluster="us")],
        zones=[node("eu-1b", "eu"), node("eu-1a", "eu")],
    )
    assert found["eu/trading/deployment/api"].zones == ("eu-1a", "eu-1b")
    assert found["us/trading/deployment/api"].zones == ()


def test_runtimes_are_those_that_containers_say_they_are():
    containers = [gauge(pod="p", container=name, image=name) for name in ("main", "exporter")]
    said = [
        gauge(pod="p", container="main", version="21.0.2", __name__="jvm_info"),
        gauge(pod="p", container="exporter", version="go1.24.1", __name__="go_info"),
        gauge(pod="p", version="v20.1.0", __name__="nodejs_version_info"),
    ]
    found = workloads(**deployment("api", "p"), containers=containers, runtimes=said)
    state = found["trading/deployment/api"].state
    assert {c.name: c.runtimes for c in state.containers} == {
        "exporter": {"go": "go1.24.1"},
        "main": {"jvm": "21.0.2"},
    }
    alone = workloads(**deployment("api", "p"), containers=containers[:1], runtimes=said[2:])
    assert alone["trading/deployment/api"].state.containers[0].runtimes == {"node": "v20.1.0"}


def test_a_request_above_its_limit_and_a_limit_that_stands_for_none_are_unknown():
    found = workloads(
        **deployment("api", "p"),
        containers=[gauge(pod="p", container="app", image="app:1")],
        requests=[amount(2.0, "p", "app", "cpu"), amount(2.0**30, "p", "app", "memory")],
        limits=[amount(1.0, "p", "app", "cpu"), amount(2.0**63 - 4096, "p", "app", "memory")],
    )
    state = found["trading/deployment/api"].state
    (container,) = state.containers
    assert (container.cpu_request_cores, container.cpu_limit_cores) == (1.0, 1.0)
    assert state.basis is Basis.ASSUMED_FROM_LIMIT
    assert (container.memory_request_bytes, container.memory_limit_bytes) == (2**30, None)
