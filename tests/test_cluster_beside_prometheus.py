"""What a user sees who names a cluster's API beside its Prometheus, which is a real one."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from kubernetes_api import kubernetes_api
from prometheus_server import prometheus_is_installed
from sample_cluster import NAMES, sample_cluster

pytestmark = [pytest.mark.prometheus, pytest.mark.timeout(300)]
SECRET = "c0rrect-horse"
ARGS = ["app:app", "--workers", "1", "--timeout-keep-alive", "2"]


def manifest(name):
    variables = [{"name": "DB_PASSWORD", "value": SECRET}, {"name": "UVICORN_LOG", "value": "info"}]
    container = {"name": "main", "image": f"registry/{name}:1", "command": ["uvicorn"], "args": ARGS}
    annotations = {"perfopt.io/input.load_balancer_idle_seconds": "60"}
    return {
        "metadata": {"name": name, "namespace": "trading", "annotations": annotations},
        "spec": {"replicas": 1, "template": {"spec": {"containers": [container | {"env": variables}]}}},
    }


def running(name, number, seconds):
    ready = datetime.now(UTC) - timedelta(hours=3, minutes=number)
    owner = {"kind": "ReplicaSet", "name": f"{name}-7d9f8c6b5d", "controller": True}
    at = {"type": "Ready", "status": "True", "lastTransitionTime": ready.isoformat()}
    return {
        "metadata": {
            "name": f"{name}-7d9f8c6b5d-x{number}",
            "namespace": "trading",
            "creationTimestamp": (ready - timedelta(seconds=seconds)).isoformat(),
            "labels": {"pod-template-hash": "7d9f8c6b5d"},
            "ownerReferences": [owner],
        },
        "status": {"conditions": [at], "containerStatuses": [{"restartCount": 0}]},
    }


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A configuration with the source `plain`, and `whole`, which names the cluster's API too."""
    assert prometheus_is_installed()
    directory = tmp_path_factory.mktemp("cluster")
    with sample_cluster(directory, workloads=1) as url, kubernetes_api() as api:
        api.add("/apis/apps/v1/deployments", manifest(NAMES[0]))
        api.add("/api/v1/pods", *(running(NAMES[0], n, took) for n, took in enumerate((30, 214, 55))))
        kubeconfig = str(api.kubeconfig(directory / "kubeconfig"))
        whole = {"type": "prometheus", "url": url, "kubernetes": {"kubeconfig": kubeconfig}}
        config = directory / "perfopt.yaml"
        sources = {"plain": {"type": "prometheus", "url": url}, "whole": whole}
        config.write_text(json.dumps({"sources": sources}))
        yield config, api


def analyze(cluster, source, *more):
    config, _ = cluster
    command = [f"{sys.prefix}/bin/perfopt", "analyze", "--config", str(config), "--source", source]
    command += ["--types", "PERFORMANCE_TUNING,SCALING_OPTIMIZATION", "--service", NAMES[0]]
    command += ["--format", "ndjson", "--processes", "1", *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def plain(cluster):
    return analyze(cluster, "plain")


@pytest.fixture(scope="module")
def whole(cluster):
    return analyze(cluster, "whole")


def test_the_command_line_of_a_running_deployment_is_judged(plain, whole):
    assert "Uvicorn" not in plain
    assert "set Uvicorn keep-alive to 65 seconds (current: 2 seconds, on the command line)" in whole


def test_start_up_time_is_learnt_from_the_pods_that_run(plain, whole):
    assert "taken to be ready after 120 s" in plain
    assert "ready after 214 s, which the longest of 3 starts of its pods took" in whole


def test_what_looks_secret_is_nowhere_to_be_seen(whole):
    assert SECRET not in whole
    assert "DB_PASSWORD" not in whole


def test_an_analysis_of_the_past_does_not_ask_what_is_now(cluster, whole):
    _, api = cluster
    before = len(api.asked)
    until = (datetime.now(UTC) - timedelta(days=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    told = analyze(cluster, "whole", "--until", until, "--period", "10d", "--format", "json")
    assert len(api.asked) == before > 0
    assert "taken to be ready after 120 s" in told
    assert "it shows the present, and this analysis ends earlier" in told
