"""The role of docs/how-to/read-a-cluster.md grants what is asked of the API, and nothing else."""

import asyncio
import re
from pathlib import Path

import yaml
from kubernetes_api import kubernetes_api

from perfopt.config.kubernetes import KubernetesConfig
from perfopt.sources.kubernetes.inventory import KubernetesInventory

PAGE = Path(__file__).parents[2] / "docs/how-to/read-a-cluster.md"


def granted():
    text = re.search(r"# cluster-role.yaml\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)[1]
    role = next(document for document in yaml.safe_load_all(text) if document["kind"] == "ClusterRole")
    assert all(rule["verbs"] == ["list"] for rule in role["rules"])
    return {(group, kind) for rule in role["rules"] for group in rule["apiGroups"]
            for kind in rule["resources"]}  # fmt: skip


def asked(tmp_path):
    with kubernetes_api() as api:
        inventory = KubernetesInventory(KubernetesConfig(kubeconfig=str(api.kubeconfig(tmp_path / "config"))))
        asyncio.run(inventory.read())
        paths = [path.partition("?")[0].strip("/").split("/") for path in api.asked]
    return {("", path[-1]) if path[0] == "api" else (path[1], path[-1]) for path in paths}


def test_the_role_grants_what_is_asked_and_nothing_else(tmp_path):
    assert granted() == asked(tmp_path)
