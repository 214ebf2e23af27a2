"""What the chart makes of the matrix: valid for each Kubernetes, restricted, and as the golden files say.

Run this file to write the golden files anew, then look at the difference.
"""

import copy
import json
import os
import re
import subprocess

import kubernetes_validate
import pytest
import yaml
from helm_chart import CASES, CHART, case_name, objects, of_kind, render, values_of
from prometheus_client import REGISTRY

import perfopt_api.telemetry  # noqa: F401  its metrics are registered by the import
from perfopt.config.loading import load_config
from perfopt_api.settings import service_settings

helm_python = pytest.importorskip("helm_python", reason="Helm in a wheel is for Linux on x86-64")
GOLDEN = CHART.parents[1] / "tests/chart/golden"
VERSIONS = [f"1.{minor}" for minor in range(29, 38)]
CUSTOM = {"ServiceMonitor", "PodMonitor", "PrometheusRule", "ScaledObject", "HTTPRoute", "ExternalSecret"}
ALERTS = yaml.safe_load((CHART / "files/alerts.yaml").read_text())
SELECTING = ("Service", "PodDisruptionBudget", "NetworkPolicy", "PodMonitor", "ServiceMonitor")
HTTP_METRICS = {"perfopt_http_requests_total"}  # registered with the first application
METRIC = re.compile(r"\bperfopt_[a-z_]+")


@pytest.fixture(params=CASES, ids=case_name)
def case(request):
    return request.param


@pytest.fixture
def made(case):
    return objects(render(values_of(case)))


def pods(made):
    return [
        each["spec"] if each["kind"] == "Pod" else each["spec"]["template"]["spec"]
        for each in made
        if each["kind"] in ("Pod", "Deployment", "StatefulSet", "Job")
    ]


def golden_text(case):
    return "---\n".join(
        yaml.safe_dump(each, sort_keys=False, width=110) for each in objects(render(values_of(case)))
    )


def test_the_chart_makes_what_the_golden_file_says(case):
    assert golden_text(case) == (GOLDEN / f"{case_name(case)}.yaml").read_text()


def test_it_lints_without_a_warning(case):
    found = helm_python.lint(CHART, values_of(case), namespace="perfopt")
    assert [each for each in found["messages"] if each["severity"] > 1] == []
    assert found["errors"] == []


@pytest.mark.parametrize("version", VERSIONS)
def test_each_kubernetes_takes_every_object(made, version):
    for each in made:
        if each["kind"] not in CUSTOM:
            kubernetes_validate.validate(each, version, strict=True)


def test_every_pod_is_restricted(made):
    for pod in pods(made):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]


def test_no_object_is_there_twice_and_each_has_its_labels(made):
    keys = [(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in made]
    assert len(keys) == len(set(keys))
    assert (
        len([each for each in made if each["metadata"].get("labels", {}).get("helm.sh/chart")])
        >= len(made) - 2
    )


def test_every_selector_finds_pods(made):
    """A Service, budget or policy that selects nothing looks installed and does nothing."""
    running = of_kind(made, "Deployment", "StatefulSet", "Job").values()
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in running]
    for each in made:
        selector = each.get("spec", {}).get("selector") or each.get("spec", {}).get("podSelector")
        if each["kind"] in (
            "Service",
            "PodDisruptionBudget",
            "NetworkPolicy",
            "PodMonitor",
            "ServiceMonitor",
        ):
            wanted = selector if each["kind"] == "Service" else selector.get("matchLabels", {})
            if each["kind"] == "ServiceMonitor":
                services = [other["metadata"]["labels"] for other in made if other["kind"] == "Service"]
                assert any(wanted.items() <= found.items() for found in services)
            else:
                assert any(wanted.items() <= found.items() for found in labels), each["metadata"]["name"]


