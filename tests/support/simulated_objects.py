"""Objects for tests against the simulated Kubernetes API."""

from typing import Any

DEPLOYMENTS = "/apis/apps/v1/namespaces/shop/deployments"
PODS = "/api/v1/namespaces/shop/pods"


def deployment(name: str = "checkout", replicas: int = 2, **spec: Any) -> dict[str, Any]:
    """A Deployment of two containers; the first has requests and limits."""
    labels = {"app": name}
    container = {
        "name": "app",
        "image": "registry.example/app:1",
        "resources": {
            "requests": {"cpu": "100m", "memory": "128Mi"},
            "limits": {"cpu": "500m", "memory": "256Mi"},
        },
    }
    sidecar = {"name": "proxy", "image": "registry.example/proxy:1"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container, sidecar]}}
    body = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": body | spec}


def sized(**resources: Any) -> dict[str, Any]:
    """A patch of the first container's resources."""
    return {"spec": {"template": {"spec": {"containers": [{"name": "app", "resources": resources}]}}}}
