"""Applying for real: jobs that change a cluster, what may be asked of them, policy, freezes, audit."""

import csv
import io
import json
import subprocess
from datetime import timedelta

import msgspec
import pytest
from litestar.testing import TestClient

from perfopt.domain.recommendation import Plan, PlanStep
from perfopt.errors import ConflictError
from perfopt_api.apply.state import ApplyOrder
from perfopt_api.auth.authenticate import Authenticator
from perfopt_api.policy.git import GitRepository, GitSettings
from perfopt_api.settings import ApiKey, ServiceSettings
from perfopt_api.store.apply_port import AuditEntry, TimelineEntry

ID = "opt_20261123_001"
APPLY = f"/api/v1/optimization/recommendations/{ID}/apply"
JOBS = "/api/v1/optimization/jobs"
POLICY = "/api/v1/optimization/policy"
ANN = {"Authorization": f"Bearer {'a' * 32}"}


@pytest.fixture
def settings():
    return ServiceSettings(api_keys={"ann": ApiKey(token="a" * 32)})


@pytest.fixture
def world(world, monkeypatch):
    monkeypatch.setattr(world.ports, "executor", True)
    return world


@pytest.fixture
def client(world):
    with TestClient(world.app, raise_server_exceptions=False) as client:
        client.headers.update(ANN)
        yield client


@pytest.fixture
def applying(client, world, make_recommendation):
    """A job that applies a recommendation; gives its id."""
    world.store.add(make_recommendation())
    return client.post(APPLY, json={"mode": "canary"}).json()["job_id"]


@pytest.fixture
def origin(tmp_path):
    bare = tmp_path / "origin.git"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(bare)], check=True)
    who = ["-c", "user.name=ann", "-c", "user.email=ann@example"]
    subprocess.run(
        ["git", "clone", "-q", str(bare), str(tmp_path / "first")], check=True, capture_output=True
    )
    for words in (["commit", "-q", "--allow-empty", "-m", "Begin"], ["push", "-q", "origin", "HEAD:main"]):
        subprocess.run(["git", *who, *words], cwd=tmp_path / "first", check=True)
    return bare


def test_an_export_with_durability_git_is_committed_and_audited(
    client, world, make_recommendation, origin, monkeypatch
):
    made = make_recommendation()
    world.store.add(made)
    repository = GitRepository(url=str(origin))
    monkeypatch.setattr(world.ports, "git", GitSettings(repositories={"deploy": repository}))
    response = client.post(APPLY, json={"mode": "export", "durability": "git", "reason": "Ticket 7."})
    assert response.status_code == 200, response.text
    *_, commit = response.json()["artifacts"]
    assert (commit["kind"], commit["repository"]) == ("git_commit", "deploy")
    assert commit["commit"]
    words = ["git", "log", "-1", "--format=%B", commit["branch"]]
    message = subprocess.run(words, cwd=origin, check=True, capture_output=True, text=True).stdout
    assert message.strip().endswith("Ticket 7.")
    [entry] = world.applies.audit
    assert (entry.action, entry.principal, entry.subject) == ("commit", "ann", made.workload)


def test_git_without_a_repository_is_an_error_that_names_the_setting(client, world, make_recommendation):
    world.store.add(make_recommendation())
    for mode in ("export", "canary"):
        response = client.post(APPLY, json={"mode": mode, "durability": "git"})
        assert response.status_code == 400
        assert "git.repositories" in response.text


def test_a_canary_with_durability_git_is_transient_until_it_is_committed(
    client, world, make_recommendation, monkeypatch
):
    world.store.add(make_recommendation())
    repository = GitRepository(url="https://git.example/deploy.git")
    monkeypatch.setattr(world.ports, "git", GitSettings(repositories={"deploy": repository}))
    assert client.post(APPLY, json={"mode": "canary", "durability": "git"}).status_code == 202
    [new] = world.applies.created
    order = msgspec.convert(new.order, ApplyOrder)
    assert (new.durability, order.whole.durability, order.git.repository) == ("git", "transient", "deploy")


@pytest.mark.parametrize("asked", ["9m", "25h"])
def test_a_time_to_watch_that_cannot_be_compared_is_refused(client, world, make_recommendation, asked):
    world.store.add(make_recommendation())
    response = client.post(APPLY, json={"mode": "canary", "verify_for": asked})
    assert response.status_code == 400
    [error] = response.json()["errors"] if "errors" in response.json() else [response.json()]
    assert "verify_for must be from 10m" in str(error)
    assert "to 1d (1/7 of verification.past_days)" in str(error)
    assert world.applies.created == []


