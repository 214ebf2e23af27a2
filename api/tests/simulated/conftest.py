from collections.abc import Callable
from typing import Any

import pytest

from perfopt_api.simulated.kubernetes.access import ADMIN
from perfopt_api.simulated.kubernetes.clock import ManualClock
from perfopt_api.simulated.kubernetes.cluster import ClusterOptions, SimulatedCluster
from perfopt_api.simulated.kubernetes.http import Request, Response

TYPES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
Ask = Callable[..., Response]


@pytest.fixture
def cluster() -> SimulatedCluster:
    """A cluster with a namespace `shop`; time stands still until it is moved."""
    simulated_cluster = SimulatedCluster(ManualClock(), ClusterOptions(metrics_api=False))
    simulated_cluster.create(
        "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    )
    return simulated_cluster


@pytest.fixture
def ask(cluster: SimulatedCluster) -> Ask:
    """Sends a request as an administrator; `patch` names the kind of a patch."""

    def send(method: str, path: str, body: Any = b"", *, patch: str = "", **headers: str) -> Response:
        content = {"Content-Type": TYPES[patch]} if patch else {}
        return cluster.api.handle(Request.of(method, path, content | headers, body), ADMIN)

    return send
