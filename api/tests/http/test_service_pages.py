"""Problem documents of unknown paths and faults, health, metrics, logs, credentials and the docs page."""

import hashlib
import json
import re
import time
from datetime import UTC, datetime
from html.parser import HTMLParser
from importlib.resources import files
from uuid import UUID

import jsonschema_rs
import msgspec
import pytest

from perfopt_api.events.message import PREFIXES, event_message
from perfopt_api.http.problems import KINDS
from perfopt_api.settings import ApiKey

JOBS = "/api/v1/optimization/jobs"
PLUGINS = "/api/v1/optimization/plugins"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize("path", ["/nope", "/api/v1/optimization/nope", "/docs/nope", "/docs/a.json"])
def test_an_unknown_path_is_a_problem_document(client, path):
    response = client.get(path)
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert (problem["type"], problem["status"], problem["instance"]) == ("/problems/no_such_path", 404, path)


def test_a_wrong_method_is_told_the_right_ones(client):
    response = client.delete(JOBS)
    assert response.status_code == 405
    assert "GET" in response.headers["allow"]
    assert response.json()["type"] == "/problems/method_not_allowed"


def test_a_caller_that_takes_no_json_is_told_so(client):
    response = client.get(JOBS, headers={"Accept": "text/csv"})
    assert response.status_code == 406
    assert response.json()["type"] == "/problems/not_acceptable"
    for accepted in ("*/*", "application/*", "text/html, application/json;q=0.5"):
        assert client.get(JOBS, headers={"Accept": accepted}).status_code == 200


def test_a_fault_of_ours_shows_an_id_and_no_stack(client, world, capsys):
    async def broken(job_id):
        raise ZeroDivisionError("the secret inside")

    world.store.get_job = broken
    response = client.get(f"{JOBS}/x")
    assert response.status_code == 500
    problem = response.json()
    assert problem["type"] == "/problems/internal_error"
    assert "secret" not in response.text
    assert "Traceback" not in response.text
    logged = capsys.readouterr()
    assert problem["error_id"] in logged.out + logged.err
    assert "ZeroDivisionError" in logged.out + logged.err


@pytest.mark.parametrize("code", KINDS)
def test_the_type_of_a_problem_can_be_opened(client, code):
    shown = client.get(f"/problems/{code}").json()
    assert shown["status"] == KINDS[code].status
    assert shown["meaning"]


def test_every_answer_has_a_request_id_and_a_sane_one_is_taken_over(client):
    assert client.get("/nope").headers["x-request-id"]
    assert client.get(JOBS, headers={"X-Request-ID": "abc-1"}).headers["x-request-id"] == "abc-1"
    forged = client.get(JOBS, headers={"X-Request-ID": 'a" b'}).headers["x-request-id"]
    assert re.fullmatch(r"[0-9a-f]{32}", forged)


def test_alive_says_nothing_of_others(client, world):
    world.store.down = world.queue.down = True
    assert client.get("/health/live").json()["status"] == "alive"


def test_ready_names_what_is_down(client, world):
    assert client.get("/health/ready").json() == {
        "status": "ready",
        "checks": {"postgresql": "ok", "nats": "ok"},
    }
    world.queue.down = True
    response = client.get("/health/ready")
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["detail"] == "NATS is not reachable."
    world.store.down = True
    assert [error["field"] for error in client.get("/health/ready").json()["errors"]] == [
        "postgresql",
        "nats",
    ]


def test_a_database_that_hangs_is_not_waited_for(client, world, monkeypatch):
    monkeypatch.setattr("perfopt_api.http.health.CHECK_SECONDS", 0.05)
    world.store.hangs = True
    began = time.monotonic()
    response = client.get("/health/ready")
    assert time.monotonic() - began < 3
    assert response.status_code == 503
    assert "did not answer within 0.05 s" in response.json()["detail"]


def test_metrics_count_requests_by_route_and_not_by_id(client):
    client.get(f"{JOBS}/some-id")
    text = client.get("/metrics").text
    assert (
        'perfopt_http_requests_total{app_name="perfopt",method="GET",path="/api/v1/optimization/jobs/{job_id}"'
        in text
    )
    assert "some-id" not in text


class TestWithTokens:
    @pytest.fixture
    def settings(self, settings):
        keys = {"alice": ApiKey(token="a" * 20), "bob": ApiKey(token="b" * 20)}
        return msgspec.structs.replace(settings, api_keys=keys)

    @pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", "Basic " + "a" * 20, "Bearer é"])
    def test_without_the_right_one_nobody_gets_in(self, client, header):
        headers = {} if header is None else {"Authorization": header.encode("latin-1")}
        response = client.get(JOBS, headers=headers)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.json()["type"] == "/problems/unauthorized"

    def test_the_token_names_the_requester(self, client, world):
        headers = {"Authorization": f"Bearer {'b' * 20}"}
        assert (
            client.post(
                "/api/v1/optimization/analyze", json={"service_name": "x"}, headers=headers
            ).status_code
            == 202
        )
        assert world.store.requesters == ["bob"]

    def test_health_metrics_and_docs_need_none(self, client):
        for path in ("/health/live", "/health/ready", "/metrics", "/docs", "/openapi.json"):
            assert client.get(path).status_code == 200

    def test_tokens_and_bodies_are_not_logged(self, client, capsys):
        headers = {"Authorization": f"Bearer {'b' * 20}"}
        client.post("/api/v1/optimization/analyze", json={"service_name": "hidden-name"}, headers=headers)
        logged = capsys.readouterr()
        assert "analyze" in logged.out + logged.err
        assert "hidden-name" not in logged.out + logged.err
        assert "b" * 20 not in logged.out + logged.err


