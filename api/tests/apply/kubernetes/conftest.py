from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from simulated_objects import deployment

from perfopt.config.kubernetes import KubernetesConfig
from perfopt_api.apply.cluster import WorkloadTarget
from perfopt_api.apply.kubernetes.access import cluster_role
from perfopt_api.apply.kubernetes.cluster import KubernetesCluster
from perfopt_api.simulated.kubernetes.access import ADMIN
from perfopt_api.simulated.kubernetes.clock import ScaledClock
from perfopt_api.simulated.kubernetes.cluster import ClusterOptions, SimulatedCluster
from perfopt_api.simulated.kubernetes.http import Request
from perfopt_api.simulated.kubernetes.server import SimulatedServer

TARGET = WorkloadTarget(api_version="apps/v1", kind="Deployment", namespace="shop", name="checkout")
_RBAC = "/apis/rbac.authorization.k8s.io/v1"


@dataclass
class World:
    """A served cluster, and perfopt's client of it under a service account with the generated role."""

    server: SimulatedServer
    cluster: KubernetesCluster

    def send(
        self, method: str, path: str, body: Any = b"", content: str = "application/json"
    ) -> dict[str, Any]:
        """Sends a request as an administrator; returns the body of its answer."""
        request = Request.of(method, path, {"Content-Type": content}, body)
        answer = self.server.run(lambda cluster: cluster.api.handle(request, ADMIN))
        return answer.body or {}

    def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Creates an object as kubectl."""
        return self.server.run(lambda cluster: cluster.create(path, body))

    def get(self, path: str) -> dict[str, Any]:
        """Reads an object."""
        return self.send("GET", path)

    def settle(self, seconds: float = 5.0) -> None:
        """Lets simulated time pass."""
        end = self.server.cluster.clock.now() + seconds
        while self.server.cluster.clock.now() < end:
            self.server.run(lambda cluster: cluster.step())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    options = ClusterOptions(nodes={"node-a": ("8", "32Gi"), "node-b": ("8", "32Gi")}, metrics_api=False)
    with SimulatedServer(SimulatedCluster(ScaledClock(25.0), options)) as server:
        token = server.run(_service_account)
        path = server.kubeconfig(tmp_path / "kubeconfig", token)
        config = KubernetesConfig(kubeconfig=str(path), retries=1, timeout_seconds=10)
        cluster = KubernetesCluster(config, service_namespace="perfopt")
        yield World(server, cluster)
        cluster.close()


@pytest.fixture
def service_account() -> Callable[[SimulatedCluster], str]:
    """Makes the service account in a cluster, and a token for it."""
    return _service_account


def _service_account(cluster: SimulatedCluster) -> str:
    """A service account that may do exactly what the code says it calls."""
    for name in ("shop", "perfopt"):
        cluster.create(
            "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        )
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "perfopt"}}
    cluster.create("/api/v1/namespaces/perfopt/serviceaccounts", account)
    cluster.create(f"{_RBAC}/clusterroles", cluster_role())
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "perfopt-apply"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "perfopt-apply",
        },
        "subjects": [{"kind": "ServiceAccount", "name": "perfopt", "namespace": "perfopt"}],
    }
    cluster.create(f"{_RBAC}/clusterrolebindings", binding)
    return cluster.api.access.token("perfopt", "perfopt")


@pytest.fixture
def shop(world: World) -> World:
    """The world with a Deployment `checkout` of two pods."""
    world.create("/apis/apps/v1/namespaces/shop/deployments", deployment())
    world.settle()
    return world