def test_every_account_secret_and_configuration_that_a_pod_names_is_made_or_given(case, made):
    values = values_of(case)
    there = {(each["kind"], each["metadata"]["name"]) for each in made}
    given = {values.get(key, {}).get("existingSecret") for key in ("database", "nats")}
    given |= {each["spec"]["target"]["name"] for each in made if each["kind"] == "ExternalSecret"}
    for pod in pods(made):
        account = pod.get("serviceAccountName")
        assert account in (None, "perfopt") or ("ServiceAccount", account) in there
        for volume in pod.get("volumes", []):
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in there
            for source in volume.get("projected", {}).get("sources", []):
                secret = source["secret"]["name"]
                assert ("Secret", secret) in there or secret in given


def test_the_service_reads_the_configuration_that_is_mounted(made, tmp_path, monkeypatch):
    monkeypatch.setenv("PROMETHEUS_TOKEN", "t" * 20)
    monkeypatch.setenv("SESSION_SECRET", "s" * 20)
    monkeypatch.setenv("OIDC_CLIENT_SECRET", "a-secret-of-the-client")
    text = next(each["data"]["perfopt.yaml"] for each in made if each["metadata"]["name"] == "perfopt-config")
    secrets = {"database-url": "postgresql://u:p@host/db", "nats-url": "nats://host:4222"}
    for name, content in secrets.items():
        (tmp_path / name).write_text(content + "\n")
    path = tmp_path / "perfopt.yaml"
    path.write_text(text.replace("/run/secrets/perfopt", str(tmp_path)))
    for pod in pods(made):
        for variable in pod["containers"][0].get("env", []):
            if variable["name"].startswith("PERFOPT_SERVICE__WORKER") or "PROCESSES" in variable["name"]:
                monkeypatch.setenv(variable["name"], variable["value"])
    settings = service_settings(load_config(path, os.environ))
    assert settings.database_url == secrets["database-url"]
    assert settings.nats_url == secrets["nats-url"]
    assert (settings.host, settings.port, settings.worker_port) == ("0.0.0.0", 8080, 8081)


FILES = {
    "nats": {
        "existingSecret": "nats",
        "files": {"ca": "ca.crt", "clientCert": "tls.crt", "clientKey": "tls.key", "credentials": "me.creds"},
    },
    "database": {"existingSecret": "database", "files": {"ca": "ca.crt"}},
}
STORE = {"enabled": True, "secretStoreRef": {"name": "vault", "kind": "ClusterSecretStore"}}


@pytest.mark.parametrize("external", [False, True])
def test_certificates_and_credentials_are_mounted_where_the_service_reads_them(external, tmp_path):
    values = copy.deepcopy(FILES) | ({"externalSecrets": STORE} if external else {})
    made = objects(render(values))
    text = next(each["data"]["perfopt.yaml"] for each in made if each["metadata"]["name"] == "perfopt-config")
    service = yaml.safe_load(text)["service"]
    fields = {
        "ca": "ca",
        "clientCert": "client_cert",
        "clientKey": "client_key",
        "credentials": "credentials",
    }
    for name, field in fields.items():
        assert service[f"nats_{field}_file"] == f"/run/secrets/perfopt/nats/{name}"
    assert "nats_nkey_seed_file" not in service
    for pod in pods(made):
        for volume in (one for one in pod.get("volumes", []) if "projected" in one):
            database, nats = (source["secret"] for source in volume["projected"]["sources"])
            assert {item["path"] for item in database["items"]} == {"database-url", "database/ca"}
            items = {item["path"]: item["key"] for item in nats["items"]}
            assert set(items) == {"nats-url", *(f"nats/{name}" for name in fields)}
            assert items["nats/ca"] == ("nats-ca" if external else "ca.crt")
    if external:
        (secret,) = of_kind(made, "ExternalSecret").values()
        keys = {one["secretKey"]: one["remoteRef"]["key"] for one in secret["spec"]["data"]}
        assert {"nats-clientKey": "tls.key", "database-ca": "ca.crt"}.items() <= keys.items()


