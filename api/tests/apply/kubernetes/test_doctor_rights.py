"""`perfopt doctor` knows whether its account may make the calls of an apply."""

import asyncio

from perfopt.config.kubernetes import KubernetesConfig
from perfopt_api.doctor import _rights


def examined(tmp_path, **more):
    config = KubernetesConfig(kubeconfig=str(tmp_path / "kubeconfig"), retries=1, timeout_seconds=10, **more)
    (found,) = asyncio.run(_rights(config))
    return found


def test_an_account_with_the_generated_role_has_all_rights(world, tmp_path):
    assert examined(tmp_path).status == "ok"
    assert examined(tmp_path, namespaces=("shop",)).status == "ok"


def test_a_right_that_was_taken_away_is_named(world, tmp_path):
    path = "/apis/rbac.authorization.k8s.io/v1/clusterroles/perfopt-apply"
    role = world.get(path)
    role["rules"] = [rule for rule in role["rules"] if rule["resources"] != ["pods/resize"]]
    world.send("PUT", path, role)
    found = examined(tmp_path)
    assert found.status == "failed"
    assert found.message == "This account may not patch pods/resize."