def test_canary_makes_a_child_job_that_a_worker_is_woken_for(client, world, make_recommendation):
    world.store.add(make_recommendation())
    response = client.post(APPLY, json={"mode": "canary", "reason": "cheaper", "verify_for": "1h"})
    assert response.status_code == 202
    job = response.json()
    assert (job["status"], job["parent_job_id"]) == ("APPLYING", "job_done")
    assert response.headers["Location"].endswith(f"/jobs/{job['job_id']}")
    assert world.queue.enqueued == [job["job_id"]]
    [new] = world.applies.created
    assert (new.requester, new.reason, new.workload) == (
        "ann",
        "cheaper",
        "trading/deployment/portfolio-management-service",
    )
    order = msgspec.convert(new.order, ApplyOrder)
    assert order.whole.fields() == {
        "containers.app.cpu_request": "300m",
        "containers.app.memory_request": "800Mi",
        "containers.app.memory_limit": "1Gi",
    }
    assert order.expected["containers.app.cpu_request"] == "500m"
    assert (order.mode, order.verify_seconds, order.confidence) == ("canary", 3600.0, 0.87)


def test_the_same_idempotency_key_is_the_same_job(client, world, make_recommendation):
    world.store.add(make_recommendation())
    first = client.post(APPLY, json={"mode": "direct"}, headers={"Idempotency-Key": "k"})
    again = client.post(APPLY, json={"mode": "direct"}, headers={"Idempotency-Key": "k"})
    assert again.json()["job_id"] == first.json()["job_id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    other = client.post(APPLY, json={"mode": "canary"}, headers={"Idempotency-Key": "k"})
    assert (other.status_code, other.json()["type"]) == (422, "/problems/idempotency_key_reused")


def test_what_no_longer_holds_is_refused_unless_forced(client, world, make_recommendation):
    made = make_recommendation()
    world.store.add(msgspec.structs.replace(made, valid_until=made.made_at + timedelta(minutes=1)))
    refused = client.post(APPLY, json={"mode": "direct"})
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/outdated")
    assert client.post(APPLY, json={"mode": "direct", "force": True}).status_code == 202


def test_what_changes_nothing_is_refused(client, world, make_recommendation):
    world.store.add(make_recommendation(no_change_needed=True))
    assert client.post(APPLY, json={"mode": "direct"}).status_code == 409


def test_a_large_change_is_ordered_in_steps(client, world, make_recommendation):
    made = make_recommendation()
    state = made.recommended_state | {"containers": {"app": {"cpu_request": "100m", "memory_request": "1Gi"}}}
    world.store.add(msgspec.structs.replace(made, recommended_state=state))
    client.post(APPLY, json={"mode": "canary"})
    order = msgspec.convert(world.applies.created[0].order, ApplyOrder)
    assert [stage.containers["app"].cpu_request for stage in order.stages] == ["250m", "125m", "100m"]


def test_a_plan_is_applied_as_one_change(client, world, make_recommendation):
    first, second = make_recommendation(1), make_recommendation(2)
    merged = first.recommended_state | {
        "containers": {"app": {"cpu_request": "400m", "memory_request": "900Mi", "memory_limit": "2Gi"}}
    }
    plan = Plan(
        description="Both.",
        current_state=first.current_state,
        recommended_state=merged,
        expected_improvement=first.expected_improvement,
        confidence_detail=first.confidence_detail,
        evidence=first.evidence,
        price_book=first.price_book,
        currency=first.currency,
        monthly_cost_current=None,
        monthly_cost_recommended=None,
        steps=tuple(
            PlanStep(
                recommendation_id=made.recommendation_id,
                optimization_type=made.optimization_type.value,
                changes={},
                reason="first",
            )
            for made in (second, first)
        ),
    )
    world.store.add(first, second, plan=plan)
    assert client.post(f"{JOBS}/job_done/apply", json={"mode": "canary"}).status_code == 202
    [new] = world.applies.created
    assert new.recommendation_ids == (second.recommendation_id, first.recommendation_id)
    order = msgspec.convert(new.order, ApplyOrder)
    assert order.whole.fields() == {
        "containers.app.cpu_request": "400m",
        "containers.app.memory_request": "900Mi",
    }
    shown = client.post(f"{JOBS}/job_done/apply", json={"mode": "dry_run"}).json()
    assert {change["to"] for change in shown["artifacts"][0]["changes"]} == {"400m", "900Mi"}


def test_an_analysis_without_a_plan_cannot_be_applied_as_one(client, world, make_recommendation):
    world.store.add(make_recommendation())
    assert client.post(f"{JOBS}/job_done/apply", json={"mode": "canary"}).status_code == 409
    assert client.post(f"{JOBS}/nothing/apply", json={"mode": "canary"}).status_code == 404


@pytest.mark.parametrize("wish", ["rollback", "cancel", "approve"])
def test_a_job_is_asked_for_something_by_whoever_holds_the_token(client, world, applying, wish):
    response = client.post(f"{JOBS}/{applying}/{wish}", json={"reason": "pager"})
    assert response.status_code == 202
    assert response.json()["job_id"] == applying
    assert world.applies.asked == [(applying, wish, "ann", "pager")]
    assert world.queue.enqueued == [applying, applying]


@pytest.mark.parametrize("wish", ["rollback", "cancel", "approve"])
def test_what_cannot_be_asked_is_a_problem(client, world, applying, wish):
    assert client.post(f"{JOBS}/nothing/{wish}").status_code == 404
    world.applies.error = ConflictError("The job is APPLIED.")
    assert client.post(f"{JOBS}/{applying}/{wish}").status_code == 409


def test_without_tokens_nobody_can_approve(client, world, applying, monkeypatch):
    monkeypatch.setattr(world.app.state, "auth", Authenticator(ServiceSettings()))
    response = client.post(f"{JOBS}/{applying}/approve")
    assert response.status_code == 409
    assert "service.auth" in response.json()["detail"]


def entries(world, now, count=3):
    world.applies.entries = [
        TimelineEntry(at=now, step="canary", code=f"c{n}", message="m", commands=("kubectl get pods",), id=n)
        for n in range(1, count + 1)
    ]


def test_the_timeline_shows_steps_and_commands_from_any_entry_on(client, world, applying):
    entries(world, world.ports.now())
    shown = client.get(f"{JOBS}/{applying}/timeline").json()
    assert [entry["code"] for entry in shown] == ["c1", "c2", "c3"]
    assert shown[0]["commands"] == ["kubectl get pods"]
    assert [entry["id"] for entry in client.get(f"{JOBS}/{applying}/timeline?after=2").json()] == [3]
    assert client.get(f"{JOBS}/nothing/timeline").status_code == 404


def test_the_timeline_is_followed_until_the_job_has_ended(client, world, applying):
    entries(world, world.ports.now())
    world.store.finish(applying)
    response = client.get(f"{JOBS}/{applying}/timeline", headers={"Accept": "text/event-stream"})
    assert response.headers["content-type"].startswith("text/event-stream")
    lines = response.text.splitlines()
    assert [line for line in lines if line.startswith("event:")] == ["event: c1", "event: c2", "event: c3"]
    bodies = [json.loads(line[len("data: ") :]) for line in lines if line.startswith("data:")]
    assert [body["id"] for body in bodies] == [1, 2, 3]


def test_a_freeze_is_shown_by_the_policy_until_it_is_lifted(client):
    frozen = client.post(f"{POLICY}/freeze", json={"scope": "trading", "reason": "month end"})
    assert frozen.json()["principal"] == "ann"
    policy = client.get(POLICY).json()
    assert [each["scope"] for each in policy["freezes"]] == ["trading"]
    assert (policy["settings"]["apply"], policy["executor"]) == ("manual", True)
    assert client.get(f"{POLICY}?workload=other/deployment/a").json()["freezes"] == []
    assert len(client.get(f"{POLICY}?workload=trading/deployment/a").json()["freezes"]) == 1
    assert client.post(f"{POLICY}/unfreeze", json={"scope": "trading"}).json() == []


@pytest.mark.parametrize("scope", ["", "a b", "a/b/c/d/e", "../x y"])
def test_a_scope_that_is_none_is_refused(client, scope):
    for name in ("freeze", "unfreeze", "restore"):
        response = client.post(f"{POLICY}/{name}", json={"scope": scope})
        assert response.status_code == 400
        assert response.json()["errors"][0]["field"] == "scope"


def test_restore_names_the_jobs_that_go_back(client, applying):
    assert client.post(f"{POLICY}/restore", json={"scope": "*"}).json() == {"job_ids": [applying]}


def test_the_audit_is_exported_as_lines_and_as_a_table(client, world):
    world.applies.audit = [AuditEntry(action="apply", subject="a/deployment/b", after={"replicas": 2}, id=1)]
    path = "/api/v1/optimization/audit"
    [entry] = client.get(path).json()
    assert (entry["action"], entry["after"]) == ("apply", {"replicas": 2})
    lines = client.get(path, params={"format": "jsonl"})
    assert lines.headers["content-type"].startswith("application/jsonl")
    assert [json.loads(line)["id"] for line in lines.text.splitlines()] == [1]
    table = client.get(path, params={"format": "csv"}, headers={"Accept": "text/csv"})
    assert table.headers["content-type"].startswith("text/csv")
    [row] = csv.DictReader(io.StringIO(table.text))
    assert (row["subject"], row["after"]) == ("a/deployment/b", '{"replicas":2}')
    assert client.get(path, params={"since": "2026-11-23T12:00:00"}).status_code == 400