def test_the_migration_is_a_plain_job_at_first_and_a_hook_before_an_upgrade():
    values = values_of(CASES[-1])

    def job(**how):
        return next(each for each in objects(render(values, **how)) if each["kind"] == "Job")

    first, later = job(), job(upgrade=True, revision=7)
    assert not any(key.startswith("helm.sh/hook") for key in first["metadata"]["annotations"])
    assert later["metadata"]["annotations"]["helm.sh/hook"] == "pre-upgrade"
    assert (first["metadata"]["name"], later["metadata"]["name"]) == (
        "perfopt-migrate-1",
        "perfopt-migrate-7",
    )
    assert later["metadata"]["annotations"]["argocd.argoproj.io/hook"] == "Sync"
    mounted = later["spec"]["template"]["spec"]["volumes"]
    assert not any("configMap" in volume for volume in mounted)  # it is the old one before an upgrade


@pytest.mark.parametrize("revision", [1, 2])
def test_the_heavy_pool_runs_backtests_where_values_say(revision):
    values = values_of(CHART / "ci/trial-values.yaml") | {"batch": {"executor": "dask://dask:8786"}}
    deployments = of_kind(objects(render(values, upgrade=revision > 1, revision=revision)), "Deployment")
    env = {
        name: {
            one["name"]: one.get("value") for one in made["spec"]["template"]["spec"]["containers"][0]["env"]
        }
        for name, made in deployments.items()
        if "worker" in name
    }
    executors = {name: one.get("PERFOPT_ENGINE__EXECUTOR") for name, one in env.items()}
    assert {name for name, where in executors.items() if where} == {"perfopt-worker-heavy"}
    assert executors["perfopt-worker-heavy"] == "dask://dask:8786"
    assert env["perfopt-worker-heavy"]["PERFOPT_SERVICE__WORKER_CLASS"] == "heavy"


