"""The schema and the README say what values.yaml says. Run this file to write both anew."""

import copy
import json
import shutil

import pytest
import yaml
from helm_chart import CASES, CHART, objects, readme, render, schema, values_of

helm_python = pytest.importorskip("helm_python", reason="Helm in a wheel is for Linux on x86-64")
SCHEMA = CHART / "values.schema.json"
README = CHART / "README.md"
TRIAL = {"trial": {"enabled": True, "password": "a-password"}}


def schema_text():
    return json.dumps(schema(), indent=1) + "\n"


def test_the_schema_is_that_of_the_values():
    assert SCHEMA.read_text() == schema_text()


def test_the_readme_is_that_of_the_values():
    assert README.read_text() == readme()


def test_every_value_has_a_meaning():
    rows = [line.split(" | ") for line in readme().splitlines() if line.startswith("| `")]
    assert [row[0] for row in rows if not row[-1].strip(" |")] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"replicaCount": 2},
        {"api": {"replica": 2}},
        {"workers": {"huge": {}}},
        {"workers": {"fleet": {"autoscaling": {"max": 3}}}},
        {"clusterSize": "huge"},
        {"api": {"replicas": "two"}},
        {"prometheusRule": {"alerts": {"PerfoptJobsWait": {"threshhold": 3}}}},
        {"image": {"digest": "latest"}},
    ],
)
def test_what_the_chart_does_not_know_is_refused(wrong):
    with pytest.raises(helm_python.HelmError, match="values don't meet the specifications"):
        render({**copy.deepcopy(TRIAL), **wrong})


def test_an_alert_that_is_misspelt_is_refused():
    rule = {"prometheusRule": {"enabled": True, "alerts": {"PerfoptJobWaits": {"enabled": False}}}}
    with pytest.raises(helm_python.HelmError, match="PerfoptJobWaits is no alert of this chart"):
        render({**TRIAL, **rule})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "database.existingSecret is needed"),
        ({"database": {"existingSecret": "a"}}, "nats.existingSecret is needed"),
        ({**TRIAL, "httpRoute": {"enabled": True}}, "httpRoute.parentRefs is needed"),
        ({**TRIAL, "workers": {"fleet": {"autoscaling": {"enabled": True}}}}, "keda.serverAddress is needed"),
        ({"externalSecrets": {"enabled": True}}, "externalSecrets.secretStoreRef.name is needed"),
    ],
)
def test_what_is_missing_is_named(values, message):
    with pytest.raises(helm_python.HelmError, match=message):
        render(values)


@pytest.fixture
def umbrella(tmp_path):
    """A chart that has ours as a dependency, under a condition."""
    parent = tmp_path / "platform"
    (parent / "charts").mkdir(parents=True)
    shutil.copytree(CHART, parent / "charts/perfopt")
    dependency = {"name": "perfopt", "version": "0.1.0", "condition": "perfopt.enabled"}
    chart = {"apiVersion": "v2", "name": "platform", "version": "1.0.0", "dependencies": [dependency]}
    (parent / "Chart.yaml").write_text(yaml.safe_dump(chart))
    return parent


def test_it_works_as_a_dependency_with_global_values(umbrella):
    shared = {
        "imageRegistry": "registry.example",
        "imagePullSecrets": [{"name": "shared"}],
        "other": {"a": 1},
    }
    values = {"global": shared, "perfopt": {"enabled": True, **TRIAL}}
    made = objects(render(values, chart=umbrella))
    api = next(
        each for each in made if each["kind"] == "Deployment" and each["metadata"]["name"].endswith("-api")
    )
    pod = api["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == "registry.example/perfopt:0.1.0"
    assert pod["imagePullSecrets"] == [{"name": "shared"}]


def test_it_is_off_as_a_dependency_that_is_not_enabled(umbrella):
    assert objects(render({"perfopt": {"enabled": False}}, chart=umbrella)) == []


def test_every_case_of_the_matrix_is_allowed():
    for case in CASES:
        assert objects(render(values_of(case)))


if __name__ == "__main__":
    SCHEMA.write_text(schema_text())
    README.write_text(readme())
