"""Each route has a rule, and the rule holds: roles, namespaces, and what is left out of lists."""

from datetime import UTC, datetime
from types import SimpleNamespace

import msgspec
import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute
from litestar.testing import TestClient

from perfopt.domain.job import FleetProgress
from perfopt.domain.request import FleetAnalysisRequest, WorkloadSelector
from perfopt_api.auth.roles import Right, Role
from perfopt_api.http.app import create_app
from perfopt_api.http.rules import RULES, everywhere, listed, scope_namespaces
from perfopt_api.settings import ApiKey
from perfopt_api.store.schedule_port import Schedule
from perfopt_api.web.app import dashboard
from perfopt_api.web.view import template_config

from .conftest import recommendation

API = "/api/v1/optimization"
TOKENS = {name: f"{name}-token-of-the-tests" for name in ("viewer", "operator", "approver", "admin")}
SHOP = "shop-token-of-the-tests"
RECOMMENDATION = "opt_20261123_001"


@pytest.fixture
def settings(settings):
    keys = {name: ApiKey(token=token, role=Role(name)) for name, token in TOKENS.items()}
    keys["shop"] = ApiKey(token=SHOP, role=Role.ADMIN, namespaces=("shop",))
    return msgspec.structs.replace(settings, api_keys=keys)


def routes(app: Litestar) -> set[str]:
    return {
        f"{method} {route.path_format}"
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for method in route.methods
        if method != "OPTIONS"
    }


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_every_route_has_a_rule_and_every_rule_a_route(world):
    app = create_app(world.ports, pages=dashboard(SimpleNamespace()), templates=template_config())
    assert routes(app) == set(RULES)


def test_a_route_without_a_rule_is_refused(client, monkeypatch):
    monkeypatch.delitem(RULES, f"GET {API}/plugins")
    answer = client.get(f"{API}/plugins", headers=bearer(TOKENS["admin"]))
    assert answer.status_code == 403
    assert "no rule" in answer.json()["detail"]


CALLS = {
    "read": ("GET", f"{API}/jobs", None),
    "analyze": ("POST", f"{API}/analyze", {"service_name": "shop/web"}),
    "change": ("POST", f"{API}/recommendations/{RECOMMENDATION}/apply", {"mode": "dry_run"}),
    "approve": ("POST", f"{API}/jobs/job_done/approve", {}),
    "freeze": ("POST", f"{API}/policy/freeze", {"scope": "shop"}),
}
MAY = {
    "viewer": {"read"},
    "operator": {"read", "analyze", "change", "freeze"},
    "approver": {"read", "approve", "freeze"},
    "admin": set(CALLS),
}


@pytest.mark.parametrize("role", MAY)
@pytest.mark.parametrize("right", [right.value for right in Right])
def test_roles_have_their_rights(world, client, role, right):
    world.store.add(recommendation())
    method, path, body = CALLS[right]
    answer = client.request(method, path, json=body, headers=bearer(TOKENS[role]))
    assert (answer.status_code == 403) is (right not in MAY[role]), answer.text
    if right not in MAY[role]:
        assert answer.json()["type"] == "/problems/forbidden"
        assert role in answer.json()["detail"]


@pytest.mark.parametrize(("call", "rule"), RULES.items())
def test_no_answer_without_a_token_unless_public(world, client, call, rule):
    if call.startswith(("GET /ui", "POST /ui")):
        return
    method, _, path = call.partition(" ")
    answer = client.request(method, path, headers={"Accept": "*/*"}, follow_redirects=False)
    open_to_all = rule.is_public(world.ports.settings)
    assert (answer.status_code == 401) is not open_to_all


def nightly(namespace):
    analysis = FleetAnalysisRequest(selector=WorkloadSelector(namespace=namespace))
    return Schedule(
        name="nightly", cron="0 2 * * *", time_zone="UTC", analysis=analysis, next_at=datetime.now(UTC)
    )


def test_schedules_are_listed_and_deleted_in_the_callers_namespaces_only(world, client):
    world.schedules.known = {"nightly": nightly("shop")}
    world.schedules.known |= {"all": msgspec.structs.replace(nightly(None), name="all")}
    world.schedules.known |= {"other": msgspec.structs.replace(nightly("trading"), name="other")}
    listed_names = [one["name"] for one in client.get(f"{API}/schedules", headers=bearer(SHOP)).json()]
    assert listed_names == ["nightly"]
    statuses = {
        name: client.delete(f"{API}/schedules/{name}", headers=bearer(SHOP)).status_code
        for name in ("nightly", "all", "other", "absent")
    }
    assert statuses == {"nightly": 200, "all": 403, "other": 403, "absent": 404}


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (call, rule)
        for call, rule in RULES.items()
        if call.partition(" ")[2].startswith("/api") and rule.right
    ],
)
def test_nobody_reaches_another_namespace(world, client, call, rule):
    """The world's only recommendation and job are of `trading`; the caller is an admin of `shop`."""
    world.store.add(recommendation())
    world.schedules.known["nightly"] = nightly("trading")
    method, _, path = call.partition(" ")
    path = path.replace("{job_id}", "job_done").replace("{recommendation_id}", RECOMMENDATION)
    path = path.replace("schedules/{name}", "schedules/nightly")
    path = path.replace("{service}", "portfolio_management_service").replace(
        "{name}", "trading/deployment/portfolio-management-service/demand"
    )
    body = {"service_name": "trading/web"} if path.endswith("/analyze") else {"scope": "trading"}
    answer = client.request(method, path, json=body if method == "POST" else None, headers=bearer(SHOP))
    if rule.namespaces is listed:
        assert "portfolio" not in answer.text or answer.status_code == 404
    else:
        assert answer.status_code == 403, answer.text
        assert "shop" in answer.json()["detail"]