def test_a_changed_configuration_starts_new_pods():
    values = values_of(CASES[-1])
    other = copy.deepcopy(values) | {"config": {"service": {"retention_days": 90}}}

    def checksums(given):
        return {
            each["metadata"]["name"]: each["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
            for each in objects(render(given))
            if each["kind"] == "Deployment"
        }

    before, after = checksums(values), checksums(other)
    assert before.keys() == after.keys()
    assert all(before[name] != after[name] for name in before)


def test_replicas_are_left_to_an_autoscaler():
    made = objects(render(values_of(CHART / "ci/production-values.yaml")))
    deployments = of_kind(made, "Deployment")
    assert set(deployments) == {
        "perfopt-api",
        "perfopt-worker-interactive",
        "perfopt-worker-fleet",
        "perfopt-worker-heavy",
    }
    assert not any("replicas" in each["spec"] for each in deployments.values())


@pytest.mark.parametrize(
    ("size", "replicas"), [("small", [1, 1, 1, 1]), ("medium", [2, 2, 1, 2]), ("large", [3, 4, 1, 3])]
)
def test_the_size_of_the_cluster_sets_what_values_leave_open(size, replicas):
    values = {**values_of(CHART / "ci/trial-values.yaml"), "clusterSize": size}
    deployments = of_kind(objects(render(values)), "Deployment")
    assert [deployments[name]["spec"]["replicas"] for name in sorted(deployments)] == replicas


def emitted():
    found = set(HTTP_METRICS)
    for metric in REGISTRY.collect():
        found |= {metric.name, f"{metric.name}_total", f"{metric.name}_bucket"}
    return found


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_reads_metrics_that_the_service_emits(alert):
    named = set(METRIC.findall(ALERTS[alert]["expr"]))
    assert named
    assert named <= emitted()


def test_the_dashboard_and_the_scalers_read_metrics_that_the_service_emits():
    shown = set(METRIC.findall((CHART / "files/dashboard.json").read_text()))
    made = objects(render(values_of(CHART / "ci/production-values.yaml")))
    scalers = of_kind(made, "ScaledObject", "HorizontalPodAutoscaler").values()
    scaled = {metric for each in scalers for metric in METRIC.findall(str(each["spec"]))}
    assert len(shown) > 12
    assert scaled == {"perfopt_jobs_waiting", "perfopt_jobs_running"}
    assert shown | scaled <= emitted()


def test_grafana_and_alerts_link_to_the_pages_where_their_address_is_known():
    values = values_of(CHART / "ci/production-values.yaml")
    made = objects(render(values))
    (board,) = [one for name, one in of_kind(made, "ConfigMap").items() if "dashboard" in name]
    (link,) = json.loads(board["data"]["perfopt.json"])["links"]
    assert link["url"] == "https://perfopt.example/ui"
    (rules,) = of_kind(made, "PrometheusRule").values()
    notes = [rule["annotations"] for rule in rules["spec"]["groups"][0]["rules"]]
    assert {note["details_url"] for note in notes} == {"https://perfopt.example/ui/doctor"}
    without = objects(render(values | {"ui": {"enabled": False}}))
    (board,) = [one for name, one in of_kind(without, "ConfigMap").items() if "dashboard" in name]
    assert "links" not in json.loads(board["data"]["perfopt.json"])


def test_the_values_of_the_documentation_are_taken():
    page = (CHART.parents[1] / "docs/how-to/install-on-a-cluster.md").read_text()
    (shown,) = re.findall(r"^```yaml\n# values.yaml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    made = objects(render(yaml.safe_load(shown)))
    assert {"Deployment", "Job", "PrometheusRule", "PodMonitor"} <= {each["kind"] for each in made}


def test_every_alert_leads_to_its_heading_in_the_runbook():
    page = (CHART.parents[1] / "docs/how-to/runbook.md").read_text()
    assert re.findall(r"^## (\w+)$", page, re.MULTILINE) == list(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_is_switched_off_alone(alert):
    values = {**values_of(CHART / "ci/trial-values.yaml")}
    rule = {"enabled": True, "alerts": {alert: {"enabled": False}}}
    made = objects(render({**values, "prometheusRule": rule}))
    rules = next(each for each in made if each["kind"] == "PrometheusRule")["spec"]["groups"][0]["rules"]
    assert {each["alert"] for each in rules} == set(ALERTS) - {alert}
    assert all("$" not in each["expr"] for each in rules)


@pytest.mark.prometheus
def test_prometheus_takes_the_rules(tmp_path):
    made = objects(render({**values_of(CHART / "ci/trial-values.yaml"), "prometheusRule": {"enabled": True}}))
    rules = tmp_path / "rules.yaml"
    rules.write_text(yaml.safe_dump(of_kind(made, "PrometheusRule")["perfopt"]["spec"]))
    done = subprocess.run(["promtool", "check", "rules", rules], capture_output=True, text=True)
    assert f"SUCCESS: {len(ALERTS)} rules found" in done.stdout, done.stderr


def test_what_values_change_of_an_alert_is_in_the_rule():
    made = objects(render(values_of(CHART / "ci/production-values.yaml")))
    rules = next(each for each in made if each["kind"] == "PrometheusRule")["spec"]["groups"][0]["rules"]
    late = next(each for each in rules if each["alert"] == "PerfoptFleetLate")
    assert late["expr"].endswith("> 43200")
    assert late["for"] == "1h"


def test_the_notes_lead_to_a_recommendation_and_say_what_is_missing():
    notes = render(values_of(CHART / "ci/trial-values.yaml"))["perfopt/templates/NOTES.txt"]
    assert "/api/v1/optimization/analyze" in notes
    assert "No metric source is configured" in notes
    assert "perfopt token create" in notes
    open_values = values_of(CHART / "ci/trial-values.yaml") | {"config": {"service": {"auth": "off"}}}
    assert "The API is open to everybody" in render(open_values)["perfopt/templates/NOTES.txt"]
    whole = render(values_of(CHART / "ci/production-values.yaml"))["perfopt/templates/NOTES.txt"]
    assert "No metric source" not in whole
    assert "open to everybody" not in whole


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for each in CASES:
        (GOLDEN / f"{case_name(each)}.yaml").write_text(golden_text(each))