class Page(HTMLParser):
    """Collects what a page loads, and whether a script stands in it."""

    def __init__(self, text):
        super().__init__()
        self.loaded, self.inline = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "script":
            self.loaded.append(given["src"])
        elif tag == "link":
            self.loaded.append(given["href"])
        elif tag == "style" or any(name.startswith("on") for name in given):
            self.inline.append(tag)


def test_the_docs_page_loads_nothing_from_elsewhere(client):
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    found = Page(page.text)
    assert not found.inline
    assert {"/docs/swagger-ui-bundle.js", "/docs/docs.js", "/docs/swagger-ui.css"} <= set(found.loaded)
    for asset in found.loaded:
        assert asset.startswith(("/", "data:"))
        if asset.startswith("/"):
            assert client.get(asset).status_code == 200
    policy = page.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "connect-src 'self';" in policy
    assert "://" not in page.text + client.get("/docs/docs.js").text


def test_the_viewer_is_the_one_that_the_notice_names(client):
    notice = files("perfopt_api.http").joinpath("static", "NOTICE").read_text()
    for name in ("swagger-ui-bundle.js", "swagger-ui.css"):
        served = client.get(f"/docs/{name}").content
        assert f"{hashlib.sha256(served).hexdigest()}  {name}" in notice


def test_events_are_described_by_a_schema_that_they_fit(client, make_recommendation):
    schema = client.get("/api/v1/events/schema.json").json()
    body = event_message(make_recommendation(), event_id=UUID(int=1), at=NOW, base_url="https://x").payload
    fits = jsonschema_rs.validator_for(schema).is_valid
    assert fits(json.loads(body))
    assert not fits({**json.loads(body), "event_id": 1})


def test_the_asyncapi_document_names_subject_stream_and_payload(client):
    described = client.get("/asyncapi.json").json()
    assert described["asyncapi"] == "3.0.0"
    assert "OPTIMIZATION" in described["info"]["description"]
    addresses = [channel["address"] for channel in described["channels"].values()]
    of_services = [f"{prefix}.{{optimization_type}}.{{service_name}}" for prefix in PREFIXES[:-1]]
    assert addresses == [*of_services, f"{PREFIXES[-1]}.{{strategy}}.{{service_class}}"]
    references = re.findall(r'"#/([^"]+)"', json.dumps(described))
    for reference in references:
        place = described
        for part in reference.split("/"):
            place = place[part]


def test_a_browser_at_the_root_is_led_to_the_docs(client):
    assert client.get("/", follow_redirects=False).headers["location"] == "/docs"


def test_the_openapi_document_describes_bodies_problems_headers_and_examples(client):
    api = client.get("/openapi.json").json()
    assert api["openapi"].startswith("3.1")
    analyze = api["paths"]["/api/v1/optimization/analyze"]["post"]
    content = analyze["requestBody"]["content"]["application/json"]
    assert content["examples"]
    assert set(analyze["responses"]) == {
        "200",
        "202",
        "400",
        "401",
        "403",
        "406",
        "408",
        "409",
        "413",
        "415",
        "422",
        "429",
        "503",
    }
    assert "Location" in analyze["responses"]["202"]["headers"]
    assert "application/problem+json" in analyze["responses"]["409"]["content"]
    model = api["components"]["schemas"]["PerformanceAnalysisRequest"]
    assert model["additionalProperties"] is False
    assert model["properties"]["service_name"]["description"]
    references = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(api)))
    assert references <= set(api["components"]["schemas"])


def test_examples_of_the_document_are_accepted(client, world, make_recommendation):
    world.store.add(make_recommendation())
    api = client.get("/openapi.json").json()
    analyze = api["paths"]["/api/v1/optimization/analyze"]["post"]
    for example in analyze["requestBody"]["content"]["application/json"]["examples"].values():
        assert client.post("/api/v1/optimization/analyze", json=example["value"]).status_code == 202
    path = "/api/v1/optimization/recommendations/{recommendation_id}/apply"
    apply = api["paths"][path]["post"]["requestBody"]["content"]["application/json"]["examples"]
    for example in apply.values():
        response = client.post(path.format(recommendation_id="opt_20261123_001"), json=example["value"])
        assert response.status_code == 200


@pytest.mark.parametrize(
    "path", ["/health/live", "/api/v1/optimization/jobs", "/docs", "/nowhere", "/api/nowhere"]
)
def test_every_answer_has_headers_against_misuse(client, path):
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"]
    assert (headers.get("cache-control") == "no-store") is path.startswith("/api/")
