"""Rights: to read what the code lists, and nothing else; to change only where apply is on.

Run this file to write the rules of apply anew.
"""

import pytest
import yaml
from documented_role import documented_rights
from helm_chart import CHART, objects, render, values_of

from perfopt_api.apply.kubernetes.access import rules

pytest.importorskip("helm_python", reason="Helm in a wheel is for Linux on x86-64")
APPLY_RULES = CHART / "files/apply-rules.yaml"
READING = {"get", "list", "watch"}


def roles(case, **more):
    made = objects(render({**values_of(CHART / f"ci/{case}-values.yaml"), **more}))
    return [each for each in made if each["kind"] in ("Role", "ClusterRole")]


def bindings(case):
    made = objects(render(values_of(CHART / f"ci/{case}-values.yaml")))
    return [each for each in made if each["kind"].endswith("Binding")]


def pairs(role):
    return {
        (group, kind) for rule in role["rules"] for group in rule["apiGroups"] for kind in rule["resources"]
    }


def rules_text(rules):
    head = "# What `apply` needs, generated from the calls of the code: python tests/chart/test_rbac.py\n"
    lines = [
        yaml.safe_dump(rule, default_flow_style=True, sort_keys=False, width=1000).strip() for rule in rules
    ]
    return head + "".join(f"- {line}\n" for line in lines)


def test_by_default_the_chart_reads_what_the_documented_role_reads_and_nothing_else():
    (role,) = roles("trial")
    assert role["kind"] == "ClusterRole"
    assert pairs(role) == documented_rights()
    assert all(rule["verbs"] == ["list"] for rule in role["rules"])


def test_in_namespaces_only_what_has_no_namespace_is_granted_in_the_cluster():
    made = roles("apply")
    namespaced = {
        (each["metadata"]["namespace"], each["metadata"]["name"]) for each in made if each["kind"] == "Role"
    }
    assert namespaced == {
        (namespace, f"perfopt-perfopt-{right}")
        for namespace in ("trading", "risk")
        for right in ("read", "apply")
    } | {("perfopt", "perfopt-perfopt-apply-own")}
    (own,) = [each for each in made if each["metadata"]["name"].endswith("-own")]
    freeze = {"resources": ["configmaps"], "verbs": ["get"], "resourceNames": ["perfopt-freeze"]}
    assert own["rules"] == [{"apiGroups": [""]} | freeze]
    (cluster,) = [each for each in made if each["kind"] == "ClusterRole"]
    assert pairs(cluster) == {("", "nodes"), ("", "namespaces")}
    assert all(set(rule["verbs"]) <= READING for rule in cluster["rules"])


def test_only_the_account_of_apply_may_change_anything():
    for each in bindings("apply"):
        accounts = {subject["name"] for subject in each["subjects"]}
        if "-apply" in each["roleRef"]["name"]:
            assert accounts == {"perfopt-apply"}
        else:
            assert accounts == {"perfopt-api", "perfopt-worker", "perfopt-apply"}
        assert {subject["namespace"] for subject in each["subjects"]} == {"perfopt"}


def test_cluster_wide_apply_is_one_role_for_the_account_that_is_given():
    made = {each["metadata"]["name"]: each for each in roles("cluster-wide-apply")}
    assert set(made) == {"perfopt-perfopt-read", "perfopt-perfopt-apply"}
    assert any("patch" in rule["verbs"] for rule in made["perfopt-perfopt-apply"]["rules"])
    assert {subject["name"] for each in bindings("cluster-wide-apply") for subject in each["subjects"]} == {
        "perfopt"
    }


def test_no_role_is_made_where_none_is_wanted():
    assert roles("apply", rbac={"create": False}) == []


def test_apply_grants_the_calls_of_the_code_and_nothing_else():
    assert APPLY_RULES.read_text() == rules_text(rules())


if __name__ == "__main__":
    APPLY_RULES.write_text(rules_text(rules()))
