"""The role of docs/how-to/read-a-cluster.md grants what is asked of the API, and nothing else."""

import asyncio

from documented_role import documented_rights
from kubernetes_api import kubernetes_api

from perfopt.config.kubernetes import KubernetesConfig
from perfopt.sources.kubernetes.inventory import KubernetesInventory


def asked(tmp_path):
    with kubernetes_api() as api:
        inventory = KubernetesInventory(KubernetesConfig(kubeconfig=str(api.kubeconfig(tmp_path / "config"))))
        asyncio.run(inventory.read())
        paths = [path.partition("?")[0].strip("/").split("/") for path in api.asked]
    return {("", path[-1]) if path[0] == "api" else (path[1], path[-1]) for path in paths}


def test_the_role_grants_what_is_asked_and_nothing_else(tmp_path):
    assert documented_rights() == asked(tmp_path)
