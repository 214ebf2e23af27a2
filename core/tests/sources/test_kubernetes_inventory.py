"""What is read from a cluster's API, and how refusals are told. Against a small server of the same forms."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from kubernetes_api import TOKEN, kubernetes_api

from perfopt.config.kubernetes import KubernetesConfig
from perfopt.domain.workload import Container, HpaState, Workload, WorkloadId, WorkloadState
from perfopt.errors import InvalidInputError, SourceError, SourceUnavailableError
from perfopt.sources.kubernetes.inventory import KubernetesInventory, completed_by, starts_by

DEPLOYMENTS = "/apis/apps/v1/deployments"
CREATED = datetime(2026, 11, 23, 16, 9, 34, tzinfo=UTC)


@pytest.fixture
def api():
    with kubernetes_api() as found:
        yield found


def container(name="app", **fields):
    return {"name": name, "image": f"registry/{name}:1"} | fields


def deployment(name="pricing", *containers, annotations=None, namespace="trading", **spec):
    pods = {"containers": list(containers) or [container()]} | spec
    return {
        "metadata": {"name": name, "namespace": namespace, "annotations": annotations or {}},
        "spec": {"replicas": 3, "template": {"spec": pods}},
    }


def pod(name, seconds, *, restarts=0, ready="True", workload="pricing"):
    replicaset = f"{workload}-85c59f5755"
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": replicaset, "controller": True}
    at = (CREATED + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
    return {
        "metadata": {
            "name": name,
            "namespace": "trading",
            "creationTimestamp": CREATED.isoformat().replace("+00:00", "Z"),
            "labels": {"pod-template-hash": "85c59f5755"},
            "ownerReferences": [owner],
        },
        "status": {
            "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": CREATED.isoformat()},
                {"type": "Ready", "status": ready, "lastProbeTime": None, "lastTransitionTime": at},
            ],
            "containerStatuses": [{"name": "app", "restartCount": restarts, "ready": True}],
        },
    }


def read(api, tmp_path, token=TOKEN, waits=None, **config):
    kubeconfig = str(api.kubeconfig(tmp_path / "config", token))
    inventory = KubernetesInventory(
        KubernetesConfig(kubeconfig=kubeconfig, **config), sleep=(waits if waits is not None else []).append
    )

    async def once():
        try:
            return await inventory.read()
        finally:
            await inventory.close()

    return asyncio.run(once())


def only(state):
    (known,) = state.workloads.values()
    return known


def app(api, tmp_path, **fields):
    api.add(DEPLOYMENTS, deployment("pricing", container(**fields)))
    return only(read(api, tmp_path)).containers[0]


def test_variables_with_values_and_the_command_line_are_read(api, tmp_path):
    found = app(
        api,
        tmp_path,
        command=["java"],
        args=["-XX:MaxRAMPercentage=40", "-jar", "app.jar"],
        env=[{"name": "GOMAXPROCS", "value": "4"}, {"name": "EMPTY"}],
        resources={"requests": {"cpu": "250m"}, "limits": {"memory": "1Gi"}},
    )
    assert found.env == {"GOMAXPROCS": "4", "EMPTY": ""}
    assert (found.command, found.args[0]) == (("java",), "-XX:MaxRAMPercentage=40")
    assert (found.cpu_request_cores, found.memory_limit_bytes) == (0.25, 2**30)


def test_where_the_image_states_the_command_line_it_is_not_known(api, tmp_path):
    found = app(api, tmp_path)
    assert (found.command, found.args, found.env) == (None, None, {})


def test_values_from_elsewhere_are_named_and_not_read(api, tmp_path):
    key = {"name": "jvm-options", "key": "options"}
    found = app(
        api,
        tmp_path,
        env=[
            {"name": "JAVA_TOOL_OPTIONS", "valueFrom": {"configMapKeyRef": key}},
            {"name": "LICENCE", "valueFrom": {"secretKeyRef": {"name": "vendor", "key": "licence"}}},
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        ],
        envFrom=[{"configMapRef": {"name": "app-config"}}, {"secretRef": {"name": "app-secret"}}],
    )
    assert found.env == {}
    assert found.env_elsewhere == {
        "JAVA_TOOL_OPTIONS": "key options of ConfigMap jvm-options",
        "LICENCE": "Secret vendor",
        "POD_IP": "the pod's field status.podIP",
        "*": "ConfigMap app-config, Secret app-secret",
    }
    assert not [path for path in api.asked if "secret" in path or "configmap" in path]


@pytest.mark.parametrize(
    ("resource", "divisor", "value"),
    [("limits.cpu", "1", "2"), ("limits.cpu", "1m", "1500"), ("limits.memory", "1Mi", "512")],
)
def test_a_limit_as_a_variable_has_the_value_that_the_kubelet_gives_it(
    api, tmp_path, resource, divisor, value
):
    reference = {"resourceFieldRef": {"resource": resource, "divisor": divisor}}
    found = app(
        api,
        tmp_path,
        resources={"limits": {"cpu": "1500m", "memory": "512Mi"}},
        env=[{"name": "GOMAXPROCS", "valueFrom": reference}],
    )
    assert found.env == {"GOMAXPROCS": value}


def test_nothing_that_looks_secret_is_kept(api, tmp_path):
    hidden = "correct-horse"
    state = app(
        api,
        tmp_path,
        env=[
            {"name": "DB_PASSWORD", "value": hidden},
            {"name": "AWS_ACCESS_KEY_ID", "value": hidden},
            {"name": "JAVA_TOOL_OPTIONS", "value": f"-Xmx1g -Djavax.net.ssl.keyStorePassword={hidden}"},
            {"name": "DATABASE_URL", "value": f"postgresql://app:{hidden}@db/pricing"},
        ],
        args=["--token", hidden, f"--api-key={hidden}", "sh", "-c", f"run --db-password '{hidden} x' -w 4"],
    )
    manifest = {"kubectl.kubernetes.io/last-applied-configuration": f'{{"value":"{hidden}"}}'}
    api.add(DEPLOYMENTS, deployment("other", annotations=manifest | {"perfopt.io/runtime": "go1.24"}))
    whole = read(api, tmp_path)
    assert hidden not in repr(whole)
    assert state.env["JAVA_TOOL_OPTIONS"].startswith("-Xmx1g ")
    assert state.args[-1].endswith("-w 4")
    assert [known.annotations for known in whole.workloads.values()][1] == {"perfopt.io/runtime": "go1.24"}


def test_sidecars_count_and_other_init_containers_do_not(api, tmp_path):
    large, small = ({"requests": {"cpu": cpu, "memory": "1Gi"}} for cpu in ("2", "500m"))
    inits = [
        container("proxy", restartPolicy="Always", resources=small),
        container("migrate", resources=large),
    ]
    api.add(DEPLOYMENTS, deployment("pricing", initContainers=inits))
    known = only(read(api, tmp_path))
    assert [(one.name, one.sidecar) for one in known.containers] == [("app", False), ("proxy", True)]
    assert (known.init.cpu_cores, known.init.memory_bytes) == (2.5, 2 << 30)  # beside the sidecar


def test_autoscalers_and_who_made_them(api, tmp_path):
    api.add(DEPLOYMENTS, deployment())
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "pricing"}
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}
    queue = {"metric": {"name": "queue_length"}, "target": {"type": "AverageValue", "averageValue": "10"}}
    behavior = {"scaleDown": {"stabilizationWindowSeconds": 60}}
    spec = {
        "scaleTargetRef": target,
        "minReplicas": 2,
        "maxReplicas": 9,
        "behavior": behavior,
        "metrics": [{"type": "Resource", "resource": cpu}, {"type": "External", "external": queue}],
    }
    metadata = {"name": "keda-hpa-pricing", "namespace": "trading"}
    api.add("/apis/autoscaling/v2/horizontalpodautoscalers", {"metadata": metadata, "spec": spec})
    vpa = {"targetRef": target, "updatePolicy": {"updateMode": "Initial"}}
    api.add(
        "/apis/autoscaling.k8s.io/v1/verticalpodautoscalers",
        {"metadata": {"name": "v", "namespace": "trading"}, "spec": vpa},
    )
    known = only(read(api, tmp_path))
    assert known.hpa == HpaState(
        min_replicas=2,
        max_replicas=9,
        target_cpu_utilization_percent=70,
        other_metrics=("queue_length",),
        behavior=behavior,
    )
    assert (known.keda, known.vpa_mode) == ("pricing", "Initial")


def test_starts_of_pods_by_their_conditions(api, tmp_path):
    api.add(DEPLOYMENTS, deployment())
    pods = [
        pod("quick", 12),
        pod("slow", 95),
        pod("restarted", 600, restarts=1),
        pod("starting", 3, ready="False"),
        pod("someone-else's", 4, workload="other"),
    ]
    api.add("/api/v1/pods", *pods)
    (starts,) = read(api, tmp_path).starts.values()
    assert [(start.pod, start.seconds, start.ready) for start in starts] == [
        ("quick", 12.0, CREATED + timedelta(seconds=12)),
        ("slow", 95.0, CREATED + timedelta(seconds=95)),
    ]


def test_lists_are_read_in_pages_and_again_where_they_expire(api, tmp_path):
    api.add(DEPLOYMENTS, *(deployment(f"d{number}") for number in range(5)))
    assert len(read(api, tmp_path, page_size=2).workloads) == 5
    assert sum("/deployments" in path for path in api.asked) == 3
    answers = iter([200, 200, 410])
    plain = api.answer

    def expiring(path, authorization):
        if "/deployments" in path and next(answers, 200) == 410:
            return 410, {"kind": "Status", "message": "The provided continue parameter is too old"}, {}
        return plain(path, authorization)

    api.answer = expiring
    assert len(read(api, tmp_path, page_size=2).workloads) == 5


def test_only_the_namespaces_that_are_named_are_read(api, tmp_path):
    api.add(DEPLOYMENTS, deployment("a", namespace="trading"), deployment("b", namespace="ops"))
    found = read(api, tmp_path, namespaces=("trading",))
    assert [identity.name for identity in found.workloads] == ["a"]
    assert all("/namespaces/trading/" in path for path in api.asked)


def test_a_missing_permission_is_named_with_the_role_to_grant(api, tmp_path):
    message = 'pods is forbidden: User "system:serviceaccount:perfopt:perfopt" cannot list resource "pods"'
    api.refusals["/api/v1/pods"] = [(403, message, {})]
    with pytest.raises(SourceError, match="cannot list resource") as refused:
        read(api, tmp_path)
    assert "read-a-cluster.md" in str(refused.value)


def test_wrong_credentials_are_said_to_be(api, tmp_path):
    with pytest.raises(SourceError, match=r"refused the credentials \(HTTP 401: Unauthorized\)"):
        read(api, tmp_path, token="old")


def test_a_busy_server_is_asked_again_after_the_time_that_it_names(api, tmp_path):
    api.add(DEPLOYMENTS, deployment())
    api.refusals[DEPLOYMENTS] = [(429, "too many requests", {"Retry-After": "7"}), (503, "starting", {})]
    waits = []
    assert only(read(api, tmp_path, waits=waits)).replicas == 3
    assert waits[0] == 7.0
    assert len(waits) == 2


def test_a_server_that_is_gone_is_given_up_with_what_was_tried(tmp_path):
    with kubernetes_api() as gone:
        pass
    with pytest.raises(SourceUnavailableError, match="Tried 3 times") as given_up:
        read(gone, tmp_path, retries=2)
    assert "Connection refused" in str(given_up.value)
    assert "leave `kubernetes` out" in str(given_up.value)


def test_a_kubeconfig_that_is_not_there_is_named(tmp_path):
    inventory = KubernetesInventory(KubernetesConfig(kubeconfig=str(tmp_path / "none")))
    with pytest.raises(InvalidInputError, match="no way to reach a cluster"):
        asyncio.run(inventory.read())


def known_by_metrics(name="pricing", cluster="", **state):
    identity = WorkloadId(cluster=cluster, namespace="trading", kind="Deployment", name=name)
    given = {"containers": (Container(name="app", cpu_request_cores=0.5),), "replicas": 5} | state
    return Workload(id=identity, service_name=name, state=WorkloadState(**given))


def test_what_metrics_say_of_sizes_stays_and_the_rest_is_added(api, tmp_path):
    resources = {"requests": {"cpu": "2"}}
    app_container = container(env=[{"name": "GOGC", "value": "50"}], resources=resources)
    notes = {"perfopt.io/slo-latency-ms": "80"}
    api.add(DEPLOYMENTS, deployment("pricing", app_container, annotations=notes))
    state = read(api, tmp_path)
    (found,) = completed_by([known_by_metrics()], state, None)
    assert found.state.replicas == 5
    assert found.state.containers[0].cpu_request_cores == 0.5
    assert found.state.containers[0].env == {"GOGC": "50"}
    assert found.slo.latency_ms == 80
    (unknown,) = completed_by([known_by_metrics(containers=(), replicas=None)], state, None)
    assert (unknown.state.replicas, unknown.state.containers[0].cpu_request_cores) == (3, 2.0)


def test_of_several_clusters_the_one_that_is_named_is_completed(api, tmp_path):
    api.add(DEPLOYMENTS, deployment("pricing", container(env=[{"name": "GOGC", "value": "50"}])))
    api.add("/api/v1/pods", pod("p", 12))
    state = read(api, tmp_path)
    workloads = [known_by_metrics(cluster="eu-1"), known_by_metrics(cluster="us-1")]
    eu, us = completed_by(workloads, state, "eu-1")
    assert (eu.state.containers[0].env, us.state.containers[0].env) == ({"GOGC": "50"}, None)
    assert list(starts_by([eu.id, us.id], state, "eu-1")) == [eu.id]
    with pytest.raises(InvalidInputError, match=r"2 clusters \(eu-1, us-1\)"):
        completed_by(workloads, state, None)
    with pytest.raises(InvalidInputError, match="no cluster 'eu-2'"):
        completed_by(workloads, state, "eu-2")