def test_own_namespace_is_reached(world, client):
    world.store.add(recommendation(workload="shop/deployment/web"))
    for path in (f"recommendations/{RECOMMENDATION}", "jobs/job_done"):
        assert client.get(f"{API}/{path}", headers=bearer(SHOP)).status_code == 200
    assert len(client.get(f"{API}/recommendations", headers=bearer(SHOP)).json()) == 1
    asked = {"service_name": "shop/web"}
    assert client.post(f"{API}/analyze", json=asked, headers=bearer(SHOP)).status_code == 202


def test_fleets_are_analysed_and_seen_within_own_namespaces(world, client):
    path = f"{API}/analyze/fleet"
    for selector, status in (({"namespace": "shop"}, 202), ({"namespace": "trading"}, 403), ({}, 403)):
        answer = client.post(path, json={"selector": selector}, headers=bearer(SHOP))
        assert answer.status_code == status
    for number, (namespace, status) in enumerate((("shop", 200), ("trading", 403), (None, 403))):
        world.store.add(recommendation(workload="shop/deployment/web"), job_id=f"fleet_{number}")
        job = world.store.jobs[f"fleet_{number}"]
        progress = FleetProgress(namespace=namespace)
        world.store.jobs[job.job_id] = msgspec.structs.replace(job, progress=progress)
        assert client.get(f"{API}/jobs/{job.job_id}", headers=bearer(SHOP)).status_code == status


def test_plain_name_needs_the_namespace_and_is_told_so(client):
    answer = client.post(f"{API}/analyze", json={"service_name": "web"}, headers=bearer(SHOP))
    assert answer.status_code == 403
    assert "namespace/name" in answer.json()["detail"]


@pytest.mark.parametrize("body", [{}, {"scope": "*"}, {"scope": "trading/deployment/web"}, {"scope": 1}])
def test_freeze_of_more_than_its_own_is_refused(client, body):
    assert client.post(f"{API}/policy/freeze", json=body, headers=bearer(SHOP)).status_code == 403


@pytest.mark.parametrize(
    ("scope", "namespaces"),
    [
        ("*", None),
        ("shop", ("shop",)),
        ("eu/shop", ("shop",)),
        ("shop/deployment/web", ("shop",)),
        ("eu/shop/deployment/web", ("shop",)),
        ("shop/unknown/web", None),
        (None, None),
    ],
)
def test_scopes_name_their_namespace(scope, namespaces):
    assert scope_namespaces(scope) == namespaces


def test_policy_shows_own_freezes_only(world, client):
    for scope in ("*", "shop", "trading"):
        body = {"scope": scope, "reason": "audit"}
        assert client.post(f"{API}/policy/freeze", json=body, headers=bearer(TOKENS["admin"])).is_success
    shown = client.get(f"{API}/policy", headers=bearer(SHOP)).json()["freezes"]
    assert [freeze["scope"] for freeze in shown] == ["*", "shop"]


@pytest.mark.parametrize(
    ("setting", "path"),
    [("docs_public", "/docs"), ("docs_public", "/openapi.json"), ("metrics_public", "/metrics")],
)
def test_docs_and_metrics_are_guarded_by_setting(world, setting, path):
    closed = msgspec.structs.replace(world.ports.settings, **{setting: False})
    for settings_of, without, with_token in ((world.ports.settings, 200, 200), (closed, 401, 200)):
        world.ports.settings = settings_of
        with TestClient(create_app(world.ports)) as browser:
            assert browser.get(path).status_code == without
            assert browser.get(path, headers=bearer(TOKENS["viewer"])).status_code == with_token


def test_denied_calls_are_in_the_audit_once_a_minute(world):
    noted = []

    async def note(*entry):
        noted.append(entry)

    world.ports.note_denied = note
    with TestClient(create_app(world.ports)) as caller:
        for _ in range(3):
            caller.post(f"{API}/policy/freeze", json={}, headers=bearer(TOKENS["viewer"]))
            caller.get(f"{API}/jobs", headers=bearer("x" * 20))
    assert noted == [
        ("viewer", f"POST {API}/policy/freeze", "wrong_role"),
        (None, f"GET {API}/jobs", "unknown_token, from testclient"),
    ]


def test_rules_that_add_up_everything_need_every_namespace():
    assert RULES[f"GET {API}/audit"].namespaces is everywhere
