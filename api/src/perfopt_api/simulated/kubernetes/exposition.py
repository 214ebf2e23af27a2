"""What Prometheus scrapes of the simulated cluster: cAdvisor, kube-state-metrics and the applications."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from perfopt.domain.quantity import parse_quantity
from perfopt_api.simulated.kubernetes.clock import seconds
from perfopt_api.simulated.kubernetes.kinds import DEPLOYMENT, NODE, POD, REPLICA_SET
from perfopt_api.simulated.kubernetes.status import Json
from perfopt_api.simulated.kubernetes.workload import BUCKETS

if TYPE_CHECKING:
    from perfopt_api.simulated.kubernetes.cluster import SimulatedCluster

_UNITS = {"cpu": "core", "memory": "byte"}
Sample = tuple[str, dict[str, str], float]


def cadvisor(cluster: "SimulatedCluster") -> str:
    """CPU, memory and throttling by container, in cAdvisor's words."""
    return _text(_cadvisor(cluster))


def kube_state(cluster: "SimulatedCluster") -> str:
    """Objects, in kube-state-metrics' words."""
    return _text(_kube_state(cluster))


def applications(cluster: "SimulatedCluster") -> str:
    """Requests, errors and times by pod."""
    return _text(_applications(cluster))


PAGES: dict[str, Callable[["SimulatedCluster"], str]] = {
    "/metrics/cadvisor": cadvisor,
    "/metrics/kube-state": kube_state,
    "/metrics/applications": applications,
}


def _text(samples: Iterator[Sample]) -> str:
    lines = []
    for name, labels, value in samples:
        inner = ",".join(f'{label}="{text}"' for label, text in labels.items())
        lines.append(f"{name}{{{inner}}} {value:.17g}")
    return "\n".join(sorted(lines)) + "\n"


def _running(cluster: "SimulatedCluster") -> Iterator[Json]:
    for pod in cluster.store.all(POD.key):
        if pod.get("status", {}).get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]:
            yield pod


def _place(pod: Json) -> dict[str, str]:
    return {"namespace": pod["metadata"]["namespace"], "pod": pod["metadata"]["name"]}


def _cadvisor(cluster: "SimulatedCluster") -> Iterator[Sample]:
    for pod in _running(cluster):
        profile = cluster.workloads.profile(pod)
        if profile.silent:
            continue
        serving = profile.container or pod["spec"]["containers"][0]["name"]
        counted = cluster.workloads.counters(pod)
        for container in pod["spec"]["containers"]:
            name = container["name"]
            labels = _place(pod) | {"container": name, "image": container["image"]}
            memory = cluster.workloads.memory_bytes(pod, name)
            yield "container_memory_working_set_bytes", labels, memory
            if name != serving:
                yield "container_cpu_usage_seconds_total", labels, 0.0
                continue
            yield "container_cpu_usage_seconds_total", labels, counted.cpu_seconds
            yield "container_cpu_cfs_periods_total", labels, counted.periods
            yield "container_cpu_cfs_throttled_periods_total", labels, counted.throttled_periods
            yield "container_cpu_cfs_throttled_seconds_total", labels, counted.throttled_seconds


def _kube_state(cluster: "SimulatedCluster") -> Iterator[Sample]:
    for pod in cluster.store.all(POD.key):
        yield from _pod_state(pod)
    for deployment in cluster.store.all(DEPLOYMENT.key):
        labels = {
            "namespace": deployment["metadata"]["namespace"],
            "deployment": deployment["metadata"]["name"],
        }
        yield "kube_deployment_spec_replicas", labels, deployment["spec"]["replicas"]
        yield "kube_deployment_status_replicas", labels, deployment["status"].get("replicas", 0)
        ready = deployment["status"].get("readyReplicas", 0)
        yield "kube_deployment_status_replicas_ready", labels, ready
    for replica_set in cluster.store.all(REPLICA_SET.key):
        metadata = replica_set["metadata"]
        for owner in metadata.get("ownerReferences", ()):
            labels = {"namespace": metadata["namespace"], "replicaset": metadata["name"]}
            yield "kube_replicaset_owner", labels | _owner(owner), 1
    for node in cluster.store.all(NODE.key):
        for resource, unit in _UNITS.items():
            amount = float(parse_quantity(node["status"]["allocatable"][resource]))
            labels = {"node": node["metadata"]["name"], "resource": resource, "unit": unit}
            yield "kube_node_status_allocatable", labels, amount


def _owner(owner: Json) -> dict[str, str]:
    return {"owner_kind": owner["kind"], "owner_name": owner["name"], "owner_is_controller": "true"}


def _pod_state(pod: Json) -> Iterator[Sample]:
    labels, metadata, status = _place(pod), pod["metadata"], pod.get("status", {})
    yield "kube_pod_created", labels, seconds(metadata["creationTimestamp"])
    for owner in metadata.get("ownerReferences", ()):
        yield "kube_pod_owner", labels | _owner(owner), 1
    yield "kube_pod_info", labels | {"node": pod["spec"].get("nodeName", ""), "uid": metadata["uid"]}, 1
    for phase in ("Pending", "Running", "Succeeded", "Failed", "Unknown"):
        yield "kube_pod_status_phase", labels | {"phase": phase}, float(status.get("phase") == phase)
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", ()))
    yield "kube_pod_status_ready", labels | {"condition": "true"}, float(ready)
    for container in pod["spec"]["containers"]:
        named = labels | {"container": container["name"], "node": pod["spec"].get("nodeName", "")}
        for kind, metric in (("requests", "resource_requests"), ("limits", "resource_limits")):
            for resource, text in container.get("resources", {}).get(kind, {}).items():
                unit = {"resource": resource, "unit": _UNITS.get(resource, "")}
                yield f"kube_pod_container_{metric}", named | unit, float(parse_quantity(text))
    for each in status.get("containerStatuses", ()):
        named = labels | {"container": each["name"]}
        yield "kube_pod_container_status_restarts_total", named, each["restartCount"]
        reason = each.get("lastState", {}).get("terminated", {}).get("reason")
        if reason:
            yield "kube_pod_container_status_last_terminated_reason", named | {"reason": reason}, 1
        waiting = each["state"].get("waiting", {}).get("reason")
        if waiting:
            yield "kube_pod_container_status_waiting_reason", named | {"reason": waiting}, 1


def _applications(cluster: "SimulatedCluster") -> Iterator[Sample]:
    for pod in _running(cluster):
        profile = cluster.workloads.profile(pod)
        if profile.silent or not profile.requests_per_second(cluster.clock.now()):
            continue
        counted = cluster.workloads.counters(pod)
        labels = _place(pod)
        good = counted.requests - counted.errors
        for code, amount in (("200", good), ("500", counted.errors)):
            yield "http_requests_total", labels | {"code": code}, amount
        for bound, amount in zip((*map(str, BUCKETS), "+Inf"), counted.buckets, strict=True):
            yield "http_request_duration_seconds_bucket", labels | {"le": bound}, amount
        yield "http_request_duration_seconds_sum", labels, counted.latency_sum
        yield "http_request_duration_seconds_count", labels, counted.requests
