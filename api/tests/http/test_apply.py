"""POST /recommendations/{id}/apply: previews and manifests, and why nothing is changed."""

from datetime import timedelta

import pytest
import yaml

ID = "opt_20261123_001"
PATH = f"/api/v1/optimization/recommendations/{ID}/apply"


@pytest.fixture
def stored(world, make_recommendation):
    world.store.add(make_recommendation(1), make_recommendation(2))


def codes(job):
    return [warning["code"] for warning in job["warnings"]]


@pytest.mark.usefixtures("stored")
def test_dry_run_shows_what_would_change(client):
    response = client.post(PATH, json={"mode": "dry_run", "reason": "curious"})
    job = response.json()
    assert response.status_code == 200
    assert (job["status"], job["job_id"]) == ("RECOMMENDATIONS_READY", "job_done")
    assert [item["recommendation_id"] for item in job["recommendations"]] == [ID]
    [artifact] = job["artifacts"]
    assert artifact["kind"] == "diff"
    assert artifact["changes"] == [
        {"path": "containers.app.cpu_request", "from": "500m", "to": "300m"},
        {"path": "containers.app.memory_request", "from": "1Gi", "to": "800Mi"},
        {"path": "containers.app.memory_limit", "from": "2Gi", "to": "1Gi"},
    ]
    assert codes(job) == []


@pytest.mark.usefixtures("stored")
def test_export_gives_manifests_and_the_commands_to_apply_them(client):
    artifacts = client.post(PATH, json={"mode": "export"}).json()["artifacts"]
    assert [artifact["kind"] for artifact in artifacts] == [
        "strategic_merge_patch",
        "kustomize",
        "helm_values",
    ]
    patch = yaml.safe_load(artifacts[0]["content"])
    assert patch["metadata"] == {"name": "portfolio-management-service", "namespace": "trading"}
    assert artifacts[0]["command"] == (
        "kubectl patch deployment portfolio-management-service --namespace trading --type strategic"
        " --patch-file portfolio-management-service-resources.patch.yaml"
    )


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("body", [None, {}, {"mode": "direct"}, {"mode": "canary", "verify_for": "24h"}])
def test_nothing_is_changed_without_an_executor(client, body):
    response = client.post(PATH, json=body) if body is not None else client.post(PATH)
    assert response.status_code == 409
    problem = response.json()
    assert problem["type"] == "/problems/executor_not_configured"
    assert "dry_run" in problem["detail"]
    assert "export" in problem["detail"]


def test_a_superseded_one_is_not_applied(client, world, make_recommendation):
    world.store.add(make_recommendation(1, superseded_by="opt_20261123_002"))
    response = client.post(PATH, json={"mode": "direct"})
    assert (response.status_code, response.json()["type"]) == (409, "/problems/executor_not_configured")
    assert "opt_20261123_002" in response.json()["detail"]
    forced = client.post(PATH, json={"mode": "direct", "force": True}).json()
    assert forced["type"] == "/problems/executor_not_configured"
    assert "opt_20261123_002" not in forced["detail"]
    assert codes(client.post(PATH, json={"mode": "dry_run"}).json()) == ["superseded"]


def test_an_expired_one_is_not_applied(client, world, make_recommendation):
    made = make_recommendation(1)
    world.store.add(make_recommendation(1, valid_until=made.made_at + timedelta(minutes=30)))
    response = client.post(PATH, json={"mode": "direct"})
    assert (response.status_code, response.json()["type"]) == (409, "/problems/executor_not_configured")
    assert "It was valid until" in response.json()["detail"]
    assert codes(client.post(PATH, json={"mode": "export"}).json()) == ["expired"]


def test_the_preview_warns_of_autoscalers(client, world, make_recommendation):
    state = {**make_recommendation().current_state, "hpa": {"max_replicas": 9}, "vpa_mode": "Auto"}
    world.store.add(make_recommendation(1, current_state=state, recommended_state=state))
    job = client.post(PATH, json={"mode": "dry_run"}).json()
    assert codes(job) == ["hpa_owned", "vpa_owned"]
    assert job["artifacts"][0]["changes"] == []


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"mode": "now"}, "One of direct, canary, dry_run, export."),
        (
            {"dry_run": True},
            "There is no field 'dry_run'. Known: mode, reason, verify_for, durability, force.",
        ),
        ({"mode": "dry_run", "verify_for": "soon"}, "verify_for: 'soon' is not a duration."),
        ({"force": "yes"}, "Expected `bool`, got `str`"),
    ],
)
def test_a_wrong_wish_is_refused(client, body, message):
    response = client.post(PATH, json=body)
    assert response.status_code == 400
    assert message in response.json()["detail"]


def test_an_unknown_recommendation_is_a_404(client):
    assert client.post(PATH, json={"mode": "dry_run"}).status_code == 404


def test_a_kind_that_cannot_be_patched_says_so(client, world, make_recommendation):
    world.store.add(make_recommendation(1, workload="trading/job/gateway"))
    response = client.post(PATH, json={"mode": "export"})
    assert (response.status_code, response.json()["type"]) == (409, "/problems/unsupported_kind")
    assert "Change what creates it" in response.json()["detail"]
